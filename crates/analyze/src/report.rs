//! The report on a run, as one serialisable value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::checkpoints::CheckpointRow;
use crate::compare::Change;
use crate::diagnosis::Diagnosis;
use crate::ending::RunEnd;
pub use crate::epochs::{Coverage, Epoch, TimeRow};
use crate::metric::Aggregate;
pub use crate::overview::{CacheRow, Clock, ClockRow, Heat, ShuffleRow, Steady, StepRow};
use crate::percentile::{Distribution, Latency};

/// All data that the renderers show.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Version of this structure, which grows with its fields.
    pub format: String,
    /// The run as a whole.
    pub run: Run,
    /// How the numbers were computed.
    #[serde(default)]
    pub method: Method,
    /// Warnings about the numbers.
    pub warnings: Vec<Warning>,
    /// Training metrics as in `summary.json`; `None` without training steps.
    pub train: Option<Aggregate>,
    /// Evaluation metrics; `None` without evaluation.
    pub eval: Option<Aggregate>,
    /// One row per epoch.
    pub epochs: Vec<Epoch>,
    /// Checkpoints that were saved and loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<CheckpointRow>,
    /// Storage operations by kind and size.
    pub operations: Vec<Operation>,
    /// Spans (fetch, compute, barrier, …) by kind.
    pub spans: Vec<Operation>,
    /// One row per rank.
    pub ranks: Vec<RankRow>,
    /// One row per host.
    #[serde(default)]
    pub hosts: Vec<HostRow>,
    /// One row per endpoint.
    pub endpoints: Vec<Endpoint>,
    /// Time by activity, per epoch and rank.
    pub times: Vec<TimeRow>,
    /// Rates and shares over the run.
    pub series: Series,
    /// Consecutive steps, in at most 400 rows.
    #[serde(default)]
    pub steps: Vec<StepRow>,
    /// Heat maps of ranks over time.
    #[serde(default)]
    pub heat: Heat,
    /// Steady state of the run; `None` without enough storage traffic.
    #[serde(default)]
    pub steady: Option<Steady>,
    /// Diagnosis: causes of lost AU, and location of slow operations.
    #[serde(default, rename = "why")]
    pub diagnosis: Diagnosis,
    /// Order of the samples of each epoch.
    #[serde(default)]
    pub shuffle: Vec<ShuffleRow>,
    /// Read speed of each epoch, which shows caches.
    #[serde(default)]
    pub cache: Vec<CacheRow>,
    /// The clocks of the ranks.
    #[serde(default)]
    pub clock: Clock,
    /// Fidelity of a replay, as the replay wrote it; `None` if the run is not a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<serde_json::Value>,
    /// Comparison with a base run, if one was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparison: Vec<Change>,
    /// Latencies by kind of storage operation.
    #[serde(default)]
    pub curves: Vec<Curve>,
    /// Latencies of all reads.
    pub read_latency: Distribution,
    /// Latencies of all writes.
    pub write_latency: Distribution,
}

/// How the numbers were computed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Method {
    /// Whether rows were not retained, so that memory does not grow with their number.
    pub streaming: bool,
    /// Largest relative error of a percentile; 0 if all values were retained.
    pub percentile_error: f64,
    /// Numbers that a streaming analysis estimates from a sample to bound its memory, with the sampling rates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub estimated: Vec<String>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostRow {
    /// Host name.
    pub host: String,
    /// Number of ranks on the host.
    pub ranks: u32,
    /// I/O of the ranks.
    pub flow: FlowRow,
}

/// Latencies of one kind of operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Curve {
    /// Kind of operation.
    pub op: String,
    /// Latencies of operations of all sizes.
    pub latency: Distribution,
}

/// The run as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Run {
    /// Version of the program that recorded the traces.
    pub tool_version: String,
    /// Command line of that program.
    pub argv: Vec<String>,
    /// Model name in the configuration, if known.
    pub model: Option<String>,
    /// Number of ranks of the run.
    pub world: u32,
    /// Number of ranks with a trace.
    pub traces: u32,
    /// Host names.
    pub hosts: Vec<String>,
    /// Start of the first event, nanoseconds since 1970-01-01 UTC, by rank 0's clock.
    pub start_unix_ns: i64,
    /// Time from the first to the last event, seconds.
    pub seconds: f64,
    /// Number of rows of all traces.
    pub events: u64,
    /// Number of storage operations, counting every attempt.
    pub operations: u64,
    /// Number of operations that failed.
    pub errors: u64,
    /// Number of attempts after the first.
    pub retries: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub written_bytes: u64,
    /// Number of failed operations by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Target of AU, percent; `None` if the traces do not contain it.
    pub au_threshold_percentage: Option<f64>,
    /// How the run ended.
    #[serde(default)]
    pub ending: RunEnd,
}

/// A reservation about the numbers of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Short name, stable across versions.
    pub code: String,
    /// Observation and advice.
    pub text: String,
}

/// Operations of one kind and size.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Operation {
    /// Kind of operation.
    pub op: String,
    /// Size class; empty for kinds without bytes.
    pub size: String,
    /// Bytes moved.
    pub bytes: u64,
    /// Number of operations that failed.
    pub errors: u64,
    /// Number of attempts after the first.
    pub retries: u64,
    /// Latency of the whole operation.
    pub latency: Latency,
    /// Time to the first byte, if it was measured.
    #[serde(default)]
    pub first_byte: Option<Latency>,
    /// Time from the first byte to the end, if the first byte was measured.
    #[serde(default)]
    pub transfer: Option<Latency>,
}

/// One rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankRow {
    /// Rank.
    pub rank: u32,
    /// Host of the rank.
    pub host: String,
    /// Whether the trace is complete.
    pub complete: bool,
    /// How the rank ended, from its trace: `completed`, `interrupted by SIGTERM`, `failed: …`, `its trace stops`,
    /// `unknown`.
    #[serde(default)]
    pub ending: String,
    /// Mean AU over the epochs, percent; `None` without training.
    pub au_percentage: Option<f64>,
    /// I/O of the rank.
    pub flow: FlowRow,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name of the endpoint; `local` for files.
    pub endpoint: String,
    /// I/O of all ranks with the endpoint.
    pub flow: FlowRow,
}

/// I/O of a rank, a host or an endpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FlowRow {
    /// Number of operations.
    pub operations: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes read and written, by the seconds of the run.
    pub bytes_per_second: f64,
    /// Number of operations that failed.
    pub errors: u64,
    /// Latency of reads and writes.
    pub latency: Latency,
    /// Time to the first byte of reads and writes, if it was measured.
    #[serde(default)]
    pub first_byte: Option<Latency>,
    /// Time from the first byte to the end, if the first byte was measured.
    #[serde(default)]
    pub transfer: Option<Latency>,
}

/// Values for equal slices of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Series {
    /// Width of a slice, seconds.
    pub slice_seconds: f64,
    /// Bytes read per second.
    pub read_bytes_per_second: Vec<f64>,
    /// Bytes written per second.
    pub written_bytes_per_second: Vec<f64>,
    /// Storage operations per second.
    #[serde(default)]
    pub operations_per_second: Vec<f64>,
    /// Number of storage operations in flight, all ranks together.
    #[serde(default)]
    pub in_flight: Vec<f64>,
    /// Share of the time with at least one storage operation in flight, mean over the ranks, percent; empty in a
    /// streaming analysis.
    #[serde(default)]
    pub busy_percentage: Vec<f64>,
    /// Share of the training time of all ranks spent waiting for data, percent; `None` outside training.
    #[serde(default)]
    pub waiting_percentage: Vec<Option<f64>>,
    /// Share of the training time of all ranks spent computing, percent; `None` outside training.
    pub au_percentage: Vec<Option<f64>>,
}
