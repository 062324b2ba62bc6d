//! Errors of planning.

use dlio_config::vocabulary::{DataLoader, Sampler};

/// The workload cannot be planned. The message says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `World::size` is 0.
    #[error("a world has at least one rank, but 0 were given")]
    EmptyWorld,
    /// A count is 0 and must not be.
    #[error("{key} is 0, expected at least 1")]
    Zero {
        /// The key of the count.
        key: &'static str,
    },
    /// More steps are requested than one epoch has.
    #[error(
        "Only have enough data for {available} steps but {wanted} wanted: lower train.total_training_steps to at most \
         {available}, or raise dataset.num_files_train or dataset.num_samples_per_file"
    )]
    TooFewSteps {
        /// Steps per epoch.
        available: u64,
        /// Value of `train.total_training_steps`.
        wanted: u64,
    },
    /// There are more reader threads than samples; the reference would divide by zero.
    #[error(
        "reader.read_threads is {threads}, but a rank has only {samples} samples of `{folder}`: every reader thread of \
         the tensorflow loader needs at least one; use at most {samples} threads, fewer ranks or more samples"
    )]
    MoreThreadsThanSamples {
        /// Value of `reader.read_threads`.
        threads: u64,
        /// Samples per rank.
        samples: u64,
        /// Folder of the split.
        folder: &'static str,
    },
    /// The data loader cannot be imitated.
    #[error("Data Loader {loader} not supported or plugins not found: use pytorch, tensorflow, dali or synthetic")]
    Loader {
        /// Value of `reader.data_loader`.
        loader: DataLoader,
    },
    /// The data loader does not support the sampler.
    #[error(
        "reader.data_loader {loader} takes its samples from the {expected} sampler, but reader.data_loader_sampler is \
         {sampler}; leave the sampler out or set it to {expected}"
    )]
    LoaderSampler {
        /// Value of `reader.data_loader`.
        loader: DataLoader,
        /// Value of `reader.data_loader_sampler`.
        sampler: Sampler,
        /// The sampler that the loader supports.
        expected: Sampler,
    },
    /// There are more items than a shuffled order can number.
    #[error("{what} are {count}, but an order shuffled as numpy does holds at most {} of them", u32::MAX)]
    TooManyToShuffle {
        /// The items that are shuffled.
        what: &'static str,
        /// Number of items.
        count: u64,
    },
    /// A product of counts exceeds 64 bits.
    #[error("{what} exceed 2^64; lower the file or sample counts")]
    Overflow {
        /// The quantity that was counted.
        what: &'static str,
    },
    /// The number of ranks is not a multiple of the number of parts of the model.
    #[error(
        "Number of processes {size} is not a multiple of model parallelism size: {parts} (model.parallelism.tensor \
         {tensor} x pipeline {pipeline}); start a multiple of {parts} ranks, or use `checkpoint.mode: subset` with \
         model.parallelism.data"
    )]
    NotAMultiple {
        /// Number of ranks.
        size: u64,
        /// Degree of tensor parallelism.
        tensor: u64,
        /// Degree of pipeline parallelism.
        pipeline: u64,
        /// Product of the two degrees.
        parts: u64,
    },
    /// There are more ranks than the model has, although the ranks are a subset of the model.
    #[error(
        "Comm size: {size} is larger than 3D parallelism size: {ranks} (model.parallelism.tensor {tensor} x pipeline \
         {pipeline} x data {data}); start at most {ranks} ranks, or raise model.parallelism.data"
    )]
    LargerThanModel {
        /// Number of ranks.
        size: u64,
        /// Degree of tensor parallelism.
        tensor: u64,
        /// Degree of pipeline parallelism.
        pipeline: u64,
        /// Degree of data parallelism.
        data: u64,
        /// Product of the three degrees.
        ranks: u128,
    },
    /// The model has more layers than a checkpoint can list.
    #[error("model.num_layers is {layers}, expected at most {limit}")]
    TooManyLayers {
        /// Value of `model.num_layers`.
        layers: i64,
        /// Largest supported number of layers.
        limit: i64,
    },
    /// The model is too large for its sizes to be computed.
    #[error("{key} describes a checkpoint of 2^60 bytes or more; lower its sizes")]
    ModelTooLarge {
        /// The key or section.
        key: &'static str,
    },
}
