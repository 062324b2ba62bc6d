//! Completeness check of a checkpoint object from its first and last bytes; a reader keeps nothing else of it.

use super::container::Container;
use super::error::Error;
use crate::zip::{END, END64, LOCAL, LOCATOR64};

/// Length in bytes of the end records of `torch.save`: zip64 end record, its locator, and end record.
const TAIL: usize = 56 + 20 + 22;
/// Length in bytes of the footer of a bundle's index.
const FOOTER: usize = 48;

/// The kind of a checkpoint object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Archive,
    Index,
    /// Raw bytes, of which only the length can be checked.
    Raw,
}

/// Checks that an object is complete, from the first and last bytes of a range that is read front to back in chunks
/// of any size.
#[derive(Debug, Clone)]
pub struct IntegrityCheck {
    kind: Kind,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl IntegrityCheck {
    /// Creates a check for an object of `container` with this name.
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
    pub fn update(&mut self, bytes: &[u8]) {
        let more = LOCAL.len().saturating_sub(self.first.len()).min(bytes.len());
        self.first.extend_from_slice(&bytes[..more]);
        let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
        self.last.drain(..self.last.len().saturating_sub(TAIL - tail.len()));
        self.last.extend_from_slice(tail);
    }

    /// Checks an object of `size` bytes. The range covers the beginning of the object if `first` is true, and its end
    /// if `last` is true. A range shorter than the end records can only be checked in part.
    ///
    /// # Errors
    /// Returns an error if the object is truncated or of another kind.
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
            // The writer does not use zip64 records, or the range is too short to contain them.
            return Ok(());
        }
        let number = |from_end: usize| {
            at(from_end, 8).and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
        };
        // Length and offset of the central directory, which ends where the end records begin.
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
