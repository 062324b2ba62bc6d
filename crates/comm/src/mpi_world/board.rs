//! What each rank of a node does, in memory that the others read: a rank that is stopped is still seen.
//!
//! Invariant: a rank writes its own record only. The words of a record are written one by one; who reads them while they
//! change sees a mixture of two neighbouring moments, which is good enough for a message.
#![expect(unsafe_code, reason = "shared memory between processes has no safe wrapper")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::doing::{Activity, Doing};

/// What a rank tells; a cache line.
#[repr(C)]
pub(super) struct Record {
    process: AtomicU32,
    rank: AtomicU32,
    /// Collectives that it has entered.
    entered: AtomicU32,
    activity: AtomicU32,
    epoch: AtomicU32,
    step: AtomicU32,
    _apart: [u8; 40],
}

/// The records of a node's ranks.
pub(super) struct Board {
    records: NonNull<Record>,
    ranks: usize,
    mine: usize,
}

/// A rank of the node as it is seen.
pub(super) struct Seen {
    pub(super) rank: u32,
    pub(super) process: u32,
    pub(super) entered: u32,
    pub(super) doing: Doing,
}

impl Board {
    /// The board in memory that has room for so many records, is zero or written by boards only, and outlives it.
    pub(super) fn new(records: NonNull<Record>, ranks: usize, mine: usize) -> Self {
        Self { records, ranks, mine: mine.min(ranks.saturating_sub(1)) }
    }

    fn record(&self, local: usize) -> &Record {
        // SAFETY: within the records (`new` and `all` see to it), which outlive the board; all access is atomic.
        unsafe { self.records.add(local).as_ref() }
    }

    /// Says who this rank is.
    pub(super) fn introduce(&self, rank: u32) {
        let record = self.record(self.mine);
        record.rank.store(rank, Ordering::Relaxed);
        record.process.store(std::process::id(), Ordering::Release);
    }

    /// Says that this rank has entered so many collectives.
    pub(super) fn enter(&self, collectives: u32) {
        self.record(self.mine).entered.store(collectives, Ordering::Relaxed);
    }

    /// Says what this rank does.
    pub(super) fn note(&self, doing: Doing) {
        let record = self.record(self.mine);
        record.activity.store(doing.activity as u32, Ordering::Relaxed);
        record.epoch.store(doing.epoch, Ordering::Relaxed);
        record.step.store(doing.step, Ordering::Relaxed);
    }

    /// All ranks of the node, in the order of their local ranks.
    pub(super) fn all(&self) -> impl Iterator<Item = Seen> + '_ {
        (0..self.ranks).map(|local| {
            let record = self.record(local);
            let load = |word: &AtomicU32| word.load(Ordering::Relaxed);
            Seen {
                rank: load(&record.rank),
                process: load(&record.process),
                entered: load(&record.entered),
                doing: Doing {
                    activity: Activity::of(load(&record.activity)),
                    epoch: load(&record.epoch),
                    step: load(&record.step),
                },
            }
        })
    }
}
