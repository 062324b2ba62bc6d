//! Comparing what is read with what was generated, in passing and in O(1) memory.
//!
//! How a format checks content: its decoder is made with a [`Scrutiny`](crate::scrutiny::Scrutiny). Under `Scrutiny::Payload` it keeps a [`Check`]
//! over the bytes that it expects from some offset on, and hands it every chunk after its own look at the structure, so that
//! a damaged structure is reported as such:
//!
//! * a file that is read from front to back: [`Check::new`], the file encoded again beside the read;
//! * a range of payload (a sample at an offset): [`Check::payload`], one per range;
//! * compressed content: decompress in the decoder and hand the plain bytes to a check over the payload.
//!
//! Under `Scrutiny::Checksums` it computes the checksums that the format carries and compares nothing with the seed, so
//! that files of other programs can be checked. `Scrutiny::Full` is the work of a training reader: checksums that its
//! library computes, decompression, pixels, values. Work of all three is done inside [`Decoder::chunk`](crate::Decoder::chunk)
//! and [`Decoder::end`](crate::Decoder::end), which the engine times apart from the read.

use crate::encode::{Encoder, Piece};
use crate::error::Error;
use crate::payload::{Payload, Stream};

/// Expected bytes are made in blocks of this size, which stay in the first-level cache.
const BLOCK: usize = crate::crc::BLOCK;
/// Bytes that a message shows from the first difference on.
const SHOWN: usize = 8;

/// The bytes that should come next.
#[derive(Debug)]
pub(crate) struct Check {
    /// As it was before its first byte, and where that is in the file.
    whole: Encoder,
    start: u64,
    expected: Encoder,
    /// Offset in the file of the next byte to be compared.
    offset: u64,
    /// Expected bytes that were made and not yet compared: `block[from..to]`.
    block: Vec<u8>,
    from: usize,
    to: usize,
    /// Seed of the payload, for the message.
    seed: u64,
}

impl Check {
    /// A check of a run of payload that begins at `offset` of the file.
    pub(crate) fn payload(seed: u64, stream: Stream, offset: u64) -> Self {
        Self::new(seed, Encoder::pieces([Piece::payload(stream)]), offset)
    }

    /// A check of what an encoder makes, which begins at `offset` of the file; `seed` is for the message.
    pub(crate) fn new(seed: u64, expected: Encoder, offset: u64) -> Self {
        let whole = expected.clone();
        Self { whole, start: offset, expected, offset, block: Vec::new(), from: 0, to: 0, seed }
    }

    /// Compares the next bytes.
    ///
    /// # Errors
    /// The first byte that differs, or the first one behind the expected end.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.from == self.to {
                self.block.resize(BLOCK, 0);
                (self.from, self.to) = (0, self.expected.fill(&mut self.block));
                if self.to == 0 {
                    let found = self.offset + bytes.len() as u64;
                    return Err(Error::Trailing { noun: "what was generated", expected: self.offset, found });
                }
            }
            let count = bytes.len().min(self.to - self.from);
            let expected = &self.block[self.from..self.from + count];
            if expected != &bytes[..count] {
                return Err(self.differs(expected, bytes));
            }
            bytes = &bytes[count..];
            self.from += count;
            self.offset += count as u64;
        }
        Ok(())
    }

    /// Begins again with the first byte.
    pub(crate) fn restart(&mut self) {
        self.expected = self.whole.clone();
        (self.offset, self.from, self.to) = (self.start, 0, 0);
    }

    #[cold]
    fn differs(&self, expected: &[u8], found: &[u8]) -> Error {
        let at = expected.iter().zip(found).position(|(expected, found)| expected != found).unwrap_or(0);
        let shown = |bytes: &[u8]| bytes[at..].iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
        Error::Content {
            offset: self.offset + at as u64,
            expected: shown(expected).join(" "),
            seed: self.seed,
            found: shown(&found[..expected.len()]).join(" "),
        }
    }
}

/// Compares a whole object (a file of the data set, or an index) with what its encoder makes.
#[derive(Debug)]
pub struct Comparison {
    check: Check,
    len: u64,
}

impl Comparison {
    /// A comparison with what an encoder makes of a payload.
    #[must_use]
    pub fn new(payload: Payload, encoder: Encoder) -> Self {
        Self { len: encoder.len(), check: Check::new(payload.seed(), encoder, 0) }
    }

    /// Takes the next bytes of the object.
    ///
    /// # Errors
    /// The first byte that differs, or the first one behind the end.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check.take(bytes)
    }

    /// The object has ended.
    ///
    /// # Errors
    /// It should be longer.
    pub fn end(&self) -> Result<(), Error> {
        let found = self.check.offset;
        if found < self.len {
            return Err(Error::Truncated { noun: "what was generated", expected: self.len, found });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Element;

    fn check(len: u64, offset: u64) -> Check {
        Check::payload(3, Payload::new(3).stream(1, Element::Raw, len), offset)
    }

    fn bytes(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Payload::new(3).stream(1, Element::Raw, len as u64).fill(&mut bytes);
        bytes
    }

    #[test]
    fn the_right_bytes_pass_in_pieces_of_any_size() {
        for piece in [1, 7, 4096, BLOCK, 3 * BLOCK + 5] {
            let mut check = check(100_000, 0);
            for chunk in bytes(100_000).chunks(piece) {
                check.take(chunk).unwrap();
            }
            assert_eq!(check.offset, 100_000);
            check.restart();
            check.take(&bytes(5)).unwrap();
        }
    }

    #[test]
    fn the_first_difference_is_told_with_its_offset_in_the_file() {
        for at in [0, 1, BLOCK - 1, BLOCK, 77_777, 99_999] {
            let mut damaged = bytes(100_000);
            damaged[at] ^= 1;
            let mut check = check(100_000, 128);
            let error = damaged.chunks(1000).try_for_each(|chunk| check.take(chunk)).unwrap_err();
            let Error::Content { offset, expected, found, seed: 3 } = error else { panic!("{error}") };
            assert_eq!(offset, 128 + at as u64);
            assert!(expected.starts_with(&format!("{:02x}", damaged[at] ^ 1)), "{expected}");
            assert!(found.starts_with(&format!("{:02x}", damaged[at])), "{found}");
        }
    }

    #[test]
    fn bytes_behind_the_end_are_refused() {
        let mut check = check(10, 0);
        check.take(&bytes(10)).unwrap();
        assert_eq!(check.take(&[0]), Err(Error::Trailing { noun: "what was generated", expected: 10, found: 11 }));
    }
}
