//! A deflated member of an archive: its array header is checked, and its content is checksummed and dropped.

use flate2::{Decompress, FlushDecompress, Status};

use crate::buffer::clamp;
use crate::crc::Crc32;
use crate::dataset::npy::Header;
use crate::error::Error;
use crate::error::malformed;

/// Number of bytes that are inflated at a time.
const BLOCK: usize = 16 * 1024;

/// The result of taking bytes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// More bytes are needed.
    More,
    /// The array header has just been completed and accepted.
    Header,
    /// The member is complete.
    End,
}

/// A decoder of a deflated member.
#[derive(Debug)]
pub(super) struct DeflatedMember {
    inflate: Decompress,
    output: Vec<u8>,
    /// Array header, until it is complete.
    header: Option<Header>,
    /// Remaining bytes of the array's data, once its header is complete.
    array_left: Option<u64>,
    /// Compressed bytes that remained before the current call, if known.
    left: Option<u64>,
}

impl DeflatedMember {
    pub(super) fn new(header: Option<Header>, left: Option<u64>) -> Self {
        Self { inflate: Decompress::new(false), output: vec![0; BLOCK], header, array_left: None, left }
    }

    /// Returns the number of compressed bytes that remained before the last call, unless that call returned
    /// [`Outcome::More`].
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

    /// Takes bytes at offset `position` of the file. Returns the number of bytes used, and the outcome.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        position: u64,
        mut sum: Option<&mut Crc32>,
    ) -> Result<(usize, Outcome), Error> {
        let member = &bytes[..self.left.map_or(bytes.len(), |left| clamp(left, bytes.len()))];
        let malformed =
            |expected: &str, found| malformed("deflated member of the npz archive", position, expected, found);
        let mut used = 0;
        let mut outcome = Outcome::More;
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(&member[used..], &mut self.output, FlushDecompress::None)
                .map_err(|error| malformed("deflated data", error.to_string()))?;
            used += (self.inflate.total_in() - before_in) as usize;
            let made = &self.output[..(self.inflate.total_out() - before_out) as usize];
            if let Some(sum) = &mut sum {
                sum.update(made);
            }
            if content(&mut self.header, &mut self.array_left, made).map_err(|error| match error {
                Some(error) => error,
                None => malformed("the end of the array, as its header says", "more".to_owned()),
            })? {
                outcome = Outcome::Header;
                if sum.is_none() {
                    return Ok((used, outcome));
                }
            }
            let known_end = self.left == Some(used as u64);
            if status == Status::StreamEnd {
                if self.header.is_some() || self.array_left.is_some_and(|left| left > 0) {
                    return Err(malformed("as many bytes as the array header says", "fewer".to_owned()));
                }
                if self.left.is_some() && !known_end {
                    return Err(malformed("the end of the member with that of its data", "more bytes".to_owned()));
                }
                return Ok((used, Outcome::End));
            }
            let stuck = self.inflate.total_in() == before_in && made.is_empty();
            if made.is_empty() && (stuck || used == member.len()) {
                if known_end || used < member.len() {
                    return Err(malformed("the end of deflated data at the end of the member", "none".to_owned()));
                }
                self.left = self.left.map(|left| left - used as u64);
                return Ok((used, outcome));
            }
        }
    }
}

/// Takes inflated content of a member. Returns true when it completes the array header. An error of `None` means
/// surplus content.
fn content(header: &mut Option<Header>, left: &mut Option<u64>, made: &[u8]) -> Result<bool, Option<Error>> {
    let mut rest = made;
    let mut complete = false;
    if let Some(found) = header {
        let (used, lengths) = found.take(rest).map_err(Some)?;
        rest = &rest[used..];
        if let Some((_, data)) = lengths {
            (*header, *left, complete) = (None, Some(data), true);
        }
    }
    if let Some(left) = left {
        *left = left.checked_sub(rest.len() as u64).ok_or(None)?;
    }
    Ok(complete)
}
