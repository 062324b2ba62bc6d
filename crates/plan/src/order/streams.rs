//! TFRecord under the tensorflow loader: every lane streams its own files from front to back, and the batches take one
//! record from each lane in turn (`tf.data.TFRecordDataset(num_parallel_reads=R)`).
//!
//! Files are opened R at a time: when one ends, its lane takes the next file of the rank. As all files hold equally
//! many records, R files end together and the stream is a sequence of groups of R interleaved files. The native dialect
//! may give a rank a share that enters its first file, or leaves its last one, in the middle; such a lane sits out the
//! rest of its group.
//!
//! A shuffle buffer of S records is filled before the first batch, and one record enters it for each that leaves: batch b
//! needs the first (b + 1) · B + S − 1 records of the stream. The order of reading does not change, the last batches need
//! nothing that is not there.

use std::ops::Range;

use crate::SampleRead;

use super::{FileList, NativeOrder};

/// The records of one rank in stream order.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// Records of a first file that is entered in its middle; 0: none.
    pub(crate) head: u64,
    /// Sample of the first file at which the head starts.
    pub(crate) head_sample: u64,
    /// Files streamed completely.
    pub(crate) full: u64,
    /// Records of a last file that is left in its middle; 0: none.
    pub(crate) tail: u64,
}

/// Which file is the n-th of the rank.
#[derive(Debug, Clone)]
pub(crate) enum StreamFiles {
    /// The rank's own files (the reference's file shards).
    List(FileList),
    /// Consecutive places of the file order from this one on.
    From(u64),
}

/// One rank's streams in one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    pub(crate) order: NativeOrder,
    pub(crate) files: StreamFiles,
    pub(crate) share: Share,
    pub(crate) samples_per_file: u64,
    pub(crate) batch_size: u64,
    pub(crate) lanes: u32,
    /// How often the stream may be repeated within one epoch (the reference repeats it and cuts at steps · epochs).
    pub(crate) passes: u64,
    /// Records in the shuffle buffer beside the one that leaves it.
    pub(crate) buffered: u64,
}

/// A stretch of the stream in which the same lanes take turns.
struct Stretch {
    start: u64,
    end: u64,
    lanes: Range<u64>,
    /// The rank's file that lane 0 streams.
    first_file: u64,
    /// Records that each of the lanes has given before the stretch.
    first_round: u64,
}

impl Streams {
    fn records(&self) -> u64 {
        self.share.head + self.share.full * self.samples_per_file + self.share.tail
    }

    pub(super) fn available(&self) -> u64 {
        self.records() / self.batch_size * self.passes
    }

    pub(super) fn contributors(&self, batch: u64) -> Vec<u32> {
        (0..self.lanes).filter(|&lane| self.positions(lane, batch).next().is_some()).collect()
    }

    pub(super) fn samples(&self, lane: u32, batch: u64) -> Vec<SampleRead> {
        self.positions(lane, batch).collect()
    }

    /// A lane's records of a batch, in order.
    fn positions(&self, lane: u32, batch: u64) -> impl Iterator<Item = SampleRead> + '_ {
        let lane = u64::from(lane);
        let per_pass = (self.records() / self.batch_size).max(1);
        let records = self.records();
        let turn = batch % per_pass;
        let read_by = |batches: u64| batches.saturating_mul(self.batch_size).saturating_add(self.buffered).min(records);
        let first = if turn == 0 { 0 } else { read_by(turn) };
        let end = read_by(turn + 1);
        let mut at = first;
        let stretches = std::iter::from_fn(move || {
            let stretch = (at < end).then(|| self.stretch(at))?;
            let from = at;
            at = stretch.end;
            Some((from, stretch))
        });
        stretches.filter(move |(_, stretch)| stretch.lanes.contains(&lane)).flat_map(move |(from, stretch)| {
            let width = stretch.lanes.end - stretch.lanes.start;
            let turn = lane - stretch.lanes.start;
            let phase = (from - stretch.start) % width;
            let next = from + (turn + width - phase) % width;
            let file = stretch.first_file + lane;
            let first = stretch.first_round + if file == 0 { self.share.head_sample } else { 0 };
            (next..stretch.end.min(end)).step_by(usize::try_from(width).unwrap_or(usize::MAX)).map(move |position| {
                let sample = first + (position - stretch.start) / width;
                self.order.read(self.file(file), sample)
            })
        })
    }

    fn file(&self, number: u64) -> u64 {
        match self.files {
            StreamFiles::List(ref list) => list.file(number),
            StreamFiles::From(place) => self.order.file(place + number),
        }
    }

    /// The stretch that position `at` of the stream lies in.
    fn stretch(&self, at: u64) -> Stretch {
        let Share { head, full, tail, .. } = self.share;
        let (records, lanes) = (self.samples_per_file, u64::from(self.lanes));
        // A head stands for a whole file whose first records are not there.
        let missing = if head > 0 { records - head } else { 0 };
        let group = (at + missing) / (lanes * records);
        let first_file = group * lanes;
        let files = u64::from(head > 0) + full + u64::from(tail > 0);
        let width = lanes.min(files - first_file);
        let mut stretch = Stretch {
            start: (group * lanes * records).saturating_sub(missing),
            end: 0,
            lanes: 0..width,
            first_file,
            first_round: 0,
        };
        let len = |lane: u64| match first_file + lane {
            0 if head > 0 => head,
            last if last + 1 == files && tail > 0 => tail,
            _ => records,
        };
        // Only the first and the last file of a group can be shorter than the others, so lanes end at the edges.
        loop {
            let (first, last) = (len(stretch.lanes.start), len(stretch.lanes.end - 1));
            let rounds = first.min(last).min(if width > 2 { records } else { u64::MAX });
            stretch.end = stretch.start + (rounds - stretch.first_round) * (stretch.lanes.end - stretch.lanes.start);
            if at < stretch.end {
                return stretch;
            }
            stretch.start = stretch.end;
            stretch.first_round = rounds;
            stretch.lanes.start += u64::from(first == rounds);
            stretch.lanes.end -= u64::from(last == rounds);
        }
    }
}
