//! Closed sets of values for configuration keys, with the words that DLIO files use.

use serde::Serialize;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Words that a configuration may use, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($text,)+];

            /// Returns the word for this value.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// Parses a word. Words are case-sensitive, as in the reference.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    };
}

words! {
    /// Dialect: the program whose interpretation of the YAML applies.
    Dialect {
        /// As in argonne-lcf/dlio_benchmark, quirks included.
        Dlio => "dlio",
        /// As in the MLPerf Storage v3 fork.
        Mlperf => "mlperf",
        /// As the keys are documented.
        Native => "native",
    }
}
words! {
    /// Place of the bucket name in S3 requests.
    AddressingStyle {
        /// In the host name for AWS, in the path otherwise.
        Auto => "auto",
        /// In the path.
        Path => "path",
        /// In the host name, in front of the endpoint's name.
        Virtual => "virtual",
        /// Not in the request: the host of the endpoint identifies the bucket.
        Host => "host",
    }
}

words! {
    /// Processing of the bytes of a sample after they are read.
    Decode {
        /// No processing: the structure of the file is checked, and the payload is skipped.
        None => "none",
        /// The content is compared with what was generated, or with the checksums of the format.
        Verify => "verify",
        /// The work of a training reader: checksums, decompression, and decoding of pixels and values.
        Full => "full",
    }
}
words! {
    /// Source of the expected content of a sample.
    VerifyBy {
        /// The payload, generated again from its seed.
        Payload => "payload",
        /// The checksums in the file, for datasets that another program wrote.
        Checksum => "checksum",
    }
}
words! {
    /// Handling of files whose shape differs from the workload's.
    ShapeMismatch {
        /// The files are read as they are, and one warning summarizes them.
        Warn => "warn",
        /// The files are refused.
        Error => "error",
    }
}
words! {
    /// Framework that the run imitates.
    Framework {
        /// TensorFlow.
        Tensorflow => "tensorflow",
        /// PyTorch.
        Pytorch => "pytorch",
    }
}
words! {
    /// Dataset format. The word is also the file extension.
    Format {
        /// TFRecord frames of tf.train.Example.
        TfRecord => "tfrecord",
        /// HDF5.
        Hdf5 => "hdf5",
        /// CSV.
        Csv => "csv",
        /// A numpy zip archive.
        Npz => "npz",
        /// A numpy array.
        Npy => "npy",
        /// A format of the reference's enumeration that has neither generator nor reader there.
        Hdf5Opt => "hdf5_opt",
        /// JPEG images.
        Jpeg => "jpeg",
        /// PNG images.
        Png => "png",
        /// Raw bytes with two index files.
        IndexedBinary => "indexed_binary",
        /// Raw bytes with two index files, read through a memory map.
        MmapIndexedBinary => "mmap_indexed_binary",
        /// Parquet (MLPerf fork).
        Parquet => "parquet",
        /// No data.
        Synthetic => "synthetic",
    }
}
words! {
    /// Type of storage.
    StorageType {
        /// A file system.
        LocalFs => "local_fs",
        /// A type of the reference's enumeration that has no implementation there.
        ParallelFs => "parallel_fs",
        /// S3.
        S3 => "s3",
        /// NVIDIA AIStore.
        Aistore => "aistore",
        /// A file system that is read with `O_DIRECT` (MLPerf fork).
        DirectFs => "direct_fs",
    }
}
words! {
    /// Client library of the MLPerf fork whose reads are imitated.
    StorageLibrary {
        /// s3dlio.
        S3dlio => "s3dlio",
        /// s3torchconnector.
        S3TorchConnector => "s3torchconnector",
        /// minio.
        Minio => "minio",
        /// Local files with `O_DIRECT`.
        Direct => "direct",
        /// Local files through the page cache.
        Posix => "posix",
    }
}
words! {
    /// Client whose requests are imitated.
    ClientProfile {
        /// Version 0.9.106 of s3dlio, which MLPerf Storage v3.0 accepts.
        S3dlio => "s3dlio-0.9.106",
    }
}
words! {
    /// Scheme of the MLPerf fork's object names.
    UriScheme {
        /// S3.
        S3 => "s3",
        /// Azure, which is not supported.
        Az => "az",
        /// Google Cloud Storage, which is not supported.
        Gs => "gs",
        /// A file system.
        File => "file",
        /// A file system with `O_DIRECT`.
        Direct => "direct",
    }
}
words! {
    /// Processing of a row group by the Parquet reader of the MLPerf fork.
    RowGroupDecode {
        /// The bytes are counted.
        Raw => "raw",
        /// The bytes are decoded.
        Arrow => "arrow",
    }
}
words! {
    /// Data loader that is imitated.
    DataLoader {
        /// tf.data.
        Tensorflow => "tensorflow",
        /// torch.utils.data.
        Pytorch => "pytorch",
        /// NVIDIA DALI with an external source.
        Dali => "dali",
        /// NVIDIA DALI's own readers.
        NativeDali => "native_dali",
        /// A Python class of the user.
        Custom => "custom",
        /// No loader.
        None => "none",
        /// Batches without data.
        Synthetic => "synthetic",
    }
}
words! {
    /// Assignment of samples to ranks and readers.
    Sampler {
        /// Each reader thread reads its files in order (tf.data).
        Iterative => "iterative",
        /// Samples are assigned by their global index (PyTorch, DALI).
        Index => "index",
        /// No sampler.
        None => "none",
    }
}
words! {
    /// Shuffling of files or samples.
    Shuffle {
        /// No shuffling.
        Off => "off",
        /// Shuffled with `train.seed`.
        Seed => "seed",
        /// Called random; in the reference, it is deterministic for the numpy loaders (quirk 11).
        Random => "random",
    }
}
words! {
    /// Whether a file stays open between reads of its samples.
    ReadType {
        /// The file is opened once per reader and kept open.
        Memory => "memory",
        /// The file is opened for every sample.
        OnDemand => "on_demand",
    }
}
words! {
    /// Value of `reader.file_access`, which is parsed and has no effect, as in the reference.
    FileAccess {
        /// One file per process.
        Multi => "multi",
        /// A shared file.
        Shared => "shared",
        /// Collective access.
        Collective => "collective",
        /// MPI-IO.
        Mpio => "mpio",
        /// POSIX.
        Posix => "posix",
    }
}
words! {
    /// Start method of Python worker processes; has no effect because readers are threads.
    MultiprocessingContext {
        /// fork.
        Fork => "fork",
        /// spawn.
        Spawn => "spawn",
        /// forkserver.
        Forkserver => "forkserver",
    }
}
words! {
    /// Value of `checkpoint.type`, which has no effect in the reference.
    CheckpointType {
        /// Rank 0 writes.
        RankZero => "rank_zero",
        /// All ranks write.
        AllRanks => "all_ranks",
    }
}
words! {
    /// Value of `checkpoint.mode`.
    CheckpointMode {
        /// The ranks hold the whole model.
        Default => "default",
        /// The ranks hold a part of the model.
        Subset => "subset",
    }
}
words! {
    /// Value of `profiling.profiler`.
    Profiler {
        /// No profiler.
        None => "none",
        /// iostat on rank 0.
        Iostat => "iostat",
        /// Darshan through `LD_PRELOAD`.
        Darshan => "darshan",
        /// `TensorBoard`.
        Tensorboard => "tensorboard",
    }
}
words! {
    /// Distribution of the requests of one rank over several endpoints.
    LoadBalance {
        /// Endpoints take turns.
        RoundRobin => "round_robin",
        /// Endpoints are drawn at random from a seed.
        Random => "random",
        /// The endpoint with the fewest requests in flight is chosen.
        LeastOutstanding => "least_outstanding",
    }
}
words! {
    /// Mapping of ranks to endpoints.
    EndpointMapping {
        /// Endpoint number `rank mod n` for n endpoints.
        Modulo => "modulo",
        /// Endpoint number `rank · n / size` for n endpoints.
        Block => "block",
    }
}
words! {
    /// Handling of requests to an endpoint that does not respond.
    EndpointFailure {
        /// Requests are retried on the same endpoint; the run ends if this takes too long.
        Fail => "fail",
        /// Requests go to another endpoint.
        Failover => "failover",
    }
}
words! {
    /// S3 client that transfers the data.
    S3Client {
        /// The built-in client, on hyper.
        Hyper => "hyper",
        /// The client of aws-sdk-s3, for comparison.
        Sdk => "sdk",
    }
}
words! {
    /// Element types by their numpy names, including the model data types of checkpoints.
    DType {
        /// Signed 8-bit integer.
        Int8 => "int8",
        /// Signed 16-bit integer.
        Int16 => "int16",
        /// Signed 32-bit integer.
        Int32 => "int32",
        /// Signed 64-bit integer.
        Int64 => "int64",
        /// Unsigned 8-bit integer.
        Uint8 => "uint8",
        /// Unsigned 16-bit integer.
        Uint16 => "uint16",
        /// Unsigned 32-bit integer.
        Uint32 => "uint32",
        /// Unsigned 64-bit integer.
        Uint64 => "uint64",
        /// 16-bit float.
        Float16 => "float16",
        /// 32-bit float.
        Float32 => "float32",
        /// 64-bit float.
        Float64 => "float64",
        /// Brain float (16 bits), in checkpoints only.
        Bfloat16 => "bfloat16",
        /// Boolean.
        Bool => "bool",
    }
}

words! {
    /// Types of Parquet columns.
    ColumnType {
        /// Signed 8-bit integer.
        Int8 => "int8",
        /// Signed 16-bit integer.
        Int16 => "int16",
        /// Signed 32-bit integer.
        Int32 => "int32",
        /// Signed 64-bit integer.
        Int64 => "int64",
        /// Unsigned 8-bit integer.
        Uint8 => "uint8",
        /// Unsigned 16-bit integer.
        Uint16 => "uint16",
        /// Unsigned 32-bit integer.
        Uint32 => "uint32",
        /// Unsigned 64-bit integer.
        Uint64 => "uint64",
        /// 16-bit float.
        Float16 => "float16",
        /// 32-bit float.
        Float32 => "float32",
        /// 64-bit float.
        Float64 => "float64",
        /// Short texts.
        String => "string",
        /// Binary values of `size` bytes.
        Binary => "binary",
        /// Boolean.
        Bool => "bool",
        /// Lists of `size` 32-bit floats.
        List => "list",
    }
}

/// A file beside a data file that gives the positions of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexFile {
    /// Text with the offset and the length, in bytes, of every TFRecord frame.
    TfRecord,
    /// Offset of every sample in bytes, as an unsigned 64-bit number in native byte order.
    Offsets,
    /// Size of every sample in bytes, as an unsigned 64-bit number in native byte order.
    Sizes,
}

impl Format {
    /// Returns the index files that accompany every data file of this format.
    #[must_use]
    pub fn index_files(self) -> &'static [IndexFile] {
        match self {
            Format::TfRecord => &[IndexFile::TfRecord],
            Format::IndexedBinary | Format::MmapIndexedBinary => &[IndexFile::Offsets, IndexFile::Sizes],
            _ => &[],
        }
    }
}

impl DType {
    /// Returns the size of an element in bytes.
    #[must_use]
    pub fn itemsize(self) -> u64 {
        match self {
            DType::Int8 | DType::Uint8 | DType::Bool => 1,
            DType::Int16 | DType::Uint16 | DType::Float16 | DType::Bfloat16 => 2,
            DType::Int32 | DType::Uint32 | DType::Float32 => 4,
            DType::Int64 | DType::Uint64 | DType::Float64 => 8,
        }
    }
}
