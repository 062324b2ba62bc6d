//! The shape of one dataset file.

/// The number and the shape of one dataset file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileShape<'a> {
    /// Combined number of the file (training files, then evaluation files), which selects its payload.
    pub file: u64,
    /// Shape of one sample.
    pub dims: &'a [u64],
    /// Number of samples in the file.
    pub samples: u64,
}
