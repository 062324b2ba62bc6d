//! Diagnosis of a run: what each step waited for, which rank the others waited for, and where the slow operations are.

mod findings;
mod losses;
pub(crate) mod sources;
mod stragglers;
mod windows;

use serde::{Deserialize, Serialize};

use crate::compare::Samples;
use crate::pass::rank_stats::RankStats;
pub use crate::wait_breakdown::WaitBreakdown;
pub use findings::Finding;
pub(crate) use losses::Waterfall;
pub use losses::{Access, CriticalRank, EpochLoss, Overlap, SlowStep, WaterfallEntry, WhatIf};
use sources::Sources;
pub use stragglers::{Imbalance, Straggler};

/// The diagnosis of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Returns the findings, most costly first.
    pub findings: Vec<Finding>,
    /// Waterfall from 100 % down to AU, over all epochs and ranks.
    #[serde(default)]
    pub waterfall: Vec<WaterfallEntry>,
    /// Time between computations by cause, per epoch and rank.
    pub losses: Vec<EpochLoss>,
    /// The steps with the longest waits.
    pub slow_steps: Vec<SlowStep>,
    /// Ranks that others waited for at barriers, most costly first.
    pub critical_ranks: Vec<CriticalRank>,
    /// Location of the slowest twentieth of the reads.
    pub stragglers: Vec<Straggler>,
    /// Imbalance of work between ranks or endpoints.
    pub imbalance: Vec<Imbalance>,
    /// Overlap of computation and storage operations, per rank.
    pub overlap: Vec<Overlap>,
    /// Order in which bytes were read.
    pub access: Access,
    /// Values that a comparison draws from; they are not part of the JSON.
    #[serde(skip)]
    pub samples: Samples,
}

/// Diagnoses a run; the names of objects are filled in later.
pub(crate) fn explain(sources: &Sources<'_>) -> Diagnosis {
    let parts = &sources.summary.parts;
    let losses = losses::losses(sources);
    let critical_ranks = losses::critical(sources);
    Diagnosis {
        findings: findings::findings(sources, &losses, &critical_ranks),
        waterfall: Waterfall::of(&losses).falls,
        samples: samples(parts, &losses),
        slow_steps: losses::slow_steps(parts),
        stragglers: stragglers::stragglers(sources),
        imbalance: stragglers::imbalance(sources),
        overlap: losses::overlaps(parts),
        access: losses::access(sources),
        losses,
        critical_ranks,
    }
}

/// Returns the values that a comparison draws from, as far as they are known per rank.
fn samples(parts: &[RankStats], losses: &[EpochLoss]) -> Samples {
    let seconds = |values: fn(&RankStats) -> &[u64]| {
        parts.iter().flat_map(values).map(|nanos| *nanos as f64 / 1e9).collect::<Vec<_>>()
    };
    Samples {
        au: losses.iter().map(|loss| loss.au_percentage).collect(),
        wait: seconds(|rank| &rank.waits.values),
        step: seconds(|rank| &rank.steps.values),
        round: seconds(|rank| &rank.rounds.values),
        read: seconds(|rank| &rank.reads.values),
        ..Samples::default()
    }
}
