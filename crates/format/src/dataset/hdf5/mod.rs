//! HDF5 as h5py writes it with the latest file-format bounds: datasets `records_0`, `records_1`, … and `labels`.
//!
//! This crate lays out every file as the HDF5 library would, and streams it. An encoder holds the metadata; for
//! compressed files also one chunk and four bytes per chunk; and one page of the chunk index at a time.

mod allocator;
pub(crate) mod chunk_bytes;
mod chunk_shape;
mod chunks;
pub(crate) mod compressed_chunks;
mod content_check;
mod file_plan;
mod filters;
pub(crate) mod fixed_array;
mod group;
mod header;
mod lookup3;
mod lzf;
pub(crate) mod options;
mod paged_index;
mod read;
mod source;
mod storage_layout;

use crate::encode::Encoder;
use crate::error::Error;
use crate::layout::Layout;
use crate::shape::FileShape;
use options::Options;

pub(crate) use read::Reader;

pub(crate) fn encoder(layout: &Layout, options: &Options, shape: &FileShape) -> Result<Encoder, Error> {
    let refuse = |reason: &str| {
        Err(Error::Shape { dims: shape.dims.to_vec(), samples: shape.samples, reason: reason.to_owned() })
    };
    let dims = options.dataset_shape(shape);
    if dims.contains(&0) {
        return refuse("an axis has length 0 (after division by num_dset_per_record)");
    }
    if dims.len() > 32 {
        return refuse("HDF5 allows at most 31 axes besides the sample axis");
    }
    let grid = if options.is_contiguous() { None } else { Some(chunk_shape::grid(layout, options, shape)?) };
    file_plan::encoder(layout, options, shape, grid.as_ref())
}
