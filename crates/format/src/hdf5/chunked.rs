//! Chunked and compressed files, built in memory by hdf5-pure.

use crate::{Encoder, Error, FileShape, Layout};

pub(super) fn encoder(layout: &Layout, _shape: &FileShape) -> Result<Encoder, Error> {
    Err(Error::Option {
        option: format!("dataset.hdf5 {:?}", layout.hdf5),
        reason: "chunked and compressed HDF5 files cannot be generated yet".to_owned(),
    })
}
