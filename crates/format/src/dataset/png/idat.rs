//! The image data of a PNG file: the layout of its rows, and the IDAT chunks that hold them.

use super::chunk::{CHUNK, FRAME};
use crate::buffer::{Batch, clamp};
use crate::crc::Crc32;
use crate::dataset::image::Dims;
use crate::payload::Stream;

/// Size of an IDAT chunk's data in bytes, which is Pillow's buffer size.
const IDAT: usize = 64 * 1024;
/// Size of a stored deflate block in bytes; a file of at most this size has exactly the length that Pillow gives it.
const BLOCK: u64 = 16 * 1024;
/// zlib's header (32 KiB window, no dictionary).
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];
const ZLIB: u64 = 2 + 4;

/// The layout of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImagePlan {
    pub(super) dims: Dims,
    /// Number of rows of zeros at the end.
    pub(super) flat_rows: u64,
    /// Length of the padding chunk in bytes, including its frame.
    pub(super) padding: u64,
}

impl ImagePlan {
    pub(super) fn new(dims: Dims) -> Self {
        Self { dims, flat_rows: 0, padding: 0 }
    }

    /// Returns the length of a row in bytes: filter byte and pixels.
    fn row(&self) -> u64 {
        self.dims.width + 1
    }

    fn noise(&self) -> u64 {
        (self.dims.height - self.flat_rows) * self.row()
    }

    fn flat(&self) -> u64 {
        self.flat_rows * self.row()
    }

    fn zlib_bytes(&self) -> u64 {
        let tail = ZeroRows::new(self.flat()).map_or(0, |tail| tail.bytes());
        ZLIB + self.noise() + self.noise().div_ceil(BLOCK) * 5 + tail
    }

    pub(super) fn bytes(&self) -> u64 {
        let zlib = self.zlib_bytes();
        FRAME + zlib + zlib.div_ceil(IDAT as u64) * CHUNK + self.padding
    }

    /// Returns the plan with the fewest rows of zeros whose file has exactly `wanted` bytes.
    pub(super) fn exactly(dims: Dims, wanted: u64) -> Option<Self> {
        let plan = |flat_rows| Self { flat_rows, ..Self::new(dims) };
        let (mut low, mut high) = (0, dims.height);
        while low < high {
            let middle = low + (high - low) / 2;
            if plan(middle).bytes() <= wanted { high = middle } else { low = middle + 1 }
        }
        (low..=dims.height.min(low + CHUNK)).map(plan).find_map(|plan| {
            let padding = wanted.checked_sub(plan.bytes())?;
            (padding == 0 || padding >= CHUNK).then_some(Self { padding, ..plan })
        })
    }
}

/// An encoder of the IDAT chunks of an image.
#[derive(Debug, Clone)]
pub(crate) struct IdatChunks {
    row: u64,
    pixels: Stream,
    /// Remaining bytes of noise rows, including filter bytes.
    noise: u64,
    column: u64,
    flat: u64,
    tail: Option<ZeroRows>,
    /// Running Adler-32 of the rows.
    adler: u32,
    /// Bytes of the zlib stream that are not yet in a chunk.
    zlib: Vec<u8>,
    zlib_left: u64,
    /// The current chunk.
    chunk: Batch,
    left: u64,
}

impl IdatChunks {
    pub(super) fn new(plan: ImagePlan, pixels: Stream) -> Self {
        let zlib_left = plan.zlib_bytes();
        Self {
            row: plan.row(),
            pixels,
            noise: plan.noise(),
            column: 0,
            flat: plan.flat(),
            tail: ZeroRows::new(plan.flat()),
            adler: 1,
            zlib: ZLIB_HEADER.to_vec(),
            zlib_left,
            chunk: Batch::default(),
            left: zlib_left + zlib_left.div_ceil(IDAT as u64) * CHUNK,
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes. `buffer` must not be longer than what remains.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        self.left -= buffer.len() as u64;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.fill(buffer, |out| self.next_chunk(out));
        self.chunk = chunk;
    }

    fn next_chunk(&mut self, chunk: &mut Vec<u8>) {
        let length = clamp(self.zlib_left, IDAT);
        while self.zlib.len() < length {
            self.next_block();
        }
        chunk.extend((length as u32).to_be_bytes());
        chunk.extend(b"IDAT");
        chunk.extend(self.zlib.drain(..length));
        let mut crc = Crc32::new();
        crc.update(&chunk[4..]);
        chunk.extend(crc.value().to_be_bytes());
        self.zlib_left -= length as u64;
    }

    /// Appends the next part of the zlib stream: a stored block, a part of the rows of zeros, or the checksum.
    fn next_block(&mut self) {
        if self.noise > 0 {
            let length = self.noise.min(BLOCK);
            self.noise -= length;
            let last = self.noise == 0 && self.tail.is_none();
            let (size, complement) = ((length as u16).to_le_bytes(), (!(length as u16)).to_le_bytes());
            self.zlib.push(u8::from(last));
            self.zlib.extend(size);
            self.zlib.extend(complement);
            let start = self.zlib.len();
            self.zlib.resize(start + length as usize, 0);
            fill_rows(&mut self.pixels, self.row, &mut self.column, &mut self.zlib[start..]);
            self.adler = adler(self.adler, &self.zlib[start..]);
            return;
        }
        if let Some(tail) = &mut self.tail {
            if tail.next(&mut self.zlib) {
                return;
            }
            self.tail = None;
            let zeros = [0; 4096];
            while self.flat > 0 {
                let count = clamp(self.flat, zeros.len());
                self.adler = adler(self.adler, &zeros[..count]);
                self.flat -= count as u64;
            }
        }
        self.zlib.extend(self.adler.to_be_bytes());
    }
}

fn adler(checksum: u32, bytes: &[u8]) -> u32 {
    let mut sum = simd_adler32::Adler32::from_checksum(checksum);
    sum.write(bytes);
    sum.finish()
}

/// Fills rows of noise: a filter byte of zero, then pixels.
fn fill_rows(pixels: &mut Stream, row: u64, column: &mut u64, mut target: &mut [u8]) {
    while !target.is_empty() {
        if *column == 0 {
            target[0] = 0;
            *column = 1;
            target = &mut target[1..];
        }
        let count = clamp(row - *column, target.len());
        let (front, back) = target.split_at_mut(count);
        pixels.fill(front);
        *column = (*column + count as u64) % row;
        target = back;
    }
}

/// The last deflate block of an image that ends in zeros: fixed codes, literals, and copies of 258 bytes.
#[derive(Debug, Clone)]
struct ZeroRows {
    literals: u64,
    copies: u64,
    bits: u64,
    held: u32,
    begun: bool,
    ended: bool,
}

/// Length of the longest copy in bytes.
const COPY: u64 = 258;

impl ZeroRows {
    /// Creates the block for this many zeros, or `None` for no zeros.
    fn new(zeros: u64) -> Option<Self> {
        let rest = zeros.checked_sub(1)?;
        let (literals, copies) = (1 + rest % COPY, rest / COPY);
        Some(Self { literals, copies, bits: 0, held: 0, begun: false, ended: false })
    }

    fn bytes(&self) -> u64 {
        (3 + 8 * self.literals + 13 * self.copies + 7).div_ceil(8)
    }

    /// Appends bytes; returns false when all are written.
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.ended {
            return false;
        }
        if !self.begun {
            self.begun = true;
            // Last block, fixed codes; then literals 0, whose code is 00110000 with the first bit first.
            self.put(0b011, 3, out);
            for _ in 0..self.literals {
                self.put(0b0000_1100, 8, out);
            }
        }
        let now = self.copies.min(8192);
        for _ in 0..now {
            // Length 258 is 11000101, distance 1 is 00000; first bits first.
            self.put(0b0_0000_1010_0011, 13, out);
        }
        self.copies -= now;
        if self.copies == 0 {
            self.ended = true;
            self.put(0, 7, out);
            let rest = (8 - self.held % 8) % 8;
            self.put(0, rest, out);
        }
        true
    }

    fn put(&mut self, value: u64, count: u32, out: &mut Vec<u8>) {
        self.bits |= value << self.held;
        self.held += count;
        while self.held >= 8 {
            out.push(self.bits as u8);
            self.bits >>= 8;
            self.held -= 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_length_is_met_to_the_byte() {
        for (height, width) in [(568, 568), (64, 64), (40, 1000), (1000, 40), (33, 35), (2000, 3), (20, 500_000)] {
            let dims = Dims { height, width };
            let plan = ImagePlan::exactly(dims, dims.pixels()).unwrap();
            assert_eq!(plan.bytes(), dims.pixels(), "{height} x {width}");
            let rows = IdatChunks::new(
                plan,
                crate::payload::Payload::new(1).stream(0, crate::payload::Element::Raw, u64::MAX),
            );
            assert_eq!(rows.remaining() + FRAME + plan.padding, dims.pixels());
        }
        assert_eq!(ImagePlan::exactly(Dims { height: 5, width: 5 }, 25), None);
    }

    #[test]
    fn few_rows_of_an_image_of_a_wanted_length_are_flat() {
        let dims = Dims { height: 568, width: 568 };
        assert_eq!(ImagePlan::exactly(dims, dims.pixels()).unwrap().flat_rows, 2);
    }
}
