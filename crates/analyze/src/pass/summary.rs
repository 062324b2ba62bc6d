//! Merged results of the traces of one process, or of all processes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::barriers::BarrierStats;
use super::context::MemoryLimits;
use super::object_reads::ObjectReads;
use super::objects::Ranges;
use super::rank_stats::{IoTotals, RankStats};
use super::samples::EpochSamples;

/// Results of the traces of one process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) parts: Vec<RankStats>,
    pub(crate) io: IoTotals,
    pub(crate) coverage: BTreeMap<u32, EpochSamples>,
    pub(crate) barriers: BarrierStats,
    pub(crate) ranges: Ranges,
    /// Reads by object, if rows are not retained.
    pub(crate) reads: ObjectReads,
}

/// Joins the results of all processes.
pub(crate) fn join(all: Vec<Summary>, limits: MemoryLimits) -> Summary {
    let mut joined = Summary::default();
    let mut barriers = Vec::with_capacity(all.len());
    for one in all {
        joined.parts.extend(one.parts);
        joined.io.merge(&one.io);
        for (epoch, samples) in one.coverage {
            joined.coverage.entry(epoch).or_default().merge(samples);
        }
        barriers.push(one.barriers);
        joined.reads.merge(one.reads);
        joined.ranges.merge(one.ranges);
    }
    joined.parts.sort_by_key(|part| part.index);
    joined.barriers = BarrierStats::join(barriers, limits.steps);
    joined
}
