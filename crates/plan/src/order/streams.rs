//! TFRecord under the tensorflow loader: every lane streams its own files from front to back, and the batches take one
//! record from each lane in turn (`tf.data.TFRecordDataset(num_parallel_reads=R)`).
//!
//! Files are opened R at a time: when one ends, its lane takes the next file of the rank. As all files hold equally
//! many records, R files end together and the stream is a sequence of groups of R interleaved files.

use crate::SampleRead;

use super::NativeOrder;

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
    /// Every `size`-th file from `rank` on (the reference's file shards).
    Strided { rank: u64, size: u64 },
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
}

/// A stretch of the stream in which the same files take turns.
struct Stretch {
    start: u64,
    end: u64,
    /// Files, hence lanes, that take turns.
    width: u64,
    /// The rank's file that lane 0 streams.
    first_file: u64,
    /// Sample in the file at the stretch's start.
    first_sample: u64,
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
        let first = batch % per_pass * self.batch_size;
        let end = (first + self.batch_size).min(self.records());
        let mut at = first;
        let stretches = std::iter::from_fn(move || {
            let stretch = (at < end).then(|| self.stretch(at))?;
            let from = at;
            at = stretch.end;
            Some((from, stretch))
        });
        stretches.filter(move |(_, stretch)| lane < stretch.width).flat_map(move |(from, stretch)| {
            let width = stretch.width;
            let phase = (from - stretch.start) % width;
            let next = from + (lane + width - phase) % width;
            (next..stretch.end.min(end)).step_by(usize::try_from(width).unwrap_or(usize::MAX)).map(move |position| {
                let sample = stretch.first_sample + (position - stretch.start) / width;
                self.order.read(self.file(stretch.first_file + lane), sample)
            })
        })
    }

    fn file(&self, number: u64) -> u64 {
        match self.files {
            StreamFiles::Strided { rank, size } => rank + number * size,
            StreamFiles::From(place) => self.order.file(place + number),
        }
    }

    /// The stretch that position `at` of the stream lies in.
    fn stretch(&self, at: u64) -> Stretch {
        let Share { head, head_sample, full, tail } = self.share;
        let records = self.samples_per_file;
        if at < head {
            return Stretch { start: 0, end: head, width: 1, first_file: 0, first_sample: head_sample };
        }
        let lanes = u64::from(self.lanes);
        let group = (at - head) / (lanes * records);
        let start = head + group * lanes * records;
        let first_file = u64::from(head > 0) + group * lanes;
        let whole = lanes.min(full - (group * lanes).min(full));
        if whole == lanes || tail == 0 {
            return Stretch { start, end: start + whole * records, width: whole, first_file, first_sample: 0 };
        }
        // The group of the partial last file: it takes its turn until it has no more records to give.
        let turn = start + (whole + 1) * tail;
        if at < turn {
            Stretch { start, end: turn, width: whole + 1, first_file, first_sample: 0 }
        } else {
            let end = turn + whole * (records - tail);
            Stretch { start: turn, end, width: whole, first_file, first_sample: tail }
        }
    }
}
