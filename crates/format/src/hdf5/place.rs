//! Where the samples of a dataset are, and the ranges that the HDF5 library reads for one of them.

use std::collections::VecDeque;

use super::paged::Paged;
use super::unpack::Filters;

/// The library's sieve buffer: a contiguous sample that fits into it is read with what follows it in the dataset.
const SIEVE: u64 = 64 << 10;
/// The library's chunk cache, as h5py leaves it: an uncompressed chunk that does not fit is read in runs.
const CHUNK_CACHE: u64 = 1 << 20;

/// A range that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Bytes at its beginning that belong to the sample.
    pub(super) wanted: u64,
    /// The chunk that it is, of chunks that are decoded: its first element, and a bit for each filter that was left out.
    pub(super) chunk: Option<(Vec<u64>, u32)>,
}

impl Range {
    fn whole(offset: u64, len: u64) -> Self {
        Self { offset, len, wanted: len, chunk: None }
    }
}

/// Where the samples of one dataset are.
#[derive(Debug)]
pub(super) enum Place {
    /// One run of bytes per sample.
    Contiguous {
        address: u64,
        sample_bytes: u64,
    },
    Chunked(Chunks),
    /// In so many chunks that their index is read in pages.
    Paged(Paged),
    /// Nothing outside the metadata: compact, or never written.
    Nowhere,
}

/// The chunks of a dataset.
#[derive(Debug)]
pub(super) struct Chunks {
    /// In the order of their samples.
    pub(super) all: Vec<Chunk>,
    /// Shape of a chunk; samples are the first axis.
    pub(super) shape: Vec<u64>,
    /// Shape of the dataset.
    pub(super) extent: Vec<u64>,
    pub(super) itemsize: u64,
    /// A chunk is only useful as a whole: it is compressed, or its content is looked at.
    pub(super) whole: bool,
    /// What decodes them, if they are.
    pub(super) filters: Option<Filters>,
}

#[derive(Debug)]
pub(super) struct Chunk {
    /// Its first element in the dataset.
    pub(super) offset: Vec<u64>,
    pub(super) address: u64,
    /// Bytes in the file.
    pub(super) stored: u64,
    /// A bit for each filter that was left out.
    pub(super) left_out: u32,
}

impl From<hdf5_pure::Chunk> for Chunk {
    fn from(chunk: hdf5_pure::Chunk) -> Self {
        let (offset, address, stored) = (chunk.offset, chunk.address, chunk.storage_size);
        Self { offset, address, stored, left_out: chunk.filter_mask }
    }
}

impl Place {
    /// Adds the ranges of a sample of a dataset with so many, from its chunk `cursor` on; returns the range of a block of the
    /// index that has to be read to go on.
    pub(super) fn ranges(
        &self,
        sample: u64,
        samples: u64,
        cursor: &mut u64,
        out: &mut VecDeque<Range>,
    ) -> Option<(u64, u64)> {
        match self {
            Place::Contiguous { address, sample_bytes } => {
                // Checked against the file's limits when the place was made.
                let start = |sample: u64| address.saturating_add(sample.saturating_mul(*sample_bytes));
                let (offset, wanted) = (start(sample), *sample_bytes);
                let left = start(samples).saturating_sub(offset);
                let len = if wanted <= SIEVE { SIEVE.min(left).max(wanted) } else { wanted };
                out.push_back(Range { offset, len, wanted, chunk: None });
            }
            Place::Chunked(chunks) => chunks.of(sample).iter().for_each(|chunk| chunks.add(chunk, sample, out)),
            Place::Paged(paged) => return paged.ranges(sample, cursor, out),
            Place::Nowhere => {}
        }
        None
    }

    /// The chunks, if there are some.
    pub(super) fn chunks(&self) -> Option<&Chunks> {
        match self {
            Place::Chunked(chunks) => Some(chunks),
            Place::Paged(paged) => Some(&paged.chunks),
            Place::Contiguous { .. } | Place::Nowhere => None,
        }
    }

    /// End of the last byte.
    pub(super) fn end(&self, samples: u64) -> u64 {
        match self {
            Place::Contiguous { address, sample_bytes } => {
                address.saturating_add(samples.saturating_mul(*sample_bytes))
            }
            Place::Chunked(chunks) => {
                chunks.all.iter().map(|chunk| chunk.address.saturating_add(chunk.stored)).max().unwrap_or(0)
            }
            // Chunks behind the end of the file are noticed when they are read.
            Place::Paged(_) | Place::Nowhere => 0,
        }
    }
}

impl Chunks {
    /// Those that a sample is in.
    fn of(&self, sample: u64) -> &[Chunk] {
        let each = self.shape.first().copied().unwrap_or(1).max(1);
        let first = |chunk: &Chunk| chunk.offset.first().copied().unwrap_or(0) / each;
        let from = self.all.partition_point(|chunk| first(chunk) < sample / each);
        let to = self.all.partition_point(|chunk| first(chunk) <= sample / each);
        &self.all[from..to]
    }

    /// Puts a sample's part of a chunk into the bytes of the sample.
    pub(super) fn scatter(&self, first: &[u64], sample: u64, plain: &[u8], into: &mut [u8]) {
        let axes = self.shape.len();
        let row = sample.saturating_sub(first.first().copied().unwrap_or(0));
        let from = row.saturating_mul(self.stride(0));
        let Some(plain) = usize::try_from(from).ok().and_then(|from| plain.get(from..)) else { return };
        if axes <= 1 {
            copy(plain, 0, into, 0, self.itemsize);
            return;
        }
        let last = axes - 1;
        let inside = |axis: usize| self.extent[axis].saturating_sub(first[axis]).min(self.shape[axis]);
        let of_sample = |axis: usize| {
            self.extent.iter().skip(axis + 1).fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim))
        };
        let runs: u64 = (1..last).map(inside).product();
        for mut number in 0..runs {
            let (mut from, mut to) = (0, first[last].saturating_mul(self.itemsize));
            for axis in (1..last).rev() {
                let index = number % inside(axis);
                number /= inside(axis);
                from += index * self.stride(axis);
                to += (first[axis] + index) * of_sample(axis);
            }
            copy(plain, from, into, to, inside(last) * self.itemsize);
        }
    }

    /// Bytes of a chunk that is not compressed.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.stride(0).saturating_mul(self.shape.first().copied().unwrap_or(1))
    }

    /// Adds the ranges of a sample in a chunk.
    pub(super) fn add(&self, chunk: &Chunk, sample: u64, out: &mut VecDeque<Range>) {
        let first = chunk.offset.first().copied().unwrap_or(0);
        let is_inside = first <= sample && sample - first < self.shape.first().copied().unwrap_or(1);
        if chunk.stored == 0 || !is_inside {
            return;
        }
        if self.filters.is_some() {
            let piece = Some((chunk.offset.clone(), chunk.left_out));
            out.push_back(Range { chunk: piece, ..Range::whole(chunk.address, chunk.stored) });
            return;
        }
        let bytes = self.chunk_bytes();
        if !self.whole && bytes > CHUNK_CACHE && chunk.stored == bytes {
            self.runs(chunk, sample - first, out);
        } else {
            out.push_back(Range::whole(chunk.address, chunk.stored));
        }
    }

    /// Bytes of a chunk from one element of an axis to the next.
    fn stride(&self, axis: usize) -> u64 {
        self.shape.iter().skip(axis + 1).fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim))
    }

    /// The runs of a sample in a chunk that are without a break both in the file and in the sample.
    fn runs(&self, chunk: &Chunk, row: u64, out: &mut VecDeque<Range>) {
        let axes = self.shape.len();
        let start = chunk.address.saturating_add(row.saturating_mul(self.stride(0)));
        // Elements of an axis of the chunk that are in the dataset.
        let inside = |axis: usize| {
            let first = chunk.offset.get(axis).copied().unwrap_or(0);
            self.extent.get(axis).map_or(1, |extent| extent.saturating_sub(first)).min(self.shape[axis])
        };
        // A run goes on over every axis that the chunk covers whole.
        let mut last = axes - 1;
        while last > 1 && self.extent.get(last) == Some(&self.shape[last]) {
            last -= 1;
        }
        if last == 0 {
            out.push_back(Range::whole(start, self.stride(0)));
            return;
        }
        let len = inside(last).saturating_mul(self.stride(last));
        let runs = (1..last).map(inside).product();
        for mut number in 0..runs {
            let mut offset = start;
            for axis in (1..last).rev() {
                offset = offset.saturating_add(number % inside(axis) * self.stride(axis));
                number /= inside(axis);
            }
            out.push_back(Range::whole(offset, len));
        }
    }
}

/// Copies bytes from one place to another, as far as there are such places.
fn copy(from: &[u8], at: u64, into: &mut [u8], to: u64, bytes: u64) {
    let range = |start: u64| Some(usize::try_from(start).ok()?..usize::try_from(start.checked_add(bytes)?).ok()?);
    if let (Some(from), Some(into)) =
        (range(at).and_then(|range| from.get(range)), range(to).and_then(|range| into.get_mut(range)))
    {
        into.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_put_together_of_its_parts_of_chunks() {
        // Samples of 3 × 5 bytes, two of them, in chunks of 2 × 2 × 2.
        let chunks = Chunks {
            all: Vec::new(),
            shape: vec![2, 2, 2],
            extent: vec![2, 3, 5],
            itemsize: 1,
            whole: true,
            filters: None,
        };
        let value = |sample: u64, row: u64, column: u64| (sample * 100 + row * 10 + column) as u8;
        let mut found = vec![255; 15];
        for (row, column) in [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4)] {
            let plain: Vec<u8> = (0..8).map(|at| value(at / 4, row + at / 2 % 2, column + at % 2)).collect();
            chunks.scatter(&[0, row, column], 1, &plain, &mut found);
        }
        let expected: Vec<u8> = (0..15).map(|at| value(1, at / 5, at % 5)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_chunks_of_a_sample_are_found_among_many() {
        let chunk = |sample, column| Chunk { offset: vec![sample, column], address: 0, stored: 1, left_out: 0 };
        let all = (0..1000).flat_map(|number| [chunk(number * 3, 0), chunk(number * 3, 7)]).collect();
        let (shape, extent) = (vec![3, 7], vec![3000, 14]);
        let chunks = Chunks { all, shape, extent, itemsize: 1, whole: true, filters: None };
        let first = |sample| chunks.of(sample).iter().map(|chunk| chunk.offset.clone()).collect::<Vec<_>>();
        assert_eq!(first(0), [vec![0, 0], vec![0, 7]]);
        assert_eq!(first(1505), [vec![1503, 0], vec![1503, 7]]);
        assert_eq!(first(3000), Vec::<Vec<u64>>::new());
    }

    fn ranges(place: &Place, sample: u64, samples: u64) -> Vec<(u64, u64)> {
        let mut out = VecDeque::new();
        assert_eq!(place.ranges(sample, samples, &mut 0, &mut out), None);
        out.into_iter().map(|range| (range.offset, range.len)).collect()
    }

    /// As `strace` showed of h5py 3.14 (HDF5 1.14.6) for four samples of 200 × 200 and 256 × 257 bytes.
    #[test]
    fn small_samples_are_read_with_what_follows_in_the_dataset() {
        let place = Place::Contiguous { address: 2048, sample_bytes: 40_000 };
        assert_eq!(ranges(&place, 1, 4), [(42_048, 65_536)]);
        assert_eq!(ranges(&place, 3, 4), [(122_048, 40_000)]);
        let place = Place::Contiguous { address: 2048, sample_bytes: 65_792 };
        assert_eq!(ranges(&place, 1, 4), [(67_840, 65_792)]);
    }

    fn chunked(shape: [u64; 3], extent: [u64; 3]) -> Place {
        let mut chunks = Vec::new();
        let bytes: u64 = shape.iter().product();
        let starts = |axis: usize| (0..extent[axis].div_ceil(shape[axis])).map(move |n| n * shape[axis]);
        for sample in starts(0) {
            for row in starts(1) {
                for column in starts(2) {
                    let address = 2048 + chunks.len() as u64 * bytes;
                    let offset = vec![sample, row, column];
                    chunks.push(Chunk { offset, address, stored: bytes, left_out: 0 });
                }
            }
        }
        let (shape, extent) = (shape.to_vec(), extent.to_vec());
        Place::Chunked(Chunks { all: chunks, shape, extent, itemsize: 1, whole: false, filters: None })
    }

    /// As `strace` showed of the same h5py.
    #[test]
    fn chunks_beyond_the_librarys_cache_are_read_in_runs() {
        let halves = ranges(&chunked([4, 1000, 1000], [4, 1000, 2000]), 1, 4);
        assert_eq!((halves.len(), &halves[..2]), (2000, &[(1_002_048, 1000), (1_003_048, 1000)][..]));
        assert_eq!(halves[1000], (5_002_048, 1000));
        assert_eq!(ranges(&chunked([2, 1000, 2000], [4, 1000, 2000]), 1, 4), [(2_002_048, 2_000_000)]);
        assert_eq!(ranges(&chunked([1, 1000, 2000], [4, 1000, 2000]), 2, 4), [(4_002_048, 2_000_000)]);
        let edges = ranges(&chunked([4, 700, 1500], [4, 1000, 2000]), 1, 4);
        assert_eq!((edges.len(), edges[0], edges[700]), (2000, (1_052_048, 1500), (5_252_048, 500)));
        assert_eq!(ranges(&chunked([4, 512, 512], [4, 512, 512]), 1, 4), [(2048, 1_048_576)]);
        assert_eq!(ranges(&chunked([4, 512, 513], [4, 512, 513]), 1, 4), [(264_704, 262_656)]);
    }
}
