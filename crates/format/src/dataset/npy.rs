//! numpy's array format: the header as numpy writes it, and a reader that checks the header and skips the data.

use dlio_config::vocabulary::DType;

use super::progress::Progress;
use crate::check_level::CheckLevel;
use crate::encode::Encoder;
use crate::encode::Piece;
use crate::error::Error;
use crate::error::excerpt;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::shape::FileShape;

pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Number of digits to which the first axis can grow without moving the data; numpy reserves this space.
const GROWTH_DIGITS: usize = 21;
/// Maximum header length in bytes; numpy itself refuses to evaluate more than 10,000 bytes.
const HEADER_MAX: u64 = 64 * 1024;

/// Returns numpy's name of a little-endian element type.
pub(crate) fn descr(dtype: DType) -> &'static str {
    match dtype {
        DType::Int8 => "|i1",
        DType::Int16 => "<i2",
        DType::Int32 => "<i4",
        DType::Int64 => "<i8",
        DType::Uint8 => "|u1",
        DType::Uint16 => "<u2",
        DType::Uint32 => "<u4",
        DType::Uint64 => "<u8",
        DType::Float16 => "<f2",
        DType::Float32 => "<f4",
        DType::Float64 => "<f8",
        DType::Bool => "|b1",
        // `Layout::new` refuses bfloat16: numpy has no such type.
        DType::Bfloat16 => "|V2",
    }
}

/// Returns the header of an array in C order, byte for byte as numpy writes it.
pub(crate) fn header(descr: &str, shape: &[u64]) -> Vec<u8> {
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {}, }}", tuple(shape));
    let digits = shape.first().map_or(0, |first| first.to_string().len());
    dict.extend(std::iter::repeat_n(' ', GROWTH_DIGITS.saturating_sub(digits)));
    // Version 1 has a two-byte length; longer headers are version 2 with four.
    let (version, prefix) = if u16::try_from(dict.len() + 64).is_ok() { (1, 10) } else { (2, 12) };
    let padding = 64 - (prefix + dict.len() + 1) % 64;
    let length = dict.len() + padding + 1;
    let mut bytes = Vec::with_capacity(prefix + length);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[version, 0]);
    bytes.extend_from_slice(&(length as u32).to_le_bytes()[..prefix - 8]);
    bytes.extend_from_slice(dict.as_bytes());
    bytes.extend(std::iter::repeat_n(b' ', padding));
    bytes.push(b'\n');
    bytes
}

/// Formats a shape as Python prints it.
pub(crate) fn tuple(shape: &[u64]) -> String {
    let mut text = String::from("(");
    for (index, dim) in shape.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&dim.to_string());
    }
    text.push_str(if shape.len() == 1 { ",)" } else { ")" });
    text
}

/// Returns the shape of a file's array: the sample axis is the last.
pub(crate) fn array_shape(shape: &FileShape) -> Vec<u64> {
    shape.dims.iter().copied().chain([shape.samples]).collect()
}

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let bytes = layout.data_bytes(shape)?;
    let header = header(descr(layout.dtype), &array_shape(shape));
    let payload = layout.payload.stream(shape.file, layout.element, bytes);
    Ok(Encoder::pieces([Piece::bytes(header), Piece::payload(payload)]))
}

/// The element type and the shape that an array's header must contain.
#[derive(Debug, Clone)]
pub(crate) struct ExpectedArray {
    /// Expected element type, or `None` if the header determines type and shape.
    descr: Option<&'static str>,
    itemsize: u64,
    shape: Vec<u64>,
    mismatch: Mismatch,
}

impl ExpectedArray {
    pub(crate) fn new(layout: &Layout, shape: &FileShape, check_level: CheckLevel) -> Self {
        let mismatch = layout.mismatch(shape, check_level);
        if layout.as_found {
            return Self { descr: None, itemsize: 0, shape: Vec::new(), mismatch };
        }
        let (descr, itemsize) = (Some(descr(layout.dtype)), layout.dtype.itemsize());
        Self { descr, itemsize, shape: array_shape(shape), mismatch }
    }

    /// Accepts a header that differs from what is expected, if files of another shape are read.
    fn adopt(&mut self, descr: &str, shape: Vec<u64>, itemsize: Option<u64>) -> Result<(), Error> {
        let samples = |shape: &[u64]| shape.last().copied().unwrap_or(0);
        let (own, found) = (samples(&self.shape), samples(&shape));
        if found < own && self.mismatch.is_noted() {
            return Err(differs("number of samples (last axis of the array)", &own.to_string(), &found.to_string()));
        }
        if shape != self.shape {
            let noun = "shape of the array (*record, samples)";
            self.mismatch.refuse_or_note(differs(noun, &tuple(&self.shape), &tuple(&shape)))?;
        }
        let own = self.descr.unwrap_or_default();
        if descr != own {
            let error = differs("element type of the array", own, descr);
            self.itemsize = itemsize.ok_or_else(|| error.clone())?;
            self.mismatch.refuse_or_note(error)?;
        }
        self.shape = shape;
        Ok(())
    }

    /// Returns the size of the array's data in bytes. Saturates; a file of that size is refused elsewhere.
    fn data_bytes(&self) -> u64 {
        self.shape.iter().fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim))
    }
}

/// Collects a header from chunks of any size and checks it.
#[derive(Debug)]
pub(crate) struct Header {
    expected: ExpectedArray,
    /// Offset of the array in the file, for error messages.
    start: u64,
    seen: Vec<u8>,
    /// Length of the whole header in bytes, once the prefix is known.
    length: Option<usize>,
}

impl Header {
    pub(crate) fn new(expected: ExpectedArray, start: u64) -> Self {
        Self { expected, start, seen: Vec::new(), length: None }
    }

    /// Returns the number of header bytes that are known to be missing.
    fn missing(&self) -> usize {
        let needed = self.length.unwrap_or(if self.seen.get(6).is_some_and(|&major| major > 1) { 12 } else { 10 });
        needed.saturating_sub(self.seen.len())
    }

    /// Takes bytes from the front of `bytes`. Returns their number, and the lengths of header and data once both are
    /// known.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<(u64, u64)>), Error> {
        let mut used = 0;
        loop {
            let count = self.missing().min(bytes.len() - used);
            self.seen.extend_from_slice(&bytes[used..used + count]);
            used += count;
            self.check_magic()?;
            if self.missing() > 0 {
                if used == bytes.len() {
                    return Ok((used, None));
                }
            } else if self.length.is_none() {
                self.length = Some(self.measure()?);
            } else {
                self.check()?;
                return Ok((used, Some((self.seen.len() as u64, self.expected.data_bytes()))));
            }
        }
    }

    /// Returns the minimum length of the file in bytes, for the error about a truncated file.
    pub(crate) fn needs(&self) -> u64 {
        self.start + (self.seen.len() + self.missing()) as u64
    }

    fn malformed(&self, noun: &'static str, at: usize, expected: &str, found: String) -> Error {
        Error::Malformed { noun, offset: self.start + at as u64, expected: expected.to_owned(), found }
    }

    fn check_magic(&self) -> Result<(), Error> {
        let seen = &self.seen[..self.seen.len().min(6)];
        if MAGIC.starts_with(seen) {
            return Ok(());
        }
        Err(self.malformed("npy magic", 0, "\"\\x93NUMPY\"", excerpt(seen)))
    }

    /// Returns the length of the whole header in bytes, from its prefix.
    fn measure(&self) -> Result<usize, Error> {
        let (major, minor) = (self.seen[6], self.seen[7]);
        let (prefix, length) = match (major, minor) {
            (1, 0) => (10, u64::from(u16::from_le_bytes([self.seen[8], self.seen[9]]))),
            (2 | 3, 0) => {
                let length = u32::from_le_bytes([self.seen[8], self.seen[9], self.seen[10], self.seen[11]]);
                (12, u64::from(length))
            }
            _ => return Err(self.malformed("npy version", 6, "1.0, 2.0 or 3.0", format!("{major}.{minor}"))),
        };
        if length > HEADER_MAX {
            let expected = format!("at most {HEADER_MAX}");
            return Err(self.malformed("npy header length", 8, &expected, length.to_string()));
        }
        Ok(prefix + length as usize)
    }

    fn check(&mut self) -> Result<(), Error> {
        let prefix = if self.seen[6] == 1 { 10 } else { 12 };
        let text = String::from_utf8_lossy(&self.seen[prefix..]);
        let missing = |key| self.malformed("npy header", prefix, key, excerpt(text.as_bytes()));
        let found = string_value(&text, "descr").ok_or_else(|| missing("a string under the key 'descr'"))?;
        let shape = shape_value(&text).ok_or_else(|| missing("a tuple of integers under the key 'shape'"))?;
        let Some(expected) = self.expected.descr else {
            let itemsize = itemsize_of(&found).ok_or_else(|| missing("an element type of a fixed size"))?;
            (self.expected.itemsize, self.expected.shape) = (itemsize, shape);
            return Ok(());
        };
        // Byte order is `|` for single bytes; `=` stands for the order of the machine, which is little-endian.
        let found = found.replace('=', "<");
        if found != expected || shape != self.expected.shape {
            let itemsize = itemsize_of(&found);
            return self.expected.adopt(&found, shape, itemsize);
        }
        Ok(())
    }
}

fn differs(noun: &'static str, expected: &str, found: &str) -> Error {
    Error::Differs { noun, expected: expected.to_owned(), found: found.to_owned() }
}

/// Returns the element size in bytes of a numpy type such as `<f4`, `|S10`, `<U3` or `<M8[ns]`, or `None` for pickled
/// objects.
fn itemsize_of(descr: &str) -> Option<u64> {
    let plain = descr.trim_start_matches(['<', '>', '|', '=']);
    let kind = plain.chars().next().filter(|kind| "?biufcSUVmM".contains(*kind))?;
    let number: u64 = plain[1..].split('[').next()?.parse().ok()?;
    number.checked_mul(if kind == 'U' { 4 } else { 1 })
}

/// Returns the text after a key of a Python dictionary literal.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    ["'", "\""].iter().find_map(|quote| {
        let (_, after) = text.split_once(&format!("{quote}{key}{quote}"))?;
        after.trim_start().strip_prefix(':').map(str::trim_start)
    })
}

fn string_value(text: &str, key: &str) -> Option<String> {
    let value = value(text, key)?;
    let quote = value.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    value[1..].split_once(quote).map(|(inside, _)| inside.to_owned())
}

fn shape_value(text: &str) -> Option<Vec<u64>> {
    let (inside, _) = value(text, "shape")?.strip_prefix('(')?.split_once(')')?;
    // Python 2 wrote long integers with an L.
    let number = |part: &str| part.trim().trim_end_matches('L').parse().ok();
    let inside = inside.trim().trim_end_matches(',');
    if inside.is_empty() { Some(Vec::new()) } else { inside.split(',').map(number).collect() }
}

/// Size of Python's read buffer in bytes.
const BUFFER: u64 = 4096;

/// The read that precedes the read of the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderRead {
    /// Python's buffer, in which numpy finds the header.
    Buffer,
    /// The header, up to the offset where the C library begins to read.
    Header(u64),
    /// No such read remains.
    Over,
}

/// A reader of npy files. It reads the whole file once per open file. If it knows the size, it reads the header twice
/// before that, as numpy does.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Reads the header of files of known size first, as numpy does.
    reads_header_first: bool,
    header_read: HeaderRead,
    size: u64,
    /// First bytes of the header.
    seen: Vec<u8>,
    header: Header,
    /// Length of the file in bytes that header and data imply.
    length: Option<u64>,
    position: u64,
    progress: Progress,
}

impl Reader {
    pub(crate) fn new(layout: &Layout, shape: &FileShape, check_level: CheckLevel) -> Self {
        let header = Header::new(ExpectedArray::new(layout, shape, check_level), 0);
        let (reads_header_first, header_read) = (layout.numpy_reads, HeaderRead::Over);
        Self {
            reads_header_first,
            header_read,
            size: 0,
            seen: Vec::new(),
            header,
            length: None,
            position: 0,
            progress: Progress::Idle,
        }
    }

    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), Error> {
        // Only the header determines the length of the array.
        let smallest = MAGIC.len() as u64 + 4;
        if bytes < smallest {
            return Err(Error::Truncated { noun: "npy array", expected: smallest, found: bytes });
        }
        if self.reads_header_first && self.progress == Progress::Idle {
            (self.header_read, self.size) = (HeaderRead::Buffer, bytes);
        }
        Ok(())
    }

    /// Returns whether the next bytes are those of the file from its start.
    pub(crate) fn is_front(&self) -> bool {
        self.header_read == HeaderRead::Over
    }

    pub(crate) fn sample(&mut self) {
        self.progress.ask();
    }

    pub(crate) fn need(&self) -> Need {
        let bytes = match self.header_read {
            _ if self.progress != Progress::Wanted => return Need::Done,
            HeaderRead::Buffer => BUFFER,
            HeaderRead::Header(bytes) => bytes,
            HeaderRead::Over => return self.progress.need(),
        };
        Need::Bytes { offset: 0, len: Some(bytes.min(self.size)) }
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.header_read != HeaderRead::Over {
            let room = MEASURED.saturating_sub(self.seen.len()).min(bytes.len());
            self.seen.extend_from_slice(&bytes[..room]);
            return Ok(());
        }
        if self.length.is_none() {
            let (_, found) = self.header.take(bytes)?;
            self.length = found.map(|(header, data)| header.saturating_add(data));
        }
        self.position += bytes.len() as u64;
        match self.length {
            Some(length) if self.position > length => {
                Err(Error::Trailing { noun: "npy array", expected: length, found: self.position })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        if self.header_read != HeaderRead::Over {
            // Errors in the header are reported when the whole file is read.
            let length =
                Some(&self.seen).filter(|_| self.header_read == HeaderRead::Buffer).and_then(|seen| header_bytes(seen));
            self.header_read = length.filter(|&length| length <= BUFFER).map_or(HeaderRead::Over, HeaderRead::Header);
            return Ok(());
        }
        let expected = self.length.unwrap_or_else(|| self.header.needs());
        if self.position < expected {
            return Err(Error::Truncated { noun: "npy array", expected, found: self.position });
        }
        self.progress = Progress::Done;
        Ok(())
    }
}

/// Number of bytes at the start of a header that determine its length.
const MEASURED: usize = 12;

/// Returns the length in bytes of the header that begins with `seen`, or `None` if it is not a header.
fn header_bytes(seen: &[u8]) -> Option<u64> {
    let (prefix, length) = match seen.strip_prefix(&MAGIC[..])? {
        [1, 0, low, high, ..] => (10, u64::from(u16::from_le_bytes([*low, *high]))),
        [2 | 3, 0, length @ ..] => (12, u64::from(u32::from_le_bytes(*length.first_chunk::<4>()?))),
        _ => return None,
    };
    Some(prefix + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_that_numpy_writes() {
        let recorded = "\u{93}NUMPY\u{1}\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (256, 256, 4), }";
        let recorded: Vec<u8> = recorded.chars().map(|c| c as u8).collect();
        let found = header("|u1", &[256, 256, 4]);
        assert_eq!(found.len(), 128);
        assert!(found.starts_with(&recorded));
        assert!(found[recorded.len()..127].iter().all(|&byte| byte == b' '));
        assert_eq!(found[127], b'\n');
        let labels = header("<i8", &[4]);
        assert!(labels.windows(13).any(|part| part == b"'shape': (4,)"));
        assert_eq!(labels.len(), 128);
    }

    #[test]
    fn long_headers_are_version_two() {
        let shape = vec![1_000_000_000; 6000];
        let found = header("<f4", &shape);
        assert_eq!(found[6], 2);
        assert_eq!(found.len() % 64, 0);
        assert_eq!(u32::from_le_bytes([found[8], found[9], found[10], found[11]]) as usize, found.len() - 12);
    }

    #[test]
    fn types_of_a_fixed_size_are_known() {
        let sizes = ["<f4", "|u1", ">c16", "|S10", "<U3", "<M8[ns]", "|O", "|O8", "<f", ""].map(itemsize_of);
        assert_eq!(sizes, [Some(4), Some(1), Some(16), Some(10), Some(12), Some(8), None, None, None, None]);
    }

    #[test]
    fn shapes_are_read_in_every_spelling() {
        for (text, shape) in [
            ("{'shape': (4,)}", vec![4]),
            ("{\"shape\" : ( 2L, 3L ) }", vec![2, 3]),
            ("{'shape': ()}", vec![]),
            ("{'shape': (1, 2, 3), }", vec![1, 2, 3]),
        ] {
            assert_eq!(shape_value(text), Some(shape), "{text}");
        }
        assert_eq!(shape_value("{'shape': (1, x)}"), None);
        assert_eq!(string_value("{'descr': [('a', '<i4')]}", "descr"), None);
    }
}
