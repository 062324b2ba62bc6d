//! Why a workload has no plan.

use dlio_config::vocabulary::{DataLoader, Sampler};

/// A workload that cannot be planned; the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `World::size` is 0.
    #[error("a world has at least one rank, but 0 were given")]
    EmptyWorld,
    /// A count that must not be 0.
    #[error("{key} is 0, expected at least 1")]
    Zero {
        /// The key.
        key: &'static str,
    },
    /// More steps wanted than one epoch has.
    #[error(
        "Only have enough data for {available} steps but {wanted} wanted: lower train.total_training_steps to at most \
         {available}, or raise dataset.num_files_train or dataset.num_samples_per_file"
    )]
    TooFewSteps {
        /// Steps of one epoch.
        available: u64,
        /// `train.total_training_steps`
        wanted: u64,
    },
    /// More reader threads than samples (the reference divides by zero).
    #[error(
        "reader.read_threads is {threads}, but a rank has only {samples} samples of `{folder}`: every reader thread of \
         the tensorflow loader needs at least one; use at most {samples} threads, fewer ranks or more samples"
    )]
    MoreThreadsThanSamples {
        /// `reader.read_threads`
        threads: u64,
        /// Samples per rank.
        samples: u64,
        /// Folder of the split.
        folder: &'static str,
    },
    /// A loader that this program cannot imitate.
    #[error("Data Loader {loader} not supported or plugins not found: use pytorch, tensorflow, dali or synthetic")]
    Loader {
        /// `reader.data_loader`
        loader: DataLoader,
    },
    /// A sampler that the loader cannot work with.
    #[error(
        "reader.data_loader {loader} takes its samples from the {expected} sampler, but reader.data_loader_sampler is \
         {sampler}; leave the sampler out or set it to {expected}"
    )]
    LoaderSampler {
        /// `reader.data_loader`
        loader: DataLoader,
        /// `reader.data_loader_sampler`
        sampler: Sampler,
        /// The one that fits.
        expected: Sampler,
    },
    /// More items than a shuffled order can number.
    #[error("{what} are {count}, but an order shuffled as numpy does holds at most {} of them", u32::MAX)]
    TooManyToShuffle {
        /// What is shuffled.
        what: &'static str,
        /// How many.
        count: u64,
    },
    /// A product of counts exceeds 64 bits.
    #[error("{what} exceed 2^64; lower the file or sample counts")]
    Overflow {
        /// What was counted.
        what: &'static str,
    },
    /// The ranks are no multiple of the model's parts.
    #[error(
        "Number of processes {size} is not a multiple of model parallelism size: {parts} (model.parallelism.tensor \
         {tensor} x pipeline {pipeline}); start a multiple of {parts} ranks, or use `checkpoint.mode: subset` with \
         model.parallelism.data"
    )]
    NotAMultiple {
        /// Ranks.
        size: u64,
        /// Tensor parallelism.
        tensor: u64,
        /// Pipeline parallelism.
        pipeline: u64,
        /// Their product.
        parts: u64,
    },
    /// More ranks than the model that they are a subset of.
    #[error(
        "Comm size: {size} is larger than 3D parallelism size: {ranks} (model.parallelism.tensor {tensor} x pipeline \
         {pipeline} x data {data}); start at most {ranks} ranks, or raise model.parallelism.data"
    )]
    LargerThanModel {
        /// Ranks.
        size: u64,
        /// Tensor parallelism.
        tensor: u64,
        /// Pipeline parallelism.
        pipeline: u64,
        /// Data parallelism.
        data: u64,
        /// Their product.
        ranks: u128,
    },
    /// A model with more layers than a checkpoint can list.
    #[error("model.num_layers is {layers}, expected at most {limit}")]
    TooManyLayers {
        /// `model.num_layers`
        layers: i64,
        /// The largest number.
        limit: i64,
    },
    /// A model whose sizes cannot be counted.
    #[error("{key} describes a checkpoint of 2^60 bytes or more; lower its sizes")]
    ModelTooLarge {
        /// The key or section.
        key: &'static str,
    },
}
