//! The data set that holds no data: every file is the decimal number of itself, and reading looks at nothing.

use crate::encode::Encoder;
use crate::encode::Piece;
use crate::shape::FileShape;

pub(crate) fn encoder(shape: &FileShape) -> Encoder {
    Encoder::pieces([Piece::bytes(shape.file.to_string().into_bytes())])
}
