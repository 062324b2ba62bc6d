//! How records are cut into chunks; files that are compressed or in many chunks, built in memory by hdf5-pure: an encoder of such a
//! file holds all of it.

use dlio_config::vocabulary::{DType, Format};
use hdf5_pure::{Datatype, DatatypeByteOrder, EnumTypeBuilder, FileBuilder, FloatingPointLayout, MaxExtent};

use super::tiles::Grid;
use super::{Filter, dataset_shape, name};
use crate::encode::Piece;
use crate::{Encoder, Error, FileShape, Layout};

/// Largest file that is built in memory.
const FILE_MAX: u64 = 4 << 30;
/// h5py's bounds of the size of a chunk that it chooses.
const CHUNK_BASE: f64 = 16.0 * 1024.0;
const CHUNK_MIN: f64 = 8.0 * 1024.0;
const CHUNK_MAX: f64 = 1024.0 * 1024.0;

/// How the records are cut.
pub(super) fn grid(layout: &Layout, shape: &FileShape) -> Result<Grid, Error> {
    let extent = dataset_shape(layout, shape);
    let chunk = chunk_dims(layout, &extent);
    let chunk = chunk.map_err(|reason| Error::Shape { dims: shape.dims.to_vec(), samples: shape.samples, reason })?;
    let max_shape = &layout.hdf5.max_shape;
    let largest = if max_shape.is_empty() {
        extent.clone()
    } else {
        [shape.samples].into_iter().chain(max_shape.iter().copied()).collect()
    };
    Ok(Grid { extent, chunk, largest, itemsize: layout.dtype.itemsize() })
}

pub(super) fn encoder(layout: &Layout, shape: &FileShape, grid: &Grid) -> Result<Encoder, Error> {
    let refuse = |reason: String| Error::Shape { dims: shape.dims.to_vec(), samples: shape.samples, reason };
    let options = &layout.hdf5;
    let dims = dataset_shape(layout, shape);
    let bytes = layout.data_bytes(shape)?;
    if bytes > FILE_MAX {
        return Err(refuse(format!(
            "HDF5 that is compressed or in more than 1024 chunks is built in memory, up to {FILE_MAX} bytes; leave out \
             dataset.compression, or use larger chunks"
        )));
    }
    let datatype = datatype(layout.dtype)?;
    let record_bytes = dims.iter().product::<u64>() * layout.dtype.itemsize();
    let mut data = vec![0; record_bytes as usize];
    layout.payload.stream(shape.file, layout.element, record_bytes).fill(&mut data);

    let mut file = FileBuilder::new();
    for index in 0..options.datasets {
        let dataset = file.create_dataset(&name(index));
        dataset.with_raw_data(datatype.clone(), data.clone(), dims.iter().product());
        dataset.with_shape(&dims).with_chunks(&grid.chunk);
        if !options.max_shape.is_empty() {
            dataset.with_maxshape(&grid.largest.iter().copied().map(MaxExtent::Fixed).collect::<Vec<_>>());
        }
        match options.filter {
            Filter::None => {}
            Filter::Gzip(level) => {
                dataset.with_deflate(level);
            }
            Filter::Lzf => {
                dataset.with_lzf();
            }
        }
    }
    file.create_dataset("labels").with_i64_data(&vec![0; shape.samples as usize]);
    let image = file.finish().map_err(|error| refuse(format!("hdf5-pure: {error}")))?;
    Ok(Encoder::pieces([Piece::bytes(image)]))
}

/// The shape of a chunk: configured, or as h5py chooses it.
fn chunk_dims(layout: &Layout, dims: &[u64]) -> Result<Vec<u64>, String> {
    let options = &layout.hdf5;
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
        return Ok(guess_chunk(dims, layout.dtype.itemsize()));
    }
    if chunks.len() != dims.len() || chunks.iter().zip(dims).any(|(chunk, dim)| *chunk == 0 || chunk > dim) {
        return Err(format!(
            "hdf5.chunk_dims {chunks:?} must have an entry of 1 to the length of each axis of {dims:?}, samples first"
        ));
    }
    Ok(chunks.clone())
}

/// h5py's choice: halves the axes in turn until a chunk is near a target that grows with the dataset.
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

fn datatype(dtype: DType) -> Result<Datatype, Error> {
    Ok(match dtype {
        DType::Int8 => hdf5_pure::make_i8_type(),
        DType::Int16 => hdf5_pure::make_i16_type(),
        DType::Int32 => hdf5_pure::make_i32_type(),
        DType::Int64 => hdf5_pure::make_i64_type(),
        DType::Uint8 => hdf5_pure::make_u8_type(),
        DType::Uint16 => hdf5_pure::make_u16_type(),
        DType::Uint32 => hdf5_pure::make_u32_type(),
        DType::Uint64 => hdf5_pure::make_u64_type(),
        DType::Float32 => hdf5_pure::make_f32_type(),
        DType::Float64 => hdf5_pure::make_f64_type(),
        DType::Bool => EnumTypeBuilder::with_base(hdf5_pure::make_i8_type())
            .value("FALSE", 0)
            .value("TRUE", 1)
            .build()
            .map_err(|_| Error::ElementType(dtype, Format::Hdf5))?,
        DType::Float16 => {
            let layout = FloatingPointLayout {
                bit_offset: 0,
                bit_precision: 16,
                exponent_location: 10,
                exponent_size: 5,
                mantissa_location: 0,
                mantissa_size: 10,
                exponent_bias: 15,
            };
            Datatype::FloatingPoint { size: 2, byte_order: DatatypeByteOrder::LittleEndian, layout }
        }
        // `Layout::new` lets no bfloat16 through.
        DType::Bfloat16 => return Err(Error::ElementType(dtype, Format::Hdf5)),
    })
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
