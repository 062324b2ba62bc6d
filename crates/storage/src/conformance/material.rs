//! Clocks, sources and sinks of the conformance suite.

use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::{Nanos, TimeSource};

use crate::{Attempts, ByteRange, ChunkSink, ChunkSource, Error, ListEntry, Receipt, Storage};

/// A test clock that advances by one nanosecond each time it is read.
#[derive(Debug, Default)]
pub struct Ticks(AtomicU64);

impl TimeSource for Ticks {
    fn now(&self) -> Nanos {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A source of `len` bytes whose values depend on their offset; it may end early.
#[derive(Debug, Clone)]
pub struct Pattern {
    len: u64,
    seed: u64,
    ends_after: u64,
    next: u64,
}

impl Pattern {
    /// Returns a source of `len` bytes that depend on the seed.
    #[must_use]
    pub fn new(len: u64, seed: u64) -> Self {
        Self { len, seed, ends_after: len, next: 0 }
    }

    /// Returns a source that announces its full length but ends after `bytes` bytes.
    #[must_use]
    pub fn ending_after(mut self, bytes: u64) -> Self {
        self.ends_after = bytes.min(self.len);
        self
    }

    /// Returns the byte at an offset.
    #[must_use]
    pub fn at(&self, offset: u64) -> u8 {
        let word = dlio_event::mix::fibonacci((offset / 8).wrapping_add(self.seed << 32));
        (word ^ (word >> 29)).to_le_bytes()[(offset % 8) as usize]
    }

    /// Returns the bytes of a range, cut at the end of the pattern.
    #[must_use]
    pub fn range(&self, range: ByteRange) -> Vec<u8> {
        let end = range.len.map_or(self.len, |len| range.offset.saturating_add(len).min(self.len));
        (range.offset..end).map(|offset| self.at(offset)).collect()
    }
}

impl ChunkSource for Pattern {
    fn len(&self) -> u64 {
        self.len
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        for byte in buffer.iter_mut() {
            if self.next == self.ends_after {
                break;
            }
            *byte = self.at(self.next);
            self.next += 1;
            filled += 1;
        }
        filled
    }
}

/// A sink that compares the bytes that are read with the pattern that was written, without keeping them.
pub(super) struct Compare<'a> {
    pub(super) with: &'a Pattern,
    pub(super) next: u64,
}

impl ChunkSink for Compare<'_> {
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String> {
        for byte in bytes {
            let expected = self.with.at(self.next);
            if *byte != expected {
                return Err(format!("byte {} is {byte:#04x}, expected {expected:#04x}", self.next));
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// Opens an object and reads a range into memory.
///
/// # Errors
/// The error of opening or reading; on S3, opening always succeeds.
pub async fn read(storage: &dyn Storage, key: &str, range: ByteRange) -> Result<(Vec<u8>, Receipt), Error> {
    let mut content = Vec::new();
    let object = storage.open(key).await?;
    let receipt = object
        .read(range, &mut |bytes: &[u8]| {
            content.extend_from_slice(bytes);
            Ok(())
        })
        .await?;
    Ok((content, receipt))
}

/// Lists all objects with a prefix, in the order of the listing.
///
/// # Errors
/// The error of the listing.
pub async fn list(storage: &dyn Storage, prefix: &str) -> Result<Vec<ListEntry>, Error> {
    let mut found = Vec::new();
    storage.list(prefix, &mut |page: &[ListEntry]| found.extend_from_slice(page)).await?;
    Ok(found)
}

/// Checks that the times of each attempt are in order and that the last attempt succeeded.
pub(super) fn check_attempts(attempts: &Attempts, what: &str) {
    for attempt in attempts {
        assert!(attempt.start <= attempt.end, "{what}: an attempt ends before it starts: {attempt:?}");
        if let Some(first) = attempt.first_byte {
            assert!(attempt.start <= first && first <= attempt.end, "{what}: first byte out of order: {attempt:?}");
        }
    }
    if let Some(last) = attempts.last() {
        assert_eq!(last.outcome, dlio_event::Outcome::Ok, "{what}: succeeded, but its last attempt did not");
    }
}
