//! Access methods of indexed binary files.

/// How the samples of an indexed binary file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Exactly the bytes of the sample.
    Range,
    /// The pages that contain the sample, as a memory map loads them when its bytes are used.
    Pages,
    /// No bytes, as with a memory map whose bytes are never used: the reference's reader creates a view and drops it.
    View,
}
