//! One read that a lane asks for when it reads pieces of files rather than samples.

use dlio_plan::Piece;

/// A read that is done from opening to closing by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    /// Returns the footer of a file by combined number, if it is known.
    Footer(u64),
    /// Samples of a file: row groups, or the whole file.
    Piece(Piece),
}

impl Request {
    /// Combined number of the file.
    pub(crate) fn file(self) -> u64 {
        match self {
            Self::Footer(file) => file,
            Self::Piece(piece) => piece.file,
        }
    }

    /// Number of samples that the read brings.
    pub(crate) fn samples(self) -> u64 {
        match self {
            Self::Footer(_) => 0,
            Self::Piece(piece) => piece.samples,
        }
    }
}
