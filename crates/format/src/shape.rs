//! The shape of one dataset file.

/// The shape of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileShape<'a> {
    /// Combined number of the file (train files, then evaluation files): decides its payload.
    pub file: u64,
    /// Shape of one sample.
    pub dims: &'a [u64],
    /// Samples in the file.
    pub samples: u64,
}
