//! Whether an object that was read is whole, from its first and last bytes alone: a reader keeps nothing else.

use super::container::Container;
use super::error::Error;
use crate::zip::{END, END64, LOCAL, LOCATOR64};

/// End records of `torch.save`: zip64 end record, its locator, end record.
const TAIL: usize = 56 + 20 + 22;
/// Footer of a bundle's index.
const FOOTER: usize = 48;

/// The kind of an object of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Archive,
    Index,
    /// Raw bytes: only their number tells.
    Raw,
}

/// The first and last bytes of a range of an object that is read front to back, in chunks of any size.
#[derive(Debug, Clone)]
pub struct Ends {
    kind: Kind,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Ends {
    /// For an object of a container, by its name.
    #[must_use]
    pub fn new(container: Container, name: &str) -> Self {
        let kind = match container {
            Container::Torch => Kind::Archive,
            Container::Bundle if name.ends_with("-1.index") => Kind::Index,
            Container::Bundle | Container::Stream => Kind::Raw,
        };
        Self { kind, first: Vec::new(), last: Vec::new() }
    }

    /// Takes the next bytes of the range.
    pub fn see(&mut self, bytes: &[u8]) {
        let more = LOCAL.len().saturating_sub(self.first.len()).min(bytes.len());
        self.first.extend_from_slice(&bytes[..more]);
        let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
        self.last.drain(..self.last.len().saturating_sub(TAIL - tail.len()));
        self.last.extend_from_slice(tail);
    }

    /// Checks an object of this size of which the range covers the beginning (`first`) or the end (`last`). A range that
    /// is shorter than the records at the end can only be checked in part.
    ///
    /// # Errors
    /// The object is cut off, or is not of this kind.
    pub fn check(&self, size: u64, first: bool, last: bool) -> Result<(), Error> {
        match self.kind {
            Kind::Archive => self.archive(size, first, last),
            Kind::Index if last => self.index(),
            Kind::Index | Kind::Raw => Ok(()),
        }
    }

    fn archive(&self, size: u64, first: bool, last: bool) -> Result<(), Error> {
        if first && self.first != LOCAL {
            return Err(Error::NotAnArchive);
        }
        if !last {
            return Ok(());
        }
        let at = |from_end: usize, len: usize| self.last.len().checked_sub(from_end).map(|at| &self.last[at..at + len]);
        let torn = Error::Torn { what: "the directory that torch.save writes at its end" };
        if at(22, 4) != Some(&END) {
            return Err(torn);
        }
        if self.last.len() < TAIL || at(42, 4) != Some(&LOCATOR64) || at(TAIL, 4) != Some(&END64) {
            // Written by something that has no zip64 records, or the range is too short to tell.
            return Ok(());
        }
        let number = |from_end: usize| {
            at(from_end, 8).and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
        };
        // Size and place of the central directory, which ends where the end records begin.
        let (length, offset) = (number(TAIL - 40), number(TAIL - 48));
        let end = offset.checked_add(length).and_then(|end| end.checked_add(TAIL as u64));
        if end != Some(size) {
            return Err(Error::Length { size, expected: end });
        }
        Ok(())
    }

    fn index(&self) -> Result<(), Error> {
        let magic = self.last.len().checked_sub(8).map(|at| &self.last[at..]);
        if self.last.len() >= FOOTER && magic == Some(&super::table::MAGIC.to_le_bytes()) {
            return Ok(());
        }
        Err(Error::Torn { what: "the footer of the bundle's index" })
    }
}
