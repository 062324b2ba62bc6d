//! The known byte ranges of a file's metadata, and the range that the HDF5 library would read next.
//!
//! hdf5-pure needs a source that can be read at any offset. This source holds some ranges of the file and records the
//! first request that they cannot answer. The range to read is then the one that the library (1.14, with h5py's
//! settings) reads at that offset: 8 bytes of signature, 48 bytes of superblock, object headers in steps of 512
//! bytes, and everything else exactly.

use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{FormatError, Source};

/// Signature at the beginning of every file, possibly after a user block.
pub(super) const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// Length of the shortest superblock of the versions in use, in bytes.
pub(super) const SUPERBLOCK: u64 = 48;
/// Number of bytes that the library reads of an object header before it knows the header's length.
pub(super) const HEADER: u64 = 512;
/// Maximum number of metadata bytes that are kept while they are parsed.
pub(super) const METADATA_MAX: u64 = 64 << 20;
/// Length that a source reports while the length of the file is unknown.
const UNKNOWN_LENGTH: u64 = 1 << 62;
/// Number of ranges from which larger ranges are read, because each costs another run of the parser.
const RANGES_MANY: usize = 64;
/// Minimum length of these larger ranges in bytes.
const RANGE_MIN: u64 = 4096;
/// Number of bytes that hdf5-pure requests first of a header or node.
const ASKED_OF_HEADER: u64 = 4;
/// Number of bytes that hdf5-pure requests of a superblock, whatever its version.
const ASKED_OF_SUPERBLOCK: usize = 128;
/// Signatures of the metadata blocks that the library reads one by one.
const BLOCKS: [&[u8; 4]; 4] = [b"OHDR", b"OCHK", b"FAHD", b"FADB"];
/// Maximum offset in bytes at which a user block may end here.
const USER_BLOCK_MAX: u64 = 1024;

/// A request that the known ranges cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MissingRange {
    /// Offset of the request in bytes.
    offset: u64,
    len: u64,
    /// Offset of its first unknown byte.
    at: u64,
}

/// The known byte ranges of a file.
#[derive(Debug, Default)]
pub(super) struct KnownRanges {
    pub(super) ranges: Vec<(u64, Vec<u8>)>,
    pub(super) length: Option<u64>,
    pub(super) missing: Option<MissingRange>,
}

impl KnownRanges {
    /// Copies a range, or records which part of it is missing.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        if self.begins_block(offset) {
            self.missing.get_or_insert(MissingRange { offset, len: buffer.len() as u64, at: offset });
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
                self.missing.get_or_insert(MissingRange { offset, len: buffer.len() as u64, at });
                return Err(FormatError::UnexpectedEof { expected: buffer.len(), available: filled });
            };
            let from = (at - start) as usize;
            let count = (bytes.len() - from).min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&bytes[from..from + count]);
            filled += count;
        }
        Ok(())
    }

    /// Returns whether a metadata block begins at `offset` that was read as part of an earlier range; the library
    /// reads it again on its own.
    fn begins_block(&self, offset: u64) -> bool {
        let known = |(start, bytes): &(u64, Vec<u8>)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            bytes.get(from..from + 4).map(<[u8]>::to_vec)
        };
        let is_block = |bytes: &Vec<u8>| BLOCKS.iter().any(|block| bytes == block);
        !self.ranges.iter().any(|(start, _)| *start == offset)
            && self.ranges.iter().find_map(known).is_some_and(|bytes| is_block(&bytes))
    }

    /// Returns the end of the superblock at this offset, once its version is known.
    fn superblock(&self, offset: u64) -> Option<u64> {
        let starts = |(start, bytes): &&(u64, Vec<u8>)| *start == offset && bytes.starts_with(SIGNATURE);
        let version = self.ranges.iter().filter(starts).find_map(|(_, bytes)| bytes.get(8))?;
        Some(offset + if *version < 2 { 2 * SUPERBLOCK } else { SUPERBLOCK })
    }

    /// Returns whether the signature was found at a permitted offset.
    pub(super) fn has_signature(&self) -> bool {
        self.ranges.iter().any(|(start, bytes)| *start <= USER_BLOCK_MAX && bytes.starts_with(SIGNATURE))
    }

    /// Returns the range that the library reads for a missing part, or `None` if the file is not HDF5.
    pub(super) fn range_for(&self, missing: MissingRange) -> Option<(u64, u64)> {
        let MissingRange { offset, len, at } = missing;
        let left = (offset + len).saturating_sub(at);
        if !self.has_signature() {
            return (offset <= USER_BLOCK_MAX).then_some((offset, left));
        }
        let superblock = |(start, bytes): &&(u64, Vec<u8>)| *start == offset && bytes.starts_with(SIGNATURE);
        if self.ranges.iter().any(|range| superblock(&range)) {
            // The library reads the whole superblock again after the signature, and the rest of an old superblock
            // after that.
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
pub(super) struct SparseSource(Arc<Mutex<KnownRanges>>);

impl SparseSource {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut KnownRanges) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Source for SparseSource {
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
        // A corrupt file may contain any length; memory is allocated only for a plausible one.
        if len as u64 > METADATA_MAX || offset.saturating_add(len as u64) > self.len() {
            let length = self.len();
            let end = offset.saturating_add(len as u64);
            // A known length is the end of the file: bytes beyond it do not exist.
            self.with(|known| {
                if known.length.is_some() && end > length {
                    known.missing.get_or_insert(MissingRange { offset: length, len: end - length, at: length });
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
