//! The iterative sampler of the reference (tensorflow loader, all formats except TFRecord), quirks included.
//!
//! The samples of a rank are assigned to reader threads in runs, and the batches of the threads are interleaved. Entry
//! 0 is in the rank's own first file, but all later entries are in files from the front of the list, so all ranks read
//! the same files.

use crate::{PermutedNumbers, SampleRead};

use super::FileList;

/// The entries of one rank in one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    /// Combined number of the first file of the split.
    pub(crate) base: u64,
    /// Global number of the first sample of the rank.
    pub(crate) start: u64,
    /// Number of samples of the rank.
    pub(crate) samples: u64,
    /// Length of a thread's run: the samples of a full rank divided by the number of threads, rounded down, at least 1.
    pub(crate) run: u64,
    pub(crate) lanes: u32,
    pub(crate) batch_size: u64,
    pub(crate) samples_per_file: u64,
    /// Number of files in the list.
    pub(crate) files: u64,
    /// Position in the list of the file of entry 0.
    pub(crate) first_file: u64,
    pub(crate) list: FileList,
    /// Follows the MLPerf fork: a partial last batch is dropped rather than padded, and samples are numbered by their
    /// files.
    pub(crate) mlperf: bool,
    pub(crate) sample_order: Option<PermutedNumbers>,
}

impl Threads {
    /// Returns the number of entries of a thread. Entries beyond the last full run wrap around to the first threads.
    pub(crate) fn entries(&self, thread: u32) -> u64 {
        let cycle = self.run * u64::from(self.lanes);
        let rest = (self.samples % cycle).saturating_sub(self.run * u64::from(thread));
        self.samples / cycle * self.run + rest.min(self.run)
    }

    /// Returns entry `at` of a thread.
    pub(crate) fn entry(&self, thread: u32, at: u64) -> SampleRead {
        let entry = (at / self.run * u64::from(self.lanes) + u64::from(thread)) * self.run + at % self.run;
        let place = if entry == 0 { self.first_file } else { entry / self.samples_per_file % self.files };
        let (file, sample) = (self.list.file(place), entry % self.samples_per_file);
        let index = if self.mlperf {
            file * self.samples_per_file + sample
        } else {
            self.start + ordered(self.sample_order.as_deref(), entry)
        };
        SampleRead { index, file: self.base + file, sample }
    }

    /// Returns the number of batches of a thread. The last one may be partial; the reference pads it with copies, which
    /// reads nothing.
    fn batches(&self, thread: u32) -> u64 {
        let entries = self.entries(thread);
        if self.mlperf { entries / self.batch_size } else { entries.div_ceil(self.batch_size) }
    }

    /// Returns the number of batches that all threads have delivered after `rounds` rounds of the interleaving.
    fn delivered(&self, rounds: u64) -> u64 {
        (0..self.lanes).map(|thread| self.batches(thread).min(rounds)).sum()
    }

    pub(super) fn available(&self) -> u64 {
        self.delivered(u64::MAX)
    }

    /// Returns the number of a thread's batch in this turn. A thread without batches left no longer takes part in the
    /// rounds.
    pub(super) fn batch(&self, thread: u32, turn: u64) -> Option<u64> {
        let before = (0..thread).filter(|&other| self.batches(other) > turn).count() as u64;
        (turn < self.batches(thread)).then(|| self.delivered(turn) + before)
    }

    /// Returns the thread that delivers a batch.
    pub(super) fn owner(&self, batch: u64) -> Option<u32> {
        if batch >= self.available() {
            return None;
        }
        // A round delivers at most as many batches as there are threads, so the batch is not in an earlier round.
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
