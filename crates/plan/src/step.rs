//! The work of a reader lane for one step.

/// The part of one step's batch that one lane reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStep {
    /// Step within the epoch or evaluation, from 1.
    pub step: u64,
    /// Samples in reading order; empty if the loader delivers batches without data.
    pub samples: Vec<SampleRead>,
    /// The reference reads this batch and waits for it, but does not compute on it: with this batch, its loop notices
    /// the limit.
    pub surplus: bool,
}

/// The read of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleRead {
    /// Global number of the sample within its split.
    pub index: u64,
    /// Combined number of the file.
    pub file: u64,
    /// Number of the sample within its file.
    pub sample: u64,
}
