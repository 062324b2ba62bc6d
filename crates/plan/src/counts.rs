//! The kinds of loaders, and the counts of a split: what reading and the dialects share.

/// What kind of loader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By global sample index (pytorch, dali).
    Index,
    /// Per reader thread (tensorflow).
    Iterative,
    /// TFRecord streams (tensorflow).
    Streams,
    /// Whole files or row groups, dealt to the lanes (pytorch in the mlperf dialect).
    Iterable,
    /// Batches without data (the synthetic loader, the synthetic format).
    Blank,
}

/// The counts of one split.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Files that are read from: trimmed in the `dlio` dialect.
    pub(crate) files: u64,
    /// Files as configured.
    pub(crate) configured: u64,
    pub(crate) batch_size: u64,
    /// Combined number of the first file.
    pub(crate) base: u64,
}

/// Steps of one epoch of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitSteps {
    /// As the configured counts have it.
    pub(crate) configured: u64,
    /// What the files that are read allow.
    pub(crate) full: u64,
    /// What is run.
    pub(crate) run: u64,
    /// Batches after these that are read and dropped.
    pub(crate) ahead: u64,
}
