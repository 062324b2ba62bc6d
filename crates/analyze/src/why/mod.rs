//! Why a run was not faster: what every step waited for, which rank the others waited for, where the slow operations
//! are.

mod findings;
mod losses;
mod stragglers;
mod windows;

pub(crate) use losses::Bar;

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::metric::RankMetric;
use crate::pass::Summary;
use crate::pass::objects::Locator;
use crate::pass::part::Flow;
use crate::timeline::Extent;

/// The explanation of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Why {
    /// What stands out, the most costly first.
    pub findings: Vec<Finding>,
    /// Over all epochs and ranks: from 100 % down to AU.
    #[serde(default)]
    pub waterfall: Vec<Fall>,
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

    pub(crate) fn add(&mut self, other: &Self) {
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
    /// Short name, stable across versions: `slow_endpoint`, `slow_rank`, `throttled`, `slow_period`, `cold_connections`.
    pub code: String,
    /// The endpoint, rank or time that it is about.
    pub subject: String,
    /// What was seen.
    pub text: String,
    /// Seconds of waiting, summed over ranks.
    pub seconds: f64,
}

/// Where the AU of one epoch of one rank was lost, over the time that AU is computed of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Loss {
    /// Epoch.
    pub epoch: u32,
    /// Rank.
    pub rank: u32,
    /// Steps that count.
    pub steps: u64,
    /// Time of the blocks without the steps that do not count, nanoseconds: the `T` of AU's formula.
    pub total: u64,
    /// Computation of the steps that count.
    pub compute: u64,
    /// AU as the metric has it, percent.
    pub au_percentage: f64,
    /// The rest of the time; barriers are those of all steps, as in AU's formula.
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

/// One part of what AU was lost to, over all epochs and ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Fall {
    /// Name of the part.
    pub part: String,
    /// Summed over ranks.
    pub seconds: f64,
    /// Percentage points of AU that it took.
    pub percentage: f64,
    /// What AU would be without it, percent.
    pub au_without: f64,
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
    /// Where the object's name can be read.
    #[serde(skip)]
    pub(crate) named_at: Option<Locator>,
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
    /// Reads that began where the lane's last read of the object had ended, percent of the reads of a lane's last eight objects.
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
    /// Wait, computation and barrier per step, seconds.
    pub round: Vec<f64>,
    /// Duration of reads, seconds; evenly picked of many.
    pub read: Vec<f64>,
    /// Median and 99th percentile of all reads, seconds.
    pub read_percentiles: Option<(f64, f64)>,
}

/// Good reads of one object over all processes: its name, how many, how many of them slow.
pub(crate) type ObjectReads = (String, u64, u64);

/// What an explanation is made from.
pub(crate) struct Sources<'a> {
    pub(crate) summary: &'a Summary,
    /// Of each of the summary's parts.
    pub(crate) metrics: &'a [RankMetric],
    pub(crate) extent: Extent,
    /// All reads that ended well, and above which bucket they are slow.
    pub(crate) reads: &'a Histogram,
    /// What all ranks exchanged with each endpoint.
    pub(crate) endpoints: &'a std::collections::BTreeMap<String, Flow>,
    /// Bytes in the union of all ranges that were read.
    pub(crate) different_bytes: u64,
    /// Objects with slow reads, those with the most first.
    pub(crate) slow_objects: Vec<ObjectReads>,
}

/// Explains a run; names of objects are filled in later.
pub(crate) fn explain(sources: &Sources<'_>) -> Why {
    let mut why = Why::default();
    losses::fill(&mut why, sources);
    stragglers::fill(&mut why, sources);
    findings::fill(&mut why, sources);
    why
}

/// Nanoseconds from one moment to another; 0 if it is the earlier one.
pub(crate) fn between(start: i64, end: i64) -> u64 {
    u64::try_from(end.saturating_sub(start)).unwrap_or(0)
}
