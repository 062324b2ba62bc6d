//! Comparison of what is read with what was generated, chunk by chunk and in O(1) memory.
//!
//! A decoder is created with a [`CheckLevel`](crate::check_level::CheckLevel). Under `CheckLevel::Payload` it keeps a
//! [`Check`] over the bytes that it expects from some offset on. It passes every chunk to that check after it has
//! parsed the structure, so that damaged structure is reported as such:
//!
//! * a file that is read from front to back uses [`Check::new`] with the file's own encoder;
//! * a range of payload, such as a sample at an offset, uses one [`Check::payload`] per range;
//! * compressed content is decompressed by the decoder, and the plain bytes are checked against the payload.
//!
//! Under `CheckLevel::Checksums` the decoder computes the checksums that the format carries and compares nothing with
//! the seed, so that files written by other programs can be checked. `CheckLevel::Full` does the work of a training
//! reader: the checksums that its library computes, decompression, pixels and values. All of this work happens inside
//! [`Decoder::chunk`](crate::Decoder::chunk) and [`Decoder::end`](crate::Decoder::end), which the engine times
//! separately from the read.

use crate::encode::{Encoder, Piece};
use crate::error::Error;
use crate::payload::{Payload, Stream};

/// Size in bytes of the blocks in which expected bytes are generated; a block stays in the first-level cache.
const BLOCK: usize = crate::crc::BLOCK;
/// Number of bytes that an error message shows from the first difference on.
const SHOWN: usize = 8;

/// A comparison of a byte stream with the output of an encoder.
#[derive(Debug)]
pub(crate) struct Check {
    /// The encoder before its first byte, kept for [`Check::restart`].
    whole: Encoder,
    start: u64,
    expected: Encoder,
    /// Offset in the file of the next byte to compare.
    offset: u64,
    /// Expected bytes; `block[from..to]` is generated and not yet compared.
    block: Vec<u8>,
    from: usize,
    to: usize,
    /// Payload seed, which error messages name.
    seed: u64,
}

impl Check {
    /// Checks a run of payload that begins at byte `offset` of the file.
    pub(crate) fn payload(seed: u64, stream: Stream, offset: u64) -> Self {
        Self::new(seed, Encoder::pieces([Piece::payload(stream)]), offset)
    }

    /// Checks the output of `expected`, which begins at byte `offset` of the file. Error messages name `seed`.
    pub(crate) fn new(seed: u64, expected: Encoder, offset: u64) -> Self {
        let whole = expected.clone();
        Self { whole, start: offset, expected, offset, block: Vec::new(), from: 0, to: 0, seed }
    }

    /// Compares the next bytes.
    ///
    /// # Errors
    /// Returns the first byte that differs, or the first byte beyond the expected end.
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

    /// Restarts the comparison at the first byte.
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

/// A comparison of a whole object, such as a dataset file or an index, with the output of its encoder.
#[derive(Debug)]
pub struct Comparison {
    check: Check,
    len: u64,
}

impl Comparison {
    /// Creates a comparison with `encoder`, whose content comes from `payload`.
    #[must_use]
    pub fn new(payload: Payload, encoder: Encoder) -> Self {
        Self { len: encoder.len(), check: Check::new(payload.seed(), encoder, 0) }
    }

    /// Compares the next bytes of the object.
    ///
    /// # Errors
    /// Returns the first byte that differs, or the first byte beyond the end.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check.take(bytes)
    }

    /// Completes the comparison at the end of the object.
    ///
    /// # Errors
    /// Returns an error if the object is too short.
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
    fn the_first_difference_is_reported_with_its_offset_in_the_file() {
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
