//! A data set's configuration with the reference's defaults.

use dlio_config::vocabulary::{DType, Format};
use dlio_config::workload::Dataset;

/// Defaults, in the given format.
pub(crate) fn dataset(format: Format) -> Dataset {
    Dataset {
        record_length_bytes: 65536.0,
        record_length_bytes_stdev: 0.0,
        record_length_bytes_resize: 0.0,
        num_files_train: 8,
        num_files_eval: 0,
        generation_buffer_size: 2 << 30,
        num_samples_per_file: 1,
        data_folder: "data".to_owned(),
        num_subfolders_train: 0,
        num_subfolders_eval: 0,
        compression: None,
        compression_level: 4,
        file_prefix: "img".to_owned(),
        format,
        keep_files: true,
        record_element_type: DType::Uint8,
        record_dims: Vec::new(),
        hdf5_chunk_dims: Vec::new(),
        hdf5_num_dset_per_record: 1,
        hdf5_max_shape: Vec::new(),
    }
}
