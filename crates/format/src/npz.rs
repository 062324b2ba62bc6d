//! numpy's zip archives: members `x.npy` and `y.npy`, stored, byte for byte as `numpy.savez` lays them out.

use crate::crc::{Crc32, Sealed};
use crate::encode::Piece;
use crate::error::excerpt;
use crate::npy::{self, Expected, Header};
use crate::{Encoder, Error, FileShape, Layout, Need};

/// Sizes and offsets above this make Python's zipfile use zip64 records.
const ZIP64_LIMIT: u64 = (1 << 31) - 1;
/// Version 4.5: zip64.
const VERSION: u16 = 45;
/// 1980-01-01.
const DATE: u16 = 0x21;
/// Read and write for the owner, in the upper half as Unix has it.
const ATTRIBUTES: u32 = 0o600 << 16;
const UNIX: u8 = 3;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
const END_BYTES: usize = 22;
const LOCAL_BYTES: usize = 30;
/// Longest directory that is kept for checking; numpy's has about 100 bytes.
const DIRECTORY_MAX: usize = 1 << 20;

/// A member as the directory describes it.
struct Member {
    name: &'static str,
    crc: u32,
    size: u64,
    offset: u64,
}

impl Member {
    fn local(&self) -> Vec<u8> {
        let mut bytes = LOCAL.to_vec();
        // Version, flags, method (stored), time, date.
        put16(&mut bytes, [VERSION, 0, 0, 0, DATE]);
        // Both sizes are in the zip64 field, always: numpy forces it.
        put32(&mut bytes, [self.crc, u32::MAX, u32::MAX]);
        put16(&mut bytes, [self.name.len() as u16, 20]);
        bytes.extend_from_slice(self.name.as_bytes());
        put16(&mut bytes, [1, 16]);
        put64(&mut bytes, [self.size, self.size]);
        bytes
    }

    fn central(&self) -> Vec<u8> {
        let mut wide = Vec::new();
        let size = if self.size > ZIP64_LIMIT {
            wide.extend([self.size, self.size]);
            u32::MAX
        } else {
            self.size as u32
        };
        let offset = if self.offset > ZIP64_LIMIT {
            wide.push(self.offset);
            u32::MAX
        } else {
            self.offset as u32
        };
        let extra = if wide.is_empty() { 0 } else { 4 + 8 * wide.len() as u16 };
        let mut bytes = CENTRAL.to_vec();
        put16(&mut bytes, [VERSION | u16::from(UNIX) << 8, VERSION, 0, 0, 0, DATE]);
        put32(&mut bytes, [self.crc, size, size]);
        // Name, extra, comment, disk, internal attributes.
        put16(&mut bytes, [self.name.len() as u16, extra, 0, 0, 0]);
        put32(&mut bytes, [ATTRIBUTES, offset]);
        bytes.extend_from_slice(self.name.as_bytes());
        if !wide.is_empty() {
            put16(&mut bytes, [1, extra - 4]);
            put64(&mut bytes, wide);
        }
        bytes
    }
}

fn put16(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u16>) {
    bytes.extend(values.into_iter().flat_map(u16::to_le_bytes));
}

fn put32(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u32>) {
    bytes.extend(values.into_iter().flat_map(u32::to_le_bytes));
}

fn put64(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u64>) {
    bytes.extend(values.into_iter().flat_map(u64::to_le_bytes));
}

/// Central directory and end records.
fn directory(members: &[Member], offset: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::central).collect();
    let size = bytes.len() as u64;
    let count = members.len() as u16;
    if offset > ZIP64_LIMIT {
        let end64 = offset + size;
        bytes.extend(END64);
        put64(&mut bytes, [44]);
        put16(&mut bytes, [VERSION, VERSION]);
        put32(&mut bytes, [0, 0]);
        put64(&mut bytes, [u64::from(count), u64::from(count), size, offset]);
        bytes.extend(LOCATOR64);
        put32(&mut bytes, [0]);
        put64(&mut bytes, [end64]);
        put32(&mut bytes, [1]);
    }
    bytes.extend(END);
    put16(&mut bytes, [0, 0, count, count]);
    put32(&mut bytes, [size as u32, u32::try_from(offset).unwrap_or(u32::MAX)]);
    put16(&mut bytes, [0]);
    bytes
}

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let data = layout.data_bytes(shape)?;
    let x_header = npy::header(npy::descr(layout.dtype), &npy::array_shape(shape));
    let y_header = npy::header("<i8", &[shape.samples]);
    let labels = shape.samples.checked_mul(8).filter(|&bytes| bytes < 1 << 62).ok_or_else(|| Error::Shape {
        dims: shape.dims.to_vec(),
        samples: shape.samples,
        reason: "its labels exceed 2^62 bytes".to_owned(),
    })?;
    let payload = layout.payload.stream(shape.file, layout.element, data);
    let wanted = layout.payload.number(shape.file) as u32;
    let (payload, crc) = Sealed::piece(&layout.seal, &x_header, payload, wanted);

    let x = Member { name: "x.npy", crc, size: x_header.len() as u64 + data, offset: 0 };
    let x_local = x.local();
    let y_offset = x_local.len() as u64 + x.size;
    let y_crc = crc_with_zeros(&y_header, labels);
    let y = Member { name: "y.npy", crc: y_crc, size: y_header.len() as u64 + labels, offset: y_offset };
    let y_local = y.local();
    let end = y_offset + y_local.len() as u64 + y.size;
    Ok(Encoder::pieces([
        Piece::bytes([x_local, x_header].concat()),
        payload,
        Piece::bytes([y_local, y_header].concat()),
        Piece::Zeros(labels),
        Piece::bytes(directory(&[x, y], end)),
    ]))
}

fn crc_with_zeros(prefix: &[u8], mut zeros: u64) -> u32 {
    let mut crc = Crc32::new();
    crc.update(prefix);
    let block = [0; 4096];
    while zeros > 0 {
        let count = crate::encode::clamp(zeros, block.len());
        crc.update(&block[..count]);
        zeros -= count as u64;
    }
    crc.value()
}

/// What the archive's reader expects at its position.
#[derive(Debug)]
enum Stage {
    /// A record's signature and what follows it; gathered in `seen`.
    Record,
    /// The array header of `x.npy`; the member's size if the archive tells it.
    Array(Box<Header>, Option<u64>),
    /// Bytes that nobody looks at.
    Skip(u64),
    /// A compressed member without a length: nothing is known before the end of the file.
    Unchecked,
    /// Central directory and end records; gathered in `seen`.
    Directory,
}

/// A reader of npz files: the whole file once per open file.
#[derive(Debug)]
pub(crate) struct Archive {
    expected: Expected,
    stage: Stage,
    seen: Vec<u8>,
    /// Bytes taken so far.
    position: u64,
    /// Where the record in `seen` began.
    record_start: u64,
    /// Length of the file that is implied so far, for a message.
    implied: u64,
    found_x: bool,
    aimed: bool,
    done: bool,
}

impl Archive {
    pub(crate) fn new(layout: &Layout, shape: &FileShape) -> Self {
        Self {
            expected: Expected::new(layout, shape),
            stage: Stage::Record,
            seen: Vec::new(),
            position: 0,
            record_start: 0,
            implied: (LOCAL_BYTES + END_BYTES) as u64,
            found_x: false,
            aimed: false,
            done: false,
        }
    }

    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), Error> {
        let expected = (LOCAL_BYTES + END_BYTES) as u64;
        if bytes < expected {
            return Err(Error::Truncated { noun: "npz archive", expected, found: bytes });
        }
        Ok(())
    }

    pub(crate) fn sample(&mut self) {
        self.aimed = true;
    }

    pub(crate) fn need(&self) -> Need {
        if self.done || !self.aimed { Need::Done } else { Need::Bytes { offset: 0, len: None } }
    }

    pub(crate) fn chunk(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let used = match &mut self.stage {
                Stage::Record => self.record(bytes)?,
                Stage::Array(header, member) => {
                    let (used, found) = header.take(bytes)?;
                    if let Some((header, data)) = found {
                        self.stage = Stage::Skip(array_left(header, data, *member, self.record_start)?);
                    }
                    used
                }
                Stage::Skip(left) => {
                    let used = crate::encode::clamp(*left, bytes.len());
                    *left -= used as u64;
                    used
                }
                Stage::Unchecked => {
                    self.keep_tail(bytes);
                    bytes.len()
                }
                Stage::Directory => {
                    if self.seen.len() + bytes.len() > DIRECTORY_MAX {
                        let length = self.record_start.saturating_add(DIRECTORY_MAX as u64);
                        return Err(Error::Trailing { noun: "zip directory", expected: length, found: length + 1 });
                    }
                    self.seen.extend_from_slice(bytes);
                    bytes.len()
                }
            };
            self.position += used as u64;
            bytes = &bytes[used..];
            if let Stage::Skip(0) = self.stage {
                self.begin_record();
            }
        }
        Ok(())
    }

    fn begin_record(&mut self) {
        self.stage = Stage::Record;
        self.seen.clear();
        self.record_start = self.position;
    }

    /// Gathers a record; returns the bytes used.
    fn record(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let needed = match self.seen.get(..4) {
            None => 4,
            Some(_) => {
                let names = self
                    .seen
                    .get(26..30)
                    .map_or(0, |_| usize::from(u16_at(&self.seen, 26)) + usize::from(u16_at(&self.seen, 28)));
                LOCAL_BYTES + names
            }
        };
        let used = bytes.len().min(needed - self.seen.len());
        self.seen.extend_from_slice(&bytes[..used]);
        self.implied = self.record_start + (needed + END_BYTES) as u64;
        match self.seen.get(..4) {
            None => {}
            Some(signature) if signature == CENTRAL && self.record_start > 0 => self.stage = Stage::Directory,
            Some(signature) if signature == LOCAL => {
                if self.seen.len() >= LOCAL_BYTES
                    && self.seen.len()
                        == LOCAL_BYTES + usize::from(u16_at(&self.seen, 26)) + usize::from(u16_at(&self.seen, 28))
                {
                    self.begin_member(self.position + used as u64)?;
                }
            }
            Some(signature) => {
                return Err(Error::Malformed {
                    noun: "zip record",
                    offset: self.record_start,
                    expected: "a local header \"PK\\x03\\x04\" or the directory \"PK\\x01\\x02\"".to_owned(),
                    found: excerpt(signature),
                });
            }
        }
        Ok(used)
    }

    /// A local header is complete: decides how its data are read.
    fn begin_member(&mut self, data_start: u64) -> Result<(), Error> {
        let local = Local::parse(&self.seen);
        let is_x = local.name == b"x.npy";
        self.found_x |= is_x;
        if let Some(size) = local.compressed {
            self.implied = data_start.saturating_add(size).saturating_add(END_BYTES as u64);
        }
        self.stage = match (local.method, local.compressed) {
            (0, size) if is_x => Stage::Array(Box::new(Header::new(self.expected.clone(), data_start)), size),
            (_, Some(size)) => Stage::Skip(size),
            (0, None) | (8, None) => Stage::Unchecked,
            (method, None) => {
                return Err(Error::Malformed {
                    noun: "zip compression method",
                    offset: self.record_start + 8,
                    expected: "0 (stored) or 8 (deflated)".to_owned(),
                    found: method.to_string(),
                });
            }
        };
        self.seen.clear();
        if let Stage::Skip(0) = self.stage {
            self.stage = Stage::Record;
            self.record_start = data_start;
        }
        Ok(())
    }

    /// Keeps the last bytes of the file.
    fn keep_tail(&mut self, bytes: &[u8]) {
        let tail = &bytes[bytes.len().saturating_sub(END_BYTES)..];
        self.seen.extend_from_slice(tail);
        let surplus = self.seen.len().saturating_sub(END_BYTES);
        self.seen.drain(..surplus);
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        match &self.stage {
            Stage::Directory => check_directory(&self.seen, self.record_start)?,
            Stage::Unchecked if self.seen.starts_with(&END) => {}
            Stage::Unchecked => {
                return Err(Error::Malformed {
                    noun: "zip end record",
                    offset: self.position.saturating_sub(END_BYTES as u64),
                    expected: "\"PK\\x05\\x06\"".to_owned(),
                    found: excerpt(&self.seen),
                });
            }
            Stage::Skip(left) => {
                let expected = self.position.saturating_add(*left).saturating_add(END_BYTES as u64);
                return Err(Error::Truncated { noun: "npz archive", expected, found: self.position });
            }
            Stage::Record | Stage::Array(..) => {
                let expected = self.implied.max(self.position + 1);
                return Err(Error::Truncated { noun: "npz archive", expected, found: self.position });
            }
        }
        if !self.found_x {
            return Err(Error::Malformed {
                noun: "npz archive",
                offset: 0,
                expected: "a member x.npy".to_owned(),
                found: "none".to_owned(),
            });
        }
        self.done = true;
        Ok(())
    }
}

/// Bytes of a stored array behind its header, given the length of the member if it is known.
fn array_left(header: u64, data: u64, member: Option<u64>, record_start: u64) -> Result<u64, Error> {
    match member {
        Some(member) if member != header.saturating_add(data) => Err(Error::Malformed {
            noun: "size of member x.npy",
            offset: record_start,
            expected: format!("{} bytes, as its array header says", header.saturating_add(data)),
            found: format!("{member} bytes"),
        }),
        _ => Ok(data),
    }
}

/// The fields of a local header that matter.
struct Local<'a> {
    name: &'a [u8],
    method: u16,
    /// Size in the file; `None` if it follows the data.
    compressed: Option<u64>,
}

impl<'a> Local<'a> {
    /// `record` is a whole local header, name and extra fields included.
    fn parse(record: &'a [u8]) -> Self {
        let name_end = LOCAL_BYTES + usize::from(u16_at(record, 26));
        let streamed = u16_at(record, 6) & 8 != 0;
        let narrow = u32_at(record, 18);
        let wide = (narrow == u32::MAX).then(|| zip64_compressed(&record[name_end..])).flatten();
        let compressed = match wide {
            _ if streamed && (narrow == 0 || wide == Some(0)) => None,
            Some(size) => Some(size),
            None => Some(u64::from(narrow)),
        };
        Self { name: &record[LOCAL_BYTES..name_end], method: u16_at(record, 8), compressed }
    }
}

/// The compressed size in a zip64 extra field, where the uncompressed one comes first.
fn zip64_compressed(mut extra: &[u8]) -> Option<u64> {
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let content = extra.get(4..4 + length)?;
        if id == 1 {
            return (length >= 16).then(|| u64_at(content, 8));
        }
        extra = &extra[4 + length..];
    }
    None
}

/// Checks the bytes from the directory to the end of the file, which began at `start`.
fn check_directory(bytes: &[u8], start: u64) -> Result<(), Error> {
    let truncated = |at: usize| Error::Truncated {
        noun: "zip directory",
        expected: start + (at + END_BYTES) as u64,
        found: start + bytes.len() as u64,
    };
    let mut at = 0;
    let mut members = 0_u64;
    while bytes[at..].starts_with(&CENTRAL) {
        let fixed = bytes.get(at..at + 46).ok_or_else(|| truncated(at + 46))?;
        let names: usize = [28, 30, 32].iter().map(|&field| usize::from(u16_at(fixed, field))).sum();
        at += 46 + names;
        members += 1;
        if at > bytes.len() {
            return Err(truncated(at));
        }
    }
    let size = at as u64;
    if bytes[at..].starts_with(&END64) {
        // The end record of zip64 (its length excludes the first twelve bytes) and its locator.
        let fixed = bytes.get(at..at + 12).ok_or_else(|| truncated(at + 56 + 20))?;
        let skip = usize::try_from(u64_at(fixed, 4)).ok().and_then(|length| length.checked_add(12 + 20 + at));
        at = skip.filter(|&skip| skip <= bytes.len()).ok_or_else(|| truncated(at + 56 + 20))?;
    }
    if !END.starts_with(&bytes[at..(at + 4).min(bytes.len())]) {
        return Err(Error::Malformed {
            noun: "zip end record",
            offset: start + at as u64,
            expected: "\"PK\\x05\\x06\"".to_owned(),
            found: excerpt(&bytes[at..(at + 4).min(bytes.len())]),
        });
    }
    let end = bytes.get(at..at + END_BYTES).ok_or_else(|| truncated(at))?;
    let expected = start + (at + END_BYTES + usize::from(u16_at(end, 20))) as u64;
    let found = start + bytes.len() as u64;
    if found > expected {
        return Err(Error::Trailing { noun: "npz archive", expected, found });
    }
    if found < expected {
        return Err(Error::Truncated { noun: "zip comment", expected, found });
    }
    let fields = [
        ("number of members in the zip directory", 10, u64::from(u16_at(end, 10)), members, u64::from(u16::MAX)),
        ("size of the zip directory", 12, u64::from(u32_at(end, 12)), size, u64::from(u32::MAX)),
        ("offset of the zip directory", 16, u64::from(u32_at(end, 16)), start, u64::from(u32::MAX)),
    ];
    for (noun, field, stored, counted, wide) in fields {
        if stored != counted && stored != wide {
            let (offset, expected) = (start + (at + field) as u64, counted.to_string());
            return Err(Error::Malformed { noun, offset, expected, found: stored.to_string() });
        }
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
