//! The one encoder type: a queue of pieces, or a stream of TFRecord frames or Parquet pages.

use std::collections::VecDeque;

use crate::checkpoint::Archive;
use crate::crc::Sealed;
use crate::csv::Text;
use crate::hdf5::{Array, Packed, Tiles};
use crate::jpeg::Scan;
use crate::parquet::{Made, Pages};
use crate::payload::Stream;
use crate::png::Rows;
use crate::squeeze::Squeezed;
use crate::tfrecord::{Frames, Lines};

/// Produces the bytes of one file, front to back.
#[derive(Debug, Clone)]
pub struct Encoder {
    len: u64,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Pieces(VecDeque<Piece>),
    Frames(Box<Frames>),
    Lines(Lines),
    Archive(Box<Archive>),
    Pages(Box<Pages>),
}

/// A run of bytes of a file.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// These bytes, from the cursor on.
    Bytes(Vec<u8>, usize),
    /// This many zero bytes.
    Zeros(u64),
    /// Payload.
    Payload(Stream),
    /// Payload with a CRC-32 that was chosen before.
    Sealed(Box<Sealed>),
    /// Numbers of 64 bits.
    Numbers(Numbers),
    /// The IDAT chunks of a PNG image.
    Rows(Box<Rows>),
    /// The scan of a JPEG image.
    Scan(Box<Scan>),
    /// CSV text.
    Text(Box<Text>),
    /// A compressed part.
    Squeezed(Box<Squeezed>),
    /// Values of a Parquet page that are not payload as it is.
    Values(Box<Made>),
    /// The chunks of an HDF5 dataset.
    Tiles(Box<Tiles>),
    /// Compressed chunks of an HDF5 dataset.
    Packed(Box<Packed>),
    /// The index of its chunks.
    Array(Box<Array>),
}

/// `count` unsigned 64-bit numbers, little-endian: 0, `step`, 2 · `step` … or, with step 0, all `first`.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    first: u64,
    step: u64,
    position: u64,
    end: u64,
}

impl Numbers {
    pub(crate) fn new(first: u64, step: u64, count: u64) -> Self {
        Self { first, step, position: 0, end: count.saturating_mul(8) }
    }

    /// A number over and over, for this many bytes, the last one cut off where they end.
    pub(crate) fn repeated(number: u64, bytes: u64) -> Self {
        Self { first: number, step: 0, position: 0, end: bytes }
    }

    /// The number at the position.
    fn next(&self) -> [u8; 8] {
        self.first.wrapping_add(self.step.wrapping_mul(self.position / 8)).to_le_bytes()
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        let inside = (self.position % 8) as usize;
        let head = buffer.len().min((8 - inside) % 8);
        let (front, rest) = buffer.split_at_mut(head);
        front.copy_from_slice(&self.next()[inside..inside + head]);
        self.position += head as u64;
        let (words, tail) = rest.as_chunks_mut::<8>();
        let mut number = u64::from_le_bytes(self.next());
        for word in &mut *words {
            *word = number.to_le_bytes();
            number = number.wrapping_add(self.step);
        }
        self.position += 8 * words.len() as u64;
        let next = self.next();
        tail.copy_from_slice(&next[..tail.len()]);
        self.position += tail.len() as u64;
    }
}

impl Piece {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes, 0)
    }

    pub(crate) fn remaining(&self) -> u64 {
        match self {
            Piece::Bytes(bytes, cursor) => (bytes.len() - cursor) as u64,
            Piece::Zeros(left) => *left,
            Piece::Payload(stream) => stream.remaining(),
            Piece::Sealed(sealed) => sealed.remaining(),
            Piece::Numbers(numbers) => numbers.end - numbers.position,
            Piece::Rows(rows) => rows.remaining(),
            Piece::Scan(scan) => scan.remaining(),
            Piece::Text(text) => text.remaining(),
            Piece::Squeezed(squeezed) => squeezed.remaining(),
            Piece::Values(values) => values.remaining(),
            Piece::Tiles(tiles) => tiles.remaining(),
            Piece::Packed(packed) => packed.remaining(),
            Piece::Array(array) => array.remaining(),
        }
    }

    /// Bytes written; 0 when the piece is spent or the buffer empty.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let count = clamp(self.remaining(), buffer.len());
        let target = &mut buffer[..count];
        match self {
            Piece::Bytes(bytes, cursor) => {
                target.copy_from_slice(&bytes[*cursor..*cursor + count]);
                *cursor += count;
            }
            Piece::Zeros(left) => {
                target.fill(0);
                *left -= count as u64;
            }
            Piece::Payload(stream) => {
                stream.fill(target);
            }
            Piece::Sealed(sealed) => sealed.fill(target),
            Piece::Numbers(numbers) => numbers.fill(target),
            Piece::Rows(rows) => rows.fill(target),
            Piece::Scan(scan) => scan.fill(target),
            Piece::Text(text) => text.fill(target),
            Piece::Squeezed(squeezed) => squeezed.fill(target),
            Piece::Values(values) => values.fill(target),
            Piece::Tiles(tiles) => tiles.fill(target),
            Piece::Packed(packed) => packed.fill(target),
            Piece::Array(array) => array.fill(target),
        }
        count
    }
}

/// Bytes that are made in batches and handed out in pieces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    written: usize,
}

impl Batch {
    /// The first batch.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, written: 0 }
    }

    /// Fills the buffer; `next` makes the next batch in a place that is empty.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8], mut next: impl FnMut(&mut Vec<u8>)) {
        while !buffer.is_empty() {
            if self.written == self.bytes.len() {
                self.bytes.clear();
                next(&mut self.bytes);
                self.written = 0;
            }
            let ready = &self.bytes[self.written..];
            let count = ready.len().min(buffer.len());
            let (front, back) = buffer.split_at_mut(count);
            front.copy_from_slice(&ready[..count]);
            self.written += count;
            buffer = back;
        }
    }
}

/// The smaller of a number of bytes left in a file and of the room in a buffer.
pub(crate) fn clamp(left: u64, room: usize) -> usize {
    usize::try_from(left).map_or(room, |left| left.min(room))
}

impl Encoder {
    pub(crate) fn pieces(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let pieces: VecDeque<Piece> = pieces.into_iter().collect();
        Self { len: pieces.iter().map(Piece::remaining).sum(), source: Source::Pieces(pieces) }
    }

    pub(crate) fn frames(len: u64, frames: Frames) -> Self {
        Self { len, source: Source::Frames(Box::new(frames)) }
    }

    pub(crate) fn archive(len: u64, archive: Archive) -> Self {
        Self { len, source: Source::Archive(Box::new(archive)) }
    }

    pub(crate) fn lines(len: u64, lines: Lines) -> Self {
        Self { len, source: Source::Lines(lines) }
    }

    pub(crate) fn pages(len: u64, pages: Pages) -> Self {
        Self { len, source: Source::Pages(Box::new(pages)) }
    }

    /// Length of the whole file in bytes, however much of it has been produced.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the whole file has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the next bytes of the file to the front of `buffer` and returns how many: the whole buffer, unless the
    /// file ends before that; 0 at the end of the file.
    pub fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buffer.len() {
            let room = &mut buffer[filled..];
            let count = match &mut self.source {
                Source::Pieces(pieces) => {
                    let Some(piece) = pieces.front_mut() else { break };
                    let count = piece.fill(room);
                    if piece.remaining() == 0 {
                        pieces.pop_front();
                    }
                    filled += count;
                    continue;
                }
                Source::Frames(frames) => frames.fill(room),
                Source::Lines(lines) => lines.fill(room),
                Source::Archive(archive) => archive.fill(room),
                Source::Pages(pages) => pages.fill(room),
            };
            if count == 0 {
                break;
            }
            filled += count;
        }
        filled
    }
}
