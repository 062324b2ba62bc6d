//! Segments of a file that are not specific to a format: literal bytes, zeros, payload and numbers.

use crate::buffer::clamp;
use crate::payload::Stream;

/// A segment of a file.
#[derive(Debug, Clone)]
pub(crate) enum Segment {
    /// Literal bytes, from the cursor on.
    Bytes(Vec<u8>, usize),
    /// This many zero bytes.
    Zeros(u64),
    /// Payload.
    Payload(Stream),
    /// Unsigned 64-bit numbers.
    Numbers(Numbers),
}

impl Segment {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes, 0)
    }

    pub(crate) fn remaining(&self) -> u64 {
        match self {
            Self::Bytes(bytes, cursor) => (bytes.len() - cursor) as u64,
            Self::Zeros(left) => *left,
            Self::Payload(stream) => stream.remaining(),
            Self::Numbers(numbers) => numbers.end - numbers.position,
        }
    }

    /// Writes the next bytes and returns their number: 0 when the segment is exhausted or the buffer is empty.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let count = clamp(self.remaining(), buffer.len());
        let target = &mut buffer[..count];
        match self {
            Self::Bytes(bytes, cursor) => {
                target.copy_from_slice(&bytes[*cursor..*cursor + count]);
                *cursor += count;
            }
            Self::Zeros(left) => {
                target.fill(0);
                *left -= count as u64;
            }
            Self::Payload(stream) => {
                stream.fill(target);
            }
            Self::Numbers(numbers) => numbers.fill(target),
        }
        count
    }
}

/// `count` unsigned 64-bit numbers, little-endian: 0, `step`, 2 · `step` … or, with step 0, all equal to `first`.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    first: u64,
    step: u64,
    position: u64,
    end: u64,
}

impl Numbers {
    pub(crate) fn new(first: u64, step: u64, count: u64) -> Self {
        Self { first, step, position: 0, end: count.saturating_mul(8) }
    }

    /// Creates a sequence that repeats `number` for `bytes` bytes; the last number is cut off at the end.
    pub(crate) fn repeated(number: u64, bytes: u64) -> Self {
        Self { first: number, step: 0, position: 0, end: bytes }
    }

    /// Returns the bytes of the number at the position.
    fn next(&self) -> [u8; 8] {
        self.first.wrapping_add(self.step.wrapping_mul(self.position / 8)).to_le_bytes()
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        let inside = (self.position % 8) as usize;
        let head = buffer.len().min((8 - inside) % 8);
        let (front, rest) = buffer.split_at_mut(head);
        front.copy_from_slice(&self.next()[inside..inside + head]);
        self.position += head as u64;
        let (words, tail) = rest.as_chunks_mut::<8>();
        let mut number = u64::from_le_bytes(self.next());
        for word in &mut *words {
            *word = number.to_le_bytes();
            number = number.wrapping_add(self.step);
        }
        self.position += 8 * words.len() as u64;
        let next = self.next();
        tail.copy_from_slice(&next[..tail.len()]);
        self.position += tail.len() as u64;
    }
}
