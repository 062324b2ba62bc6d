//! PNG as Pillow writes noise: one grayscale image, 8 bits per pixel, unfiltered rows, stored deflate blocks, IDAT
//! chunks of 64 KiB.
//!
//! An encoder holds one chunk. If the length of the file is prescribed (see `dataset::image`), the image ends in rows
//! of zeros, the only rows that deflate makes smaller, and a private chunk is added as padding.

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
use idat::{IdatChunks, ImagePlan};

pub(crate) use read::Reader;

/// Maximum side length of the format in pixels.
const SIDE_MAX: u64 = (1 << 31) - 1;
/// Type of a private ancillary chunk, which readers skip.
const PADDING: [u8; 4] = *b"dlIo";

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let dims = Dims::new(shape, SIDE_MAX)?;
    let plan = match image::wanted_length(layout, dims) {
        None => ImagePlan::new(dims),
        Some(wanted) => ImagePlan::exactly(dims, wanted).ok_or_else(|| {
            let smallest = ImagePlan { flat_rows: dims.height, ..ImagePlan::new(dims) }.bytes();
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

/// Returns the IHDR data: width, height, 8 bits, grayscale, and the only defined methods.
fn header(dims: Dims) -> Vec<u8> {
    let mut bytes = (dims.width as u32).to_be_bytes().to_vec();
    bytes.extend((dims.height as u32).to_be_bytes());
    bytes.extend([8, 0, 0, 0, 0]);
    bytes
}
