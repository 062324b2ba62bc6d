//! The index sampler: a rank's share of a global order, cut into batches that the lanes take in turn.

use crate::SampleRead;

use super::{FileList, NativeOrder};

/// Distribution of a rank's share over its lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Consecutive batches of the share go to the lanes in turn (torch workers).
    Dealt,
    /// Every lane has one contiguous part of the share, so it reads its files from front to back.
    Contiguous,
}

/// The share of one rank in the global order.
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    /// The global order; `None` for batches without data.
    pub(crate) order: Option<NativeOrder>,
    /// The list of the rank's own files, if it has one; the share then counts in this list.
    pub(crate) list: Option<FileList>,
    /// First position of the share of the rank.
    pub(crate) start: u64,
    /// Number of batches in the share.
    pub(crate) count: u64,
    /// Samples per batch.
    pub(crate) batch_size: u64,
    pub(crate) lanes: u32,
    pub(crate) layout: Layout,
}

impl Batches {
    pub(super) fn available(&self) -> u64 {
        self.count
    }

    pub(super) fn lane(&self, batch: u64) -> u32 {
        u32::try_from(batch % u64::from(self.lanes)).unwrap_or_default()
    }

    /// Returns the number of the lane's batch in this turn.
    pub(super) fn batch(&self, lane: u32, turn: u64) -> u64 {
        turn * u64::from(self.lanes) + u64::from(lane)
    }

    pub(super) fn samples(&self, batch: u64) -> Vec<SampleRead> {
        let Some(order) = &self.order else { return Vec::new() };
        let lanes = u64::from(self.lanes);
        let rank_in_share = match self.layout {
            Layout::Dealt => batch,
            Layout::Contiguous => {
                let (turn, lane) = (batch / lanes, batch % lanes);
                lane * (self.count / lanes) + lane.min(self.count % lanes) + turn
            }
        };
        let first = self.start + rank_in_share * self.batch_size;
        let sample = |position| match &self.list {
            None => order.sample(position),
            Some(list) => order.sample_in(list, position),
        };
        (first..first + self.batch_size).map(sample).collect()
    }
}
