//! The reference's iterative sampler (tensorflow loader, all formats but TFRecord), quirks included.
//!
//! The rank's samples are dealt to reader threads in runs; batches of the threads are interleaved. Entry 0 comes from
//! the rank's own first file, but every later entry from the front of the list, so all ranks read the same files.

use crate::{Numbers, SampleRead};

use super::FileList;

/// One rank's entries in one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    /// Combined number of the split's first file.
    pub(crate) base: u64,
    /// First global sample number of the rank.
    pub(crate) start: u64,
    /// Samples of the rank.
    pub(crate) samples: u64,
    /// Length of a thread's run: the samples of a full rank divided by the threads, rounded down; at least 1.
    pub(crate) run: u64,
    pub(crate) lanes: u32,
    pub(crate) batch_size: u64,
    pub(crate) samples_per_file: u64,
    /// Files in the list.
    pub(crate) files: u64,
    /// Place in the list of the file of entry 0.
    pub(crate) first_file: u64,
    pub(crate) list: FileList,
    /// As the MLPerf fork has it: a last, partial batch is dropped, not padded. Samples are numbered by their files.
    pub(crate) fork: bool,
    pub(crate) sample_order: Option<Numbers>,
}

impl Threads {
    /// Entries of a thread; those beyond the last full run wrap to the first threads.
    pub(crate) fn entries(&self, thread: u32) -> u64 {
        let cycle = self.run * u64::from(self.lanes);
        let rest = (self.samples % cycle).saturating_sub(self.run * u64::from(thread));
        self.samples / cycle * self.run + rest.min(self.run)
    }

    /// Entry `at` of a thread.
    pub(crate) fn entry(&self, thread: u32, at: u64) -> SampleRead {
        let entry = (at / self.run * u64::from(self.lanes) + u64::from(thread)) * self.run + at % self.run;
        let place = if entry == 0 { self.first_file } else { entry / self.samples_per_file % self.files };
        let (file, sample) = (self.list.file(place), entry % self.samples_per_file);
        let index = if self.fork {
            file * self.samples_per_file + sample
        } else {
            self.start + ordered(self.sample_order.as_deref(), entry)
        };
        SampleRead { index, file: self.base + file, sample }
    }

    /// Batches of a thread; the last one may be partial (the reference pads it with copies, which reads nothing).
    fn batches(&self, thread: u32) -> u64 {
        let entries = self.entries(thread);
        if self.fork { entries / self.batch_size } else { entries.div_ceil(self.batch_size) }
    }

    /// Batches that all threads have delivered after `rounds` rounds of the interleaving.
    fn delivered(&self, rounds: u64) -> u64 {
        (0..self.lanes).map(|thread| self.batches(thread).min(rounds)).sum()
    }

    pub(super) fn available(&self) -> u64 {
        self.delivered(u64::MAX)
    }

    /// Number of a thread's batch of this turn; a thread without batches left drops out of the round.
    pub(super) fn batch(&self, thread: u32, turn: u64) -> Option<u64> {
        let before = (0..thread).filter(|&other| self.batches(other) > turn).count() as u64;
        (turn < self.batches(thread)).then(|| self.delivered(turn) + before)
    }

    /// The thread that delivers a batch.
    pub(super) fn owner(&self, batch: u64) -> Option<u32> {
        if batch >= self.available() {
            return None;
        }
        // No round delivers more batches than there are threads, so the round is not earlier than this.
        let mut turn = batch / u64::from(self.lanes);
        while self.delivered(turn + 1) <= batch {
            turn += 1;
        }
        (0..self.lanes).find(|&thread| self.batch(thread, turn) == Some(batch))
    }

    pub(super) fn samples(&self, thread: u32, turn: u64) -> Vec<SampleRead> {
        let first = turn * self.batch_size;
        let end = (first + self.batch_size).min(self.entries(thread));
        (first..end).map(|at| self.entry(thread, at)).collect()
    }
}

fn ordered(order: Option<&[u32]>, at: u64) -> u64 {
    let Some(order) = order else { return at };
    usize::try_from(at).ok().and_then(|at| order.get(at)).map_or(at, |&at| u64::from(at))
}
