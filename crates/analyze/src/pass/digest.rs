//! What can be said of a row group without the rows before it. Any thread does this right after decoding, in whatever order
//! groups come; sums are whole numbers, and what is not is added up in the order of the groups.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlio_event::{OpKind, Phase};
use dlio_trace::{NO_TIME, Rows};

use super::kept::KeptRow;
use super::objects::NO_OBJECT;
use super::part::{EpochReads, Exchanged, Flow, GROUPS, Group, LaneTime, Lines, group_key, group_of, size_class};
use super::sweep::Edges;
use super::walk::NO_ENDPOINT;
use super::{Piece, Shared, went_well};
use crate::histogram::UNKNOWN;
use crate::why::between;

/// Bytes per nanosecond of one read (GB/s) that only memory reaches, and the size from which it is judged.
const MEMORY_SPEED: f64 = 4.0;
const MEMORY_BYTES: u64 = 16 << 10;
/// A kind that was not met yet.
const NEW: u32 = u32::MAX;

/// Operations that are counted together: an endpoint, a kind and size class, and whether they ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) endpoint: u16,
    pub(crate) group: u16,
    pub(crate) ok: bool,
}

impl Class {
    pub(crate) fn kind(self) -> Option<OpKind> {
        group_of(usize::from(self.group)).map(|(kind, _)| kind)
    }
}

/// The names of a rank's endpoints and its classes, numbered as they are met.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<Registered>);

#[derive(Debug, Default)]
pub(crate) struct Registered {
    pub(crate) endpoints: Vec<String>,
    pub(crate) classes: Vec<Class>,
    numbers: BTreeMap<Class, u32>,
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Registered {
        std::mem::take(&mut self.lock())
    }

    fn class(&self, class: Class) -> u32 {
        let mut all = self.lock();
        if let Some(known) = all.numbers.get(&class) {
            return *known;
        }
        let number = u32::try_from(all.classes.len()).unwrap_or(NEW - 1);
        all.classes.push(class);
        all.numbers.insert(class, number);
        number
    }

    /// Numbers of the names of a piece; the first is that of no name. Names that no storage operation uses get none.
    pub(crate) fn endpoints(&self, rows: &Rows) -> Vec<u16> {
        let mut used = vec![false; rows.endpoint.count() + 1];
        for (row, kind) in rows.kind.iter().enumerate() {
            if kind.is_storage() {
                used[rows.endpoint.key(row).map_or(0, |key| key + 1)] = true;
            }
        }
        let mut all = self.lock();
        let name = |key: usize| key.checked_sub(1).and_then(|key| rows.endpoint.value(key)).unwrap_or("local");
        let mut number = |(key, used): (usize, bool)| {
            if !used {
                return NO_ENDPOINT;
            }
            let known = all.endpoints.iter().position(|known| known == name(key));
            let at = known.unwrap_or_else(|| {
                all.endpoints.push(name(key).to_owned());
                all.endpoints.len() - 1
            });
            u16::try_from(at).unwrap_or(NO_ENDPOINT)
        };
        used.into_iter().enumerate().map(&mut number).collect()
    }
}

/// Sums over groups of one rank; each thread has its own.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    classes: Vec<Group>,
    /// Numbers of classes that this thread knows.
    known: Vec<u32>,
    epochs: BTreeMap<u32, EpochReads>,
    lanes: LaneTime,
    read_bytes: u64,
}

/// What one group comes to beside the totals.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    pub(crate) lines: Lines,
    pub(crate) kept: Vec<KeptRow>,
    /// Durations that do not fit into a kept row.
    pub(crate) long: Vec<(u32, [u64; 2])>,
    pub(crate) edges: Edges,
}

/// One operation.
struct Operation {
    start: i64,
    end: i64,
    nanos: u64,
    first: u64,
    class: u32,
    object: u64,
}

impl Totals {
    /// Takes the rows of a piece.
    pub(crate) fn add(&mut self, piece: &Piece, register: &Register, (digest, shared): (&mut Digest, &Shared<'_>)) {
        for row in 0..piece.rows.len() {
            if piece.rows.kind[row].is_storage() {
                self.storage(piece, row, register, (digest, shared));
            } else {
                self.span(&piece.rows, row, register, (digest, shared));
            }
        }
    }

    /// The number of a class, and its sums.
    fn class(&mut self, class: Class, register: &Register) -> (u32, &mut Group) {
        let endpoint = usize::from(class.endpoint.wrapping_add(1));
        let at = (endpoint * GROUPS + usize::from(class.group)) * 2 + usize::from(class.ok);
        if at >= self.known.len() {
            self.known.resize(at + 1, NEW);
        }
        if self.known[at] == NEW {
            self.known[at] = register.class(class);
        }
        let number = self.known[at];
        if number as usize >= self.classes.len() {
            self.classes.resize_with(number as usize + 1, Group::default);
        }
        (number, &mut self.classes[number as usize])
    }

    fn storage(
        &mut self,
        piece: &Piece,
        row: usize,
        register: &Register,
        (digest, shared): (&mut Digest, &Shared<'_>),
    ) {
        let rows = &piece.rows;
        let (kind, bytes, start, end) = (rows.kind[row], rows.bytes[row], rows.start[row], rows.end[row]);
        let nanos = between(start, end);
        let first = match rows.first_byte[row] {
            NO_TIME => UNKNOWN,
            first => between(start, first).min(nanos),
        };
        let endpoint = piece.endpoints[rows.endpoint.key(row).map_or(0, |key| key + 1)];
        let group = u16::try_from(group_key(kind, size_class(bytes))).unwrap_or(0);
        let ok = went_well(kind, rows.outcome[row]);
        let (class, sums) = self.class(Class { endpoint, group, ok }, register);
        sums.bytes += bytes;
        sums.retries += u64::from(rows.attempt[row] > 0);
        sums.times.add(nanos, first);
        let (read, object) = (kind.is_read(), piece.objects[row]);
        let stretch = shared.axis.stretch(start, end);
        digest.lines.operations.add(stretch, 1.0);
        digest.lines.flying.add(stretch, nanos as f64);
        if read {
            digest.lines.reads.add(stretch, bytes as f64);
            self.read_bytes += if object == NO_OBJECT { 0 } else { bytes };
        } else if kind.is_write() {
            digest.lines.writes.add(stretch, bytes as f64);
        }
        digest.keep(&Operation { start, end, nanos, first, class, object }, shared.keep);
        if rows.phase[row] == Phase::Train && rows.epoch[row] > 0 {
            self.lanes.storage += nanos;
            if read {
                let reads = self.epochs.entry(rows.epoch[row]).or_default();
                reads.bytes += bytes;
                reads.operation_ns += nanos;
                reads.reads += 1;
                let fast = bytes >= MEMORY_BYTES && bytes as f64 >= MEMORY_SPEED * nanos as f64;
                reads.from_memory += u64::from(fast);
            }
        }
    }

    fn span(&mut self, rows: &Rows, row: usize, register: &Register, (digest, shared): (&mut Digest, &Shared<'_>)) {
        let (kind, start, end) = (rows.kind[row], rows.start[row], rows.end[row]);
        let (train, nanos) = (rows.phase[row] == Phase::Train, between(start, end));
        let stretch = || shared.axis.stretch(start, end);
        match kind {
            OpKind::Compute if train => digest.lines.computing.add(stretch(), nanos as f64),
            OpKind::Fetch if train => digest.lines.waiting.add(stretch(), nanos as f64),
            OpKind::Block => digest.lines.training.add(stretch(), nanos as f64),
            OpKind::Decode | OpKind::Preprocess if train => self.lanes.client += nanos,
            _ => {}
        }
        let stepping = train && rows.epoch[row] > 0 && rows.step[row] > 0;
        digest.edges.span(kind, train, stepping, (start, end));
        let group = u16::try_from(group_key(kind, 0)).unwrap_or(0);
        let (class, sums) = self.class(Class { endpoint: NO_ENDPOINT, group, ok: true }, register);
        sums.bytes += rows.bytes[row];
        sums.times.add(nanos, UNKNOWN);
        if shared.keep {
            digest.push(class, NO_OBJECT, nanos, UNKNOWN);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.classes.len() > self.classes.len() {
            self.classes.resize_with(other.classes.len(), Group::default);
        }
        for (mine, theirs) in self.classes.iter_mut().zip(&other.classes) {
            mine.merge(theirs);
        }
        for (epoch, reads) in &other.epochs {
            self.epochs.entry(*epoch).or_default().merge(reads);
        }
        self.lanes.storage += other.lanes.storage;
        self.lanes.client += other.lanes.client;
        self.read_bytes += other.read_bytes;
    }

    /// The sums as a report wants them, and what a rank's part has of them.
    pub(crate) fn finish(self, register: &Registered, part: &mut super::part::RankPart) -> Exchanged {
        let mut all = Exchanged::default();
        for (class, mut sums) in register.classes.iter().zip(self.classes) {
            let Some(kind) = class.kind() else { continue };
            if kind.is_storage() {
                let mut flow = Flow::default();
                flow.take(kind, class.ok, &sums);
                part.flow.merge(&flow);
                if let Some(name) = register.endpoints.get(usize::from(class.endpoint)) {
                    all.endpoints.entry(name.clone()).or_default().merge(&flow);
                }
            }
            sums.errors = if class.ok { 0 } else { sums.times.whole.count };
            all.groups.entry(usize::from(class.group)).or_default().merge(&sums);
        }
        (part.epochs, part.lanes, part.read_bytes) = (self.epochs, self.lanes, self.read_bytes);
        all
    }
}

impl Digest {
    /// Of so many rows.
    pub(crate) fn new(rows: usize, keep: bool) -> Self {
        // A damaged file may promise any number.
        let rows = rows.min(1 << 20);
        let kept = if keep { Vec::with_capacity(rows) } else { Vec::new() };
        Self { kept, edges: Edges::with_room(rows), ..Self::default() }
    }

    /// All rows have been taken.
    pub(crate) fn close(&mut self) {
        self.edges.sort();
    }

    fn keep(&mut self, operation: &Operation, keep: bool) {
        let Operation { start, end, nanos, first, class, object } = *operation;
        if nanos > 0 {
            self.edges.operation(start, end);
        }
        if keep {
            self.push(class, object, nanos, first);
        }
    }

    fn push(&mut self, class: u32, object: u64, nanos: u64, first: u64) {
        let row = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        let kept = KeptRow::new(class, object, nanos, first);
        if kept.is_long() {
            self.long.push((row, [nanos, first]));
        }
        self.kept.push(kept);
    }
}
