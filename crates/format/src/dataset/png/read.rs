//! A reader of PNG files, which walks the chunks and compares the dimensions. At check level `Full` it also computes
//! the checksums, inflates the image and undoes the row filters, holding two rows.

use crate::buffer::clamp;
use flate2::{Decompress, FlushDecompress, Status};

use super::super::image::{self, Dims};
use super::super::progress::Progress;
use super::chunk::{CHUNK, FRAME, SIGNATURE};
use crate::check_level::CheckLevel;
use crate::crc::Crc32;
use crate::error::Error;
use crate::error::{excerpt, malformed};
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::shape::FileShape;

/// Maximum length in bytes of a row that is decoded; two rows are held.
const ROW_MAX: u64 = 64 << 20;

/// What the reader expects at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Signature,
    /// Length and type of a chunk.
    Head,
    /// Data of a chunk; this many bytes remain.
    Data(u64),
    /// The CRC of a chunk.
    Sum,
    /// The end of the file, after IEND.
    End,
    /// A file of the length that the MLPerf fork prescribes, which is not an image.
    Raw,
}

/// A reader of PNG files, which reads the whole file once per open file.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Expected dimensions, or `None` if any will do; then bytes after the image are accepted too, as other readers
    /// do.
    expected: Option<Dims>,
    mismatch: Mismatch,
    raw_length: Option<u64>,
    stage: Stage,
    /// Bytes of a fixed-size field that is not yet complete.
    seen: Vec<u8>,
    name: [u8; 4],
    position: u64,
    /// Offset of the current chunk.
    start: u64,
    has_data: bool,
    progress: Progress,
    sum: Option<Crc32>,
    pixels: Option<Box<RowDecoder>>,
    decode: bool,
}

impl Reader {
    pub(crate) fn new(layout: &Layout, shape: &FileShape, check_level: CheckLevel) -> Self {
        let expected = Dims::expected(layout, shape);
        Self {
            expected,
            mismatch: layout.mismatch(shape, check_level),
            raw_length: image::raw_length(layout, expected).filter(|_| check_level == CheckLevel::Structure),
            stage: Stage::Signature,
            seen: Vec::new(),
            name: [0; 4],
            position: 0,
            start: 0,
            has_data: false,
            progress: Progress::Idle,
            sum: check_level.computes_checksums().then(Crc32::new),
            pixels: None,
            decode: check_level == CheckLevel::Full,
        }
    }

    pub(crate) fn size(&self, bytes: u64) -> Result<(), Error> {
        let expected = FRAME + CHUNK;
        if bytes < expected && Some(bytes) != self.raw_length {
            return Err(Error::Truncated { noun: "PNG image", expected, found: bytes });
        }
        Ok(())
    }

    pub(crate) fn sample(&mut self) {
        self.progress.ask();
    }

    pub(crate) fn need(&self) -> Need {
        self.progress.need()
    }

    pub(crate) fn chunk(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let used = match self.stage {
                Stage::Signature | Stage::Head => self.gather(bytes, 8)?,
                Stage::Sum => self.gather(bytes, 4)?,
                Stage::Data(left) => self.data(bytes, left)?,
                Stage::Raw => bytes.len(),
                Stage::End if self.expected.is_none() => bytes.len(),
                Stage::End => {
                    let found = self.position + bytes.len() as u64;
                    return Err(Error::Trailing { noun: "PNG image", expected: self.position, found });
                }
            };
            self.position += used as u64;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Collects a field of `wanted` bytes and parses it when it is complete. Returns the number of bytes used.
    fn gather(&mut self, bytes: &[u8], wanted: usize) -> Result<usize, Error> {
        let used = bytes.len().min(wanted - self.seen.len());
        self.seen.extend_from_slice(&bytes[..used]);
        if self.stage == Stage::Signature && !SIGNATURE.starts_with(&self.seen) {
            return self.no_image().map(|()| used);
        }
        if self.seen.len() == wanted {
            let field = std::mem::take(&mut self.seen);
            match self.stage {
                Stage::Signature => self.stage = Stage::Head,
                Stage::Head => self.head(&field, self.position + used as u64 - 8)?,
                _ => self.check_crc(&field)?,
            }
        }
        Ok(used)
    }

    fn no_image(&mut self) -> Result<(), Error> {
        if self.raw_length.is_some() {
            self.stage = Stage::Raw;
            return Ok(());
        }
        Err(malformed("PNG signature", 0, "\"\\x89PNG\\r\\n\\x1a\\n\"", excerpt(&self.seen)))
    }

    fn head(&mut self, field: &[u8], start: u64) -> Result<(), Error> {
        let length = u64::from(u32_at(field, 0));
        self.name = [field[4], field[5], field[6], field[7]];
        let first = self.start == 0;
        self.start = start;
        if first != (&self.name == b"IHDR") || first && length != 13 {
            let expected = if first { "IHDR of 13 bytes" } else { "no second IHDR" };
            return Err(malformed("first chunk of the image", start, expected, excerpt(field)));
        }
        if !self.name.iter().all(u8::is_ascii_alphabetic) || length > u64::from(u32::MAX >> 1) {
            let expected = "a length below 2^31 and four letters";
            return Err(malformed("head of a chunk", start, expected, excerpt(field)));
        }
        self.has_data |= &self.name == b"IDAT";
        if let Some(sum) = &mut self.sum {
            *sum = Crc32::new();
            sum.update(&self.name);
        }
        self.stage = if length == 0 { Stage::Sum } else { Stage::Data(length) };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8], left: u64) -> Result<usize, Error> {
        let used = clamp(left, bytes.len());
        let part = &bytes[..used];
        if let Some(sum) = &mut self.sum {
            sum.update(part);
        }
        match &self.name {
            b"IHDR" => {
                self.seen.extend_from_slice(part);
                if self.seen.len() == 13 {
                    let header = std::mem::take(&mut self.seen);
                    self.header(&header)?;
                }
            }
            b"IDAT" => {
                if let Some(pixels) = &mut self.pixels {
                    pixels.take(part, self.position)?;
                }
            }
            _ => {}
        }
        let left = left - used as u64;
        self.stage = if left == 0 { Stage::Sum } else { Stage::Data(left) };
        Ok(used)
    }

    fn header(&mut self, header: &[u8]) -> Result<(), Error> {
        let found = Dims { width: u64::from(u32_at(header, 0)), height: u64::from(u32_at(header, 4)) };
        let [bits, color, compression, filter, interlace] = [8, 9, 10, 11, 12].map(|at| header[at]);
        let channels = match (color, bits) {
            (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
            (2, 8 | 16) => 3,
            (4, 8 | 16) => 2,
            (6, 8 | 16) => 4,
            _ => 0,
        };
        if channels == 0 || compression != 0 || filter != 0 || interlace > 1 {
            let expected = "a known kind of pixels, compression 0, filter 0, interlace 0 or 1";
            return Err(malformed("IHDR", self.start + 16, expected, format!("{:?}", &header[8..])));
        }
        self.expected.map_or(Ok(()), |expected| expected.check(found, &self.mismatch))?;
        if self.decode {
            self.pixels = Some(Box::new(RowDecoder::new(found, channels * u64::from(bits), interlace == 1)?));
        }
        Ok(())
    }

    /// Checks the CRC of a chunk.
    fn check_crc(&mut self, field: &[u8]) -> Result<(), Error> {
        let stored = u32_at(field, 0);
        if let Some(sum) = &self.sum
            && sum.value() != stored
        {
            return Err(Error::Checksum {
                noun: "chunk of the PNG image",
                offset: self.start,
                stored,
                computed: sum.value(),
            });
        }
        self.stage = Stage::Head;
        if &self.name == b"IEND" {
            if !self.has_data {
                return Err(malformed("PNG image", self.start, "an IDAT chunk before IEND", "none".to_owned()));
            }
            if let Some(pixels) = &self.pixels {
                pixels.complete(self.start)?;
            }
            self.stage = Stage::End;
        }
        Ok(())
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let position = self.position;
        match (self.stage, self.raw_length) {
            (Stage::End, _) => {}
            (Stage::Raw, Some(length)) if position == length => {}
            (Stage::Raw, Some(length)) => {
                let expected = format!("an image, or a file of {length} bytes as the MLPerf fork writes it");
                return Err(malformed("PNG signature", 0, &expected, format!("{position} bytes")));
            }
            (stage, _) => {
                let missing = match stage {
                    Stage::Data(left) => left + 4,
                    Stage::Signature | Stage::Head => 8 - self.seen.len() as u64,
                    _ => 4 - self.seen.len() as u64,
                };
                // After any other chunk an IEND chunk must follow.
                let end = if self.name == *b"IEND" && stage == Stage::Sum { 0 } else { CHUNK };
                let expected = position + missing + if stage == Stage::Head { CHUNK - 8 } else { end };
                return Err(Error::Truncated { noun: "PNG image", expected, found: position });
            }
        }
        self.progress = Progress::Done;
        Ok(())
    }
}

/// A streaming decoder of the image rows.
#[derive(Debug)]
struct RowDecoder {
    inflate: Decompress,
    /// Length in bytes of a row including its filter byte; rows are of equal length unless interlaced.
    row: usize,
    stride: usize,
    interlaced: bool,
    rows_left: u64,
    present: Vec<u8>,
    above: Vec<u8>,
    filled: usize,
    ended: bool,
}

impl RowDecoder {
    fn new(dims: Dims, bits: u64, interlaced: bool) -> Result<Self, Error> {
        let row = dims.width.saturating_mul(bits).div_ceil(8) + 1;
        if row > ROW_MAX {
            return Err(Error::Option {
                option: "dlio_rs.decode: full".to_owned(),
                reason: format!(
                    "a row of this image has {row} bytes, and at most {ROW_MAX} are decoded; use none or verify"
                ),
            });
        }
        let row = row as usize;
        Ok(Self {
            inflate: Decompress::new(true),
            row,
            stride: (bits / 8).max(1) as usize,
            interlaced,
            rows_left: dims.height,
            present: vec![0; row],
            above: vec![0; row],
            filled: 0,
            ended: false,
        })
    }

    /// Takes compressed bytes at `offset` of the file.
    fn take(&mut self, mut bytes: &[u8], offset: u64) -> Result<(), Error> {
        let malformed = |expected: &str, found| malformed("image data", offset, expected, found);
        loop {
            if self.ended {
                let surplus = !bytes.is_empty();
                return if surplus {
                    Err(malformed("the end of the compressed stream", "more".to_owned()))
                } else {
                    Ok(())
                };
            }
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(bytes, &mut self.present[self.filled..], FlushDecompress::None)
                .map_err(|error| malformed("a zlib stream", error.to_string()))?;
            let used = (self.inflate.total_in() - before_in) as usize;
            let made = (self.inflate.total_out() - before_out) as usize;
            bytes = &bytes[used..];
            self.filled += made;
            if self.filled == self.row {
                self.row_done()
                    .map_err(|found| malformed("rows with filters 0 to 4, as many as the height says", found))?;
            }
            self.ended = status == Status::StreamEnd;
            if used == 0 && made == 0 && !self.ended {
                return Ok(());
            }
        }
    }

    /// Undoes the filter of the completed row.
    fn row_done(&mut self) -> Result<(), String> {
        self.filled = 0;
        if self.interlaced {
            return Ok(());
        }
        self.rows_left = self.rows_left.checked_sub(1).ok_or_else(|| "more rows".to_owned())?;
        let stride = self.stride;
        let (row, above) = (&mut self.present, &self.above);
        match row[0] {
            0 => {}
            1 => (1 + stride..row.len()).for_each(|at| row[at] = row[at].wrapping_add(row[at - stride])),
            2 => row[1..].iter_mut().zip(&above[1..]).for_each(|(byte, above)| *byte = byte.wrapping_add(*above)),
            3 => (1..row.len()).for_each(|at| {
                let left = if at > stride { row[at - stride] } else { 0 };
                row[at] = row[at].wrapping_add(left.midpoint(above[at]));
            }),
            4 => (1..row.len()).for_each(|at| {
                let (left, corner) = if at > stride { (row[at - stride], above[at - stride]) } else { (0, 0) };
                row[at] = row[at].wrapping_add(paeth(left, above[at], corner));
            }),
            filter => return Err(format!("filter {filter}")),
        }
        std::mem::swap(&mut self.present, &mut self.above);
        Ok(())
    }

    fn complete(&self, offset: u64) -> Result<(), Error> {
        if self.ended && (self.interlaced || self.rows_left == 0 && self.filled == 0) {
            return Ok(());
        }
        Err(Error::Malformed {
            noun: "image data",
            offset,
            expected: "as many rows as the height says".to_owned(),
            found: format!("{} too few, or an unfinished stream", self.rows_left),
        })
    }
}

/// Returns the neighbour that is closest to left + above - corner.
fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(above) - i16::from(corner);
    let distance = |neighbour: u8| (guess - i16::from(neighbour)).abs();
    if distance(left) <= distance(above) && distance(left) <= distance(corner) {
        left
    } else if distance(above) <= distance(corner) {
        above
    } else {
        corner
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
