//! A first look at what a rank will replay: how much, from when to when, and what a row alone does not tell.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use dlio_event::OpKind;

use super::notes::{Look, Notes};
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
    /// Rows that failed when they were recorded, and are left out.
    pub failed: u64,
    /// Lanes.
    pub lanes: u32,
    /// Recorded ranks with a training loop (dependent timing), and the meetings that all of them have.
    pub loops: (u32, u32),
    /// Time that operations took, added up, nanoseconds.
    pub busy: u64,
    /// Operations at a time, at most.
    pub peak: u64,
    /// Root of all objects.
    pub root: Option<String>,
    /// Key of one object, below the root.
    pub sample: Option<String>,
    pub(super) notes: Notes,
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

    /// Files that the trace opens for reading.
    #[must_use]
    pub fn opens(&self) -> u64 {
        self.notes.opens()
    }

    /// Whether storage is changed.
    #[must_use]
    pub fn changes(&self) -> bool {
        [ReplayKind::Write, ReplayKind::Delete].iter().any(|kind| self.kinds.contains_key(kind))
    }

    fn count(&mut self, kind: ReplayKind, operations: u64, bytes: u64) {
        if operations > 0 {
            let entry = self.kinds.entry(kind).or_default();
            *entry = (entry.0 + operations, entry.1 + bytes);
        }
    }

    fn placed(&mut self, address: super::Address) -> Result<(), Error> {
        match &self.root {
            Some(root) if *root != address.root => Err(Error::Places { first: root.clone(), second: address.root }),
            Some(_) => Ok(()),
            None => {
                (self.root, self.sample) = (Some(address.root), Some(address.key));
                Ok(())
            }
        }
    }
}

/// What is counted on the way.
#[derive(Default)]
struct Counting {
    look: Look,
    lanes: HashSet<(u32, dlio_event::Lane)>,
    meetings: HashMap<u32, u32>,
    running: BinaryHeap<Reverse<i64>>,
    opens: u64,
}

impl Counting {
    /// Returns whether the row is an operation of its own that is known to be one already.
    fn take(&mut self, survey: &mut Survey, kind: ReplayKind, row: &Recorded) -> bool {
        self.lanes.insert((row.source, row.lane));
        survey.last = survey.last.max(row.end);
        survey.busy += u64::try_from(row.end.saturating_sub(row.start)).unwrap_or(0);
        while self.running.peek().is_some_and(|Reverse(end)| *end <= row.start) {
            self.running.pop();
        }
        self.running.push(Reverse(row.end));
        survey.peak = survey.peak.max(self.running.len() as u64);
        match kind {
            ReplayKind::Open => {
                self.look.open(row);
                self.opens += 1;
                false
            }
            ReplayKind::Close => {
                self.look.close(row);
                survey.folded += 1;
                false
            }
            ReplayKind::Read => {
                self.look.read(row);
                true
            }
            ReplayKind::Write => {
                let begins = self.look.write(row);
                survey.folded += u64::from(!begins);
                begins
            }
            _ => true,
        }
    }
}

impl ReplayPlan {
    /// Looks at the rows of `rank` in the order of their starts.
    ///
    /// # Errors
    /// When the trace cannot be read, or an object has no place.
    pub fn survey(&self, rank: u32, rows: impl Iterator<Item = Result<Recorded, Error>>) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        let mut counting = Counting::default();
        for row in rows {
            let row = row?;
            let verdict = self.judge(rank, &row)?;
            if ReplayKind::of(row.kind) == Some(ReplayKind::Write) && verdict != Verdict::Elsewhere {
                counting.look.writes(&row);
            }
            match verdict {
                Verdict::Elsewhere => {}
                Verdict::Folded => survey.folded += 1,
                Verdict::Filtered => survey.filtered += 1,
                Verdict::Failed => survey.failed += 1,
                Verdict::Loop => {
                    counting.lanes.insert((row.source, row.lane));
                    *counting.meetings.entry(row.source).or_default() += u32::from(row.kind == OpKind::Barrier);
                }
                Verdict::Do(kind, address) => {
                    survey.placed(address)?;
                    let own = counting.take(&mut survey, kind, &row);
                    if own || kind == ReplayKind::Open {
                        survey.first = Some(survey.first.map_or(row.start, |first| first.min(row.start)));
                    }
                    let bytes = if kind == ReplayKind::Read { self.options.scaled(row.bytes) } else { 0 };
                    survey.count(kind, u64::from(own), bytes);
                }
            }
        }
        let closes = counting.look.closes;
        survey.notes = counting.look.done();
        let opens = survey.notes.opens();
        survey.folded = survey.folded.saturating_sub(closes) + counting.opens.saturating_sub(opens);
        survey.count(ReplayKind::Open, opens, 0);
        survey.count(ReplayKind::Close, closes, 0);
        if let Some(entry) = survey.kinds.get_mut(&ReplayKind::Write) {
            entry.1 = survey.notes.sizes().iter().map(|size| self.options.scaled(*size)).sum();
        }
        survey.lanes = u32::try_from(counting.lanes.len()).unwrap_or(u32::MAX);
        let loops = u32::try_from(counting.meetings.len()).unwrap_or(u32::MAX);
        survey.loops = (loops, counting.meetings.into_values().min().unwrap_or(0));
        Ok(survey)
    }

    /// The objects that the trace reads or looks up, and how large they must be. Every rank asks for all recorded ranks
    /// and creates its share.
    ///
    /// # Errors
    /// As [`ReplayPlan::survey`].
    pub fn needed(&self, rows: impl Iterator<Item = Result<Recorded, Error>>) -> Result<BTreeMap<String, u64>, Error> {
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        // Opened, and neither read nor written so far.
        let mut opened: HashMap<(u32, dlio_event::Lane, Arc<str>), String> = HashMap::new();
        let alone = Self { world: 1, ..self.clone() };
        for row in rows {
            let row = row?;
            let Verdict::Do(kind, address) = alone.judge(0, &row)? else { continue };
            // What failed was not there, or not as large.
            if !row.ok {
                continue;
            }
            let asked = match kind {
                ReplayKind::Read => row.offset.saturating_add(row.bytes),
                ReplayKind::Stat => 0,
                ReplayKind::Open => {
                    opened.insert((row.source, row.lane, Arc::clone(&row.uri)), address.key);
                    continue;
                }
                ReplayKind::Write => {
                    opened.remove(&(row.source, row.lane, Arc::clone(&row.uri)));
                    continue;
                }
                _ => continue,
            };
            opened.remove(&(row.source, row.lane, Arc::clone(&row.uri)));
            let size = self.options.scaled(row.object_size.unwrap_or(0).max(asked));
            let known = sizes.entry(address.key).or_default();
            *known = (*known).max(size);
        }
        for key in opened.into_values() {
            sizes.entry(key).or_default();
        }
        Ok(sizes)
    }
}
