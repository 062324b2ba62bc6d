//! A first look at what a rank will replay: how much, from when to when, and what each write adds up to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::OpKind;

use super::{Error, Recorded, ReplayKind, ReplayPlan, Verdict};

/// What a rank will replay.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Start of the first operation, nanoseconds as recorded; `None`: there is none.
    pub first: Option<i64>,
    /// End of the last.
    pub last: i64,
    /// Operations and bytes by kind.
    pub kinds: BTreeMap<ReplayKind, (u64, u64)>,
    /// Rows that are part of another operation, or name no object.
    pub folded: u64,
    /// Rows that the options leave out.
    pub filtered: u64,
    /// Rows that failed when they were recorded.
    pub failed: u64,
    /// Lanes.
    pub lanes: u32,
    /// Time that operations took, added up, nanoseconds.
    pub busy: u64,
    /// Operations at a time, at most.
    pub peak: u64,
    /// Root of all objects.
    pub root: Option<String>,
    /// Key of one object, below the root.
    pub sample: Option<String>,
    pub(super) writes: Writes,
}

impl Survey {
    /// Operations.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.kinds.values().map(|(operations, _)| operations).sum()
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kinds.values().map(|(_, bytes)| bytes).sum()
    }

    /// Whether storage is changed.
    #[must_use]
    pub fn changes(&self) -> bool {
        [ReplayKind::Write, ReplayKind::Delete].iter().any(|kind| self.kinds.contains_key(kind))
    }
}

/// Sizes of the objects that are written, in the order in which their writing begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes {
    sizes: HashMap<u64, VecDeque<u64>>,
}

/// Whether a row begins the writing of an object, or goes on with it.
pub(super) fn begins(row: &Recorded, open: bool) -> bool {
    match row.kind {
        OpKind::MultipartPart => !open,
        OpKind::Write => row.offset == 0 || !open,
        _ => true,
    }
}

/// Identifies an object of a recorded rank.
pub(super) fn identity(row: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    (row.source, &*row.uri).hash(&mut hasher);
    hasher.finish()
}

impl Writes {
    fn take(&mut self, row: &Recorded) -> bool {
        let sizes = self.sizes.entry(identity(row)).or_default();
        let first = begins(row, !sizes.is_empty());
        if first {
            sizes.push_back(0);
        }
        if let Some(size) = sizes.back_mut() {
            *size = match row.kind {
                OpKind::Write => (*size).max(row.offset.saturating_add(row.bytes)),
                OpKind::MultipartPart => *size + row.bytes,
                _ => row.bytes,
            };
        }
        first
    }

    /// The size of the object whose writing begins with this row; `None`: the row goes on with one.
    pub(super) fn pop(&mut self, row: &Recorded, seen: &mut HashSet<u64>) -> Option<u64> {
        let id = identity(row);
        let first = begins(row, seen.contains(&id));
        seen.insert(id);
        if !first {
            return None;
        }
        self.sizes.get_mut(&id).and_then(VecDeque::pop_front)
    }
}

impl ReplayPlan {
    /// Looks at the rows of `rank` in the order of their starts.
    ///
    /// # Errors
    /// When the trace cannot be read, or an object has no place.
    pub fn survey(&self, rank: u32, rows: impl Iterator<Item = Result<Recorded, Error>>) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        let mut lanes = HashSet::new();
        let mut running: BinaryHeap<Reverse<i64>> = BinaryHeap::new();
        for row in rows {
            let row = row?;
            let (kind, address) = match self.judge(rank, &row)? {
                Verdict::Elsewhere => continue,
                Verdict::Folded => {
                    survey.folded += 1;
                    continue;
                }
                Verdict::Filtered => {
                    survey.filtered += 1;
                    continue;
                }
                Verdict::Failed => {
                    survey.failed += 1;
                    continue;
                }
                Verdict::Do(kind, address) => (kind, address),
            };
            match &survey.root {
                Some(root) if *root != address.root => {
                    return Err(Error::Places { first: root.clone(), second: address.root });
                }
                Some(_) => {}
                None => (survey.root, survey.sample) = (Some(address.root), Some(address.key)),
            }
            lanes.insert((row.source, row.lane));
            survey.last = survey.last.max(row.end);
            survey.busy += u64::try_from(row.end.saturating_sub(row.start)).unwrap_or(0);
            while running.peek().is_some_and(|Reverse(end)| *end <= row.start) {
                running.pop();
            }
            running.push(Reverse(row.end));
            survey.peak = survey.peak.max(running.len() as u64);
            if kind == ReplayKind::Write && !survey.writes.take(&row) {
                survey.folded += 1;
                continue;
            }
            survey.first = Some(survey.first.map_or(row.start, |first| first.min(row.start)));
            let bytes = if kind == ReplayKind::Read { self.options.scaled(row.bytes) } else { 0 };
            let entry = survey.kinds.entry(kind).or_default();
            *entry = (entry.0 + 1, entry.1 + bytes);
        }
        if let Some(entry) = survey.kinds.get_mut(&ReplayKind::Write) {
            entry.1 = survey.writes.sizes.values().flatten().map(|size| self.options.scaled(*size)).sum();
        }
        survey.lanes = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
        Ok(survey)
    }

    /// The objects that the trace reads or looks up, and how large they must be. Every rank asks for all recorded ranks
    /// and creates its share.
    ///
    /// # Errors
    /// As [`ReplayPlan::survey`].
    pub fn needed(&self, rows: impl Iterator<Item = Result<Recorded, Error>>) -> Result<BTreeMap<String, u64>, Error> {
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        let alone = Self { world: 1, ..self.clone() };
        for row in rows {
            let row = row?;
            let Verdict::Do(kind, address) = alone.judge(0, &row)? else { continue };
            if !matches!(kind, ReplayKind::Read | ReplayKind::Stat) {
                continue;
            }
            let read = if kind == ReplayKind::Read { row.offset.saturating_add(row.bytes) } else { 0 };
            let size = self.options.scaled(row.object_size.unwrap_or(0).max(read));
            let known = sizes.entry(address.key).or_default();
            *known = (*known).max(size);
        }
        Ok(sizes)
    }
}
