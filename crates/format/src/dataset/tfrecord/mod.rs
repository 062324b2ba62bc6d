//! TFRecord: frames of `tf.train.Example { image: bytes, size: int64 }`, and the text index of their offsets.

pub(crate) mod frames;
mod read;

use crate::encode::Encoder;
use crate::error::Error;
use crate::layout::Layout;
use crate::shape::FileShape;
use frames::{Frame, Frames, IndexLines};

pub(crate) use read::Reader;

/// Limit of the size of a protocol buffer message in bytes.
const MESSAGE_MAX: u64 = 1 << 31;

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let image = layout.sample_bytes(shape.dims).min(1 << 62);
    let frame = Frame::new(image);
    let too_long =
        |reason: &str| Error::Shape { dims: shape.dims.to_vec(), samples: shape.samples, reason: reason.to_owned() };
    if frame.len() >= MESSAGE_MAX {
        return Err(too_long("a TFRecord example must stay below 2 GiB"));
    }
    let len = frame.len().checked_mul(shape.samples).ok_or_else(|| too_long("its size exceeds 2^64"))?;
    // Records start at whole words of the file's payload, so that no two records share bytes.
    let stride = image.next_multiple_of(8);
    let payload = layout.payload.stream(shape.file, layout.element, 0);
    Ok(Encoder::frames(len, Frames::new(frame, payload, stride, shape.samples)))
}

pub(crate) fn index_encoder(layout: &Layout, shape: &FileShape) -> Encoder {
    let frame = Frame::new(layout.sample_bytes(shape.dims).min(1 << 62)).len();
    let lines = IndexLines::new(frame, shape.samples);
    Encoder::lines(lines.len(), lines)
}
