//! The options that only HDF5 files have.

use dlio_config::workload::Dataset;

use crate::error::Error;
use crate::shape::FileShape;

/// The options that only HDF5 files have.
#[derive(Debug)]
pub(crate) struct Options {
    /// Whether `record_dims` is set; then a first axis of length 1 is dropped.
    explicit_dims: bool,
    /// Number of datasets that a record is split into.
    pub(crate) datasets: u64,
    pub(crate) chunk_dims: Vec<u64>,
    pub(crate) max_shape: Vec<u64>,
    pub(crate) filter: Filter,
}

/// Compression filter of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    None,
    Gzip(u32),
    Lzf,
}

impl Options {
    pub(crate) fn new(dataset: &Dataset) -> Result<Self, Error> {
        let filter = match dataset.compression.as_deref() {
            None => Filter::None,
            Some("gzip") => Filter::Gzip(dataset.compression_level),
            Some("lzf") => Filter::Lzf,
            Some(other) => {
                return Err(Error::Option {
                    option: format!("dataset.compression: {other}"),
                    reason: "this HDF5 filter is not supported; use gzip or lzf, or omit the key".to_owned(),
                });
            }
        };
        let explicit_dims = !dataset.record_dims.is_empty();
        let datasets = dataset.hdf5_num_dset_per_record.max(1);
        if datasets > 1 && !explicit_dims {
            return Err(Error::Option {
                option: format!("dataset.hdf5.num_dset_per_record: {datasets}"),
                reason: "records are cut along the first axis of dataset.record_dims; give record_dims".to_owned(),
            });
        }
        let (chunk_dims, max_shape) = (dataset.hdf5_chunk_dims.clone(), dataset.hdf5_max_shape.clone());
        Ok(Self { explicit_dims, datasets, chunk_dims, max_shape, filter })
    }

    /// Returns the shape of one sample in each dataset.
    pub(crate) fn sample_dims(&self, dims: &[u64]) -> Vec<u64> {
        let mut dims = dims.to_vec();
        if self.explicit_dims && !dims.is_empty() {
            dims[0] /= self.datasets;
            if dims[0] == 1 && dims.len() > 1 {
                dims.remove(0);
            }
        }
        dims
    }

    /// Returns the shape of each dataset of a file; the first axis is the sample axis.
    pub(super) fn dataset_shape(&self, shape: &FileShape) -> Vec<u64> {
        let mut dims = self.sample_dims(shape.dims);
        dims.insert(0, shape.samples);
        dims
    }

    pub(super) fn is_contiguous(&self) -> bool {
        self.chunk_dims.is_empty() && self.max_shape.is_empty() && self.filter == Filter::None
    }
}

/// Returns the name of a dataset of records.
pub(super) fn name(index: u64) -> String {
    format!("records_{index}")
}
