//! TFRecord with the tensorflow loader: every lane streams its own files from front to back, and a batch takes one
//! record from each lane in turn (`tf.data.TFRecordDataset(num_parallel_reads=R)`).
//!
//! R files are open at a time. When a file ends, its lane continues with the next file of the rank. Because all files
//! hold the same number of records, R files end together, and the stream is a sequence of groups of R interleaved
//! files. In the native dialect, the share of a rank may begin or end in the middle of a file; the lane of that file
//! then pauses for the rest of its group.
//!
//! A shuffle buffer of S records is filled before the first batch, and one record enters it for each that leaves. Batch
//! b therefore needs the first (b + 1) · B + S − 1 records of the stream, for batches of B records, or all records if
//! there are fewer. The reading order does not change.

use std::ops::Range;

use crate::SampleRead;

use super::{FileList, NativeOrder};

/// The records of one rank, in the order of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// Records of a first file that is entered in the middle; 0 for none.
    pub(crate) head: u64,
    /// Sample of the first file at which the head begins.
    pub(crate) head_sample: u64,
    /// Number of files that are streamed completely.
    pub(crate) full: u64,
    /// Records of a last file that is left in the middle; 0 for none.
    pub(crate) tail: u64,
}

/// Maps positions to the files of the rank.
#[derive(Debug, Clone)]
pub(crate) enum StreamFiles {
    /// The rank's own list of files (file shards of the reference).
    List(FileList),
    /// Consecutive positions of the file order, beginning with this one.
    From(u64),
}

/// The streams of one rank in one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    pub(crate) order: NativeOrder,
    pub(crate) files: StreamFiles,
    pub(crate) share: Share,
    pub(crate) samples_per_file: u64,
    pub(crate) batch_size: u64,
    pub(crate) lanes: u32,
    /// Maximum number of passes over the stream within one epoch. The reference repeats the stream and stops after
    /// steps · epochs.
    pub(crate) passes: u64,
    /// Records in the shuffle buffer, in addition to the one that leaves it.
    pub(crate) buffered: u64,
}

/// A part of the stream in which the set of active lanes does not change.
struct Stretch {
    start: u64,
    end: u64,
    lanes: Range<u64>,
    /// The file of the rank that lane 0 streams.
    first_file: u64,
    /// Records that each lane has delivered before this part.
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

    /// Returns the positions of a lane's records in a batch, in order.
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

    /// Returns the part of the stream that contains position `at`.
    fn stretch(&self, at: u64) -> Stretch {
        let Share { head, full, tail, .. } = self.share;
        let (records, lanes) = (self.samples_per_file, u64::from(self.lanes));
        // A head is a whole file without its first records.
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
