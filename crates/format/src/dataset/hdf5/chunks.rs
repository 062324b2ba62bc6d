//! The chunks of a dataset, and the ranges that the HDF5 library reads from them for one sample.

use std::collections::VecDeque;

use super::filters::Filters;

/// Size in bytes of the library's chunk cache with h5py's settings. An uncompressed chunk that does not fit is read
/// in runs.
const CHUNK_CACHE: u64 = 1 << 20;

/// A range of the file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Number of bytes at the beginning of the range that belong to the sample.
    pub(super) wanted: u64,
    /// For a chunk that is decoded: its first element, and a bit for each skipped filter.
    pub(super) chunk: Option<(Vec<u64>, u32)>,
}

impl Range {
    pub(super) fn whole(offset: u64, len: u64) -> Self {
        Self { offset, len, wanted: len, chunk: None }
    }
}

/// The chunks of a dataset.
#[derive(Debug)]
pub(super) struct Chunks {
    /// Chunks in the order of their samples.
    pub(super) all: Vec<Chunk>,
    /// Shape of a chunk; samples are the first axis.
    pub(super) shape: Vec<u64>,
    /// Shape of the dataset.
    pub(super) extent: Vec<u64>,
    pub(super) itemsize: u64,
    /// Chunks are only useful as a whole: they are compressed, or their content is checked.
    pub(super) whole: bool,
    /// Filters of the chunks, if they are decoded.
    pub(super) filters: Option<Filters>,
}

#[derive(Debug)]
pub(super) struct Chunk {
    /// First element of the chunk in the dataset.
    pub(super) offset: Vec<u64>,
    pub(super) address: u64,
    /// Stored size in bytes.
    pub(super) stored: u64,
    /// A bit for each skipped filter.
    pub(super) left_out: u32,
}

impl From<hdf5_pure::Chunk> for Chunk {
    fn from(chunk: hdf5_pure::Chunk) -> Self {
        let (offset, address, stored) = (chunk.offset, chunk.address, chunk.storage_size);
        Self { offset, address, stored, left_out: chunk.filter_mask }
    }
}

impl Chunks {
    /// Returns the chunks that contain a part of a sample.
    pub(super) fn of(&self, sample: u64) -> &[Chunk] {
        let each = self.shape.first().copied().unwrap_or(1).max(1);
        let first = |chunk: &Chunk| chunk.offset.first().copied().unwrap_or(0) / each;
        let from = self.all.partition_point(|chunk| first(chunk) < sample / each);
        let to = self.all.partition_point(|chunk| first(chunk) <= sample / each);
        &self.all[from..to]
    }

    /// Copies a sample's part of a chunk into the sample.
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

    /// Returns the uncompressed size of a chunk in bytes.
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

    /// Returns the number of bytes in a chunk between consecutive elements of an axis.
    fn stride(&self, axis: usize) -> u64 {
        self.shape.iter().skip(axis + 1).fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim))
    }

    /// Adds the runs of a sample in a chunk that are contiguous both in the file and in the sample.
    fn runs(&self, chunk: &Chunk, row: u64, out: &mut VecDeque<Range>) {
        let axes = self.shape.len();
        let start = chunk.address.saturating_add(row.saturating_mul(self.stride(0)));
        // Number of the chunk's elements along an axis that are inside the dataset.
        let inside = |axis: usize| {
            let first = chunk.offset.get(axis).copied().unwrap_or(0);
            self.extent.get(axis).map_or(1, |extent| extent.saturating_sub(first)).min(self.shape[axis])
        };
        // A run continues over every axis that the chunk covers completely.
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

/// Copies bytes between two buffers, if both ranges exist.
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
        // Two samples of 3 × 5 bytes in chunks of 2 × 2 × 2.
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
}
