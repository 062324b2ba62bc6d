//! What a reader lane does for one step.

/// The part of one step's batch that one lane reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStep {
    /// Step within the epoch (or the evaluation), from 1.
    pub step: u64,
    /// The samples, in the order in which they are read. Empty where the loader makes batches without data.
    pub samples: Vec<SampleRead>,
    /// Read and waited for by the reference, but never computed on: the batch with which its loop notices the limit.
    pub surplus: bool,
}

/// One sample to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleRead {
    /// Global number of the sample within its split.
    pub index: u64,
    /// Combined number of the file.
    pub file: u64,
    /// Number of the sample in its file.
    pub sample: u64,
}
