//! The closed sets of values that configuration keys take, with the words that DLIO files use for them.

use serde::Serialize;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// The words that a configuration may use, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($text,)+];

            /// The word of this value.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The value of a word; case matters, as in the reference.
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
    /// How the same YAML is understood.
    Dialect {
        /// As argonne-lcf/dlio_benchmark does, quirks included.
        Dlio => "dlio",
        /// As the MLPerf Storage v3 fork does.
        Mlperf => "mlperf",
        /// What the keys say.
        Native => "native",
    }
}
words! {
    /// Where requests to S3 name the bucket.
    AddressingStyle {
        /// In the host name at AWS, else in the path.
        Auto => "auto",
        /// In the path.
        Path => "path",
        /// In the host name, before the endpoint's.
        Virtual => "virtual",
        /// Nowhere: the endpoint's host stands for the bucket.
        Host => "host",
    }
}

words! {
    /// What happens to the bytes of a sample besides being read.
    Decode {
        /// Nothing: the structure of the file is checked, the payload is passed over.
        None => "none",
        /// The content is compared with what was generated, or with the format's own checksums.
        Verify => "verify",
        /// The work that a training reader would do: checksums, decompression, pixels, values.
        Full => "full",
    }
}
words! {
    /// What the content of a sample is compared with.
    VerifyBy {
        /// The payload, made again from its seed.
        Payload => "payload",
        /// The checksums that the format itself carries; for data sets that another program wrote.
        Checksum => "checksum",
    }
}
words! {
    /// What becomes of files whose shape is not the workload's.
    ShapeMismatch {
        /// They are read as they are, and a warning sums them up.
        Warn => "warn",
        /// They are refused.
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
    /// Data set format; the word is also the file extension.
    Format {
        /// TFRecord frames of tf.train.Example.
        TfRecord => "tfrecord",
        /// HDF5.
        Hdf5 => "hdf5",
        /// CSV.
        Csv => "csv",
        /// numpy zip archive.
        Npz => "npz",
        /// numpy array.
        Npy => "npy",
        /// In the reference's enumeration, without generator or reader there.
        Hdf5Opt => "hdf5_opt",
        /// JPEG images.
        Jpeg => "jpeg",
        /// PNG images.
        Png => "png",
        /// Raw bytes with two index files.
        IndexedBinary => "indexed_binary",
        /// The same, read through a memory map.
        MmapIndexedBinary => "mmap_indexed_binary",
        /// Parquet (the MLPerf fork).
        Parquet => "parquet",
        /// No data.
        Synthetic => "synthetic",
    }
}
words! {
    /// Kind of storage.
    StorageType {
        /// A file system.
        LocalFs => "local_fs",
        /// In the reference's enumeration, without implementation there.
        ParallelFs => "parallel_fs",
        /// S3.
        S3 => "s3",
        /// NVIDIA AIStore.
        Aistore => "aistore",
        /// A file system read with `O_DIRECT` (the MLPerf fork).
        DirectFs => "direct_fs",
    }
}
words! {
    /// Client library of the MLPerf fork whose way of reading is imitated.
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
    /// First part of the MLPerf fork's object names.
    UriScheme {
        /// S3.
        S3 => "s3",
        /// Azure; nothing here speaks it.
        Az => "az",
        /// Google Cloud Storage; nothing here speaks it.
        Gs => "gs",
        /// A file system.
        File => "file",
        /// A file system with `O_DIRECT`.
        Direct => "direct",
    }
}
words! {
    /// What the MLPerf fork's Parquet reader makes of the bytes of a row group.
    RowGroupDecode {
        /// Counts them.
        Raw => "raw",
        /// Decodes them.
        Arrow => "arrow",
    }
}
words! {
    /// Data loader whose behaviour is imitated.
    DataLoader {
        /// tf.data.
        Tensorflow => "tensorflow",
        /// torch.utils.data.
        Pytorch => "pytorch",
        /// NVIDIA DALI with an external source.
        Dali => "dali",
        /// NVIDIA DALI's own readers.
        NativeDali => "native_dali",
        /// A Python class of the user's.
        Custom => "custom",
        /// No loader.
        None => "none",
        /// Batches without data.
        Synthetic => "synthetic",
    }
}
words! {
    /// How samples are assigned to ranks and readers.
    Sampler {
        /// Per reader thread, in file order (tf.data).
        Iterative => "iterative",
        /// Per global sample index (PyTorch, DALI).
        Index => "index",
        /// Neither.
        None => "none",
    }
}
words! {
    /// Shuffling.
    Shuffle {
        /// None.
        Off => "off",
        /// From `train.seed`.
        Seed => "seed",
        /// Named random; deterministic in the reference for the numpy loaders (quirk 11).
        Random => "random",
    }
}
words! {
    /// Whether a file stays open between the samples that are read from it.
    ReadType {
        /// Opened once per reader, then kept.
        Memory => "memory",
        /// Opened for every sample.
        OnDemand => "on_demand",
    }
}
words! {
    /// Parsed, without effect, as in the reference.
    FileAccess {
        /// One file per process.
        Multi => "multi",
        /// Shared.
        Shared => "shared",
        /// Collective.
        Collective => "collective",
        /// MPI-IO.
        Mpio => "mpio",
        /// POSIX.
        Posix => "posix",
    }
}
words! {
    /// Start method of Python's worker processes; threads here.
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
    /// `checkpoint.type`; without effect in the reference.
    CheckpointType {
        /// Rank 0.
        RankZero => "rank_zero",
        /// All ranks.
        AllRanks => "all_ranks",
    }
}
words! {
    /// `checkpoint.mode`.
    CheckpointMode {
        /// The world is the model's.
        Default => "default",
        /// The world is part of the model's.
        Subset => "subset",
    }
}
words! {
    /// `profiling.profiler`.
    Profiler {
        /// None.
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
    /// How one rank spreads its requests over several endpoints.
    LoadBalance {
        /// In turn.
        RoundRobin => "round_robin",
        /// At random, seeded.
        Random => "random",
        /// To the endpoint with the fewest requests in flight.
        LeastOutstanding => "least_outstanding",
    }
}
words! {
    /// How ranks are mapped to endpoints.
    EndpointMapping {
        /// `rank mod n`.
        Modulo => "modulo",
        /// `rank · n / size`.
        Block => "block",
    }
}
words! {
    /// What happens to requests to an endpoint that does not answer.
    EndpointFailure {
        /// They are repeated there; the run ends when that lasts too long.
        Fail => "fail",
        /// They go to another endpoint.
        Failover => "failover",
    }
}
words! {
    /// Which S3 client carries the data.
    S3Client {
        /// This program's own, on hyper.
        Hyper => "hyper",
        /// aws-sdk-s3, for compatibility.
        Sdk => "sdk",
    }
}
words! {
    /// Element types, by numpy's names (and the model datatypes of checkpoints).
    DType {
        /// 8-bit signed.
        Int8 => "int8",
        /// 16-bit signed.
        Int16 => "int16",
        /// 32-bit signed.
        Int32 => "int32",
        /// 64-bit signed.
        Int64 => "int64",
        /// 8-bit unsigned.
        Uint8 => "uint8",
        /// 16-bit unsigned.
        Uint16 => "uint16",
        /// 32-bit unsigned.
        Uint32 => "uint32",
        /// 64-bit unsigned.
        Uint64 => "uint64",
        /// Half precision.
        Float16 => "float16",
        /// Single precision.
        Float32 => "float32",
        /// Double precision.
        Float64 => "float64",
        /// Brain float, checkpoints only.
        Bfloat16 => "bfloat16",
        /// Boolean.
        Bool => "bool",
    }
}

words! {
    /// Types of Parquet columns.
    ColumnType {
        /// 8-bit signed.
        Int8 => "int8",
        /// 16-bit signed.
        Int16 => "int16",
        /// 32-bit signed.
        Int32 => "int32",
        /// 64-bit signed.
        Int64 => "int64",
        /// 8-bit unsigned.
        Uint8 => "uint8",
        /// 16-bit unsigned.
        Uint16 => "uint16",
        /// 32-bit unsigned.
        Uint32 => "uint32",
        /// 64-bit unsigned.
        Uint64 => "uint64",
        /// Half precision.
        Float16 => "float16",
        /// Single precision.
        Float32 => "float32",
        /// Double precision.
        Float64 => "float64",
        /// Short texts.
        String => "string",
        /// `size` bytes.
        Binary => "binary",
        /// Boolean.
        Bool => "bool",
        /// A list of `size` single-precision numbers.
        List => "list",
    }
}

/// A file beside a data file that says where its samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexFile {
    /// Text with offset and length of every TFRecord frame.
    TfRecord,
    /// Offset of every sample as an unsigned 64-bit number, native endian.
    Offsets,
    /// Bytes of every sample, likewise.
    Sizes,
}

impl Format {
    /// The index files that go with every data file.
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
    /// Bytes per element.
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
