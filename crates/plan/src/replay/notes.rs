//! What the first look at a trace finds out, because a row alone does not tell it: in bits and numbers, one per row.
//!
//! Invariant: the first look and each pass of the replay meet the same rows in the same order, so a count finds the note.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::OpKind;

use super::Recorded;

/// A list of bits.
#[derive(Debug, Clone, Default)]
struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) -> usize {
        let index = self.len;
        if index.is_multiple_of(64) {
            self.words.push(0);
        }
        self.len += 1;
        if bit {
            self.set(index);
        }
        index
    }

    fn set(&mut self, index: usize) {
        if let Some(word) = self.words.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    fn get(&self, index: usize) -> bool {
        self.words.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn ones(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Identifies an object of a recorded rank.
fn object(row: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    (row.source, &*row.uri).hash(&mut hasher);
    hasher.finish()
}

/// Identifies an object as one lane has it open.
fn opened(row: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    (row.source, row.lane, &*row.uri).hash(&mut hasher);
    hasher.finish()
}

const NONE: u32 = u32::MAX;

/// An open file during the first look: the row that opened it and the last that read it.
#[derive(Debug, Clone, Copy)]
struct Held {
    open: u32,
    last: u32,
}

/// What is known of the rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// Per row that opens: for reading.
    opens: Bits,
    /// Per row that reads an open file: for the last time.
    lasts: Bits,
    /// Per row that writes: it begins an object.
    begins: Bits,
    /// Per object that is written: its size.
    sizes: Vec<u64>,
}

/// The first look.
#[derive(Debug, Default)]
pub(super) struct Look {
    notes: Notes,
    held: HashMap<u64, Held>,
    /// Where in `sizes` an object's latest writing is.
    writes: HashMap<u64, u32>,
    pub(super) closes: u64,
}

fn short(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

impl Look {
    pub(super) fn open(&mut self, row: &Recorded) {
        // A size is what our own recording knows of files that are read, and of no others.
        let open = short(self.notes.opens.push(row.object_size.is_some()));
        if let Some(before) = self.held.insert(opened(row), Held { open, last: NONE }) {
            self.settle(before);
        }
    }

    pub(super) fn read(&mut self, row: &Recorded) {
        if row.kind != OpKind::Read {
            return;
        }
        let last = short(self.notes.lasts.push(false));
        let held = self.held.entry(opened(row)).or_insert(Held { open: NONE, last });
        held.last = last;
        let open = held.open;
        if open != NONE {
            self.notes.opens.set(open as usize);
        }
    }

    /// Also of writes that are left out: the opening before them is no reading.
    pub(super) fn writes(&mut self, row: &Recorded) {
        let id = opened(row);
        if self.held.get(&id).is_some_and(|held| held.last == NONE) {
            self.held.remove(&id);
        }
    }

    pub(super) fn close(&mut self, row: &Recorded) {
        let Some(held) = self.held.remove(&opened(row)) else { return };
        if held.open != NONE {
            self.notes.opens.set(held.open as usize);
        }
        self.closes += 1;
    }

    fn settle(&mut self, held: Held) {
        match (held.last, held.open) {
            (NONE, NONE) => {}
            (NONE, open) => self.notes.opens.set(open as usize),
            (last, _) => self.notes.lasts.set(last as usize),
        }
    }

    /// Returns whether an object's writing begins.
    pub(super) fn write(&mut self, row: &Recorded) -> bool {
        let id = object(row);
        let known = self.writes.get(&id).copied();
        let first = match row.kind {
            OpKind::MultipartPart => known.is_none(),
            OpKind::Write => row.offset == 0 || known.is_none(),
            _ => true,
        };
        self.notes.begins.push(first);
        if first {
            self.writes.insert(id, short(self.notes.sizes.len()));
            self.notes.sizes.push(0);
        }
        let index = self.writes.get(&id).map_or(0, |index| *index as usize);
        if let Some(size) = self.notes.sizes.get_mut(index) {
            *size = match row.kind {
                OpKind::Write => (*size).max(row.offset.saturating_add(row.bytes)),
                OpKind::MultipartPart => *size + row.bytes,
                _ => row.bytes,
            };
        }
        first
    }

    /// Ends the look.
    pub(super) fn done(mut self) -> Notes {
        for held in std::mem::take(&mut self.held).into_values() {
            self.settle(held);
        }
        self.notes
    }
}

impl Notes {
    /// Rows that open for reading.
    pub(super) fn opens(&self) -> u64 {
        self.opens.ones()
    }

    /// Sizes of what is written.
    pub(super) fn sizes(&self) -> &[u64] {
        &self.sizes
    }
}

/// One pass over the rows with what is known of them.
#[derive(Debug, Default)]
pub(super) struct Pass {
    opens: usize,
    reads: usize,
    writes: usize,
    begun: usize,
    /// Open files: their numbers, and how often they were used; the opening is a use.
    held: HashMap<u64, (u64, u32)>,
}

impl Pass {
    /// A new file number for an opening; `None`: it opens for something else.
    pub(super) fn open(&mut self, notes: &Notes, row: &Recorded, handles: &mut u64) -> Option<u64> {
        self.opens += 1;
        if !notes.opens.get(self.opens - 1) {
            return None;
        }
        let handle = next(handles);
        self.held.insert(opened(row), (handle, 1));
        Some(handle)
    }

    /// The open file that is read; if for the last time, the number of its uses.
    pub(super) fn read(&mut self, notes: &Notes, row: &Recorded, handles: &mut u64) -> (Option<u64>, Option<u32>) {
        if row.kind != OpKind::Read {
            return (None, None);
        }
        self.reads += 1;
        let last = notes.lasts.get(self.reads - 1);
        let id = opened(row);
        let (handle, before) = self.held.get(&id).copied().unwrap_or_else(|| (next(handles), 0));
        if last {
            self.held.remove(&id);
        } else {
            self.held.insert(id, (handle, before + 1));
        }
        (Some(handle), last.then_some(before + 1))
    }

    /// The file that is closed, and the number of its uses; `None`: it was open for something else.
    pub(super) fn close(&mut self, row: &Recorded) -> Option<(u64, u32)> {
        self.held.remove(&opened(row))
    }

    /// The size of the object whose writing begins; `None`: the row goes on with one.
    pub(super) fn write(&mut self, notes: &Notes) -> Option<u64> {
        self.writes += 1;
        if !notes.begins.get(self.writes - 1) {
            return None;
        }
        self.begun += 1;
        notes.sizes.get(self.begun - 1).copied()
    }
}

fn next(handles: &mut u64) -> u64 {
    *handles += 1;
    *handles
}
