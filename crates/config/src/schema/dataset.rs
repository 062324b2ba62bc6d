//! Section `dataset`.

use super::key::{DefaultValue, Key, MLPERF, NOT_DLIO, acts, ignored, later};
use super::value_type::{ValueType, count, record_bytes};
use crate::vocabulary::Format;

/// Compression methods of the reference, and those that its libraries accept in addition.
pub(crate) const COMPRESSIONS: &[&str] = &["none", "gzip", "lzf", "bz2", "zip", "xz", "szip", "zstd", "tar", "snappy"];

/// Names of element types in numpy.
pub(crate) const NUMPY_TYPES: &[&str] = &[
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64", "bool",
    "half", "single", "double", "float", "int",
];

pub(super) const KEYS: &[Key] = &[
    acts(
        "dataset.record_length_bytes",
        record_bytes(1.0),
        DefaultValue::Number(65536.0),
        "Bytes per sample (strictly, elements, if an element has several bytes). A sample is a square of elements.",
    ),
    acts(
        "dataset.record_length_bytes_stdev",
        record_bytes(0.0),
        DefaultValue::Number(0.0),
        "Standard deviation of `record_length_bytes`, in bytes, drawn per file.",
    ),
    ignored(
        "dataset.record_length_bytes_resize",
        record_bytes(0.0),
        DefaultValue::Number(0.0),
        "it is the size of the sample that the training loop receives, which has no effect on reads",
    ),
    acts("dataset.num_files_train", count(0), DefaultValue::Whole(8), "Number of training files."),
    acts("dataset.num_files_eval", count(0), DefaultValue::Whole(0), "Number of evaluation files."),
    ignored(
        "dataset.generation_buffer_size",
        count(1),
        DefaultValue::Whole(2_147_483_648),
        "it is the reference's write buffer for indexed binary files; here, files are streamed through small buffers",
    ),
    acts("dataset.num_samples_per_file", count(1), DefaultValue::Whole(1), "Samples per file."),
    acts(
        "dataset.data_folder",
        ValueType::Text,
        DefaultValue::Text("./data/"),
        "Root of the dataset: a path, or `s3://bucket[/prefix]`. A trailing `/` is dropped.",
    ),
    acts("dataset.num_subfolders_train", count(0), DefaultValue::Whole(0), "Number of sub-folders of `train`; 0 and 1 mean none."),
    acts("dataset.num_subfolders_eval", count(0), DefaultValue::Whole(0), "Number of sub-folders of `valid`; 0 and 1 mean none."),
    ignored(
        "dataset.enable_chunking",
        ValueType::Flag,
        DefaultValue::Flag(false),
        "it has no effect in the reference; use dataset.hdf5.chunk_dims",
    ),
    ignored(
        "dataset.chunk_size",
        count(0),
        DefaultValue::Whole(0),
        "it has no effect in the reference; use dataset.hdf5.chunk_dims",
    ),
    acts(
        "dataset.compression",
        ValueType::Word(COMPRESSIONS),
        DefaultValue::Text("none"),
        "Compression: gzip and lzf for hdf5; gzip, zip, zstd, bz2 and xz for csv, without a suffix in the file name; zip for npz in dialect native only, because the references never compress npz.",
    ),
    acts("dataset.compression_level", ValueType::Whole { min: 0, max: 9 }, DefaultValue::Whole(4), "Level of gzip in HDF5 files."),
    acts("dataset.file_prefix", ValueType::Text, DefaultValue::Text("img"), "First part of every file name."),
    acts("dataset.format", ValueType::Word(Format::WORDS), DefaultValue::Text("tfrecord"), "File format."),
    acts(
        "dataset.keep_files",
        ValueType::Flag,
        DefaultValue::Flag(true),
        "Keep the dataset after `run` or `replay`. Otherwise, the files that the workload describes are removed, and folders \
         that are then empty.",
    ),
    ignored(
        "dataset.record_element_bytes",
        count(1),
        DefaultValue::Whole(4),
        "it always equals the size of dataset.record_element_type",
    ),
    acts(
        "dataset.record_element_type",
        ValueType::Word(NUMPY_TYPES),
        DefaultValue::Text("uint8"),
        "Element type of a record, by its numpy name.",
    ),
    acts(
        "dataset.record_dims",
        ValueType::Wholes { min: 1 },
        DefaultValue::Empty,
        "Shape of a record; takes precedence over `record_length_bytes`.",
    ),
    acts(
        "dataset.hdf5.chunk_dims",
        ValueType::Wholes { min: 1 },
        DefaultValue::Empty,
        "Shape of an HDF5 chunk, with the sample axis first; empty for contiguous storage.",
    ),
    acts(
        "dataset.hdf5.num_dset_per_record",
        count(1),
        DefaultValue::Whole(1),
        "Number of HDF5 datasets that hold one record.",
    ),
    acts(
        "dataset.hdf5.max_shape",
        ValueType::Wholes { min: 1 },
        DefaultValue::Empty,
        "Maximum HDF5 shape, without the sample axis; empty for a fixed shape.",
    ),
    ignored(
        "dataset.record_length",
        ValueType::Free,
        DefaultValue::Unset,
        "it is the legacy name of dataset.record_length_bytes, and is used if that key is absent",
    ),
    ignored(
        "dataset.record_length_stdev",
        ValueType::Free,
        DefaultValue::Unset,
        "it is the legacy name of dataset.record_length_bytes_stdev, and is used if that key is absent",
    ),
    ignored(
        "dataset.record_length_resize",
        ValueType::Free,
        DefaultValue::Unset,
        "it is the legacy name of dataset.record_length_bytes_resize, and is used if that key is absent",
    ),
    ignored("dataset.data_gen_method", ValueType::Text, DefaultValue::Unset, "data comes from this program's seeded generator"),
    acts(
        "dataset.skip_listing",
        ValueType::FlagText,
        DefaultValue::Flag(false),
        "Compute the file names and check some of them, rather than list the dataset. In other dialects, names are always computed; the dataset is listed only if the first file does not exist.",
    )
    .only(MLPERF),
    acts(
        "dataset.listing_validation_interval",
        count(0),
        DefaultValue::Whole(1000),
        "Interval, in files, of the files that `skip_listing` looks up, in addition to the first and the last file; 0 for no look-ups.",
    )
    .only(MLPERF),
    ignored("dataset.listing_threads", count(0), DefaultValue::Whole(4), "the fork does not read it from a file"),
    acts(
        "dataset.num_files_generated",
        count(0),
        DefaultValue::Whole(0),
        "Number of files in the file names, if only the first files of a larger dataset are read; 0 for `num_files_train` or the number that a listing finds.",
    )
    .only(NOT_DLIO),
    ignored(
        "dataset.total_disk_bytes",
        ValueType::Free,
        DefaultValue::Unset,
        "the MLPerf harness stores a computed size in it",
    ),
    acts(
        "dataset.parquet.columns",
        ValueType::Free,
        DefaultValue::Empty,
        "Columns of Parquet files, each `{name, dtype, size, read}`. `dtype` is a numpy type, string, binary, bool or list. \
         `size` is the number of elements of a list, or of bytes of a binary value. `read: false` excludes the column from \
         reads in dialect native. Without columns, files have one column `data` of `record_length_bytes` bytes.",
    ),
    acts("dataset.parquet.row_group_size", ValueType::Whole { min: 1, max: 1 << 31 }, DefaultValue::Whole(1024), "Rows per row group."),
    ignored(
        "dataset.parquet.generation_batch_size",
        count(0),
        DefaultValue::Whole(0),
        "it is the number of rows that the fork builds at a time; here, pages are streamed through small buffers",
    ),
    ignored(
        "dataset.parquet.partition_by",
        ValueType::Text,
        DefaultValue::Unset,
        "it names the column of hive-style folders, which are not supported; it is refused for Parquet",
    ),
    ignored(
        "dataset.parquet.use_s3dlio_gen",
        ValueType::Flag,
        DefaultValue::Flag(false),
        "it selects the fork's second generator, which writes every column as float32 and drops the last rows",
    ),
    ignored("dataset.parquet.read_mode", ValueType::Free, DefaultValue::Unset, "no code of the MLPerf fork reads it"),
    later("dataset.arrow.columns", ValueType::Free, DefaultValue::Empty, "MLPerf fork: columns of Arrow files."),
    later("dataset.arrow.generation_batch_size", count(0), DefaultValue::Whole(0), "MLPerf fork: rows built per write."),
];
