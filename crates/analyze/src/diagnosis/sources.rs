//! Inputs of a diagnosis.

use std::collections::BTreeMap;

use crate::metric::RankMetric;
use crate::pass::rank_stats::IoStats;
use crate::pass::summary::Summary;
use crate::timeline::Extent;
use dlio_event::Histogram;

/// Successful reads of one object over all processes: its name, the number of reads, and the number of slow reads.
pub(crate) type ObjectReads = (String, u64, u64);

/// Inputs of a diagnosis.
pub(crate) struct Sources<'a> {
    pub(crate) summary: &'a Summary,
    /// Metrics of each of the summary's ranks.
    pub(crate) metrics: &'a [RankMetric],
    pub(crate) extent: Extent,
    /// Durations of all reads that ended well.
    pub(crate) reads: &'a Histogram,
    /// I/O of all ranks with each endpoint.
    pub(crate) endpoints: &'a BTreeMap<String, IoStats>,
    /// Number of distinct bytes that were read.
    pub(crate) different_bytes: u64,
    /// Objects with slow reads, those with the most slow reads first.
    pub(crate) slow_objects: Vec<ObjectReads>,
}
