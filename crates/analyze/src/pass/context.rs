//! State that the threads of a process share while they read traces.

use dlio_trace::{RankTrace, Rows};

use super::barriers::{BarrierCollector, STEPS};
use super::objects::AllRanges;
use super::samples::CoverageCollector;
use crate::metric::{Parameters, Window};
use crate::timeline::{Axis, Extent};

/// State that all threads of a process share while they read.
pub(crate) struct PassContext<'a> {
    pub(crate) traces: &'a [RankTrace],
    pub(crate) extent: Extent,
    pub(crate) axis: Axis,
    /// Whether rows are retained.
    pub(crate) keep: bool,
    pub(crate) limits: MemoryLimits,
    /// Window of the steps of a block that AU counts.
    pub(crate) window: Window,
    pub(crate) parameters: Parameters,
    pub(crate) ranges: AllRanges,
    pub(crate) coverage: CoverageCollector,
    pub(crate) barriers: BarrierCollector,
}

/// Limits of memory for data that grow with a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryLimits {
    /// Largest number of steps of the run.
    pub(crate) steps: usize,
    /// Largest number of object ranges that a rank read.
    pub(crate) ranges: usize,
    /// Largest number of samples that a rank read in an epoch.
    pub(crate) samples: usize,
    /// Largest number of counts of a rank's reads, by object and duration.
    pub(crate) reads: usize,
}

impl MemoryLimits {
    /// Without limits, for an analysis that retains rows.
    pub(crate) const ALL: Self = Self { steps: usize::MAX, ranges: usize::MAX, samples: usize::MAX, reads: usize::MAX };

    /// Limits of a streaming analysis, shared by `ranks` ranks.
    pub(crate) fn streaming(ranks: usize) -> Self {
        let share = |all: usize| (all / ranks.max(1)).max(1 << 10);
        Self { steps: STEPS, ranges: share(RANGES), samples: share(SAMPLES), reads: share(READS).min(READS_OF_RANK) }
    }
}

/// Ranges and samples of all ranks in a streaming analysis: 64 MiB and 32 MiB.
const RANGES: usize = 4 << 20;
const SAMPLES: usize = 2 << 20;
/// Counts of reads by object and duration: 24 MiB; those of one rank fit into the processor cache.
const READS: usize = 1 << 19;
const READS_OF_RANK: usize = 1 << 15;

/// A batch of decoded rows.
pub(crate) struct RowBatch {
    pub(crate) rows: Rows,
    /// Hash of each row's object.
    pub(crate) objects: Vec<u64>,
    /// Numbers of the endpoint names; the first is for rows without a name.
    pub(crate) endpoints: Vec<u16>,
}
