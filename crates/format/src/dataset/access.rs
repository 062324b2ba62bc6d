//! How the samples of indexed binary files are accessed.

/// How the samples of a data file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Exactly their bytes.
    Range,
    /// The pages that they lie in, as a memory map that is looked at brings them in.
    Pages,
    /// Not at all, as a memory map that nobody looks at: the reference's reader makes a view and drops it.
    View,
}
