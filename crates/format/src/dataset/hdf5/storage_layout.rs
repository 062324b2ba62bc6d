//! The storage layout of a dataset, and the ranges that the HDF5 library reads for one sample.

use std::collections::VecDeque;

use super::chunks::{Chunks, Range};
use super::paged_index::PagedChunks;

/// Size in bytes of the library's sieve buffer. A contiguous sample that fits into it is read together with what
/// follows in the dataset.
const SIEVE: u64 = 64 << 10;
/// Where and how the samples of a dataset are stored.
#[derive(Debug)]
pub(super) enum StorageLayout {
    /// One contiguous run of bytes per sample.
    Contiguous {
        address: u64,
        sample_bytes: u64,
    },
    Chunked(Chunks),
    /// Chunks, so many that their index has pages.
    Paged(PagedChunks),
    /// No ranges outside the metadata: the dataset is compact or was never written.
    NoRanges,
}

impl StorageLayout {
    /// Adds the ranges of a sample from its chunk `cursor` on; `samples` is the number of samples in the dataset.
    /// Returns the range of an index block that must be read to continue.
    pub(super) fn ranges(
        &self,
        sample: u64,
        samples: u64,
        cursor: &mut u64,
        out: &mut VecDeque<Range>,
    ) -> Option<(u64, u64)> {
        match self {
            StorageLayout::Contiguous { address, sample_bytes } => {
                // Checked against the limits of the file when the layout was created.
                let start = |sample: u64| address.saturating_add(sample.saturating_mul(*sample_bytes));
                let (offset, wanted) = (start(sample), *sample_bytes);
                let left = start(samples).saturating_sub(offset);
                let len = if wanted <= SIEVE { SIEVE.min(left).max(wanted) } else { wanted };
                out.push_back(Range { offset, len, wanted, chunk: None });
            }
            StorageLayout::Chunked(chunks) => chunks.of(sample).iter().for_each(|chunk| chunks.add(chunk, sample, out)),
            StorageLayout::Paged(paged) => return paged.ranges(sample, cursor, out),
            StorageLayout::NoRanges => {}
        }
        None
    }

    /// Returns the chunks, if the dataset is chunked.
    pub(super) fn chunks(&self) -> Option<&Chunks> {
        match self {
            StorageLayout::Chunked(chunks) => Some(chunks),
            StorageLayout::Paged(paged) => Some(&paged.chunks),
            StorageLayout::Contiguous { .. } | StorageLayout::NoRanges => None,
        }
    }

    /// Returns the end of the last sample in bytes.
    pub(super) fn end(&self, samples: u64) -> u64 {
        match self {
            StorageLayout::Contiguous { address, sample_bytes } => {
                address.saturating_add(samples.saturating_mul(*sample_bytes))
            }
            StorageLayout::Chunked(chunks) => {
                chunks.all.iter().map(|chunk| chunk.address.saturating_add(chunk.stored)).max().unwrap_or(0)
            }
            // Chunks beyond the end of the file are detected when they are read.
            StorageLayout::Paged(_) | StorageLayout::NoRanges => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunks::Chunk;
    use super::*;

    fn ranges(place: &StorageLayout, sample: u64, samples: u64) -> Vec<(u64, u64)> {
        let mut out = VecDeque::new();
        assert_eq!(place.ranges(sample, samples, &mut 0, &mut out), None);
        out.into_iter().map(|range| (range.offset, range.len)).collect()
    }

    /// Recorded with `strace` from h5py 3.14 (HDF5 1.14.6) for four samples of 200 × 200 and 256 × 257 bytes.
    #[test]
    fn small_samples_are_read_with_what_follows_in_the_dataset() {
        let place = StorageLayout::Contiguous { address: 2048, sample_bytes: 40_000 };
        assert_eq!(ranges(&place, 1, 4), [(42_048, 65_536)]);
        assert_eq!(ranges(&place, 3, 4), [(122_048, 40_000)]);
        let place = StorageLayout::Contiguous { address: 2048, sample_bytes: 65_792 };
        assert_eq!(ranges(&place, 1, 4), [(67_840, 65_792)]);
    }

    fn chunked(shape: [u64; 3], extent: [u64; 3]) -> StorageLayout {
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
        StorageLayout::Chunked(Chunks { all: chunks, shape, extent, itemsize: 1, whole: false, filters: None })
    }

    /// Recorded with `strace` from the same h5py.
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
