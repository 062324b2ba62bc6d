//! A reader of npz files that reads ranges in numpy's order: the magic, the end record, the directory, then the
//! member `x.npy` in whole buffers, which may include the beginning of `y.npy`.
//!
//! It needs the size of the file. An archive that numpy would read in another order (a comment, zip64 records,
//! `x.npy` not first) is read whole from the front. So is a damaged archive, so that the error message is precise.

use super::read::ArchiveReader;
use crate::buffer::little_endian;
use crate::error::Error;
use crate::need::Need;
use crate::zip::{CENTRAL, END, END_BYTES, LOCAL, LOCAL_BYTES};

/// Size of Python's read buffer in bytes.
const BUFFER: u64 = 4096;
/// Length in bytes of the end record and of the zip64 locator before it.
const TAIL: u64 = 42;
/// Maximum length in bytes of a directory that is read in one range; numpy's has about 100 bytes.
const DIRECTORY_MAX: u64 = 1 << 16;

/// The next range to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The whole file from the front: its size is unknown, or numpy would read the archive in another order.
    Whole,
    Magic,
    End,
    Locator,
    Directory {
        offset: u64,
    },
    /// Local header and the first data; the directory contains the size of the member in bytes.
    Head {
        size: u64,
    },
    /// The rest of the member, up to this offset.
    Data {
        end: u64,
    },
    Done,
}

/// A reader of npz files in numpy's order.
#[derive(Debug)]
pub(crate) struct NumpyOrderReader {
    archive: ArchiveReader,
    stage: Stage,
    size: u64,
    /// Bytes of a range that is parsed as a whole.
    seen: Vec<u8>,
    /// Number of bytes read of the member and its header.
    passed: u64,
    wanted: bool,
}

impl NumpyOrderReader {
    pub(crate) fn new(archive: ArchiveReader) -> Self {
        Self { archive, stage: Stage::Whole, size: 0, seen: Vec::new(), passed: 0, wanted: false }
    }

    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), Error> {
        self.archive.size(bytes)?;
        (self.stage, self.size) = (Stage::Magic, bytes);
        Ok(())
    }

    pub(crate) fn sample(&mut self) {
        self.wanted = true;
        self.archive.sample();
    }

    /// Returns whether the next bytes are those of the file from its start.
    pub(crate) fn is_front(&self) -> bool {
        matches!(self.stage, Stage::Whole | Stage::Head { .. } | Stage::Data { .. })
    }

    pub(crate) fn need(&self) -> Need {
        let range = |offset: u64, end: u64| Need::Bytes { offset, len: Some(end.min(self.size) - offset) };
        match self.stage {
            _ if !self.wanted => Need::Done,
            Stage::Whole => self.archive.need(),
            Stage::Magic | Stage::Head { .. } => range(0, BUFFER),
            Stage::End => range(self.size - END_BYTES as u64, self.size),
            Stage::Locator => range(self.size.saturating_sub(TAIL), self.size),
            Stage::Directory { offset } => range(offset, self.size),
            // The read ends with a whole buffer, or with the file.
            Stage::Data { end } => range(BUFFER, end.next_multiple_of(BUFFER)),
            Stage::Done => Need::Done,
        }
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !self.is_front() {
            self.seen.extend_from_slice(bytes);
            return Ok(());
        }
        if let Stage::Head { .. } = self.stage {
            self.seen.extend_from_slice(bytes);
        }
        self.passed += bytes.len() as u64;
        self.archive.chunk(bytes)
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let seen = std::mem::take(&mut self.seen);
        self.stage = match self.stage {
            Stage::Whole => return self.archive.end(),
            Stage::Magic if seen.starts_with(&LOCAL) => Stage::End,
            Stage::End => end_record(&seen, self.size).map_or(Stage::Whole, |_| Stage::Locator),
            Stage::Locator => match end_record(&seen[seen.len().saturating_sub(END_BYTES)..], self.size) {
                Some(offset) => Stage::Directory { offset },
                None => Stage::Whole,
            },
            Stage::Directory { .. } => first_member(&seen).map_or(Stage::Whole, |size| Stage::Head { size }),
            Stage::Head { size } => {
                let end = member_start(&seen).saturating_add(size);
                if end <= BUFFER { self.complete(end)? } else { Stage::Data { end } }
            }
            Stage::Data { end } => self.complete(end)?,
            Stage::Magic => Stage::Whole,
            Stage::Done => Stage::Done,
        };
        Ok(())
    }

    /// Completes the member if `end` bytes from the front have been read.
    fn complete(&self, end: u64) -> Result<Stage, Error> {
        if self.passed < end {
            return Err(Error::Truncated { noun: "npz archive", expected: end, found: self.passed });
        }
        Ok(Stage::Done)
    }
}

/// Returns the offset of the directory, if `bytes` is the end record of an archive of `size` bytes without a comment
/// or zip64 records.
fn end_record(bytes: &[u8], size: u64) -> Option<u64> {
    let (length, offset) = (little_endian(bytes, 12, 4)?, little_endian(bytes, 16, 4)?);
    let fits = offset.checked_add(length)? + END_BYTES as u64 == size && length <= DIRECTORY_MAX;
    (bytes.starts_with(&END) && little_endian(bytes, 20, 2)? == 0 && fits).then_some(offset)
}

/// Returns the stored size of the directory's first member, if that is `x.npy` at the start of the file.
fn first_member(directory: &[u8]) -> Option<u64> {
    let size = little_endian(directory, 20, 4)?;
    let is_x =
        directory.starts_with(&CENTRAL) && directory.get(46..51)? == b"x.npy" && little_endian(directory, 28, 2)? == 5;
    (is_x && little_endian(directory, 42, 4)? == 0 && size != u64::from(u32::MAX)).then_some(size)
}

/// Returns the offset of the data of the member whose local header is `head`.
fn member_start(head: &[u8]) -> u64 {
    let lengths = little_endian(head, 26, 2).zip(little_endian(head, 28, 2)).map_or(0, |(name, extra)| name + extra);
    LOCAL_BYTES as u64 + lengths
}
