//! Kinds of data loaders and the counts of a split, shared by the reading order and the dialects.

/// Kind of data loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoaderKind {
    /// Reads by global sample index (pytorch, dali).
    Index,
    /// Reads per reader thread (tensorflow).
    Iterative,
    /// Reads TFRecord streams (tensorflow).
    Streams,
    /// Reads whole files or row groups that are assigned to the lanes (pytorch in the mlperf dialect).
    Iterable,
    /// Delivers batches without data (the synthetic loader and the synthetic format).
    Blank,
}

/// Counts of one split.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Number of files that are read; trimmed in the `dlio` dialect.
    pub(crate) files: u64,
    /// Number of files in the configuration.
    pub(crate) configured: u64,
    pub(crate) batch_size: u64,
    /// Combined number of the first file of the split.
    pub(crate) base: u64,
}

/// Steps per epoch of one split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitSteps {
    /// Steps that follow from the configured counts.
    pub(crate) configured: u64,
    /// Steps that the files allow.
    pub(crate) full: u64,
    /// Steps that are run.
    pub(crate) run: u64,
    /// Batches after the last step that are read and dropped.
    pub(crate) ahead: u64,
}
