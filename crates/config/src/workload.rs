//! The validated workload, which results from a DLIO YAML file, its overrides and the defaults.
//!
//! Invariant: values of these types have been checked and are not checked again. Values that follow from others are methods.

use dlio_event::Secret;
use serde::Serialize;

use crate::time::TimeSpec;
use crate::vocabulary::{
    AddressingStyle, CheckpointMode, CheckpointType, ColumnType, DType, DataLoader, Decode, Dialect, EndpointFailure,
    EndpointMapping, FileAccess, Format, Framework, LoadBalance, MultiprocessingContext, Profiler, ReadType,
    RowGroupDecode, S3Client, Sampler, ShapeMismatch, Shuffle, StorageLibrary, StorageType, UriScheme, VerifyBy,
};

/// A validated workload: all settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    /// `model`
    pub model: Model,
    /// `framework`
    pub framework: Framework,
    /// `workflow`
    pub workflow: Workflow,
    /// `dataset`
    pub dataset: Dataset,
    /// `storage`
    pub storage: Storage,
    /// `reader` or `data_reader`
    pub reader: Reader,
    /// `train`
    pub train: Train,
    /// `evaluation`
    pub evaluation: Evaluation,
    /// `checkpoint`
    pub checkpoint: Checkpoint,
    /// `output`
    pub output: Output,
    /// `profiling`
    pub profiling: Profiling,
    /// `metric`
    pub metric: Metric,
    /// `dlio_rs`: the keys that only this program reads.
    pub dlio_rs: DlioRs,
}

/// Section `model`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Model {
    /// Name of the model, which is also part of the default output folder.
    pub name: String,
    /// Type of the model; only `transformer` has an effect.
    pub kind: Option<String>,
    /// Bytes of the generic int8 model state.
    pub model_size_bytes: u64,
    /// Element counts of predefined optimizer groups.
    pub optimization_groups: Vec<u64>,
    /// Number of transformer layers; 0 or less for none.
    pub num_layers: i64,
    /// Element counts of predefined layer tensors.
    pub layer_parameters: Vec<u64>,
    /// Element type of the model state.
    pub model_datatype: DType,
    /// Element type of the optimizer state.
    pub optimizer_datatype: DType,
    /// Degree of tensor parallelism.
    pub tensor_parallelism: u32,
    /// Degree of pipeline parallelism.
    pub pipeline_parallelism: u32,
    /// Degree of data parallelism; used only in checkpoint mode `subset`.
    pub data_parallelism: Option<u32>,
    /// `ZeRO` stage, -1 to 3.
    pub zero_stage: i8,
    /// `transformer.vocab_size`
    pub vocab_size: u64,
    /// `transformer.hidden_size`
    pub hidden_size: u64,
    /// `transformer.ffn_hidden_size`
    pub ffn_hidden_size: u64,
    /// `transformer.num_attention_heads`
    pub num_attention_heads: u64,
    /// `transformer.num_kv_heads`
    pub num_kv_heads: u64,
}

/// Section `workflow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "these are the reference's independent switches")]
pub struct Workflow {
    /// The dataset is generated first.
    pub generate_data: bool,
    /// The training loop is run.
    pub train: bool,
    /// Training epochs include evaluations.
    pub evaluation: bool,
    /// Checkpoints are written or read.
    pub checkpoint: bool,
    /// The profiler is started and stopped.
    pub profiling: bool,
}

/// Section `dataset`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dataset {
    /// Bytes per sample before the square root is taken (strictly, elements: quirk 4).
    pub record_length_bytes: f64,
    /// Standard deviation of `record_length_bytes`, in bytes.
    pub record_length_bytes_stdev: f64,
    /// Size of the resized sample in bytes; 0 if samples are not resized.
    pub record_length_bytes_resize: f64,
    /// Number of training files.
    pub num_files_train: u64,
    /// Number of evaluation files.
    pub num_files_eval: u64,
    /// Size of the write buffer for indexed binary files, in bytes.
    pub generation_buffer_size: u64,
    /// Samples per file.
    pub num_samples_per_file: u64,
    /// Root of the dataset, without a trailing slash: a path, or `s3://bucket[/prefix]`.
    pub data_folder: String,
    /// Number of sub-folders of `train`; 0 and 1 mean none.
    pub num_subfolders_train: u64,
    /// Number of sub-folders of `valid`; 0 and 1 mean none.
    pub num_subfolders_eval: u64,
    /// Name of the compression, as written; `None` if the key is absent, `none` or null.
    pub compression: Option<String>,
    /// Level of gzip in HDF5 files.
    pub compression_level: u32,
    /// First part of every file name.
    pub file_prefix: String,
    /// File format.
    pub format: Format,
    /// The dataset is kept after the run.
    pub keep_files: bool,
    /// Element type of a record.
    pub record_element_type: DType,
    /// Shape of a record; if it is empty, records are squares of `record_length_bytes` elements.
    pub record_dims: Vec<u64>,
    /// Value of `hdf5.chunk_dims`; empty for contiguous storage.
    pub hdf5_chunk_dims: Vec<u64>,
    /// Value of `hdf5.num_dset_per_record`.
    pub hdf5_num_dset_per_record: u64,
    /// Value of `hdf5.max_shape`; empty for a fixed shape.
    pub hdf5_max_shape: Vec<u64>,
    /// `parquet`
    pub parquet: Parquet,
    /// File names are computed and some of them checked, rather than listed (dialect `mlperf`).
    pub skip_listing: bool,
    /// Interval of the computed names that are checked, as a number of files; the first and the last are also checked. 0 for
    /// no check.
    pub listing_validation_interval: u64,
    /// Number of files in the file names, if the first part of a larger dataset is read; `None` for `num_files_train`.
    pub num_files_generated: Option<u64>,
}

/// Section `dataset.parquet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parquet {
    /// Columns; if there are none, files have one column of bytes.
    pub columns: Vec<ParquetColumn>,
    /// Rows per row group.
    pub row_group_size: u64,
}

/// One column of Parquet files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParquetColumn {
    /// Name, which is unique within a file.
    pub name: String,
    /// Type of the elements.
    pub dtype: ColumnType,
    /// Number of elements of a fixed-size list, where 1 means no list, or number of bytes of a binary value.
    pub size: u64,
    /// Dialect `native` reads the column.
    pub read: bool,
}

impl Parquet {
    /// Returns the bytes per row over all columns, as the metrics of the MLPerf fork count them: types that its table lacks
    /// (string, binary, list) count 4 bytes per element. `None` without columns.
    #[must_use]
    pub fn record_bytes(&self) -> Option<u64> {
        let bytes = |column: &ParquetColumn| match column.dtype {
            ColumnType::Float64 | ColumnType::Int64 | ColumnType::Uint64 => 8,
            ColumnType::Float16 | ColumnType::Int16 | ColumnType::Uint16 => 2,
            ColumnType::Int8 | ColumnType::Uint8 | ColumnType::Bool => 1,
            _ => 4,
        };
        let sum = || self.columns.iter().fold(0_u64, |sum, column| sum.saturating_add(column.size * bytes(column)));
        (!self.columns.is_empty()).then(sum)
    }
}

/// Section `storage`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Storage {
    /// Storage type.
    pub storage_type: StorageType,
    /// Bucket, or the directory that relative paths are resolved against.
    pub storage_root: String,
    /// `storage_options.endpoint_url`
    pub endpoint_url: Option<String>,
    /// `storage.endpoint_uris`
    pub endpoint_uris: Vec<String>,
    /// `storage.endpoint_template`: endpoints in which `{a...b}` stands for a range of numbers.
    pub endpoint_template: Option<String>,
    /// `storage.endpoint_file`: a file with one endpoint per line.
    pub endpoint_file: Option<String>,
    /// `storage_options.region`
    pub region: Option<String>,
    /// `storage_options.access_key_id`
    pub access_key_id: Option<String>,
    /// `storage_options.secret_access_key`; never printed, never stored.
    #[serde(skip)]
    pub secret_access_key: Option<Secret>,
    /// `storage_options.s3_force_path_style`; `None` if it is absent.
    pub s3_force_path_style: Option<bool>,
    /// `storage_options.addressing_style`; `None` if it is absent.
    pub addressing_style: Option<AddressingStyle>,
    /// `storage_options.verify`, `verify_ssl`: the certificates of https endpoints are checked.
    pub verify: bool,
    /// Value of `storage_options.verify` if it is a path: a PEM file of certificate authorities.
    pub ca_bundle: Option<String>,
    /// `storage_options.s3_max_attempts`; `None` if only time limits the attempts.
    pub s3_max_attempts: Option<u32>,
    /// `storage.use_mpi_endpoint_distribution`: every rank uses the one endpoint that the mapping assigns to it. `None` if it
    /// is absent.
    pub use_mpi_endpoint_distribution: Option<bool>,
    /// `storage.load_balance_strategy`: distribution of the requests of one rank over its endpoints.
    pub load_balance_strategy: LoadBalance,
    /// Client library whose reads are imitated (dialect `mlperf`); `None` for plain files or if it is absent.
    pub library: Option<StorageLibrary>,
    /// `storage_options.uri_scheme` (dialect `mlperf`).
    pub uri_scheme: Option<UriScheme>,
    /// Request windows of the MLPerf fork's readers.
    pub windows: Windows,
    /// Seconds that the run waits after generation, on storage other than a plain file system.
    pub post_generation_settle_seconds: f64,
}

/// The keys of `storage_options` that shape the reads of the MLPerf fork. Defaults that depend on the reader are `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Windows {
    /// Number of objects or row groups in flight, or number of files per chunk, depending on the reader.
    pub prefetch_window: Option<u32>,
    /// Number of threads per worker that fetch row groups.
    pub prefetch_workers: Option<u32>,
    /// Consecutive row groups of one file per request.
    pub coalesce_rgs: u32,
    /// Maximum window of the s3dlio Parquet reader, in row group requests.
    pub max_outstanding: Option<u32>,
    /// Bytes fetched from the end of a Parquet file for its footer.
    pub footer_cap: u64,
    /// Number of footers that are fetched at a time.
    pub footer_batch_size: u32,
    /// Columns that are read; `None` for all.
    pub columns: Option<ColumnSelection>,
    /// Processing of the bytes of a row group.
    pub decode: RowGroupDecode,
    /// Worker k waits for k times the computation time before it begins.
    pub stagger_workers: bool,
}

/// Columns of a Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ColumnSelection {
    /// Columns by name.
    Names(Vec<String>),
    /// Columns by number, from 0.
    Indices(Vec<u64>),
}

/// Section `reader` or `data_reader`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reader {
    /// Data loader; the default is that of the framework (quirk 13).
    pub data_loader: DataLoader,
    /// Sampler, after the defaults of the loader have been applied.
    pub sampler: Sampler,
    /// Start method of worker processes, which has no effect on threads.
    pub multiprocessing_context: MultiprocessingContext,
    /// Number of reader lanes; with 0, the training loop itself reads. In dialect `mlperf`, 1 means that the number depends
    /// on the machine.
    pub read_threads: u32,
    /// Number of files generated at a time; `None` for `dlio_rs.generate_inflight`. In dialect `mlperf`, 1, which is also the
    /// default, means that the number depends on the machine.
    pub write_threads: Option<u32>,
    /// Number of threads that parse TFRecord batches; has no effect.
    pub computation_threads: u32,
    /// Samples per training step and rank.
    pub batch_size: u64,
    /// Samples per evaluation step and rank.
    pub batch_size_eval: u64,
    /// Number of batches that are read ahead.
    pub prefetch_size: u32,
    /// Shuffling of the file list, after quirk 7 has been applied.
    pub file_shuffle: Shuffle,
    /// Shuffling of the samples.
    pub sample_shuffle: Shuffle,
    /// Size of the TFRecord shuffle buffer, in records.
    pub shuffle_size: u64,
    /// Whether files stay open between samples, after quirk 9 has been applied.
    pub read_type: ReadType,
    /// Access mode, which has no effect, as in the reference.
    pub file_access: FileAccess,
    /// Bytes per read of a TFRecord stream; `None` for 256 KiB.
    pub transfer_size: Option<u64>,
    /// Files are read with `O_DIRECT`.
    pub odirect: bool,
    /// Emulated preprocessing time per sample.
    pub preprocess_time: TimeSpec,
    /// Shape of the in-memory sample in the reference. It affects no read; it is part of the plan's fingerprint.
    pub transformed_record_dims: Vec<u64>,
    /// Element type of the in-memory sample in the reference. It affects no read; it is part of the plan's fingerprint.
    pub transformed_record_element_type: DType,
}

/// Section `train`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Train {
    /// Number of epochs.
    pub epochs: u32,
    /// Maximum number of steps per epoch (quirk 15); `None` for no limit.
    pub total_training_steps: Option<u64>,
    /// The number of the epoch is added to the seed.
    pub seed_change_epoch: bool,
    /// Seed, 0 to 2³² − 1.
    pub seed: u32,
    /// Emulated computation time per step.
    pub computation_time: TimeSpec,
}

/// Section `evaluation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Emulated computation time per evaluation step.
    pub eval_time: TimeSpec,
    /// First epoch that is followed by an evaluation.
    pub eval_after_epoch: u32,
    /// Number of epochs from one evaluation to the next.
    pub epochs_between_evals: u32,
}

/// Section `checkpoint`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "these are the reference's independent switches")]
pub struct Checkpoint {
    /// Folder, without a trailing slash.
    pub checkpoint_folder: String,
    /// First epoch that ends with a checkpoint.
    pub checkpoint_after_epoch: u32,
    /// Number of epochs between checkpoints.
    pub epochs_between_checkpoints: u32,
    /// Number of steps between checkpoints; `None` for checkpoints after epochs.
    pub steps_between_checkpoints: Option<u64>,
    /// Value of `checkpoint.type`.
    pub kind: CheckpointType,
    /// Value of `checkpoint.mode`.
    pub mode: CheckpointMode,
    /// Files are flushed to stable storage after they are written.
    pub fsync: bool,
    /// Ranks load checkpoints that another node wrote.
    pub recovery_rank_shift: bool,
    /// The time of a checkpoint includes a barrier.
    pub rank_sync: bool,
    /// Pause before each checkpoint in a run without training.
    pub time_between_checkpoints: TimeSpec,
    /// Number of checkpoints to write in a run without training.
    pub num_checkpoints_write: Option<u64>,
    /// Number of checkpoints to read in a run without training.
    pub num_checkpoints_read: Option<u64>,
    /// Tensors have random elements rather than ones.
    pub randomize_tensor: bool,
    /// The section `checkpoint.ksm` is present.
    pub ksm: bool,
}

/// Section `output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Output folder; `None` for a dated folder under `hydra_log`.
    pub folder: Option<String>,
    /// Name of the log file.
    pub log_file: String,
    /// Number of steps at the start of each block that the metrics exclude.
    pub exclude_start_steps: u64,
    /// Number of steps at the end of each epoch that the metrics exclude.
    pub exclude_end_steps: u64,
}

/// Section `profiling`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profiling {
    /// Profiler.
    pub profiler: Profiler,
    /// Devices for iostat.
    pub iostat_devices: Vec<String>,
}

/// Section `metric`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// Minimum accelerator utilization (AU) for a pass, as a fraction.
    pub au: f64,
}

/// Section `dlio_rs`: keys that only this program reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent keys of a configuration")]
pub struct DlioRs {
    /// Dialect in which the other keys are interpreted.
    pub dialect: Dialect,
    /// Registry directory of `dlio-rs serve`, whose endpoints replace a list of endpoints.
    pub registry: Option<String>,
    /// Each node has its own data folder and checkpoint folder.
    pub node_local: bool,
    /// Mapping of ranks to endpoints; `None` for the default of the dialect.
    pub endpoint_mapping: Option<EndpointMapping>,
    /// S3 client that transfers the data.
    pub s3_client: S3Client,
    /// Number of operations in flight per reader lane.
    pub inflight_per_reader: u32,
    /// Number of files that a rank generates at a time.
    pub generate_inflight: u32,
    /// Processing of a sample after it is read.
    pub decode: Decode,
    /// Source of the expected content of samples.
    pub verify_by: VerifyBy,
    /// Handling of files with a different shape.
    pub shape_mismatch: ShapeMismatch,
    /// Seed of the payload bytes.
    pub payload_seed: u64,
    /// Minimum size in bytes of objects that are written in parts.
    pub multipart_threshold: u64,
    /// Bytes per part, at least 5 MiB.
    pub multipart_part_size: u64,
    /// Number of parts in flight per object.
    pub multipart_concurrency: u32,
    /// Seconds without a byte after which an attempt of an S3 request is abandoned.
    pub request_timeout_seconds: f64,
    /// Maximum time for establishing a connection, in seconds.
    pub connect_timeout_seconds: f64,
    /// Seconds without a byte after which an S3 operation ends the run.
    pub retry_for: f64,
    /// Handling of requests to an endpoint that does not respond.
    pub on_endpoint_failure: EndpointFailure,
    /// The Parquet trace is written.
    pub trace: bool,
    /// Generated files are written with `O_DIRECT`.
    pub generate_odirect: bool,
    /// Number of blocks of a checkpoint file that are read at the same time; `None` for the default of the storage and the
    /// dialect.
    pub checkpoint_read_blocks: Option<u32>,
    /// Largest single read of a checkpoint file in bytes; `None` for the default of the storage and the dialect.
    pub checkpoint_read_bytes: Option<u64>,
    /// Shape of the requests for objects and files.
    pub requests: Requests,
    /// Maximum number of threads that are derived from the machine; `None` for 8 readers and 32 writers.
    pub max_auto_threads: Option<u32>,
    /// One rank of every node drops the page cache before each epoch.
    pub drop_caches: bool,
    /// Maximum time for dropping the page cache, in seconds.
    pub drop_caches_timeout_seconds: u32,
    /// Data that does not fit on a local file system is refused before the first byte is written.
    pub space_check: bool,
}

/// Shape of the requests for objects and files, after `dlio_rs.client_profile` has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// The size of an object is requested before the object is first read as a whole.
    pub head_before_get: bool,
    /// Minimum size in bytes of objects that are read in concurrent ranges; `None` if none are.
    pub split_threshold: Option<u64>,
    /// Bytes per concurrent range; `None` if it depends on the size of the object.
    pub split_chunk: Option<u64>,
    /// Concurrent ranges in flight per object; `None` if the number depends on the size of the object and on the machine.
    pub split_concurrency: Option<u32>,
    /// Bytes per read with `O_DIRECT`; `None` for the default of the storage.
    pub direct_chunk: Option<u64>,
}
