//! The status of each rank of a node, in memory that the other ranks read, so that a stopped rank is still visible.
//!
//! Invariant: a rank writes only its own record. The words of a record are written one by one, so a concurrent reader
//! may see a mixture of two successive states, which is good enough for a message.
#![expect(unsafe_code, reason = "shared memory between processes has no safe wrapper")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::rank_status::{Activity, RankStatus};

/// The status of a rank; one cache line.
#[repr(C)]
pub(super) struct Record {
    process: AtomicU32,
    rank: AtomicU32,
    /// Number of collectives that the rank has entered.
    entered: AtomicU32,
    activity: AtomicU32,
    epoch: AtomicU32,
    step: AtomicU32,
    _apart: [u8; 40],
}

/// The status records of a node's ranks.
pub(super) struct StatusBoard {
    records: NonNull<Record>,
    ranks: usize,
    mine: usize,
}

/// The status of a rank as read by another rank.
pub(super) struct Seen {
    pub(super) rank: u32,
    pub(super) process: u32,
    pub(super) entered: u32,
    pub(super) status: RankStatus,
}

impl StatusBoard {
    /// Creates the board in memory that has room for `ranks` records, is zeroed or written only by boards, and
    /// outlives the board.
    pub(super) fn new(records: NonNull<Record>, ranks: usize, mine: usize) -> Self {
        Self { records, ranks, mine: mine.min(ranks.saturating_sub(1)) }
    }

    fn record(&self, local: usize) -> &Record {
        // SAFETY: within the records (`new` and `all` see to it), which outlive the board; all access is atomic.
        unsafe { self.records.add(local).as_ref() }
    }

    /// Records number and process of this rank.
    pub(super) fn introduce(&self, rank: u32) {
        let record = self.record(self.mine);
        record.rank.store(rank, Ordering::Relaxed);
        record.process.store(std::process::id(), Ordering::Release);
    }

    /// Records the number of collectives that this rank has entered.
    pub(super) fn enter(&self, collectives: u32) {
        self.record(self.mine).entered.store(collectives, Ordering::Relaxed);
    }

    /// Records what this rank does.
    pub(super) fn note(&self, status: RankStatus) {
        let record = self.record(self.mine);
        record.activity.store(status.activity as u32, Ordering::Relaxed);
        record.epoch.store(status.epoch, Ordering::Relaxed);
        record.step.store(status.step, Ordering::Relaxed);
    }

    /// Returns the status of all ranks of the node, in the order of their local ranks.
    pub(super) fn all(&self) -> impl Iterator<Item = Seen> + '_ {
        (0..self.ranks).map(|local| {
            let record = self.record(local);
            let load = |word: &AtomicU32| word.load(Ordering::Relaxed);
            Seen {
                rank: load(&record.rank),
                process: load(&record.process),
                entered: load(&record.entered),
                status: RankStatus {
                    activity: Activity::of(load(&record.activity)),
                    epoch: load(&record.epoch),
                    step: load(&record.step),
                },
            }
        })
    }
}
