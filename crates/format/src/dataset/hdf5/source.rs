//! What is known of a file's metadata, and which range the HDF5 library would read next.
//!
//! hdf5-pure wants a source that can be read anywhere. The source here holds some ranges of the file and notes the first
//! request that they do not answer. The range that is read then is the one that the library (1.14, as h5py has it) reads at
//! that place: 8 bytes of signature, 48 of superblock, object headers 512 bytes at a time, everything else exactly.

use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{FormatError, Source};

/// What every file begins with, perhaps behind a user block.
pub(super) const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// Shortest superblock of the versions in use.
pub(super) const SUPERBLOCK: u64 = 48;
/// The library reads this much of an object header before it knows the header's length.
pub(super) const HEADER: u64 = 512;
/// Most metadata that are read and kept while they are parsed.
pub(super) const METADATA_MAX: u64 = 64 << 20;
/// What a source says its length is before anybody knows.
const UNKNOWN_LENGTH: u64 = 1 << 62;
/// From so many ranges on, larger ones are read: each costs another run of the parser.
const RANGES_MANY: usize = 64;
/// The larger ones.
const RANGE_MIN: u64 = 4096;
/// hdf5-pure asks for this much of a header's or node's signature first,
const ASKED_OF_HEADER: u64 = 4;
/// and for this much of a superblock, whatever its version.
const ASKED_OF_SUPERBLOCK: usize = 128;
/// What blocks of metadata begin with that the library reads one by one.
const BLOCKS: [&[u8; 4]; 4] = [b"OHDR", b"OCHK", b"FAHD", b"FADB"];
/// Last place at which a user block may end here.
const USER_BLOCK_MAX: u64 = 1024;

/// A request that the known ranges do not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    /// The request.
    offset: u64,
    len: u64,
    /// First byte of it that is not known.
    at: u64,
}

/// Bytes of a file that are known.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) ranges: Vec<(u64, Vec<u8>)>,
    pub(super) length: Option<u64>,
    pub(super) missing: Option<Missing>,
}

impl Known {
    /// Copies a range, or notes what is missing of it.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        if self.begins_block(offset) {
            self.missing.get_or_insert(Missing { offset, len: buffer.len() as u64, at: offset });
            return Err(FormatError::UnexpectedEof { expected: buffer.len(), available: 0 });
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            let covering = self.ranges.iter().find(|(start, bytes)| *start <= at && at - start < bytes.len() as u64);
            let Some((start, bytes)) = covering else {
                if buffer.len() == ASKED_OF_SUPERBLOCK && self.superblock(offset).is_some_and(|end| at >= end) {
                    buffer[filled..].fill(0);
                    return Ok(());
                }
                self.missing.get_or_insert(Missing { offset, len: buffer.len() as u64, at });
                return Err(FormatError::UnexpectedEof { expected: buffer.len(), available: filled });
            };
            let from = (at - start) as usize;
            let count = (bytes.len() - from).min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&bytes[from..from + count]);
            filled += count;
        }
        Ok(())
    }

    /// Whether a block of metadata begins here that came with what is before it: the library reads it again by itself.
    fn begins_block(&self, offset: u64) -> bool {
        let known = |(start, bytes): &(u64, Vec<u8>)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            bytes.get(from..from + 4).map(<[u8]>::to_vec)
        };
        let is_block = |bytes: &Vec<u8>| BLOCKS.iter().any(|block| bytes == block);
        !self.ranges.iter().any(|(start, _)| *start == offset)
            && self.ranges.iter().find_map(known).is_some_and(|bytes| is_block(&bytes))
    }

    /// End of the superblock at this offset, once its version is known.
    fn superblock(&self, offset: u64) -> Option<u64> {
        let starts = |(start, bytes): &&(u64, Vec<u8>)| *start == offset && bytes.starts_with(SIGNATURE);
        let version = self.ranges.iter().filter(starts).find_map(|(_, bytes)| bytes.get(8))?;
        Some(offset + if *version < 2 { 2 * SUPERBLOCK } else { SUPERBLOCK })
    }

    /// Whether the signature was found where it may be.
    pub(super) fn has_signature(&self) -> bool {
        self.ranges.iter().any(|(start, bytes)| *start <= USER_BLOCK_MAX && bytes.starts_with(SIGNATURE))
    }

    /// The range that the library reads where this is missing; `None`: what is there is no HDF5 file.
    pub(super) fn range_for(&self, missing: Missing) -> Option<(u64, u64)> {
        let Missing { offset, len, at } = missing;
        let left = (offset + len).saturating_sub(at);
        if !self.has_signature() {
            return (offset <= USER_BLOCK_MAX).then_some((offset, left));
        }
        let superblock = |(start, bytes): &&(u64, Vec<u8>)| *start == offset && bytes.starts_with(SIGNATURE);
        if self.ranges.iter().any(|range| superblock(&range)) {
            // The whole superblock again behind its signature; the rest of an old one behind that.
            return Some(if at < offset + SUPERBLOCK { (offset, SUPERBLOCK) } else { (at, SUPERBLOCK) });
        }
        let old =
            self.ranges.iter().any(|(_, bytes)| bytes.starts_with(SIGNATURE) && bytes.get(8).is_some_and(|&v| v < 2));
        let least = match self.ranges.len() {
            RANGES_MANY.. => RANGE_MIN,
            _ if old || len == ASKED_OF_HEADER => HEADER,
            _ => 1,
        };
        Some((at, left.max(least)))
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Sparse(Arc<Mutex<Known>>);

impl Sparse {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Source for Sparse {
    fn len(&self) -> u64 {
        self.with(|known| known.length.unwrap_or(UNKNOWN_LENGTH))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        if offset >= UNKNOWN_LENGTH {
            return Err(FormatError::OffsetOverflow { offset, length: buffer.len() as u64 });
        }
        self.with(|known| known.read(offset, buffer))
    }

    fn read_exact_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, FormatError> {
        // A corrupt file may name any length; memory is taken only for what can be there.
        if len as u64 > METADATA_MAX || offset.saturating_add(len as u64) > self.len() {
            let length = self.len();
            let end = offset.saturating_add(len as u64);
            // A known length is the end of the file: what lies behind it is missing for good.
            self.with(|known| {
                if known.length.is_some() && end > length {
                    known.missing.get_or_insert(Missing { offset: length, len: end - length, at: length });
                }
            });
            let available = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
            return Err(FormatError::UnexpectedEof { expected: len, available });
        }
        let mut buffer = vec![0; len];
        self.read_at(offset, &mut buffer)?;
        Ok(buffer)
    }
}
