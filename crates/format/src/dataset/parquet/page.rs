//! Pages: levels and header of a data page, the dictionary of bytes, and the values themselves.
//!
//! No value is null: all definition levels are "defined", in one run. Values of one byte are written as indices into
//! a dictionary of all 256 values, so that they take one byte each instead of four; the indices are the payload
//! itself.

use super::schema::{Column, TEXT, Values};
use super::thrift::{self, Writer};
use crate::buffer::clamp;
use crate::payload::Stream;

/// Size in bytes of the values in a data page, unless a single row has more.
const PAGE: u64 = 1 << 20;
/// Encodings of Parquet.
pub(super) const PLAIN: i32 = 0;
pub(super) const RLE: i32 = 3;
pub(super) const RLE_DICTIONARY: i32 = 8;
/// Number of values in the dictionary of bytes.
const DICTIONARY: u64 = 256;
/// List length from which repetition levels are written row by row, as two runs, instead of one bit per value.
const LONG_LIST: u64 = 64;

/// The encoding of the values of a column chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageEncoding {
    Plain,
    /// Indices of one byte into the dictionary.
    Dictionary,
}

impl PageEncoding {
    /// Returns the encoding of a column chunk with `rows` rows. The dictionary makes bytes smaller unless there are
    /// few.
    pub(super) fn of(column: &Column, rows: u64) -> Self {
        let bytes = matches!(column.values, Values::Widened { bytes: 1, .. });
        if bytes && rows.saturating_mul(column.per_row()) * 3 > 4 * DICTIONARY + 64 {
            Self::Dictionary
        } else {
            Self::Plain
        }
    }
}

/// Returns the number of rows in a full page of a column.
pub(super) fn rows_per_page(column: &Column, encoding: PageEncoding) -> u64 {
    if column.values == Values::Bits {
        return PAGE * 8;
    }
    let row = match encoding {
        PageEncoding::Plain => column.values.plain(column.per_row()),
        PageEncoding::Dictionary => Some(column.per_row()),
    };
    (PAGE / row.unwrap_or(u64::MAX).max(1)).max(1)
}

/// The parts of a data page around its values.
#[derive(Debug, Clone)]
pub(super) struct PageFrame {
    /// Levels and the header of the encoded values.
    pub(super) head: Vec<u8>,
    /// Length of the values in bytes.
    pub(super) body: u64,
    /// Number of zero bytes after the values.
    pub(super) pad: u64,
    /// Number of values.
    pub(super) values: u64,
}

impl PageFrame {
    /// Creates the frame of `rows` rows, or returns `None` if they do not fit into a page.
    pub(super) fn new(column: &Column, encoding: PageEncoding, rows: u64) -> Option<Self> {
        let values = rows.checked_mul(column.per_row())?;
        let mut head = Vec::new();
        let levels = match column.list {
            Some(list) => {
                let repetition = repetition(rows, list);
                head.extend((repetition.len() as u32).to_le_bytes());
                head.extend(repetition);
                3
            }
            None => 1,
        };
        let mut defined = Vec::new();
        thrift::varint(&mut defined, values << 1);
        defined.push(levels);
        head.extend((defined.len() as u32).to_le_bytes());
        head.extend(defined);
        let (body, pad) = match encoding {
            PageEncoding::Plain => (column.values.plain(values)?, 0),
            PageEncoding::Dictionary => {
                // Bit width of an index, then one run of bit-packed groups of eight.
                head.push(8);
                thrift::varint(&mut head, values.div_ceil(8) << 1 | 1);
                (values, values.next_multiple_of(8) - values)
            }
        };
        let frame = Self { head, body, pad, values };
        i32::try_from(frame.len()).is_ok().then_some(frame)
    }

    /// Returns the uncompressed length of the page without its header, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + self.body + self.pad
    }
}

/// Returns the repetition levels of rows of equal length: 0 for the first value of a row, 1 for the others.
fn repetition(rows: u64, list: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if list < LONG_LIST {
        let values = rows * list;
        thrift::varint(&mut out, values.div_ceil(8) << 1 | 1);
        let start = out.len();
        out.resize(start + (values.div_ceil(8)) as usize, 0xFF);
        for first in (0..values).step_by(list as usize) {
            out[start + (first / 8) as usize] &= !(1 << (first % 8));
        }
        return out;
    }
    let mut row = vec![0x03, 0xFE];
    if list > 8 {
        thrift::varint(&mut row, (list - 8) << 1);
        row.push(1);
    }
    for _ in 0..rows {
        out.extend_from_slice(&row);
    }
    out
}

/// Returns the header of a data page with `compressed` bytes of data.
pub(super) fn data_header(frame: &PageFrame, encoding: PageEncoding, compressed: u64) -> Vec<u8> {
    let encoding = if encoding == PageEncoding::Dictionary { RLE_DICTIONARY } else { PLAIN };
    header(0, frame.len(), compressed, |w| {
        w.inner(5, |w| {
            w.i32(1, frame.values as i32);
            w.i32(2, encoding);
            w.i32(3, RLE);
            w.i32(4, RLE);
        });
    })
}

fn header(kind: i32, plain: u64, compressed: u64, rest: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    thrift::structure(&mut out, |w| {
        w.i32(1, kind);
        w.i32(2, plain as i32);
        w.i32(3, compressed as i32);
        rest(w);
    });
    out
}

/// Returns the dictionary page of a column of bytes, which holds all 256 values, and its length in bytes without
/// compression.
pub(super) fn dictionary(signed: bool, compress: impl FnOnce(Vec<u8>) -> Vec<u8>) -> (Vec<u8>, u64) {
    let value = |byte: u8| if signed { i32::from(byte.cast_signed()) } else { i32::from(byte) };
    let plain: Vec<u8> = (0..=255).flat_map(|byte| value(byte).to_le_bytes()).collect();
    let len = plain.len() as u64;
    let body = compress(plain);
    let mut page = header(2, len, body.len() as u64, |w| {
        w.inner(7, |w| {
            w.i32(1, DICTIONARY as i32);
            w.i32(2, PLAIN);
        });
    });
    let plain = page.len() as u64 + len;
    page.extend(body);
    (page, plain)
}

/// An encoder of plain values that differ from the payload they are generated from.
#[derive(Debug, Clone)]
pub(crate) struct PlainValues {
    values: Values,
    payload: Stream,
    /// Remaining bytes.
    left: u64,
    /// Generated values; those from the cursor on are not yet written.
    block: Vec<u8>,
    cursor: usize,
    /// Remaining bytes of the current binary value.
    inside: u64,
}

impl PlainValues {
    pub(super) fn new(values: Values, payload: Stream, left: u64) -> Self {
        Self { values, payload, left, block: Vec::new(), cursor: 0, inside: 0 }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes. `buffer` must not be longer than what remains.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        self.left -= buffer.len() as u64;
        let mut rest = buffer;
        while !rest.is_empty() {
            if self.cursor == self.block.len() && self.inside == 0 {
                self.next_block();
            }
            let count = match self.block.len() - self.cursor {
                0 => {
                    let count = clamp(self.inside, rest.len());
                    self.payload.fill(&mut rest[..count]);
                    self.inside -= count as u64;
                    count
                }
                made => {
                    let count = made.min(rest.len());
                    rest[..count].copy_from_slice(&self.block[self.cursor..self.cursor + count]);
                    self.cursor += count;
                    count
                }
            };
            rest = &mut rest[count..];
        }
    }

    fn next_block(&mut self) {
        const RAW: usize = 2048;
        let mut raw = [0; RAW];
        self.block.clear();
        self.cursor = 0;
        match self.values {
            Values::Bytes(size) => {
                self.block.extend((size as u32).to_le_bytes());
                self.inside = size;
            }
            Values::Widened { bytes: 1, signed } => {
                let count = self.payload.fill(&mut raw);
                let wide = |&byte: &u8| if signed { i32::from(byte.cast_signed()) } else { i32::from(byte) };
                self.block.extend(raw[..count].iter().map(wide).flat_map(i32::to_le_bytes));
            }
            Values::Widened { signed, .. } => {
                let count = self.payload.fill(&mut raw);
                let wide = |&number: &[u8; 2]| {
                    if signed { i32::from(i16::from_le_bytes(number)) } else { i32::from(u16::from_le_bytes(number)) }
                };
                self.block.extend(raw[..count].as_chunks::<2>().0.iter().map(wide).flat_map(i32::to_le_bytes));
            }
            Values::Texts => {
                let count = self.payload.fill(&mut raw);
                for word in raw[..count].as_chunks::<8>().0 {
                    let number = 1_000_000_000 + u64::from_le_bytes(*word) % ((1 << 31) - 1_000_000_000);
                    self.block.extend((TEXT as u32).to_le_bytes());
                    self.block.extend_from_slice(format!("s_{number}").as_bytes());
                }
            }
            // Values that are payload need no conversion.
            Values::Raw(_) | Values::Bits => self.inside = self.payload.remaining(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes a sequence of runs and bit-packed groups of bit width 1.
    fn levels(mut bytes: &[u8], count: usize) -> Vec<u8> {
        let mut levels = Vec::new();
        while levels.len() < count {
            let (mut head, mut shift) = (0_u64, 0);
            loop {
                let byte = bytes[0];
                bytes = &bytes[1..];
                head |= u64::from(byte & 127) << shift;
                shift += 7;
                if byte < 128 {
                    break;
                }
            }
            let run = usize::try_from(head >> 1).unwrap();
            if head & 1 == 1 {
                levels.extend((0..run * 8).map(|bit| bytes[bit / 8] >> (bit % 8) & 1));
                bytes = &bytes[run..];
            } else {
                levels.extend(std::iter::repeat_n(bytes[0], run));
                bytes = &bytes[1..];
            }
        }
        assert!(bytes.is_empty());
        levels
    }

    #[test]
    fn repetition_levels_mark_the_first_value_of_every_row() {
        for (rows, list) in [(1, 1), (3, 2), (10, 13), (5, 63), (3, 64), (4, 65), (2, 1000)] {
            let expected: Vec<u8> = (0..rows * list).map(|value| u8::from(value % list != 0)).collect();
            let found = levels(&repetition(rows, list), expected.len());
            assert_eq!(found[..expected.len()], expected, "{rows} rows of {list}");
            assert!(found.len() - expected.len() < 8);
        }
    }
}
