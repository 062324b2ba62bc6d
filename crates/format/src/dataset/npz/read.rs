//! A reader of npz files that checks the structure and skips the payload. If checksums are wanted, it computes that
//! of each member.

use super::deflated::{DeflatedMember, Outcome};
use crate::buffer::clamp;
use crate::check_level::CheckLevel;
use crate::crc::Crc32;
use crate::dataset::npy::{ExpectedArray, Header};
use crate::dataset::progress::Progress;
use crate::error::Error;
use crate::error::excerpt;
use crate::layout::Layout;
use crate::need::Need;
use crate::shape::FileShape;
use crate::zip::{CENTRAL, DEFLATED, END, END_BYTES, END64, LOCAL, LOCAL_BYTES, STORED};

/// Maximum length in bytes of a directory that is kept for checking; numpy's has about 100 bytes.
const DIRECTORY_MAX: usize = 1 << 20;

/// What the reader expects at its position.
#[derive(Debug)]
enum Stage {
    /// The signature of a record and its fixed fields, collected in `seen`.
    Record,
    /// The array header of `x.npy`, and the size of the member in bytes if the archive contains it.
    Array(Box<Header>, Option<u64>),
    /// A deflated member whose content is checked.
    Deflated(Box<DeflatedMember>),
    /// Bytes that are not checked.
    Skip(u64),
    /// The descriptor after a member whose length was unknown, collected in `seen`.
    Descriptor,
    /// The rest of the file after a member whose length is unknown; only the end record is checked.
    Unchecked,
    /// Central directory and end records, collected in `seen`.
    Directory,
}

/// A reader of npz files, which reads the whole file once per open file.
#[derive(Debug)]
pub(crate) struct ArchiveReader {
    expected: ExpectedArray,
    stage: Stage,
    seen: Vec<u8>,
    /// Number of bytes taken so far.
    position: u64,
    /// Offset of the record in `seen`.
    record_start: u64,
    /// Minimum length of the file in bytes that the records imply so far, for error messages.
    implied: u64,
    found_x: bool,
    /// The length of `x.npy` follows its data, in a descriptor whose form only the directory reveals.
    streamed: bool,
    /// Length of the file in bytes, if known.
    size: Option<u64>,
    progress: Progress,
    /// Running CRC of the current member, if checksums are verified.
    sum: Option<MemberCrc>,
}

/// The running CRC of a member.
#[derive(Debug)]
struct MemberCrc {
    computed: Crc32,
    stored: u32,
    /// Offset of the member's data in the file.
    start: u64,
    noun: &'static str,
}

impl MemberCrc {
    fn compare(&self) -> Result<(), Error> {
        let (stored, computed) = (self.stored, self.computed.value());
        if stored == computed {
            return Ok(());
        }
        Err(Error::Checksum { noun: self.noun, offset: self.start, stored, computed })
    }
}

impl ArchiveReader {
    pub(crate) fn new(layout: &Layout, shape: &FileShape, check_level: CheckLevel) -> Self {
        Self {
            sum: check_level.computes_checksums().then(|| MemberCrc {
                computed: Crc32::new(),
                stored: 0,
                start: 0,
                noun: "",
            }),
            expected: ExpectedArray::new(layout, shape, check_level),
            stage: Stage::Record,
            seen: Vec::new(),
            position: 0,
            record_start: 0,
            implied: (LOCAL_BYTES + END_BYTES) as u64,
            found_x: false,
            streamed: false,
            size: None,
            progress: Progress::Idle,
        }
    }

    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), Error> {
        let expected = (LOCAL_BYTES + END_BYTES) as u64;
        if bytes < expected {
            return Err(Error::Truncated { noun: "npz archive", expected, found: bytes });
        }
        self.size = Some(bytes);
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
            let in_member = matches!(self.stage, Stage::Array(..) | Stage::Skip(_));
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
                    let used = clamp(*left, bytes.len());
                    *left -= used as u64;
                    used
                }
                Stage::Deflated(member) => {
                    let (used, outcome) =
                        member.take(bytes, self.position, self.sum.as_mut().map(|sum| &mut sum.computed))?;
                    match outcome {
                        Outcome::More => {}
                        // The rest is inflated only for its checksum.
                        Outcome::Header if self.sum.is_some() => {}
                        Outcome::Header => {
                            let left = member.left();
                            self.stage = left.map_or(Stage::Unchecked, |left| Stage::Skip(left - used as u64));
                        }
                        Outcome::End if member.left().is_some() => self.stage = Stage::Skip(0),
                        Outcome::End => self.stage = Stage::Descriptor,
                    }
                    used
                }
                Stage::Descriptor => self.descriptor(bytes)?,
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
            if let Some(sum) = self.sum.as_mut().filter(|_| in_member) {
                sum.computed.update(&bytes[..used]);
            }
            bytes = &bytes[used..];
            if let Stage::Skip(0) = self.stage {
                self.sum.as_ref().map_or(Ok(()), MemberCrc::compare)?;
                self.begin_record();
            }
        }
        Ok(())
    }

    fn begin_record(&mut self) {
        self.stage = if self.streamed { Stage::Unchecked } else { Stage::Record };
        self.seen.clear();
        self.record_start = self.position;
    }

    /// Collects a record and returns the number of bytes used.
    fn record(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let used = bytes.len().min(record_length(&self.seen) - self.seen.len());
        self.seen.extend_from_slice(&bytes[..used]);
        let length = record_length(&self.seen);
        self.implied = self.record_start + (length + END_BYTES) as u64;
        match self.seen.get(..4) {
            Some(signature) if signature == CENTRAL && self.record_start > 0 => self.stage = Stage::Directory,
            Some(signature) if signature != LOCAL => {
                return Err(Error::Malformed {
                    noun: "zip record",
                    offset: self.record_start,
                    expected: "a local header \"PK\\x03\\x04\" or the directory \"PK\\x01\\x02\"".to_owned(),
                    found: excerpt(signature),
                });
            }
            Some(_) if self.seen.len() == length => self.begin_member(self.position + used as u64)?,
            _ => {}
        }
        Ok(used)
    }

    /// Decides how the data after a complete local header are read.
    fn begin_member(&mut self, data_start: u64) -> Result<(), Error> {
        let local = LocalHeader::parse(&self.seen);
        let is_x = local.name == b"x.npy";
        self.found_x |= is_x;
        self.streamed = local.compressed.is_none();
        if let Some(size) = local.compressed {
            self.implied = data_start.saturating_add(size).saturating_add(END_BYTES as u64);
            if let Some(found) = self.size.filter(|&found| found < self.implied) {
                return Err(Error::Truncated { noun: "npz archive", expected: self.implied, found });
            }
        }
        if let Some(sum) = &mut self.sum {
            if local.method != DEFLATED && (local.method != STORED || local.compressed.is_none()) {
                return Err(Error::Malformed {
                    noun: "zip member",
                    offset: self.record_start,
                    expected: "deflated data, or stored data whose length comes first, to check its checksum"
                        .to_owned(),
                    found: format!("compression method {}, flags {:#x}", local.method, u16_at(&self.seen, 6)),
                });
            }
            let noun = match local.name {
                b"x.npy" => "member x.npy",
                b"y.npy" => "member y.npy",
                _ => "member of the archive",
            };
            *sum = MemberCrc { computed: Crc32::new(), stored: u32_at(&self.seen, 14), start: data_start, noun };
        }
        self.stage = match (local.method, local.compressed) {
            (DEFLATED, size) if is_x || self.sum.is_some() => {
                let header = is_x.then(|| Header::new(self.expected.clone(), data_start));
                Stage::Deflated(Box::new(DeflatedMember::new(header, size)))
            }
            (STORED, size) if is_x => Stage::Array(Box::new(Header::new(self.expected.clone(), data_start)), size),
            (_, Some(size)) => Stage::Skip(size),
            (STORED | DEFLATED, None) => Stage::Unchecked,
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

    /// Checks the checksum after a member whose length was unknown, with or without a signature.
    fn descriptor(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let used = bytes.len().min(8 - self.seen.len());
        self.seen.extend_from_slice(&bytes[..used]);
        if self.seen.len() == 8 {
            let stored = u32_at(&self.seen, if self.seen.starts_with(b"PK\x07\x08") { 4 } else { 0 });
            if let Some(sum) = &mut self.sum {
                sum.stored = stored;
                sum.compare()?;
            }
            self.seen.clear();
            self.stage = Stage::Unchecked;
        }
        Ok(used)
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
            Stage::Record | Stage::Array(..) | Stage::Deflated(_) | Stage::Descriptor => {
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
        self.progress = Progress::Done;
        Ok(())
    }
}

/// Returns the length in bytes of a local header, as far as its first bytes `seen` determine it.
fn record_length(seen: &[u8]) -> usize {
    match seen.get(26..30) {
        Some(lengths) => LOCAL_BYTES + usize::from(u16_at(lengths, 0)) + usize::from(u16_at(lengths, 2)),
        None if seen.len() < 4 => 4,
        None => LOCAL_BYTES,
    }
}

/// Returns the size in bytes of a stored array's data, given the length of the member if it is known.
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

/// The fields of a local header that are used.
struct LocalHeader<'a> {
    name: &'a [u8],
    method: u16,
    /// Stored size in bytes, or `None` if it follows the data.
    compressed: Option<u64>,
}

impl<'a> LocalHeader<'a> {
    /// Parses a whole local header, including name and extra fields.
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

/// Returns the compressed size from a zip64 extra field, in which the uncompressed size comes first.
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

/// Checks the bytes from the directory to the end of the file; `start` is the offset of the directory.
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
        // The zip64 end record (its length excludes the first twelve bytes) and its locator.
        let fixed = bytes.get(at..at + 12).ok_or_else(|| truncated(at + 56 + 20))?;
        let skip = usize::try_from(u64_at(fixed, 4)).ok().and_then(|length| length.checked_add(12 + 20 + at));
        at = skip.filter(|&skip| skip <= bytes.len()).ok_or_else(|| truncated(at + 56 + 20))?;
    }
    let signature = &bytes[at..(at + 4).min(bytes.len())];
    if signature.len() < 4 && [CENTRAL, END64, END].iter().any(|known| known.starts_with(signature)) {
        return Err(truncated(at));
    }
    if signature != END {
        return Err(Error::Malformed {
            noun: "zip end record",
            offset: start + at as u64,
            expected: "\"PK\\x05\\x06\"".to_owned(),
            found: excerpt(signature),
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
