//! JPEG as Pillow writes noise: one grayscale image, baseline, quality 75, JFIF 1.1, the usual Huffman tables.
//!
//! Noise needs no transform: the coefficients of white noise are noise themselves, so they are drawn, not computed. A block
//! is one of a few hundred ready-made bit strings (see [`blocks`]) whose magnitude bits, about half of them, are payload.
//! The length of a file follows from its shape alone: blocks are chosen shorter or longer so that the scan comes out at a
//! length fixed before its first byte, and the last block has exactly the bits that are left.

mod blocks;
mod read;

use crate::encode::Piece;
use crate::image::{self, Dims};
use crate::payload::{Element, Stream};
use crate::{Encoder, Error, FileShape, Layout};

use blocks::{BLOCKS, Bits, WORDS};
pub(crate) use read::Reader;

/// What libjpeg accepts.
const SIDE_MAX: u64 = 65_500;
/// Hundredths of a byte that Pillow needs for a block of noise.
const WHOLE: u64 = 3551;
/// The same for a block at the edge that has 1 to 7 columns or rows of the image; the others repeat the last one.
const PARTIAL: [u64; 7] = [1460, 2898, 3253, 3400, 3478, 3545, 3551];
/// Start of image, JFIF 1.1 without a density or thumbnail.
const START: [u8; 20] = *b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
/// One component, spectral selection 0 to 63.
const SCAN: [u8; 10] = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];
const END: [u8; 2] = [0xff, 0xd9];
/// Marker and length of a comment, and its longest text.
const COMMENT: u64 = 4;
const TEXT_MAX: u64 = 65_533;
/// Bits of the shortest block: no difference, end of block.
const FLAT_BITS: u64 = 6;
/// A block may exceed its share by this many bits before a flat one makes up for it.
const SLACK: u64 = 60;
/// Bits that any block but a flat one must find free: the longest ready-made one, its DC difference, and stuffing.
const LONGEST: u64 = 512;
/// Blocks made at a time; their bits stay in the first-level cache.
const BATCH: u64 = 64;

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
            // A rest that is too small for a comment goes to the scan.
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

/// Length of a scan that looks like Pillow's.
fn natural_bytes(dims: Dims) -> u64 {
    let edge = |side: u64| PARTIAL.get((side % 8).wrapping_sub(1) as usize).copied().unwrap_or(0);
    let (rows, columns) = (dims.height / 8, dims.width / 8);
    let (right, bottom) = (edge(dims.width), edge(dims.height));
    (rows * columns * WHOLE + rows * right + columns * bottom + right * bottom / WHOLE).div_ceil(100)
}

/// Everything in front of comments and scan.
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

/// Comment segments of payload that take this many bytes, from position `from` of the payload on.
fn comments(mut left: u64, payload: &Stream, mut from: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while left > 0 {
        let mut text = (left - COMMENT).min(TEXT_MAX);
        // What remains is nothing or enough for another segment.
        let rest = left - COMMENT - text;
        if (1..COMMENT).contains(&rest) {
            text -= COMMENT;
        }
        pieces.push(Piece::bytes([[0xff, 0xfe], (text as u16 + 2).to_be_bytes()].concat()));
        if text > 0 {
            pieces.push(Piece::Payload(payload.range(from, from + text)));
        }
        from += text;
        left -= COMMENT + text;
    }
    pieces
}

/// The entropy-coded bytes of an image.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    payload: Stream,
    /// Blocks in all and blocks made.
    count: u64,
    made: u64,
    /// Bits in all, bits that the blocks so far should have taken, and the remainder of that division.
    total: u64,
    share: u64,
    remainder: u64,
    /// DC value of the last block.
    dc: i32,
    bits: Bits,
    /// Bytes that the caller has of those in `bits`.
    written: usize,
    /// Bytes handed out before those.
    passed: u64,
    left: u64,
}

impl Scan {
    fn new(payload: Stream, count: u64, bytes: u64) -> Self {
        Self {
            payload,
            count,
            made: 0,
            total: bytes * 8,
            share: 0,
            remainder: 0,
            dc: 0,
            bits: Bits::new(),
            written: 0,
            passed: 0,
            left: bytes,
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes; the buffer is no longer than what remains.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) {
        self.left -= buffer.len() as u64;
        while !buffer.is_empty() {
            if self.written == self.bits.bytes().len() {
                self.passed += self.written as u64;
                self.bits.clear();
                self.written = 0;
                self.next_batch();
            }
            let ready = &self.bits.bytes()[self.written..];
            let count = ready.len().min(buffer.len());
            let (front, back) = buffer.split_at_mut(count);
            front.copy_from_slice(&ready[..count]);
            self.written += count;
            buffer = back;
        }
    }

    /// Bits made so far, stuffing included.
    fn used(&self) -> u64 {
        self.passed * 8 + self.bits.count()
    }

    fn next_batch(&mut self) {
        let mut noise = [[[0_u8; 8]; WORDS]; BATCH as usize];
        let now = (self.count - self.made).min(BATCH);
        if now == 0 {
            // Only a scan whose last block did not find room can come here; its length is kept.
            self.bits.fill_up();
            return;
        }
        self.payload.fill(noise[..now as usize].as_flattened_mut().as_flattened_mut());
        for words in &noise[..now as usize] {
            self.made += 1;
            if self.made == self.count {
                self.last_block();
            } else {
                self.block(&words.map(u64::from_le_bytes));
            }
        }
    }

    fn block(&mut self, words: &[u64; WORDS]) {
        let used = self.used();
        let needed = LONGEST + (self.count - self.made) * FLAT_BITS;
        if used > self.share + SLACK || self.total - used.min(self.total) < needed {
            self.bits.flat_block();
        } else {
            let block = BLOCKS.pick(words[0] as u8, used < self.share);
            // The sum of four random bytes: a deviation of 9.2 quantization steps, as the mean of a noise block has.
            let sum: i32 = (words[0] >> 8).to_le_bytes()[..4].iter().map(|&byte| i32::from(byte)).sum();
            let dc = (sum - 510) >> 4;
            self.bits.difference(dc - self.dc);
            self.dc = dc;
            self.bits.block(block, &words[1..]);
        }
        self.share += self.total / self.count;
        self.remainder += self.total % self.count;
        if self.remainder >= self.count {
            self.remainder -= self.count;
            self.share += 1;
        }
    }

    /// Ends the scan with the last bit of its last byte.
    fn last_block(&mut self) {
        self.bits.settle();
        let room = self.total.saturating_sub(self.used());
        self.bits.exact_block(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn scan(count: u64, bytes: u64) -> Vec<u8> {
        let payload = Payload::new(1).stream(count, Element::Raw, u64::MAX);
        let mut scan = Scan::new(payload, count, bytes);
        let mut buffer = vec![0; bytes as usize];
        scan.fill(&mut buffer);
        assert_eq!(scan.made, count);
        buffer
    }

    #[test]
    fn a_scan_comes_out_at_its_length_with_the_last_block() {
        for count in [1, 2, 3, 63, 64, 65, 1000, 5041, 100_000] {
            let natural = (count * WHOLE).div_ceil(100);
            for bytes in [natural, natural + 3, natural / 2 + 30, natural * 9 / 10 + 30] {
                let payload = Payload::new(1).stream(count, Element::Raw, u64::MAX);
                let mut scan = Scan::new(payload, count, bytes);
                let mut buffer = vec![0; bytes as usize];
                scan.fill(&mut buffer);
                assert_eq!(scan.made, count, "{count} blocks in {bytes} bytes");
                assert_eq!(scan.used(), bytes * 8, "{count} blocks in {bytes} bytes");
            }
        }
    }

    #[test]
    fn every_byte_of_ones_is_stuffed() {
        let bytes = scan(20_000, 20_000 * WHOLE / 100);
        assert!(bytes.windows(2).all(|pair| pair[0] != 0xff || pair[1] == 0));
        assert!(bytes.contains(&0xff));
    }

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
