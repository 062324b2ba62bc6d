//! Helpers for byte buffers.

/// Returns the smaller of the bytes left in a file and the room in a buffer, in bytes.
pub(crate) fn clamp(left: u64, room: usize) -> usize {
    usize::try_from(left).map_or(room, |left| left.min(room))
}

/// Bytes that are produced in batches and copied out in pieces of any size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    written: usize,
}

impl Batch {
    /// Creates a buffer whose first batch is `bytes`.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, written: 0 }
    }

    /// Fills `buffer`. `next` appends the next batch to an empty vector.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8], mut next: impl FnMut(&mut Vec<u8>)) {
        while !buffer.is_empty() {
            if self.written == self.bytes.len() {
                self.bytes.clear();
                next(&mut self.bytes);
                self.written = 0;
            }
            let ready = &self.bytes[self.written..];
            let count = ready.len().min(buffer.len());
            let (front, back) = buffer.split_at_mut(count);
            front.copy_from_slice(&ready[..count]);
            self.written += count;
            buffer = back;
        }
    }
}

/// Returns the little-endian number of `width` bytes, at most eight, at offset `at`, or `None` beyond the end.
pub(crate) fn little_endian(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}
