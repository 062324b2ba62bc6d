//! Section `dataset`.

use super::key::{Key, MLPERF, NOT_DLIO, Preset, acts, ignored, later};
use super::kind::{Kind, count, record_bytes};
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
        Preset::Number(65536.0),
        "Bytes per sample (elements, strictly, when an element has several bytes); a sample is a square of them.",
    ),
    acts(
        "dataset.record_length_bytes_stdev",
        record_bytes(0.0),
        Preset::Number(0.0),
        "Standard deviation of the above, per file.",
    ),
    ignored(
        "dataset.record_length_bytes_resize",
        record_bytes(0.0),
        Preset::Number(0.0),
        "the size of the sample that the loop receives, which no emulated accelerator looks at",
    ),
    acts("dataset.num_files_train", count(0), Preset::Whole(8), "Files to train on."),
    acts("dataset.num_files_eval", count(0), Preset::Whole(0), "Files to evaluate on."),
    ignored(
        "dataset.generation_buffer_size",
        count(1),
        Preset::Whole(2_147_483_648),
        "the reference's buffer for indexed binary; files stream through small buffers here",
    ),
    acts("dataset.num_samples_per_file", count(1), Preset::Whole(1), "Samples in one file."),
    acts(
        "dataset.data_folder",
        Kind::Text,
        Preset::Text("./data/"),
        "Root of the data set: a path, or `s3://bucket[/prefix]`. A trailing `/` is dropped.",
    ),
    acts("dataset.num_subfolders_train", count(0), Preset::Whole(0), "Sub-folders of `train`; 0 and 1: none."),
    acts("dataset.num_subfolders_eval", count(0), Preset::Whole(0), "Sub-folders of `valid`; 0 and 1: none."),
    ignored(
        "dataset.enable_chunking",
        Kind::Flag,
        Preset::Flag(false),
        "without effect in the reference; use dataset.hdf5.chunk_dims",
    ),
    ignored(
        "dataset.chunk_size",
        count(0),
        Preset::Whole(0),
        "without effect in the reference; use dataset.hdf5.chunk_dims",
    ),
    acts(
        "dataset.compression",
        Kind::Word(COMPRESSIONS),
        Preset::Text("none"),
        "Compression: gzip and lzf for hdf5; gzip, zip, zstd, bz2 and xz for csv (without a suffix in the file name); zip for npz, in dialect native only, as the references always store it.",
    ),
    acts("dataset.compression_level", Kind::Whole { min: 0, max: 9 }, Preset::Whole(4), "gzip level for HDF5."),
    acts("dataset.file_prefix", Kind::Text, Preset::Text("img"), "First part of every file name."),
    acts("dataset.format", Kind::Word(Format::WORDS), Preset::Text("tfrecord"), "File format."),
    acts(
        "dataset.keep_files",
        Kind::Flag,
        Preset::Flag(true),
        "Keep the data set after `run` or `replay`. If not, the files that the workload describes and the folders left \
         empty are removed, and nothing else.",
    ),
    ignored(
        "dataset.record_element_bytes",
        count(1),
        Preset::Whole(4),
        "always the size of dataset.record_element_type",
    ),
    acts(
        "dataset.record_element_type",
        Kind::Word(NUMPY_TYPES),
        Preset::Text("uint8"),
        "Element type of a record, by numpy's name.",
    ),
    acts(
        "dataset.record_dims",
        Kind::Wholes { min: 1 },
        Preset::Empty,
        "Shape of a record; takes over from `record_length_bytes`.",
    ),
    acts(
        "dataset.hdf5.chunk_dims",
        Kind::Wholes { min: 1 },
        Preset::Empty,
        "Shape of an HDF5 chunk, with the sample axis first; empty: contiguous.",
    ),
    acts(
        "dataset.hdf5.num_dset_per_record",
        count(1),
        Preset::Whole(1),
        "HDF5 data sets that one record is spread over.",
    ),
    acts(
        "dataset.hdf5.max_shape",
        Kind::Wholes { min: 1 },
        Preset::Empty,
        "Largest HDF5 shape, without the sample axis; empty: fixed.",
    ),
    ignored(
        "dataset.record_length",
        Kind::Free,
        Preset::Unset,
        "the former name; taken for dataset.record_length_bytes where that is absent",
    ),
    ignored(
        "dataset.record_length_stdev",
        Kind::Free,
        Preset::Unset,
        "the former name; taken for dataset.record_length_bytes_stdev where that is absent",
    ),
    ignored(
        "dataset.record_length_resize",
        Kind::Free,
        Preset::Unset,
        "the former name; taken for dataset.record_length_bytes_resize where that is absent",
    ),
    ignored("dataset.data_gen_method", Kind::Text, Preset::Unset, "data comes from this program's seeded generator"),
    acts(
        "dataset.skip_listing",
        Kind::FlagText,
        Preset::Flag(false),
        "Compute the names of the files and check some of them, rather than list them. In the other dialects names are computed, and listed where the first one is not there.",
    )
    .only(MLPERF),
    acts(
        "dataset.listing_validation_interval",
        count(0),
        Preset::Whole(1000),
        "With `skip_listing`: every how-many-th file is looked up, beside the first and the last; 0: none.",
    )
    .only(MLPERF),
    ignored("dataset.listing_threads", count(0), Preset::Whole(4), "the fork does not read it from a file either"),
    acts(
        "dataset.num_files_generated",
        count(0),
        Preset::Whole(0),
        "Number of files in the names, when the first files of a larger data set are read; 0: `num_files_train`, or what a listing finds.",
    )
    .only(NOT_DLIO),
    ignored(
        "dataset.total_disk_bytes",
        Kind::Free,
        Preset::Unset,
        "the MLPerf harness notes here what it computed",
    ),
    acts(
        "dataset.parquet.columns",
        Kind::Free,
        Preset::Empty,
        "Columns of Parquet files, each `{name, dtype, size, read}`: a type of numpy, string, binary, bool or list; \
         elements of a fixed-size list, or bytes of a binary; whether dialect native reads it. Empty: one column `data` \
         of `record_length_bytes` bytes.",
    ),
    acts("dataset.parquet.row_group_size", Kind::Whole { min: 1, max: 1 << 31 }, Preset::Whole(1024), "Rows per row group."),
    ignored(
        "dataset.parquet.generation_batch_size",
        count(0),
        Preset::Whole(0),
        "the rows that the fork builds at a time; pages stream through small buffers here",
    ),
    ignored(
        "dataset.parquet.partition_by",
        Kind::Text,
        Preset::Unset,
        "the column of hive-style folders, which are not written; refused for Parquet",
    ),
    ignored(
        "dataset.parquet.use_s3dlio_gen",
        Kind::Flag,
        Preset::Flag(false),
        "the fork's second generator, which writes every column as float32 and drops the last rows; files always stream \
         here",
    ),
    ignored("dataset.parquet.read_mode", Kind::Free, Preset::Unset, "no code of the MLPerf fork reads it"),
    later("dataset.arrow.columns", Kind::Free, Preset::Empty, "MLPerf fork: columns of Arrow files."),
    later("dataset.arrow.generation_batch_size", count(0), Preset::Whole(0), "MLPerf fork: rows built per write."),
];
