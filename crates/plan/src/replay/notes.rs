//! What the first look at a trace finds out, because a row alone does not tell it: in bits and numbers, one per row.
//!
//! Invariant: the first look and each pass of the replay meet the same rows in the same order, so a count finds the note.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::OpKind;

use super::writing::{Writings, object};
use super::{Access, Recorded};

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

    /// Returns whether it was not set.
    fn set(&mut self, index: usize) -> bool {
        let news = !self.get(index);
        if let Some(word) = self.words.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
        news
    }

    fn get(&self, index: usize) -> bool {
        self.words.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn ones(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Identifies an object as one lane has it open.
fn opened(row: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    (row.source, row.lane, &*row.uri).hash(&mut hasher);
    hasher.finish()
}

const NONE: u32 = u32::MAX;

/// An open file during the first look: the row that opened it, and the last that read and wrote it.
#[derive(Debug, Clone, Copy)]
struct Held {
    open: u32,
    /// When that row was.
    opened: (i64, i64),
    read: u32,
    write: u32,
    /// Nothing was read after the last write.
    written_last: bool,
    object: u64,
}

impl Held {
    fn opened(open: u32, row: &Recorded) -> Self {
        let opened = (row.start, row.end);
        Self { open, opened, read: NONE, write: NONE, written_last: false, object: object(row) }
    }

    /// It was written and not read.
    fn is_output(self) -> bool {
        self.read == NONE && self.write != NONE
    }
}

/// What is known of the rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// Per row that opens: for reading; for writing.
    opens: Bits,
    updates: Bits,
    /// Per row that reads an open file: for the last time; something is written to it later.
    lasts: Bits,
    followed: Bits,
    /// Per row that writes or makes durable: it begins a whole write; it is the last use of its file.
    begins: Bits,
    ends: Bits,
    /// Per whole write: its size.
    sizes: Vec<u64>,
    /// Objects in pieces: files, whose pieces are written on their own, and others with the size of the one write that stands for all.
    pub(super) ways: HashMap<u64, Option<u64>>,
}

/// When some of the operations were.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Added up.
    pub(super) busy: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { first: i64::MAX, last: i64::MIN, busy: 0 }
    }
}

impl Times {
    fn add(&mut self, (start, end): (i64, i64)) {
        (self.first, self.last) = (self.first.min(start), self.last.max(end));
        self.busy += u64::try_from(end.saturating_sub(start)).unwrap_or(0);
    }
}

/// The first look.
#[derive(Debug, Default)]
pub(super) struct Look {
    notes: Notes,
    held: HashMap<u64, Held>,
    pub(super) writings: Writings,
    pub(super) closes: u64,
    /// When openings were that are done again, of which that is not known when their row comes.
    opened: Times,
    /// Reads are left out, and with them what is opened for them.
    pub(super) outputs_only: bool,
}

fn short(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

impl Look {
    pub(super) fn open(&mut self, row: &Recorded) {
        // A size is what our own recording knows of files that are read, and of no others.
        let open = short(self.notes.opens.push(false));
        self.notes.updates.push(false);
        let held = Held::opened(open, row);
        if row.object_size.is_some() && !self.outputs_only {
            self.reads(held);
        }
        if let Some(before) = self.held.insert(opened(row), held) {
            self.settle(before);
        }
    }

    pub(super) fn read(&mut self, row: &Recorded) {
        if row.kind != OpKind::Read {
            return;
        }
        let last = short(self.notes.lasts.push(false));
        self.notes.followed.push(false);
        let held = self.held.entry(opened(row)).or_insert_with(|| Held::opened(NONE, row));
        (held.read, held.written_last) = (last, false);
        let held = *held;
        self.reads(held);
        self.writings.read(row);
        if held.write != NONE {
            self.writings.mixed(object(row));
        }
    }

    /// A write that is left out: the opening before it is no reading.
    pub(super) fn leave_out(&mut self, row: &Recorded) {
        let id = opened(row);
        if self.held.get(&id).is_some_and(|held| held.read == NONE && held.write == NONE) {
            self.held.remove(&id);
        }
    }

    /// Returns whether the file was used by what is done again.
    pub(super) fn close(&mut self, row: &Recorded) -> bool {
        let Some(held) = self.held.remove(&opened(row)) else { return false };
        if held.is_output() {
            self.count_output(held, 1);
            return true;
        }
        if !self.outputs_only {
            self.reads(held);
            self.closes += 1;
        }
        !self.outputs_only
    }

    /// A file was opened to be read, if it was opened by a row.
    fn reads(&mut self, held: Held) {
        if held.open != NONE && self.notes.opens.set(held.open as usize) && !self.notes.updates.get(held.open as usize)
        {
            self.opened.add(held.opened);
        }
    }

    fn count_output(&mut self, held: Held, closes: u64) {
        if let Some(writing) = self.writings.objects.get_mut(&held.object) {
            writing.opens += u64::from(held.open != NONE);
            writing.closes += closes;
        }
    }

    /// Ends a use of a file that no row closes.
    fn settle(&mut self, held: Held) {
        if held.read != NONE {
            self.notes.lasts.set(held.read as usize);
        } else if held.is_output() {
            self.count_output(held, 0);
        } else if !self.outputs_only {
            self.reads(held);
        }
        if held.written_last {
            self.notes.ends.set(held.write as usize);
        }
    }

    /// Takes a row that writes `bytes` at the size of the replay; returns whether a whole write begins.
    pub(super) fn write(&mut self, row: &Recorded, bytes: u64) -> bool {
        let (begins, more) = self.writings.write(row, (bytes, short(self.notes.sizes.len())));
        let index = short(self.notes.begins.push(begins));
        self.notes.ends.push(false);
        if begins {
            self.notes.sizes.push(0);
        }
        if let Some(writing) = self.writings.objects.get_mut(&object(row)) {
            writing.whole_bytes += more;
            if let Some(size) = self.notes.sizes.get_mut(writing.index as usize) {
                *size += more;
            }
        }
        if row.kind == OpKind::Write {
            self.hold(row, index);
        }
        begins
    }

    /// A row that makes durable what was written; returns whether that was written by what is done again.
    pub(super) fn sync(&mut self, row: &Recorded) -> bool {
        let index = short(self.notes.begins.push(false));
        self.notes.ends.push(false);
        let Some(writing) = self.writings.objects.get_mut(&object(row)) else { return false };
        writing.syncs += 1;
        self.hold(row, index);
        true
    }

    /// A file is used by a row that writes.
    fn hold(&mut self, row: &Recorded, index: u32) {
        let held = self.held.entry(opened(row)).or_insert_with(|| Held::opened(NONE, row));
        let before = *held;
        (held.write, held.written_last) = (index, true);
        if before.read != NONE {
            self.notes.followed.set(before.read as usize);
            self.writings.mixed(object(row));
        }
        if before.open != NONE
            && self.notes.updates.set(before.open as usize)
            && !self.notes.opens.get(before.open as usize)
        {
            self.opened.add(before.opened);
        }
    }

    /// Ends the look.
    pub(super) fn done(mut self) -> (Notes, Writings, Times) {
        for (_, held) in std::mem::take(&mut self.held) {
            self.settle(held);
        }
        (self.notes, self.writings, self.opened)
    }
}

impl Notes {
    /// Rows that open for reading.
    pub(super) fn opens(&self) -> u64 {
        self.opens.ones()
    }

    /// Whether the row's object is a file whose pieces are written on their own.
    fn is_file_in_pieces(&self, row: &Recorded) -> bool {
        !self.ways.is_empty() && self.ways.get(&object(row)).is_some_and(Option::is_none)
    }
}

/// The open file that an operation uses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Use {
    pub(super) handle: Option<u64>,
    /// Uses of it, if this is the last one.
    pub(super) closes: Option<u32>,
    pub(super) access: Access,
}

/// What a row that writes stands for.
pub(super) enum Written {
    /// A whole object of so many bytes as recorded.
    Whole(u64),
    /// The row itself.
    Piece(Use),
}

/// An open file: its number, how often it was used, and how it would be opened again. The opening is a use.
#[derive(Debug, Clone, Copy)]
struct Hold {
    handle: u64,
    uses: u32,
    access: Access,
}

/// One pass over the rows with what is known of them.
#[derive(Debug, Default)]
pub(super) struct Pass {
    opens: usize,
    reads: usize,
    writes: usize,
    begun: usize,
    held: HashMap<u64, Hold>,
    /// Objects whose one write is over.
    whole: HashSet<u64>,
}

impl Pass {
    /// A new file number for an opening; `None`: it opens for something else.
    pub(super) fn open(&mut self, notes: &Notes, row: &Recorded, handles: &mut u64) -> Option<Use> {
        let index = self.opens;
        self.opens += 1;
        let updates = notes.updates.get(index) && notes.is_file_in_pieces(row);
        if !updates && !notes.opens.get(index) {
            return None;
        }
        let handle = next(handles);
        let access = if updates { Access::Update { create: true } } else { Access::Read };
        self.held.insert(opened(row), Hold { handle, uses: 1, access });
        Some(Use { handle: Some(handle), closes: None, access })
    }

    /// The open file that is read; if for the last time, the number of its uses.
    pub(super) fn read(&mut self, notes: &Notes, row: &Recorded, handles: &mut u64) -> Use {
        if row.kind != OpKind::Read {
            return Use::default();
        }
        let index = self.reads;
        self.reads += 1;
        let pieces = notes.is_file_in_pieces(row);
        let last = notes.lasts.get(index) && !(pieces && notes.followed.get(index));
        let first = if pieces { Access::Update { create: false } } else { Access::Read };
        self.uses(row, handles, (last, first))
    }

    /// Counts a use of an open file, which is opened as `first` if it is the first.
    fn uses(&mut self, row: &Recorded, handles: &mut u64, (last, first): (bool, Access)) -> Use {
        let id = opened(row);
        let hold = self.held.get(&id).copied();
        let mut hold = hold.unwrap_or_else(|| Hold { handle: next(handles), uses: 0, access: first });
        hold.uses += 1;
        let found = Use { handle: Some(hold.handle), closes: last.then_some(hold.uses), access: hold.access };
        if last {
            self.held.remove(&id);
        } else {
            self.held.insert(id, hold);
        }
        found
    }

    /// The file that is closed, and the number of its uses; `None`: it was open for something else.
    pub(super) fn close(&mut self, row: &Recorded) -> Option<Use> {
        let hold = self.held.remove(&opened(row))?;
        Some(Use { handle: Some(hold.handle), closes: Some(hold.uses), access: hold.access })
    }

    /// What a row that writes stands for; `None`: it goes on with one before.
    pub(super) fn write(&mut self, notes: &Notes, row: &Recorded, handles: &mut u64) -> Option<Written> {
        let index = self.writes;
        self.writes += 1;
        let begins = notes.begins.get(index);
        let size = begins.then(|| notes.sizes.get(self.begun).copied()).flatten();
        self.begun += usize::from(begins);
        if notes.is_file_in_pieces(row) {
            let first = Access::Update { create: true };
            return Some(Written::Piece(self.uses(row, handles, (notes.ends.get(index), first))));
        }
        match notes.ways.get(&object(row)) {
            Some(Some(whole)) => self.whole.insert(object(row)).then_some(Written::Whole(*whole)),
            _ => size.map(Written::Whole),
        }
    }

    /// The file that is made durable; `None`: that is part of its write.
    pub(super) fn sync(&mut self, notes: &Notes, row: &Recorded, handles: &mut u64) -> Option<Use> {
        let last = notes.ends.get(self.writes);
        self.writes += 1;
        if !notes.is_file_in_pieces(row) {
            return None;
        }
        Some(self.uses(row, handles, (last, Access::Update { create: false })))
    }
}

fn next(handles: &mut u64) -> u64 {
    *handles += 1;
    *handles
}
