//! Annotations of rows that the first pass over a trace computes because a single row does not contain them: bits and
//! numbers, one per row.
//!
//! Invariant: the first pass and every pass of the replay see the same rows in the same order, so a count finds the
//! annotation of a row.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::OpKind;

use super::writing::{Writings, object};
use super::{Access, Recorded};

/// A vector of bits.
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

    /// Sets a bit and returns whether it was clear.
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

/// Identifies an object that one lane has open.
fn opened(row: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    (row.source, row.lane, &*row.uri).hash(&mut hasher);
    hasher.finish()
}

const NONE: u32 = u32::MAX;

/// An open file during the first pass, with the row that opened it and the last rows that read and wrote it.
#[derive(Debug, Clone, Copy)]
struct SurveyedFile {
    open: u32,
    /// Start and end time of the opening, in nanoseconds.
    opened: (i64, i64),
    read: u32,
    write: u32,
    /// Nothing was read after the last write.
    written_last: bool,
    object: u64,
}

impl SurveyedFile {
    fn opened(open: u32, row: &Recorded) -> Self {
        let opened = (row.start, row.end);
        Self { open, opened, read: NONE, write: NONE, written_last: false, object: object(row) }
    }

    /// Returns whether the file was written and not read.
    fn is_output(self) -> bool {
        self.read == NONE && self.write != NONE
    }
}

/// Annotations of the rows.
#[derive(Debug, Clone, Default)]
pub(super) struct RowAnnotations {
    /// For each row that opens a file: it opens for reading; it opens for writing.
    opens: Bits,
    updates: Bits,
    /// For each row that reads an open file: it is the last read; the file is written later.
    lasts: Bits,
    followed: Bits,
    /// For each row that writes or syncs: it begins a whole write; it is the last use of its file.
    begins: Bits,
    ends: Bits,
    /// For each whole write: its size in bytes.
    sizes: Vec<u64>,
    /// Objects that are written in pieces. For files, each piece is written on its own; for other objects, the value is
    /// the size in bytes of the single write that replaces the pieces.
    pub(super) ways: HashMap<u64, Option<u64>>,
}

/// Start and end times of some operations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Sum of the durations, in nanoseconds.
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

/// The first pass over the rows of a trace.
#[derive(Debug, Default)]
pub(super) struct FirstPass {
    notes: RowAnnotations,
    held: HashMap<u64, SurveyedFile>,
    pub(super) writings: Writings,
    pub(super) closes: u64,
    /// Times of openings that are repeated, if this is not known when their row is read.
    opened: Times,
    /// Reads are left out, and with them the openings of files that are only read.
    pub(super) outputs_only: bool,
}

fn short(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

impl FirstPass {
    pub(super) fn open(&mut self, row: &Recorded) {
        // In our own recordings, only files that are read have a size.
        let open = short(self.notes.opens.push(false));
        self.notes.updates.push(false);
        let held = SurveyedFile::opened(open, row);
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
        let held = self.held.entry(opened(row)).or_insert_with(|| SurveyedFile::opened(NONE, row));
        (held.read, held.written_last) = (last, false);
        let held = *held;
        self.reads(held);
        self.writings.read(row);
        if held.write != NONE {
            self.writings.mixed(object(row));
        }
    }

    /// Handles a write that is left out: the opening before it is not an opening for reading.
    pub(super) fn leave_out(&mut self, row: &Recorded) {
        let id = opened(row);
        if self.held.get(&id).is_some_and(|held| held.read == NONE && held.write == NONE) {
            self.held.remove(&id);
        }
    }

    /// Returns whether a repeated operation used the file.
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

    /// Marks the opening of a file as an opening for reading.
    fn reads(&mut self, held: SurveyedFile) {
        if held.open != NONE && self.notes.opens.set(held.open as usize) && !self.notes.updates.get(held.open as usize)
        {
            self.opened.add(held.opened);
        }
    }

    fn count_output(&mut self, held: SurveyedFile, closes: u64) {
        if let Some(writing) = self.writings.objects.get_mut(&held.object) {
            writing.opens += u64::from(held.open != NONE);
            writing.closes += closes;
        }
    }

    /// Ends the use of a file that no row closes.
    fn settle(&mut self, held: SurveyedFile) {
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

    /// Handles a row that writes `bytes`, scaled to the replay; returns whether a whole write begins.
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

    /// Handles a row that syncs; returns whether a repeated operation wrote the data.
    pub(super) fn sync(&mut self, row: &Recorded) -> bool {
        let index = short(self.notes.begins.push(false));
        self.notes.ends.push(false);
        let Some(writing) = self.writings.objects.get_mut(&object(row)) else { return false };
        writing.syncs += 1;
        self.hold(row, index);
        true
    }

    /// Records that a row that writes uses a file.
    fn hold(&mut self, row: &Recorded, index: u32) {
        let held = self.held.entry(opened(row)).or_insert_with(|| SurveyedFile::opened(NONE, row));
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

    /// Ends the pass.
    pub(super) fn done(mut self) -> (RowAnnotations, Writings, Times) {
        for (_, held) in std::mem::take(&mut self.held) {
            self.settle(held);
        }
        (self.notes, self.writings, self.opened)
    }
}

impl RowAnnotations {
    /// Returns the number of rows that open for reading.
    pub(super) fn opens(&self) -> u64 {
        self.opens.ones()
    }

    /// Returns whether the object of the row is a file whose pieces are written on their own.
    fn is_file_in_pieces(&self, row: &Recorded) -> bool {
        !self.ways.is_empty() && self.ways.get(&object(row)).is_some_and(Option::is_none)
    }
}

/// Use of an open file by an operation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FileUse {
    pub(super) handle: Option<u64>,
    /// Number of uses of the file, if this is the last one.
    pub(super) closes: Option<u32>,
    pub(super) access: Access,
}

/// Meaning of a row that writes.
pub(super) enum Written {
    /// It writes a whole object of this recorded size in bytes.
    Whole(u64),
    /// It writes a piece of an open file.
    Piece(FileUse),
}

/// An open file: its number, the number of its uses so far, and the access mode for opening it. The opening counts as a
/// use.
#[derive(Debug, Clone, Copy)]
struct ReplayedFile {
    handle: u64,
    uses: u32,
    access: Access,
}

/// A pass over the rows with their annotations.
#[derive(Debug, Default)]
pub(super) struct ReplayPass {
    opens: usize,
    reads: usize,
    writes: usize,
    begun: usize,
    held: HashMap<u64, ReplayedFile>,
    /// Objects whose single write is complete.
    whole: HashSet<u64>,
}

impl ReplayPass {
    /// Returns a new file number for an opening; `None` if the opening belongs to another operation.
    pub(super) fn open(&mut self, notes: &RowAnnotations, row: &Recorded, handles: &mut u64) -> Option<FileUse> {
        let index = self.opens;
        self.opens += 1;
        let updates = notes.updates.get(index) && notes.is_file_in_pieces(row);
        if !updates && !notes.opens.get(index) {
            return None;
        }
        let handle = next(handles);
        let access = if updates { Access::Update { create: true } } else { Access::Read };
        self.held.insert(opened(row), ReplayedFile { handle, uses: 1, access });
        Some(FileUse { handle: Some(handle), closes: None, access })
    }

    /// Returns the open file that is read and, at its last use, the number of its uses.
    pub(super) fn read(&mut self, notes: &RowAnnotations, row: &Recorded, handles: &mut u64) -> FileUse {
        if row.kind != OpKind::Read {
            return FileUse::default();
        }
        let index = self.reads;
        self.reads += 1;
        let pieces = notes.is_file_in_pieces(row);
        let last = notes.lasts.get(index) && !(pieces && notes.followed.get(index));
        let first = if pieces { Access::Update { create: false } } else { Access::Read };
        self.uses(row, handles, (last, first))
    }

    /// Counts a use of an open file. The first use opens it with `first`.
    fn uses(&mut self, row: &Recorded, handles: &mut u64, (last, first): (bool, Access)) -> FileUse {
        let id = opened(row);
        let hold = self.held.get(&id).copied();
        let mut hold = hold.unwrap_or_else(|| ReplayedFile { handle: next(handles), uses: 0, access: first });
        hold.uses += 1;
        let found = FileUse { handle: Some(hold.handle), closes: last.then_some(hold.uses), access: hold.access };
        if last {
            self.held.remove(&id);
        } else {
            self.held.insert(id, hold);
        }
        found
    }

    /// Returns the file that is closed and the number of its uses; `None` if the opening belonged to another operation.
    pub(super) fn close(&mut self, row: &Recorded) -> Option<FileUse> {
        let hold = self.held.remove(&opened(row))?;
        Some(FileUse { handle: Some(hold.handle), closes: Some(hold.uses), access: hold.access })
    }

    /// Returns the meaning of a row that writes; `None` if it continues an earlier write.
    pub(super) fn write(&mut self, notes: &RowAnnotations, row: &Recorded, handles: &mut u64) -> Option<Written> {
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

    /// Returns the file that is synced; `None` if the sync is part of its write.
    pub(super) fn sync(&mut self, notes: &RowAnnotations, row: &Recorded, handles: &mut u64) -> Option<FileUse> {
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
