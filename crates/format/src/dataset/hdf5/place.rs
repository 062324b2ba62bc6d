//! Where the samples of a dataset are, and the ranges that the HDF5 library reads for one of them.

use std::collections::VecDeque;

use super::chunks::{Chunks, Range};
use super::paged::Paged;

/// The library's sieve buffer: a contiguous sample that fits into it is read with what follows it in the dataset.
const SIEVE: u64 = 64 << 10;
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

#[cfg(test)]
mod tests {
    use super::super::chunks::Chunk;
    use super::*;

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
