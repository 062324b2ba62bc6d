//! The dataset without data: every file contains its own number in decimal, and reading it reads nothing.

use crate::encode::Encoder;
use crate::encode::Piece;
use crate::shape::FileShape;

pub(crate) fn encoder(shape: &FileShape) -> Encoder {
    Encoder::pieces([Piece::bytes(shape.file.to_string().into_bytes())])
}
