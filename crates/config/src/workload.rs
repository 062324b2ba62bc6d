//! The validated workload: what a DLIO YAML file, its overrides and the defaults amount to. Invariant: a value of these types has
//! been checked; nobody re-checks. Values that follow from others are methods.

use dlio_event::Secret;
use serde::Serialize;

use crate::time::TimeSpec;
use crate::vocabulary::{
    AddressingStyle, CheckpointMode, CheckpointType, ColumnType, DType, DataLoader, Decode, Dialect, EndpointFailure,
    EndpointMapping, FileAccess, Format, Framework, LoadBalance, MultiprocessingContext, Profiler, ReadType,
    RowGroupDecode, S3Client, Sampler, ShapeMismatch, Shuffle, StorageLibrary, StorageType, UriScheme, VerifyBy,
};

/// Everything that a run needs to know from its configuration.
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
    /// `dlio_rs`: the keys that only this program reads
    pub dlio_rs: DlioRs,
}

/// Section `model`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Model {
    /// Name; also in the default output folder.
    pub name: String,
    /// Only `transformer` has an effect.
    pub kind: Option<String>,
    /// Bytes of the generic int8 model state.
    pub model_size_bytes: u64,
    /// Element counts of predefined optimizer groups.
    pub optimization_groups: Vec<u64>,
    /// Number of transformer layers; ≤ 0: none.
    pub num_layers: i64,
    /// Element counts of predefined layer tensors.
    pub layer_parameters: Vec<u64>,
    /// Element type of the model state.
    pub model_datatype: DType,
    /// Element type of the optimizer state.
    pub optimizer_datatype: DType,
    /// Tensor parallelism.
    pub tensor_parallelism: u32,
    /// Pipeline parallelism.
    pub pipeline_parallelism: u32,
    /// Data parallelism; only in checkpoint mode `subset`.
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
    /// Generate the data set first.
    pub generate_data: bool,
    /// Run the training loop.
    pub train: bool,
    /// Evaluate inside the training epochs.
    pub evaluation: bool,
    /// Write or read checkpoints.
    pub checkpoint: bool,
    /// Start and stop the profiler.
    pub profiling: bool,
}

/// Section `dataset`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dataset {
    /// Bytes (elements, strictly: quirk 4) per sample, before the square root.
    pub record_length_bytes: f64,
    /// Standard deviation of the above.
    pub record_length_bytes_stdev: f64,
    /// Size of the resized sample; 0: not resized.
    pub record_length_bytes_resize: f64,
    /// Files to train on.
    pub num_files_train: u64,
    /// Files to evaluate on.
    pub num_files_eval: u64,
    /// Write-buffer size for indexed binary, in bytes.
    pub generation_buffer_size: u64,
    /// Samples in one file.
    pub num_samples_per_file: u64,
    /// Root of the data set, without a trailing slash: a path, or `s3://bucket[/prefix]`.
    pub data_folder: String,
    /// Sub-folders of `train`; 0 and 1: none.
    pub num_subfolders_train: u64,
    /// Sub-folders of `valid`; 0 and 1: none.
    pub num_subfolders_eval: u64,
    /// Compression name as written; `None` for absent, `none` and null.
    pub compression: Option<String>,
    /// gzip level for HDF5.
    pub compression_level: u32,
    /// First part of every file name.
    pub file_prefix: String,
    /// File format.
    pub format: Format,
    /// Keep the data set after the run.
    pub keep_files: bool,
    /// Element type of a record.
    pub record_element_type: DType,
    /// Shape of a record; empty: a square of `record_length_bytes` elements.
    pub record_dims: Vec<u64>,
    /// `hdf5.chunk_dims`; empty: contiguous.
    pub hdf5_chunk_dims: Vec<u64>,
    /// `hdf5.num_dset_per_record`
    pub hdf5_num_dset_per_record: u64,
    /// `hdf5.max_shape`; empty: fixed.
    pub hdf5_max_shape: Vec<u64>,
    /// `parquet`
    pub parquet: Parquet,
    /// Names are computed and some of them checked, rather than listed (dialect `mlperf`).
    pub skip_listing: bool,
    /// Of the computed names, every how-many-th is checked, beside the first and the last; 0: none.
    pub listing_validation_interval: u64,
    /// The number of files in their names, where a prefix of a larger set is read; `None`: `num_files_train`.
    pub num_files_generated: Option<u64>,
}

/// Section `dataset.parquet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parquet {
    /// Columns; empty: one column of bytes.
    pub columns: Vec<ParquetColumn>,
    /// Rows per row group.
    pub row_group_size: u64,
}

/// One column of Parquet files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParquetColumn {
    /// Name, once per file.
    pub name: String,
    /// Type of the elements.
    pub dtype: ColumnType,
    /// Elements of a fixed-size list, 1: no list; bytes of a binary value.
    pub size: u64,
    /// Whether dialect native reads it.
    pub read: bool,
}

impl Parquet {
    /// Bytes of one row as the MLPerf fork's metrics count them, over all columns: types that its table lacks (string,
    /// binary, list) count 4 bytes per element. `None` without columns.
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
    /// Kind of storage.
    pub storage_type: StorageType,
    /// Directory that relative paths are joined to, or bucket.
    pub storage_root: String,
    /// `storage_options.endpoint_url`
    pub endpoint_url: Option<String>,
    /// `storage.endpoint_uris`
    pub endpoint_uris: Vec<String>,
    /// `storage.endpoint_template`: endpoints with `{a...b}` for their numbers.
    pub endpoint_template: Option<String>,
    /// `storage.endpoint_file`: a file with an endpoint per line.
    pub endpoint_file: Option<String>,
    /// `storage_options.region`
    pub region: Option<String>,
    /// `storage_options.access_key_id`
    pub access_key_id: Option<String>,
    /// `storage_options.secret_access_key`; never printed, never stored.
    #[serde(skip)]
    pub secret_access_key: Option<Secret>,
    /// `storage_options.s3_force_path_style`; `None`: not given.
    pub s3_force_path_style: Option<bool>,
    /// `storage_options.addressing_style`; `None`: not given.
    pub addressing_style: Option<AddressingStyle>,
    /// `storage_options.verify`, `verify_ssl`: check the certificates of https endpoints.
    pub verify: bool,
    /// `storage_options.verify` where it is a path: a PEM file of certificate authorities.
    pub ca_bundle: Option<String>,
    /// `storage_options.s3_max_attempts`; `None`: only time limits them.
    pub s3_max_attempts: Option<u32>,
    /// `storage.use_mpi_endpoint_distribution`: every rank uses the one endpoint that the mapping gives it.
    /// `None`: not given (then true in this program when more than one endpoint is known).
    pub use_mpi_endpoint_distribution: Option<bool>,
    /// `storage.load_balance_strategy`: how one rank spreads its requests over its endpoints.
    pub load_balance_strategy: LoadBalance,
    /// Client library whose way of reading is imitated (dialect `mlperf`); `None`: plain files, or not said.
    pub library: Option<StorageLibrary>,
    /// `storage_options.uri_scheme` (dialect `mlperf`).
    pub uri_scheme: Option<UriScheme>,
    /// How the MLPerf fork's readers keep requests in flight.
    pub windows: Windows,
    /// Seconds between the end of generation and what follows, on storage other than a plain file system.
    pub post_generation_settle_seconds: f64,
}

/// The keys of `storage_options` that shape the reads of the MLPerf fork. Defaults that depend on the reader are `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Windows {
    /// Objects or row groups in flight, or the size of a chunk of files, as the reader has it.
    pub prefetch_window: Option<u32>,
    /// Threads of a worker that fetch row groups.
    pub prefetch_workers: Option<u32>,
    /// Consecutive row groups of one file per request.
    pub coalesce_rgs: u32,
    /// Cap of the window of the s3dlio Parquet reader.
    pub max_outstanding: Option<u32>,
    /// Bytes fetched from the end of a Parquet file for its footer.
    pub footer_cap: u64,
    /// Footers fetched at a time.
    pub footer_batch_size: u32,
    /// Columns that are read; `None`: all.
    pub columns: Option<ColumnSelection>,
    /// What becomes of the bytes of a row group.
    pub decode: RowGroupDecode,
    /// Worker k waits k times the computation time before it begins.
    pub stagger_workers: bool,
}

/// Columns of a Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ColumnSelection {
    /// By name.
    Names(Vec<String>),
    /// By number, from 0.
    Indices(Vec<u64>),
}

/// Section `reader` or `data_reader`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reader {
    /// Data loader; absent means the framework's own (quirk 13).
    pub data_loader: DataLoader,
    /// Sampler in force after the defaults of the loader.
    pub sampler: Sampler,
    /// Start method of worker processes; has no meaning for threads.
    pub multiprocessing_context: MultiprocessingContext,
    /// Reader lanes; 0: the training loop reads by itself. In dialect `mlperf` 1 stands for a number that follows from
    /// the machine.
    pub read_threads: u32,
    /// Files generated at a time; `None`: `dlio_rs.generate_inflight`. In dialect `mlperf` 1, which is also the default,
    /// stands for a number that follows from the machine.
    pub write_threads: Option<u32>,
    /// Decoder parallelism for TFRecord.
    pub computation_threads: u32,
    /// Samples per training step and rank.
    pub batch_size: u64,
    /// Samples per evaluation step and rank.
    pub batch_size_eval: u64,
    /// Batches read ahead.
    pub prefetch_size: u32,
    /// Whether and how the file list is shuffled, after quirk 7.
    pub file_shuffle: Shuffle,
    /// Whether and how the samples are shuffled.
    pub sample_shuffle: Shuffle,
    /// Size of the TFRecord shuffle buffer, in records.
    pub shuffle_size: u64,
    /// Whether files stay open between samples, after quirk 9.
    pub read_type: ReadType,
    /// Parsed, without effect, as in the reference.
    pub file_access: FileAccess,
    /// Bytes per read of a TFRecord stream; `None`: 256 KiB.
    pub transfer_size: Option<u64>,
    /// Read with `O_DIRECT`.
    pub odirect: bool,
    /// Emulated preprocessing per sample.
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
    /// Limit on the steps of every epoch (quirk 15); `None`: no limit.
    pub total_training_steps: Option<u64>,
    /// Add the epoch to the seed.
    pub seed_change_epoch: bool,
    /// Seed, 0 to 2³² − 1.
    pub seed: u32,
    /// Emulated computation per step.
    pub computation_time: TimeSpec,
}

/// Section `evaluation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Emulated computation per evaluation step.
    pub eval_time: TimeSpec,
    /// First epoch that is followed by an evaluation.
    pub eval_after_epoch: u32,
    /// Epochs from one evaluation to the next.
    pub epochs_between_evals: u32,
}

/// Section `checkpoint`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "these are the reference's independent switches")]
pub struct Checkpoint {
    /// Folder, without a trailing slash.
    pub checkpoint_folder: String,
    /// First epoch with an epoch checkpoint.
    pub checkpoint_after_epoch: u32,
    /// Epochs between epoch checkpoints.
    pub epochs_between_checkpoints: u32,
    /// Steps between step checkpoints; `None`: epoch checkpoints.
    pub steps_between_checkpoints: Option<u64>,
    /// `type`
    pub kind: CheckpointType,
    /// `mode`
    pub mode: CheckpointMode,
    /// Force to stable storage after writing.
    pub fsync: bool,
    /// Load what another node wrote.
    pub recovery_rank_shift: bool,
    /// Barrier inside the timed section.
    pub rank_sync: bool,
    /// Pause before each checkpoint in checkpoint-only mode.
    pub time_between_checkpoints: TimeSpec,
    /// Checkpoints to write in checkpoint-only mode.
    pub num_checkpoints_write: Option<u64>,
    /// Checkpoints to read in checkpoint-only mode.
    pub num_checkpoints_read: Option<u64>,
    /// Random tensors rather than ones.
    pub randomize_tensor: bool,
    /// `ksm` is present.
    pub ksm: bool,
}

/// Section `output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Output folder; `None`: a dated folder under `hydra_log`.
    pub folder: Option<String>,
    /// Name of the log file.
    pub log_file: String,
    /// Steps left out at the start of each block's metrics.
    pub exclude_start_steps: u64,
    /// Steps left out at the end of each epoch's metrics.
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
    /// Pass threshold of the accelerator utilisation, as a fraction.
    pub au: f64,
}

/// Section `dlio_rs`: keys that only this program reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent keys of a configuration")]
pub struct DlioRs {
    /// How the other keys are understood.
    pub dialect: Dialect,
    /// Registry directory of `dlio-rs serve`; its endpoints replace a list.
    pub registry: Option<String>,
    /// Whether data and checkpoint folders are meant to be each node's own.
    pub node_local: bool,
    /// How ranks are mapped to endpoints; `None`: the dialect's default.
    pub endpoint_mapping: Option<EndpointMapping>,
    /// Which S3 client carries the data.
    pub s3_client: S3Client,
    /// Operations in flight per reader lane.
    pub inflight_per_reader: u32,
    /// Files in flight per rank while generating.
    pub generate_inflight: u32,
    /// What is done with a sample besides reading it.
    pub decode: Decode,
    /// What the content of samples is compared with.
    pub verify_by: VerifyBy,
    /// What becomes of files of another shape.
    pub shape_mismatch: ShapeMismatch,
    /// Seed of the payload bytes.
    pub payload_seed: u64,
    /// Objects of at least this many bytes are written in parts.
    pub multipart_threshold: u64,
    /// Bytes per part, at least 5 MiB.
    pub multipart_part_size: u64,
    /// Parts in flight per object.
    pub multipart_concurrency: u32,
    /// Seconds without a byte after which one attempt of an S3 request is given up.
    pub request_timeout_seconds: f64,
    /// Seconds that making a connection may take.
    pub connect_timeout_seconds: f64,
    /// Seconds without a byte after which an S3 operation ends the run.
    pub retry_for: f64,
    /// What happens to requests to an endpoint that does not answer.
    pub on_endpoint_failure: EndpointFailure,
    /// Write the Parquet trace.
    pub trace: bool,
    /// Generated files are written with `O_DIRECT`.
    pub generate_odirect: bool,
    /// Blocks of a checkpoint's file that are read at the same time; `None`: as the storage and the dialect have it.
    pub checkpoint_read_blocks: Option<u32>,
    /// Largest single read of a checkpoint's file, bytes; `None`: as the storage and the dialect have it.
    pub checkpoint_read_bytes: Option<u64>,
    /// How objects and files are asked for.
    pub requests: Requests,
    /// Most threads that the machine's size stands for; `None`: 8 readers, 32 writers.
    pub max_auto_threads: Option<u32>,
    /// One rank of every node drops the page cache before each epoch.
    pub drop_caches: bool,
    /// Seconds that this may take.
    pub drop_caches_timeout_seconds: u32,
    /// What does not fit on a local file system is refused before its first byte is written.
    pub space_check: bool,
}

/// How objects and files are asked for, after `dlio_rs.client_profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Ask for the size of an object before it is read whole for the first time.
    pub head_before_get: bool,
    /// Objects of at least this many bytes are read in concurrent ranges; `None`: none is.
    pub split_threshold: Option<u64>,
    /// Bytes of such a range; `None`: from the object's size.
    pub split_chunk: Option<u64>,
    /// Such ranges of one object in flight; `None`: from the object's size and the machine.
    pub split_concurrency: Option<u32>,
    /// Bytes per read with `O_DIRECT`; `None`: the storage's own.
    pub direct_chunk: Option<u64>,
}
