//! How recorded objects are written: each time whole, or in pieces, of which a file takes each at its moment.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::OpKind;

use super::Recorded;

/// The way in which an object is written; the latter includes the former.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Way {
    /// Each write is all of it.
    #[default]
    Whole,
    /// Pieces follow each other from its beginning, or what is open for writing is read too.
    Pieces,
    /// Pieces are where no other ended, or what is read lies behind them: the rest of the file stays.
    InPlace,
}

/// Identifies an object, whoever writes it.
pub(super) fn object(row: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.uri.hash(&mut hasher);
    hasher.finish()
}

/// What the rows so far tell of an object that is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Writing {
    pub(super) way: Way,
    /// Where among the sizes the latest whole write is.
    pub(super) index: u32,
    /// Where the latest piece ended.
    end: u64,
    /// Farthest byte that is written or read.
    pub(super) extent: u64,
    /// Whole writes and their bytes.
    pub(super) begun: u64,
    pub(super) whole_bytes: u64,
    /// Rows and their bytes.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Rows that make it durable.
    pub(super) syncs: u64,
    /// Openings and closings of files that are written and not read.
    pub(super) opens: u64,
    pub(super) closes: u64,
}

/// All objects that are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Writings {
    pub(super) objects: HashMap<u64, Writing>,
    /// The name of one that is written in place.
    pub(super) example: Option<String>,
}

impl Writings {
    /// Takes a row that writes, and `bytes` at the size of the replay; returns whether it begins a whole write, and the bytes to add to that.
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
            // A piece that failed is written again from where it began.
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

    /// Takes a read of a file.
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

    /// A file is read and written while it is open.
    pub(super) fn mixed(&mut self, id: u64) {
        let writing = self.objects.entry(id).or_default();
        writing.way = writing.way.max(Way::Pieces);
    }
}
