//! JPEG as Pillow writes noise: one grayscale image, baseline, quality 75, JFIF 1.1, standard Huffman tables.
//!
//! Noise needs no transform: the coefficients of white noise are noise themselves, so they are drawn and not
//! computed. A block is one of a few hundred prepared bit strings (see [`blocks`]) whose magnitude bits, about half
//! of them, are payload. The length of a file depends only on its shape: shorter or longer blocks are chosen so that
//! the scan gets the length that was fixed before its first byte, and the last block has exactly the bits that
//! remain.

mod blocks;
mod read;
pub(crate) mod scan;

use super::image::{self, Dims};
use crate::encode::{Encoder, Piece};
use crate::error::Error;
use crate::layout::Layout;
use crate::payload::{Element, Stream};
use crate::shape::FileShape;
use blocks::{FLAT_BITS, WORDS};
use scan::{SLACK, Scan};

pub(crate) use read::Reader;

/// Maximum side length in pixels that libjpeg accepts.
const SIDE_MAX: u64 = 65_500;
/// Hundredths of a byte that Pillow needs for a block of noise.
const WHOLE: u64 = 3551;
/// Hundredths of a byte for an edge block with 1 to 7 columns or rows of the image; the others repeat the last one.
const PARTIAL: [u64; 7] = [1460, 2898, 3253, 3400, 3478, 3545, 3551];
/// Start of image, JFIF 1.1 without a density or thumbnail.
const START: [u8; 20] = *b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
/// Scan header: one component, spectral selection 0 to 63.
const SCAN: [u8; 10] = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];
const END: [u8; 2] = [0xff, 0xd9];
/// Length in bytes of a comment's marker and length field.
const COMMENT: u64 = 4;
const TEXT_MAX: u64 = 65_533;
pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let dims = Dims::new(shape, SIDE_MAX)?;
    let front = front(dims);
    let frame = (front.len() + SCAN.len() + END.len()) as u64;
    let (rows, columns) = (dims.height.div_ceil(8), dims.width.div_ceil(8));
    let count = rows * columns;
    let natural = natural_bytes(dims);
    let (scan_bytes, comments) = match image::wanted_length(layout, dims) {
        None => (natural, 0),
        Some(wanted) => {
            let smallest = (count * FLAT_BITS).div_ceil(8) + SLACK;
            let room = wanted.checked_sub(frame).filter(|&room| room >= smallest);
            let room = room.ok_or_else(|| image::too_small(shape, wanted, frame + smallest))?;
            // A remainder that is too small for a comment is added to the scan.
            if room < natural + COMMENT { (room, 0) } else { (natural, room - natural) }
        }
    };
    let payload = layout.payload.stream(shape.file, Element::Raw, u64::MAX);
    let scan = Scan::new(payload.clone(), count, scan_bytes);
    let mut pieces = vec![Piece::bytes(front)];
    pieces.extend(self::comments(comments, &payload, count * WORDS as u64 * 8));
    pieces.push(Piece::bytes(SCAN.to_vec()));
    pieces.push(Piece::Scan(Box::new(scan)));
    pieces.push(Piece::bytes(END.to_vec()));
    Ok(Encoder::pieces(pieces))
}

/// Returns the length in bytes of a scan like Pillow's.
fn natural_bytes(dims: Dims) -> u64 {
    let edge = |side: u64| PARTIAL.get((side % 8).wrapping_sub(1) as usize).copied().unwrap_or(0);
    let (rows, columns) = (dims.height / 8, dims.width / 8);
    let (right, bottom) = (edge(dims.width), edge(dims.height));
    (rows * columns * WHOLE + rows * right + columns * bottom + right * bottom / WHOLE).div_ceil(100)
}

/// Returns everything before the comments and the scan.
fn front(dims: Dims) -> Vec<u8> {
    let mut bytes = START.to_vec();
    bytes.extend([0xff, 0xdb, 0, 67, 0]);
    bytes.extend(blocks::QUANTIZERS);
    // Baseline, 8 bits per sample, one component without subsampling.
    bytes.extend([0xff, 0xc0, 0, 11, 8]);
    bytes.extend((dims.height as u16).to_be_bytes());
    bytes.extend((dims.width as u16).to_be_bytes());
    bytes.extend([1, 1, 0x11, 0]);
    for table in [&blocks::DC_TABLE[..], &blocks::AC_TABLE[..]] {
        bytes.extend([0xff, 0xc4]);
        bytes.extend((table.len() as u16 + 2).to_be_bytes());
        bytes.extend(table);
    }
    bytes
}

/// Returns comment segments of payload that take `left` bytes, from byte `from` of the payload on.
fn comments(mut left: u64, payload: &Stream, mut from: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while left > 0 {
        let mut text = (left - COMMENT).min(TEXT_MAX);
        // The remainder is zero or large enough for another segment.
        let rest = left - COMMENT - text;
        if (1..COMMENT).contains(&rest) {
            text -= COMMENT;
        }
        pieces.push(Piece::bytes([[0xff, 0xfe], (text as u16 + 2).to_be_bytes()].concat()));
        if text > 0 {
            pieces.push(Piece::payload(payload.range(from, from + text)));
        }
        from += text;
        left -= COMMENT + text;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    #[test]
    fn comments_fill_any_room_of_four_bytes_or_more() {
        let payload = Payload::new(1).stream(0, Element::Raw, u64::MAX);
        for room in (4..20).chain(65_530..65_560).chain(131_070..131_090) {
            let mut encoder = Encoder::pieces(comments(room, &payload, 0));
            assert_eq!(encoder.len(), room);
            let mut bytes = vec![0; room as usize];
            encoder.fill(&mut bytes);
            let mut at = 0;
            while at < bytes.len() {
                assert_eq!(bytes[at..at + 2], [0xff, 0xfe], "{room} at {at}");
                at += 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            }
            assert_eq!(at, bytes.len());
        }
    }
}
