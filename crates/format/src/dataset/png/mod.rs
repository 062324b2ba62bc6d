//! PNG as Pillow writes noise: one grayscale image, 8 bits per pixel, rows unfiltered, deflate blocks stored, IDAT chunks
//! of 64 KiB.
//!
//! An encoder holds one chunk. A file of a given length (see [`image`](crate::image)) ends its image in rows of zeros,
//! which are the only ones that deflate makes smaller, and has a private chunk as padding.

mod chunk;
pub(crate) mod idat;
mod read;

use std::sync::Arc;

use super::image::{self, Dims};
use crate::encode::preset_crc::{PresetCrc, PresetPayload};
use crate::encode::{Encoder, Piece};
use crate::error::Error;
use crate::layout::Layout;
use crate::payload::Element;
use crate::shape::FileShape;
use chunk::{CHUNK, SIGNATURE, chunk};
use idat::{IdatChunks, Plan};

pub(crate) use read::Reader;

/// The largest side that the format has.
const SIDE_MAX: u64 = (1 << 31) - 1;
/// A private ancillary chunk, which every reader passes over.
const PADDING: [u8; 4] = *b"dlIo";

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let dims = Dims::new(shape, SIDE_MAX)?;
    let plan = match image::wanted_length(layout, dims) {
        None => Plan::new(dims),
        Some(wanted) => Plan::exactly(dims, wanted).ok_or_else(|| {
            let smallest = Plan { flat_rows: dims.height, ..Plan::new(dims) }.bytes();
            image::too_small(shape, wanted, smallest)
        })?,
    };
    let payload = layout.payload.stream(shape.file, Element::Raw, u64::MAX);
    let pixels = (dims.height - plan.flat_rows) * dims.width;
    let mut front = SIGNATURE.to_vec();
    front.extend(chunk(*b"IHDR", &header(dims)));
    let mut pieces = vec![Piece::bytes(front)];
    if let Some(length) = plan.padding.checked_sub(CHUNK).filter(|_| plan.padding > 0) {
        let stream = payload.range(pixels, pixels + length);
        let wanted = layout.payload.number(shape.file) as u32;
        let (body, crc) = PresetPayload::crc32(&Arc::new(PresetCrc::crc32(Element::Raw)), &PADDING, stream, wanted);
        pieces.push(Piece::bytes([(length as u32).to_be_bytes(), PADDING].concat()));
        pieces.push(Piece::Preset(Box::new(body)));
        pieces.push(Piece::bytes(crc.to_be_bytes().to_vec()));
    }
    pieces.push(Piece::IdatChunks(Box::new(IdatChunks::new(plan, payload.range(0, pixels)))));
    pieces.push(Piece::bytes(chunk(*b"IEND", &[])));
    Ok(Encoder::pieces(pieces))
}

/// Width, height, 8 bits, grayscale, and the only methods that there are.
fn header(dims: Dims) -> Vec<u8> {
    let mut bytes = (dims.width as u32).to_be_bytes().to_vec();
    bytes.extend((dims.height as u32).to_be_bytes());
    bytes.extend([8, 0, 0, 0, 0]);
    bytes
}
