//! How far the read of a file that is read whole has come.

use crate::need::Need;

/// How far the one read of a whole file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No sample was asked for.
    Idle,
    /// The file is wanted.
    Wanted,
    /// The file has been read and found good.
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
