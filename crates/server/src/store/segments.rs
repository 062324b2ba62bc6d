//! The bytes of an object in memory: a list of shared segments.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::budget::Reservation;

/// The bytes of an object or part, with the memory reserved for them.
pub(crate) struct Segments {
    pub(super) bytes: Vec<Bytes>,
    /// One reservation for each part from which the object was assembled.
    pub(super) reserved: Vec<Arc<Reservation>>,
}

/// Iterates over the segments of a range.
pub(crate) struct Reader {
    segments: Arc<Segments>,
    index: usize,
    /// Position of the next byte in the segment at `index`.
    offset: usize,
    remaining: u64,
    piece: usize,
}

impl Reader {
    pub(crate) fn new(segments: Arc<Segments>, range: Range<u64>, piece: usize) -> Self {
        let (mut index, mut skip) = (0, range.start);
        while let Some(segment) = segments.bytes.get(index).filter(|segment| skip >= segment.len() as u64) {
            skip -= segment.len() as u64;
            index += 1;
        }
        let offset = usize::try_from(skip).unwrap_or(usize::MAX);
        Self { segments, index, offset, remaining: range.end - range.start, piece }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if self.remaining == 0 {
            return None;
        }
        let segment = self.segments.bytes.get(self.index)?;
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(self.piece);
        let end = segment.len().min(self.offset.saturating_add(wanted));
        let bytes = segment.slice(self.offset..end);
        self.remaining -= bytes.len() as u64;
        self.offset = end;
        if end == segment.len() {
            self.index += 1;
            self.offset = 0;
        }
        Some(bytes)
    }
}
