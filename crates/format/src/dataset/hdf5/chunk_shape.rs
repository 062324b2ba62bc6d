//! The shape of chunks: configured, or chosen as h5py does.

use super::chunk_bytes::ChunkGrid;
use super::options::Options;
use crate::error::Error;
use crate::layout::Layout;
use crate::shape::FileShape;

/// Limit of the size of a chunk in bytes, exclusive.
const CHUNK_BYTES_MAX: u64 = 1 << 32;
/// Limit of the number of chunks at the maximum shape; the index has an entry for each.
const ENTRIES_MAX: u64 = 1 << 40;
/// h5py's bounds of the chunk sizes that it chooses, in bytes.
const CHUNK_BASE: f64 = 16.0 * 1024.0;
const CHUNK_MIN: f64 = 8.0 * 1024.0;
const CHUNK_MAX: f64 = 1024.0 * 1024.0;

/// Returns the chunk grid of the records.
///
/// # Errors
/// Returns an error for chunks that the format cannot store.
pub(super) fn grid(layout: &Layout, options: &Options, shape: &FileShape) -> Result<ChunkGrid, Error> {
    let extent = options.dataset_shape(shape);
    let chunk = chunk_dims(options, &extent, layout.dtype.itemsize());
    let chunk = chunk.map_err(|reason| Error::Shape { dims: shape.dims.to_vec(), samples: shape.samples, reason })?;
    let max_shape = &options.max_shape;
    let largest = if max_shape.is_empty() {
        extent.clone()
    } else {
        [shape.samples].into_iter().chain(max_shape.iter().copied()).collect()
    };
    let grid = ChunkGrid { extent, chunk, largest, itemsize: layout.dtype.itemsize() };
    let refuse = |reason: String| Err(Error::Shape { dims: shape.dims.to_vec(), samples: shape.samples, reason });
    if grid.chunk_bytes() >= CHUNK_BYTES_MAX {
        return refuse(format!("HDF5 allows chunks of less than 4 GiB, not {:?} (hdf5.chunk_dims)", grid.chunk));
    }
    if grid.entries() >= ENTRIES_MAX {
        return refuse(format!("hdf5.max_shape {max_shape:?} allows more than 2^40 chunks of {:?}", grid.chunk));
    }
    Ok(grid)
}

/// Returns the shape of a chunk: configured, or as h5py chooses it.
fn chunk_dims(options: &Options, dims: &[u64], itemsize: u64) -> Result<Vec<u64>, String> {
    let wanted = &options.max_shape;
    if !wanted.is_empty()
        && (wanted.len() + 1 != dims.len() || wanted.iter().zip(&dims[1..]).any(|(max, dim)| max < dim))
    {
        return Err(format!(
            "hdf5.max_shape {wanted:?} must have an entry of at least the length of each axis of {:?}",
            &dims[1..]
        ));
    }
    let chunks = &options.chunk_dims;
    if chunks.is_empty() {
        return Ok(guess_chunk(dims, itemsize));
    }
    if chunks.len() != dims.len() || chunks.iter().zip(dims).any(|(chunk, dim)| *chunk == 0 || chunk > dim) {
        return Err(format!(
            "hdf5.chunk_dims {chunks:?} must have an entry of 1 to the length of each axis of {dims:?}, samples first"
        ));
    }
    Ok(chunks.clone())
}

/// Returns h5py's choice: it halves the axes in turn until the chunk size is near a target that grows with the
/// dataset.
fn guess_chunk(dims: &[u64], itemsize: u64) -> Vec<u64> {
    let mut chunk = dims.to_vec();
    let bytes = |chunk: &[u64]| chunk.iter().fold(itemsize as f64, |bytes, &dim| bytes * dim as f64);
    let target = (CHUNK_BASE * (bytes(dims) / (1024.0 * 1024.0)).log10().exp2()).clamp(CHUNK_MIN, CHUNK_MAX);
    let mut axis = 0;
    loop {
        let size = bytes(&chunk);
        let near = size < target || (size - target).abs() / target < 0.5;
        if near && size < CHUNK_MAX || chunk.iter().all(|&dim| dim == 1) {
            return chunk;
        }
        chunk[axis] = chunk[axis].div_ceil(2);
        axis = (axis + 1) % dims.len();
    }
}

#[cfg(test)]
mod tests {
    use super::guess_chunk;

    /// Recorded from h5py 3.16 (`h5py._hl.filters.guess_chunk`).
    #[test]
    fn chunks_are_those_that_h5py_chooses() {
        for (dims, itemsize, chunk) in CHOSEN {
            assert_eq!(guess_chunk(dims, *itemsize), *chunk, "{dims:?}");
        }
    }

    const CHOSEN: &[(&[u64], u64, &[u64])] = &[
        (&[2, 128, 128], 1, &[1, 64, 128]),
        (&[4, 16, 16], 1, &[4, 16, 16]),
        (&[1000, 256, 256], 1, &[63, 32, 32]),
        (&[7, 1000, 1000], 4, &[1, 125, 125]),
        (&[1, 268_435_456], 1, &[1, 65536]),
        (&[100_000, 3], 8, &[3125, 1]),
        (&[64, 33, 47, 5], 2, &[16, 9, 24, 3]),
    ];
}
