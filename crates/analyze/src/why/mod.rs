//! Why a run was not faster: what every step waited for, which rank the others waited for, where the slow operations
//! are.

mod detail;
mod findings;
mod losses;
mod path;
mod pattern;
mod stragglers;

use dlio_trace::RankTrace;
use serde::{Deserialize, Serialize};

use crate::metric::Parameters;

/// The explanation of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Why {
    /// What stands out, the most costly first.
    pub findings: Vec<Finding>,
    /// Where the time between the computations went, per epoch and rank.
    pub losses: Vec<Loss>,
    /// The steps with the longest waits.
    pub slow_steps: Vec<SlowStep>,
    /// Ranks that the others waited for at barriers, the most costly first.
    pub critical_ranks: Vec<CriticalRank>,
    /// Where the slowest twentieth of the reads is.
    pub stragglers: Vec<Straggler>,
    /// How unevenly work was spread.
    pub imbalance: Vec<Imbalance>,
    /// Computation and storage operations at the same time, per rank.
    pub overlap: Vec<Overlap>,
    /// In which order bytes were read.
    pub access: Access,
    /// Values that a comparison draws from; not part of the JSON.
    #[serde(skip)]
    pub samples: Samples,
}

/// Parts of a wait or of a loss, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parts {
    /// Before requests were handed to a connection (`t_start_ns` to `t_issue_ns`).
    pub queueing: u64,
    /// From there to the first byte of the answer.
    pub first_byte: u64,
    /// From there to the end of the operation; all of it where the first byte is not measured.
    pub transfer: u64,
    /// Failed attempts, and pauses before the next one.
    pub retries: u64,
    /// Decoding and preprocessing.
    pub decode: u64,
    /// Waiting for other ranks.
    pub barrier: u64,
    /// Saving and loading checkpoints between steps.
    pub checkpoint: u64,
    /// What no row of the trace explains.
    pub rest: u64,
}

impl Parts {
    /// Names and amounts, in the order of a request's life.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("queueing", self.queueing),
            ("first byte", self.first_byte),
            ("transfer", self.transfer),
            ("retries", self.retries),
            ("decode", self.decode),
            ("barrier", self.barrier),
            ("checkpoint", self.checkpoint),
            ("rest", self.rest),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.queueing += other.queueing;
        self.first_byte += other.first_byte;
        self.transfer += other.transfer;
        self.retries += other.retries;
        self.decode += other.decode;
        self.barrier += other.barrier;
        self.checkpoint += other.checkpoint;
        self.rest += other.rest;
    }
}

/// Something that stands out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Finding {
    /// Short name, stable across versions: `slow_endpoint`, `slow_rank`, `throttled`, `cold_connections`.
    pub code: String,
    /// The endpoint, rank or host that it is about.
    pub subject: String,
    /// What was seen.
    pub text: String,
    /// Seconds of waiting, summed over ranks.
    pub seconds: f64,
}

/// Where the AU of one epoch of one rank was lost, over the steps that AU counts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Loss {
    /// Epoch.
    pub epoch: u32,
    /// Rank.
    pub rank: u32,
    /// Steps that count.
    pub steps: u64,
    /// From the start of the first of them to the end of the last, nanoseconds.
    pub total: u64,
    /// Computation.
    pub compute: u64,
    /// Computation by the whole, percent.
    pub au_percentage: f64,
    /// The rest of the time.
    pub parts: Parts,
    /// What `au_percentage` would be without each part that took time.
    pub without: Vec<Without>,
}

/// AU without one part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Without {
    /// Name of the part.
    pub part: String,
    /// AU then, percent.
    pub au_percentage: f64,
}

/// A step with a long wait.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SlowStep {
    /// Epoch.
    pub epoch: u32,
    /// Step.
    pub step: u32,
    /// Rank that waited.
    pub rank: u32,
    /// How long, nanoseconds.
    pub wait: u64,
    /// What it consisted of.
    pub parts: Parts,
    /// The object that took most of it.
    pub object: String,
    /// Where that came from.
    pub endpoint: String,
}

/// A rank that others waited for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CriticalRank {
    /// Rank.
    pub rank: u32,
    /// Its host.
    pub host: String,
    /// Steps in which it was the last at the barrier.
    pub steps: u64,
    /// Seconds that the other ranks together waited for it.
    pub seconds: f64,
    /// Of its lateness, the share that was waiting for data (the rest is computation), percent.
    pub waiting_percentage: f64,
}

/// A group that has more than its share of the slowest reads.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Straggler {
    /// `endpoint`, `host`, `object` or `connection`.
    pub by: String,
    /// Which one; of connections, how many requests they had served before.
    pub name: String,
    /// Its reads.
    pub reads: u64,
    /// Of them, slow ones.
    pub slow: u64,
    /// Its share of the slow reads by its share of all reads.
    pub factor: f64,
}

/// How unevenly a quantity was spread.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Imbalance {
    /// What.
    pub quantity: String,
    /// Largest by mean.
    pub max_by_mean: f64,
    /// Gini coefficient: 0 for all equal.
    pub gini: f64,
}

/// What a rank did at the same time, seconds, from its first to its last training step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overlap {
    /// Rank.
    pub rank: u32,
    /// Computation and storage operations.
    pub both: f64,
    /// Computation alone.
    pub compute: f64,
    /// Storage operations alone.
    pub io: f64,
    /// Neither.
    pub neither: f64,
    /// Operations in flight, mean over that time.
    pub concurrency: f64,
    /// The most at one moment.
    pub concurrency_max: u64,
    /// Arrivals per second times mean duration (Little's law): differs from `concurrency` where the run is not steady.
    pub little: f64,
}

/// In which order bytes were read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Access {
    /// Bytes read by different bytes read; `None` without reads.
    pub reread_factor: Option<f64>,
    /// Reads that began where the lane's last read of the object had ended, percent of all but first reads.
    pub sequential_percentage: Option<f64>,
}

/// Values that a comparison draws from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    /// AU per epoch and rank, percent.
    pub au: Vec<f64>,
    /// Wait per step, seconds.
    pub wait: Vec<f64>,
    /// Wait and computation per step, seconds.
    pub step: Vec<f64>,
    /// Duration of reads, seconds; evenly picked of many.
    pub read: Vec<f64>,
}

/// Explains a run.
///
/// # Errors
/// When a trace cannot be read.
pub(crate) fn explain(traces: &[RankTrace], known: Option<&Parameters>) -> Result<Why, dlio_trace::Error> {
    let mut names = detail::Names::default();
    let mut details = Vec::new();
    for trace in traces {
        details.push(detail::detail(trace, &mut names)?);
    }
    let skipped = known.map_or((1, 0), |known| (known.exclude_start_steps, known.exclude_end_steps));
    let mut why = Why::default();
    let blame = losses::fill(&mut why, &details, &names, skipped);
    stragglers::fill(&mut why, &details, &names);
    pattern::fill(&mut why, &details);
    findings::fill(&mut why, &details, &names, &blame);
    Ok(why)
}
