//! How recorded objects are written: as a whole, or in pieces that a file receives at their recorded times.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::OpKind;

use super::Recorded;

/// Way in which an object is written. Each value includes the preceding ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Way {
    /// Every write covers the whole object.
    #[default]
    Whole,
    /// Consecutive pieces from the beginning of the object, or writes to a file that is also read while it is open.
    Pieces,
    /// Pieces at other offsets, or pieces before data that is read; the rest of the file is preserved.
    InPlace,
}

/// Returns a hash that identifies an object across ranks.
pub(super) fn object(row: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.uri.hash(&mut hasher);
    hasher.finish()
}

/// State of an object that is written, up to the current row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Writing {
    pub(super) way: Way,
    /// Index of the latest whole write among the sizes.
    pub(super) index: u32,
    /// End of the latest piece, in bytes.
    end: u64,
    /// End of the farthest write or read, in bytes.
    pub(super) extent: u64,
    /// Number of whole writes and their bytes.
    pub(super) begun: u64,
    pub(super) whole_bytes: u64,
    /// Number of rows and their bytes.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Number of rows that sync the object.
    pub(super) syncs: u64,
    /// Number of openings and closings of files that are written and not read.
    pub(super) opens: u64,
    pub(super) closes: u64,
}

/// All objects that are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Writings {
    pub(super) objects: HashMap<u64, Writing>,
    /// Name of an object that is written in place.
    pub(super) example: Option<String>,
}

impl Writings {
    /// Handles a row that writes `bytes`, scaled to the replay. Returns whether the row begins a whole write, and the
    /// bytes to add to that write.
    pub(super) fn write(&mut self, row: &Recorded, (bytes, index): (u64, u32)) -> (bool, u64) {
        let new = !self.objects.contains_key(&object(row));
        let writing = self.objects.entry(object(row)).or_default();
        let size = if row.ok { row.bytes } else { row.requested.unwrap_or(row.bytes) };
        let begins = match row.kind {
            OpKind::MultipartPart => new,
            OpKind::Write => row.offset == 0 || new,
            _ => true,
        };
        let mut more = size;
        if row.kind == OpKind::Write {
            let way = match row.offset {
                0 => Way::Whole,
                at if at == writing.end && !new => Way::Pieces,
                _ => Way::InPlace,
            };
            writing.way = writing.way.max(way);
            if way == Way::InPlace {
                self.example.get_or_insert_with(|| row.uri.to_string());
            }
            let end = row.offset.saturating_add(size);
            // A failed piece is written again from its beginning.
            let upto = if row.ok { end } else { row.offset };
            more = if begins { end } else { end.saturating_sub(writing.end) };
            writing.end = if begins { upto } else { writing.end.max(upto) };
            writing.extent = writing.extent.max(end);
        } else if !row.ok && row.kind == OpKind::MultipartPart {
            more = 0;
        }
        if begins {
            (writing.index, writing.begun) = (index, writing.begun + 1);
        }
        writing.rows += 1;
        writing.bytes += bytes;
        (begins, more)
    }

    /// Handles a read of a file.
    pub(super) fn read(&mut self, row: &Recorded) {
        if let Some(writing) = self.objects.get_mut(&object(row)) {
            let end = row.offset.saturating_add(row.bytes);
            writing.extent = writing.extent.max(end);
            if end > writing.end {
                writing.way = Way::InPlace;
                self.example.get_or_insert_with(|| row.uri.to_string());
            }
        }
    }

    /// Records that a file is read and written while it is open.
    pub(super) fn mixed(&mut self, id: u64) {
        let writing = self.objects.entry(id).or_default();
        writing.way = writing.way.max(Way::Pieces);
    }
}
