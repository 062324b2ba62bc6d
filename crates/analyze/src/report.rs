//! The report on a run: what its traces say, as one serialisable value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::Change;
use crate::ending::RunEnd;
use crate::metric::Aggregate;
use crate::percentile::{Distribution, Latency};
use crate::why::Why;

/// Everything that the renderers show.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Version of this structure; grows with its fields.
    pub format: String,
    /// The run as a whole.
    pub run: Run,
    /// How the numbers were made.
    #[serde(default)]
    pub method: Method,
    /// What a reader should know before believing the numbers.
    pub warnings: Vec<Warning>,
    /// Training metrics as in `summary.json`; `None` without training steps.
    pub train: Option<Aggregate>,
    /// Evaluation metrics; `None` without evaluation.
    pub eval: Option<Aggregate>,
    /// Per epoch.
    pub epochs: Vec<Epoch>,
    /// Checkpoints that were saved and loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<CheckpointRow>,
    /// Storage operations by kind and size.
    pub operations: Vec<Operation>,
    /// Spans (fetch, compute, barrier, …) by kind.
    pub spans: Vec<Operation>,
    /// Per rank.
    pub ranks: Vec<RankRow>,
    /// Per host.
    #[serde(default)]
    pub hosts: Vec<HostRow>,
    /// Per endpoint.
    pub endpoints: Vec<Endpoint>,
    /// Where the time went, per epoch and rank.
    pub times: Vec<TimeRow>,
    /// Over the run.
    pub series: Series,
    /// From step to step, in at most 400 rows.
    #[serde(default)]
    pub steps: Vec<StepRow>,
    /// Ranks and time.
    #[serde(default)]
    pub heat: Heat,
    /// When the run was warm; `None` without enough storage traffic.
    #[serde(default)]
    pub steady: Option<Steady>,
    /// What AU was lost to, and where the slow operations are.
    #[serde(default)]
    pub why: Why,
    /// In which order each epoch read.
    #[serde(default)]
    pub shuffle: Vec<ShuffleRow>,
    /// How fast each epoch read: whether from a cache.
    #[serde(default)]
    pub cache: Vec<CacheRow>,
    /// The clocks of the ranks.
    #[serde(default)]
    pub clock: Clock,
    /// Of a replayed trace: how close it came to the recorded one, as the replay wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<serde_json::Value>,
    /// Against another run, if one was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparison: Vec<Change>,
    /// Latencies of each kind of storage operation.
    #[serde(default)]
    pub curves: Vec<Curve>,
    /// Latencies of all reads.
    pub read_latency: Distribution,
    /// Latencies of all writes.
    pub write_latency: Distribution,
}

/// How the numbers were made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Method {
    /// Rows were not kept: memory does not grow with their number.
    pub streaming: bool,
    /// The largest error of a percentile, as a share of its value: 0 where all values were kept.
    pub percentile_error: f64,
    /// What a streaming analysis tells from a part, because the whole would not have fitted into its memory, and from which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub estimated: Vec<String>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostRow {
    /// Name.
    pub host: String,
    /// Its ranks.
    pub ranks: u32,
    /// What they exchanged with storage.
    pub flow: FlowRow,
}

/// Some consecutive steps over all ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepRow {
    /// Epoch.
    pub epoch: u32,
    /// First step.
    pub from: u32,
    /// Last step.
    pub to: u32,
    /// Computation by computation and waiting, percent.
    pub au_percentage: f64,
    /// Mean wait of a rank, nanoseconds.
    pub wait_ns: f64,
    /// Longest wait of a rank, nanoseconds.
    pub wait_ns_max: u64,
}

/// Ranks and time: one row per rank (or per group of neighbours), one column per slice.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Heat {
    /// First and last rank of each row.
    pub ranks: Vec<(u32, u32)>,
    /// Width of a column, seconds.
    pub slice_seconds: f64,
    /// Mean over the row's ranks.
    pub read_bytes_per_second: Vec<Vec<f64>>,
    /// Share of the time that the training loop waited for data, mean over the row's ranks, percent.
    pub waiting_percentage: Vec<Vec<f64>>,
}

/// When the run was warm: MSER-5 on bytes per slice between the first and the last traffic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Steady {
    /// From the start of the run to the slice after which the mean of the rest is known best, seconds.
    pub warm_up_seconds: f64,
    /// Whether the rest is steady: the warm-up is less than half, and both halves of the rest agree within 10 %.
    pub steady: bool,
    /// Mean of the rest, bytes per second.
    pub bytes_per_second: f64,
    /// Deviation of its slices by the mean, percent.
    pub variation_percentage: f64,
}

/// In which order one epoch read, mean over the ranks. Samples, or objects where the traces name no samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ShuffleRow {
    /// Epoch.
    pub epoch: u32,
    /// Correlation of position and sample number: 1 in order, 0 shuffled.
    pub with_numbers: Option<f64>,
    /// Correlation of each sample number with the next one.
    pub with_next: Option<f64>,
    /// Correlation of positions with those of the epoch before.
    pub with_before: Option<f64>,
    /// What a rank reads that it had read in the epoch before, percent.
    pub kept_percentage: Option<f64>,
    /// Samples that more than one rank read in this epoch, percent.
    pub shared_percentage: Option<f64>,
}

/// How fast one epoch read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CacheRow {
    /// Epoch.
    pub epoch: u32,
    /// Bytes per second of a read by those of the first epoch.
    pub speed_by_first: f64,
    /// Reads of 16 KiB and more that moved more than 4 GB per second, percent of all reads.
    pub from_memory_percentage: f64,
}

/// The clocks of the ranks, as the headers of the traces tell them, and whether effects came after causes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// Per rank.
    pub ranks: Vec<ClockRow>,
    /// Barriers that were looked at.
    pub barriers: u64,
    /// Of them, those that a rank left before the last one had come, by more than both clocks may be wrong.
    pub violations: u64,
    /// By how much at most, nanoseconds.
    pub worst_ns: u64,
}

/// One rank's clock.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClockRow {
    /// Rank.
    pub rank: u32,
    /// What was added to its times, nanoseconds.
    pub offset_ns: i64,
    /// How much that may be wrong: half a round trip, nanoseconds.
    pub uncertainty_ns: u64,
    /// How much the offset had changed at the end of the run; `None` if it was not measured again.
    pub moved_ns: Option<i64>,
    /// The drift that was taken out of the times, parts per million; 0 where it was within the uncertainty.
    pub drift_ppm: f64,
}

/// Latencies of one kind of operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Curve {
    /// Kind.
    pub op: String,
    /// All sizes.
    pub latency: Distribution,
}

/// The run as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Run {
    /// Version of the program that recorded the traces.
    pub tool_version: String,
    /// Its command line.
    pub argv: Vec<String>,
    /// Name of the model in the configuration, if known.
    pub model: Option<String>,
    /// Ranks of the run.
    pub world: u32,
    /// Ranks with a trace.
    pub traces: u32,
    /// Host names.
    pub hosts: Vec<String>,
    /// Start of the first event, nanoseconds since 1970-01-01 UTC, by rank 0's clock.
    pub start_unix_ns: i64,
    /// From the first to the last event.
    pub seconds: f64,
    /// Rows of all traces.
    pub events: u64,
    /// Storage operations, counting every attempt.
    pub operations: u64,
    /// Operations that did not end with ok.
    pub errors: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub written_bytes: u64,
    /// How many operations ended how, apart from ok.
    pub outcomes: BTreeMap<String, u64>,
    /// The AU to reach, percent; `None` if the traces do not say.
    pub au_threshold_percentage: Option<f64>,
    /// How it ended.
    #[serde(default)]
    pub ending: RunEnd,
}

/// Something to know before believing the numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Short name, stable across versions.
    pub code: String,
    /// What was seen, and what to do.
    pub text: String,
}

/// One epoch over all ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Mean over the ranks, percent.
    pub au_percentage: f64,
    /// Sum over the ranks.
    pub samples_per_second: f64,
    /// Mean over the ranks of the evaluation's AU.
    pub eval_au_percentage: Option<f64>,
    /// Steps of the rank with the most.
    pub steps: u64,
    /// From the first rank's start to the last rank's end, evaluation included.
    pub seconds: f64,
    /// Bytes that the training part read from storage.
    pub read_bytes: u64,
    /// The same per second of the training part.
    pub read_bytes_per_second: f64,
    /// Bytes per second of one read operation: all bytes by the sum of all durations.
    pub bytes_per_operation_second: f64,
    /// Which samples were read.
    pub coverage: Coverage,
}

/// Which samples an epoch read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Different samples.
    pub distinct: u64,
    /// Reads of a sample that another step or rank had read in the same epoch.
    pub duplicates: u64,
    /// Samples that the configuration promised and nobody read; `None` if the traces do not say how many.
    pub missing: Option<u64>,
}

/// One checkpoint over all ranks. GB are 2³⁰ bytes, and count what a checkpoint's throughput is computed with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckpointRow {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Number in its keys (`save_ckpt<k>`, `load_ckpt<k>`).
    pub number: u32,
    /// Loaded rather than saved.
    pub load: bool,
    /// Ranks that took part.
    pub ranks: u32,
    /// How long rank 0 needed: what the reference reports.
    pub seconds_rank0: Option<f64>,
    /// The fastest rank.
    pub seconds_min: f64,
    /// The slowest rank.
    pub seconds_max: f64,
    /// From the first rank's start to the last rank's end.
    pub seconds_all: f64,
    /// Size by rank 0's time: what the reference reports; `None` if the traces do not say the size.
    pub gb_per_second_rank0: Option<f64>,
    /// Size by the time of all ranks: what the storage delivered.
    pub gb_per_second_all: Option<f64>,
}

/// Operations of one kind and size.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Operation {
    /// Kind.
    pub op: String,
    /// Size class; empty where size means nothing.
    pub size: String,
    /// Bytes moved.
    pub bytes: u64,
    /// Operations that did not end with ok.
    pub errors: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// How long they took.
    pub latency: Latency,
    /// Time to the first byte, where it was measured.
    #[serde(default)]
    pub first_byte: Option<Latency>,
    /// From there to the end.
    #[serde(default)]
    pub transfer: Option<Latency>,
}

/// One rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankRow {
    /// Rank.
    pub rank: u32,
    /// Host.
    pub host: String,
    /// Whether its trace is complete.
    pub complete: bool,
    /// How it ended, as its trace says: `completed`, `interrupted by SIGTERM`, `failed: …`, `its trace stops`, `unknown`.
    #[serde(default)]
    pub ending: String,
    /// Mean over the epochs, percent; `None` without training.
    pub au_percentage: Option<f64>,
    /// What it exchanged with storage.
    pub flow: FlowRow,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name; `local` for files.
    pub endpoint: String,
    /// What all ranks exchanged with it.
    pub flow: FlowRow,
}

/// What somebody exchanged with storage.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FlowRow {
    /// Operations.
    pub operations: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Both, by the seconds of the run.
    pub bytes_per_second: f64,
    /// Operations that did not end with ok.
    pub errors: u64,
    /// Latency of reads and writes.
    pub latency: Latency,
    /// Their time to the first byte, where it was measured.
    #[serde(default)]
    pub first_byte: Option<Latency>,
    /// From there to the end.
    #[serde(default)]
    pub transfer: Option<Latency>,
}

/// Where the time of one epoch of one rank went, seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TimeRow {
    /// Epoch.
    pub epoch: u32,
    /// Rank.
    pub rank: u32,
    /// AU of the epoch on this rank, percent, by the reference's formula; `None` without training steps.
    pub au_percentage: Option<f64>,
    /// The whole epoch.
    pub total: f64,
    /// Emulated computation of the training steps: what AU counts.
    pub compute: f64,
    /// Waiting for the next batch.
    pub waiting: f64,
    /// Waiting for the other ranks.
    pub barrier: f64,
    /// Saving and loading checkpoints.
    pub checkpoint: f64,
    /// Evaluation as a whole.
    pub evaluation: f64,
    /// The rest.
    pub other: f64,
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
    /// Storage operations in flight, all ranks together.
    #[serde(default)]
    pub in_flight: Vec<f64>,
    /// Share of the time with at least one storage operation in flight, mean over the ranks, percent; empty when streaming.
    #[serde(default)]
    pub busy_percentage: Vec<f64>,
    /// Share of the training time of all ranks that was waiting for data, percent; `None` outside training.
    #[serde(default)]
    pub waiting_percentage: Vec<Option<f64>>,
    /// Share of the training time of all ranks that was computation, percent; `None` outside training.
    pub au_percentage: Vec<Option<f64>>,
}
