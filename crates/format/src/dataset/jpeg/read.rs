//! A reader of JPEG files, which walks the segments, compares the dimensions and searches the scan for its end. At
//! check level `Full` it also decodes the pixels; for this it holds the compressed file, up to a limit, in memory.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::image::{self, Dims};
use super::super::progress::Progress;
use crate::check_level::CheckLevel;
use crate::error::Error;
use crate::error::{excerpt, malformed};
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::shape::FileShape;

/// Maximum length in bytes of a file whose pixels are decoded.
const FILE_MAX: usize = 256 << 20;
/// Minimum length in bytes of an image file.
const FILE_MIN: u64 = 107;
/// Start of image and the first byte of another marker.
const MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];

/// What the reader expects at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Magic,
    /// The code of a marker, after at least one 0xff.
    Code,
    /// The 0xff of a marker.
    Marker,
    /// The two bytes of a segment's length.
    Length,
    /// The frame header, whose dimensions are being collected.
    Frame(u16),
    /// Bytes of a segment that is skipped.
    Skip(u16),
    /// Entropy-coded data.
    Scan,
    /// A byte 0xff in entropy-coded data.
    ScanMarker,
    End,
    /// A file of the length that the MLPerf fork prescribes, which is not an image.
    Raw,
}

/// A reader of JPEG files, which reads the whole file once per open file.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Expected dimensions, or `None` if any will do; then bytes after the image are accepted too, as other readers
    /// do.
    expected: Option<Dims>,
    mismatch: Mismatch,
    raw_length: Option<u64>,
    stage: Stage,
    seen: Vec<u8>,
    code: u8,
    position: u64,
    has_frame: bool,
    has_scan: bool,
    progress: Progress,
    /// The file so far, if it is to be decoded.
    file: Option<Vec<u8>>,
}

impl Reader {
    pub(crate) fn new(layout: &Layout, shape: &FileShape, check_level: CheckLevel) -> Self {
        let expected = Dims::expected(layout, shape);
        Self {
            expected,
            mismatch: layout.mismatch(shape, check_level),
            raw_length: image::raw_length(layout, expected).filter(|_| check_level == CheckLevel::Structure),
            stage: Stage::Magic,
            seen: Vec::new(),
            code: 0,
            position: 0,
            has_frame: false,
            has_scan: false,
            progress: Progress::Idle,
            file: (check_level == CheckLevel::Full).then(Vec::new),
        }
    }

    pub(crate) fn size(&self, bytes: u64) -> Result<(), Error> {
        if bytes < FILE_MIN && Some(bytes) != self.raw_length {
            return Err(Error::Truncated { noun: "JPEG image", expected: FILE_MIN, found: bytes });
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
        if let Some(file) = &mut self.file {
            if file.len() + bytes.len() > FILE_MAX {
                return Err(Error::Option {
                    option: "dlio_rs.decode: full".to_owned(),
                    reason: format!("JPEG files of more than {FILE_MAX} bytes are not decoded; use none or verify"),
                });
            }
            file.extend_from_slice(bytes);
        }
        while let Some(&first) = bytes.first() {
            let used = match self.stage {
                Stage::Magic => self.magic(bytes)?,
                Stage::Marker if first == 0xff => {
                    self.stage = Stage::Code;
                    1
                }
                Stage::Marker => return Err(malformed("marker", self.position, "0xff", excerpt(bytes))),
                Stage::Code => self.code(first)?,
                Stage::Length => self.length(first)?,
                Stage::Frame(left) => self.frame(bytes, left)?,
                Stage::Skip(left) => self.skip(bytes, left),
                Stage::Scan => {
                    let found = memchr::memchr(0xff, bytes);
                    self.stage = if found.is_some() { Stage::ScanMarker } else { Stage::Scan };
                    found.map_or(bytes.len(), |at| at + 1)
                }
                Stage::ScanMarker => self.scan_marker(first)?,
                Stage::Raw => bytes.len(),
                Stage::End if self.expected.is_none() => bytes.len(),
                Stage::End => {
                    let found = self.position + bytes.len() as u64;
                    return Err(Error::Trailing { noun: "JPEG image", expected: self.position, found });
                }
            };
            self.position += used as u64;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    fn magic(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let used = bytes.len().min(MAGIC.len() - self.seen.len());
        self.seen.extend_from_slice(&bytes[..used]);
        if !MAGIC.starts_with(&self.seen) {
            if self.raw_length.is_some() {
                self.stage = Stage::Raw;
                return Ok(used);
            }
            return Err(malformed("JPEG start", 0, "\"\\xff\\xd8\\xff\"", excerpt(&self.seen)));
        }
        if self.seen.len() == MAGIC.len() {
            self.seen.clear();
            self.stage = Stage::Code;
        }
        Ok(used)
    }

    /// Parses a marker's code.
    fn code(&mut self, code: u8) -> Result<usize, Error> {
        self.code = code;
        self.stage = match code {
            // Fill bytes.
            0xff => Stage::Code,
            0xd9 if self.has_scan => Stage::End,
            // Markers without a segment.
            0x01 | 0xd0..=0xd7 => Stage::Marker,
            0xda if !self.has_frame => {
                let expected = "a frame header in front of the scan";
                return Err(malformed("JPEG image", self.position - 1, expected, "none".to_owned()));
            }
            0xc0..=0xfe if !matches!(code, 0xd8 | 0xd9) => Stage::Length,
            _ => {
                let found = format!("0xff 0x{code:02x}");
                return Err(malformed("marker", self.position - 1, "a marker that is allowed here", found));
            }
        };
        Ok(1)
    }

    fn length(&mut self, byte: u8) -> Result<usize, Error> {
        self.seen.push(byte);
        if let [high, low] = *self.seen.as_slice() {
            self.seen.clear();
            let length = u16::from_be_bytes([high, low]);
            let start = self.position - 3;
            let Some(left) = length.checked_sub(2) else {
                return Err(malformed("length of a segment", start, "at least 2", length.to_string()));
            };
            // Frame headers; the tables whose codes lie between theirs are excluded.
            let frame = matches!(self.code, 0xc0..=0xcf) && !matches!(self.code, 0xc4 | 0xc8 | 0xcc);
            if frame && (left < 9 || self.has_frame) {
                let found = format!("{length} bytes{}", if self.has_frame { ", the second one" } else { "" });
                return Err(malformed("frame header", start, "one of at least 11 bytes", found));
            }
            self.stage = match left {
                left if frame => Stage::Frame(left),
                0 => self.behind_segment(),
                left => Stage::Skip(left),
            };
        }
        Ok(1)
    }

    /// Parses precision, height and width; the rest of the header is skipped.
    fn frame(&mut self, bytes: &[u8], left: u16) -> Result<usize, Error> {
        let used = bytes.len().min(5 - self.seen.len());
        self.seen.extend_from_slice(&bytes[..used]);
        if let [_, height @ .., width_high, width_low] = self.seen.as_slice()
            && let &[height_high, height_low] = height
        {
            let side = |high, low| u64::from(u16::from_be_bytes([high, low]));
            let found = Dims { height: side(height_high, height_low), width: side(*width_high, *width_low) };
            self.expected.map_or(Ok(()), |expected| expected.check(found, &self.mismatch))?;
            self.seen.clear();
            self.has_frame = true;
            self.stage = Stage::Skip(left - 5);
        }
        Ok(used)
    }

    fn skip(&mut self, bytes: &[u8], left: u16) -> usize {
        let used = bytes.len().min(usize::from(left));
        let left = left - used as u16;
        self.stage = if left == 0 { self.behind_segment() } else { Stage::Skip(left) };
        used
    }

    fn behind_segment(&mut self) -> Stage {
        if self.code == 0xda {
            self.has_scan = true;
            return Stage::Scan;
        }
        Stage::Marker
    }

    /// Continues the scan after a stuffed zero or a restart marker; any other marker ends it.
    fn scan_marker(&mut self, code: u8) -> Result<usize, Error> {
        match code {
            0 | 0xd0..=0xd7 => {
                self.stage = Stage::Scan;
                Ok(1)
            }
            0xff => Ok(1),
            _ => self.code(code),
        }
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let position = self.position;
        match (self.stage, self.raw_length) {
            (Stage::End, _) => {}
            (Stage::Raw, Some(length)) if position == length => {}
            (Stage::Raw, Some(length)) => {
                let expected = format!("an image, or a file of {length} bytes as the MLPerf fork writes it");
                return Err(malformed("JPEG start", 0, &expected, format!("{position} bytes")));
            }
            (stage, _) => {
                let missing = match stage {
                    Stage::Skip(left) | Stage::Frame(left) => u64::from(left) + 2,
                    Stage::ScanMarker | Stage::Code => 1,
                    _ => 2,
                };
                return Err(Error::Truncated { noun: "JPEG image", expected: position + missing, found: position });
            }
        }
        if let Some(file) = self.file.take() {
            decode(&file)?;
        }
        self.progress = Progress::Done;
        Ok(())
    }
}

/// Decodes the pixels in the file's own color space and drops them.
fn decode(file: &[u8]) -> Result<(), Error> {
    let mut options = DecoderOptions::default().set_strict_mode(true);
    options = options.set_max_width(usize::from(u16::MAX)).set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode().map(drop).map_err(|error| Error::Malformed {
        noun: "JPEG scan",
        offset: 0,
        expected: "pixels that can be decoded".to_owned(),
        found: format!("{error:?}"),
    })
}
