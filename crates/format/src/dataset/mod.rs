//! The dataset formats of DLIO, one module each.

pub(crate) mod access;
pub(crate) mod csv;
pub(crate) mod hdf5;
pub(crate) mod image;
pub(crate) mod indexed;
pub(crate) mod jpeg;
pub(crate) mod npy;
pub(crate) mod npz;
pub(crate) mod parquet;
pub(crate) mod png;
mod progress;
mod python_zip;
pub(crate) mod synthetic;
pub(crate) mod tfrecord;
pub(crate) mod whole_file;
