//! Progress of a file that is read whole.

use crate::need::Need;

/// The progress of the single read of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No sample has been requested.
    Idle,
    /// The file is to be read.
    Wanted,
    /// The file has been read without an error.
    Done,
}

impl Progress {
    pub(crate) fn ask(&mut self) {
        if *self == Self::Idle {
            *self = Self::Wanted;
        }
    }

    pub(crate) fn need(self) -> Need {
        if self == Self::Wanted { Need::Bytes { offset: 0, len: None } } else { Need::Done }
    }
}
