//! Iterable datasets of the mlperf dialect. Every lane streams its own files from the rank's list and forms its batches
//! from what it has read. The training loop takes batches from the lanes in turn.
//!
//! A lane without files left no longer takes part in the turns. Remaining samples that do not fill a batch are read and
//! dropped.

use crate::SampleRead;

use super::{FileList, NativeOrder};

/// A part of one file that one operation fetches: a whole file, or consecutive row groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Step that the first of the samples is planned for, from 1.
    pub step: u64,
    /// Global number of the first sample within its split.
    pub index: u64,
    /// Combined number of the file.
    pub file: u64,
    /// Number of the first sample within its file.
    pub sample: u64,
    /// Number of samples.
    pub samples: u64,
}

/// A batch of a lane of an iterable dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaneBatch {
    /// Step within the epoch or evaluation, from 1.
    pub step: u64,
    /// Number of samples in the batch; the samples that arrive first are used.
    pub samples: u64,
    /// The batch is read and waited for, but not computed on.
    pub surplus: bool,
}

/// The streams of one rank in one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Iterable {
    pub(crate) order: NativeOrder,
    pub(crate) list: FileList,
    /// Number of files of the rank.
    pub(crate) files: u64,
    pub(crate) samples_per_file: u64,
    pub(crate) batch_size: u64,
    pub(crate) lanes: u32,
    /// Samples per piece.
    pub(crate) piece: u64,
}

impl Iterable {
    /// Returns the number of files of a lane. Files are assigned to the lanes in turn.
    fn lane_files(&self, lane: u32) -> u64 {
        let (each, longer) = self.share();
        each + u64::from(u64::from(lane) < longer)
    }

    /// Returns the number of files that every lane has, and the number of lanes that have one more.
    fn share(&self) -> (u64, u64) {
        let lanes = u64::from(self.lanes);
        (self.files / lanes, self.files % lanes)
    }

    fn lane_samples(&self, lane: u32) -> u64 {
        self.lane_files(lane) * self.samples_per_file
    }

    fn lane_batches(&self, lane: u32) -> u64 {
        self.lane_samples(lane) / self.batch_size
    }

    /// Returns the number of turns of all lanes, the number of turns of lanes with one file more, and the number of
    /// these lanes.
    fn turns(&self) -> (u64, u64, u64) {
        let (each, longer) = self.share();
        let batches = |files: u64| files * self.samples_per_file / self.batch_size;
        (batches(each), batches(each + 1), longer)
    }

    /// Returns the number of complete batches of all lanes.
    pub(crate) fn complete(&self) -> u64 {
        let (all, some, longer) = self.turns();
        all * u64::from(self.lanes) + (some - all) * longer
    }

    /// Returns the number of samples of a rank that are read and dropped.
    pub(crate) fn lost(&self) -> u64 {
        self.files * self.samples_per_file - self.complete() * self.batch_size
    }

    pub(super) fn available(&self) -> u64 {
        self.complete() + u64::from(self.lost() > 0)
    }

    /// Returns the number of the lane's batch in this turn. The leftovers of a lane belong to the batch after all
    /// complete ones.
    pub(super) fn batch(&self, lane: u32, turn: u64) -> Option<u64> {
        let (all, _, longer) = self.turns();
        let own = self.lane_batches(lane);
        if turn < all {
            Some(turn * u64::from(self.lanes) + u64::from(lane))
        } else if turn < own {
            Some(all * u64::from(self.lanes) + (turn - all) * longer + u64::from(lane))
        } else {
            (turn == own && self.lane_samples(lane) > own * self.batch_size).then(|| self.complete())
        }
    }

    pub(super) fn contributors(&self, batch: u64) -> Vec<u32> {
        let (all, _, longer) = self.turns();
        let lanes = u64::from(self.lanes);
        let one = |lane: u64| vec![u32::try_from(lane).unwrap_or_default()];
        if batch < all * lanes {
            one(batch % lanes)
        } else if batch < self.complete() {
            one((batch - all * lanes) % longer)
        } else if batch == self.complete() {
            (0..self.lanes).filter(|&lane| !self.lane_samples(lane).is_multiple_of(self.batch_size)).collect()
        } else {
            Vec::new()
        }
    }

    pub(super) fn samples(&self, lane: u32, turn: u64) -> Vec<SampleRead> {
        let first = turn * self.batch_size;
        let end = (first + self.batch_size).min(self.lane_samples(lane));
        (first..end).map(|position| self.sample(lane, position)).collect()
    }

    /// Returns the sample at this position of a lane's stream.
    fn sample(&self, lane: u32, position: u64) -> SampleRead {
        let place = u64::from(lane) + position / self.samples_per_file * u64::from(self.lanes);
        self.order.read(self.list.file(place), position % self.samples_per_file)
    }

    /// Returns the batches of a lane among the first `end` batches of the rank. Batches from number `steps` on are
    /// surplus.
    pub(crate) fn lane_totals(&self, lane: u32, steps: u64, end: u64) -> impl Iterator<Item = LaneBatch> + use<> {
        let order = self.clone();
        (0..).map_while(move |turn| {
            let batch = order.batch(lane, turn).filter(|&batch| batch < end)?;
            let samples = (order.lane_samples(lane) - turn * order.batch_size).min(order.batch_size);
            Some(LaneBatch { step: batch + 1, samples, surplus: batch >= steps })
        })
    }

    /// Returns what a lane fetches, in order, for its batches among the first `end` batches of the rank.
    pub(crate) fn pieces(self, lane: u32, end: u64) -> Pieces {
        let needed = self.needed(lane, end);
        Pieces { of: Some((self, lane)), position: 0, needed }
    }

    /// Returns the number of samples in the lane's batches among the first `end` batches of the rank.
    fn needed(&self, lane: u32, end: u64) -> u64 {
        if end > self.complete() {
            return self.lane_samples(lane);
        }
        let (all, _, longer) = self.turns();
        let (lanes, lane_number) = (u64::from(self.lanes), u64::from(lane));
        let in_all = end.min(all * lanes);
        let mut turns = in_all / lanes + u64::from(lane_number < in_all % lanes);
        if let Some(rest) = (end - in_all).checked_div(longer).filter(|_| lane_number < longer) {
            turns += rest + u64::from(lane_number < (end - in_all) % longer);
        }
        (turns * self.batch_size).min(self.lane_samples(lane))
    }
}

/// The pieces that a lane of an iterable dataset fetches. Iteration yields the row groups of the configuration;
/// [cut](Self::cut) serves files with other row groups.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    /// `None` if nothing is fetched.
    of: Option<(Iterable, u32)>,
    position: u64,
    needed: u64,
}

impl Pieces {
    /// Returns the files of the lane, in order. They include files that no batch needs, because the lane looks at all
    /// of them.
    pub fn files(&self) -> impl Iterator<Item = u64> + use<'_> {
        let files =
            self.of.iter().flat_map(|(order, lane)| (0..order.lane_files(*lane)).map(move |at| (order, lane, at)));
        files.map(|(order, lane, at)| order.sample(*lane, at * order.samples_per_file).file)
    }

    /// Returns the number of remaining pieces with the configured row groups.
    pub(crate) fn left(&self) -> u64 {
        let Some((order, _)) = &self.of else { return 0 };
        let upto = |samples: u64| {
            let (files, rest) = (samples / order.samples_per_file, samples % order.samples_per_file);
            files * order.samples_per_file.div_ceil(order.piece) + rest.div_ceil(order.piece)
        };
        upto(self.needed).saturating_sub(upto(self.position))
    }

    /// Returns the file of the next piece and the first sample in it; `None` if no piece is left.
    #[must_use]
    pub fn next_place(&self) -> Option<(u64, u64)> {
        let (order, lane) = self.of.as_ref().filter(|_| self.position < self.needed)?;
        let SampleRead { file, sample, .. } = order.sample(*lane, self.position);
        Some((file, sample))
    }

    /// Returns the next piece with this many samples, or fewer at the end of the file; `None` if no piece is left.
    pub fn cut(&mut self, samples: u64) -> Option<Piece> {
        let (order, lane) = self.of.as_ref().filter(|_| self.position < self.needed)?;
        let SampleRead { index, file, sample } = order.sample(*lane, self.position);
        let samples = samples.clamp(1, order.samples_per_file - sample);
        let step = order.batch(*lane, self.position / order.batch_size).unwrap_or_default() + 1;
        self.position += samples;
        Some(Piece { step, index, file, sample, samples })
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let samples = self.of.as_ref().map_or(1, |(order, _)| order.piece);
        self.cut(samples)
    }
}
