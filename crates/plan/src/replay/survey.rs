//! The survey: a first pass over the rows of a rank that determines how much is replayed, over which time, and what a
//! single row does not contain.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use dlio_event::{OpKind, S3Uri};

use super::folders::Folders;
use super::row_annotations::{FirstPass, RowAnnotations};
use super::writing::{Way, Writings};
use super::{Error, Recorded, ReplayKind, ReplayPlan, Verdict};

/// Summary of what a rank replays.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Recorded start of the first operation in nanoseconds; `None` if there is none.
    pub first: Option<i64>,
    /// Recorded end of the last operation in nanoseconds.
    pub last: i64,
    /// Number of operations and bytes by kind.
    pub kinds: BTreeMap<ReplayKind, (u64, u64)>,
    /// Number of rows that are part of another operation or have no object.
    pub folded: u64,
    /// Number of rows that the options exclude.
    pub filtered: u64,
    /// Number of rows that are left out because they failed in the recording.
    pub failed: u64,
    /// Number of failed rows that are parts of uploads, which are always left out.
    pub failed_parts: u64,
    /// Number of lanes.
    pub lanes: u32,
    /// Number of recorded ranks with a training loop, and number of barriers that all of them have (dependent timing).
    pub loops: (u32, u32),
    /// Sum of the durations of the operations, in nanoseconds.
    pub busy: u64,
    /// Maximum number of concurrent operations.
    pub peak: u64,
    /// Root of all objects.
    pub root: Option<String>,
    /// Key of one object, relative to the root.
    pub sample: Option<String>,
    pub(super) notes: RowAnnotations,
    /// State until it is known what all ranks write.
    writings: Writings,
    /// Number of openings for reading.
    opens: u64,
    /// Pieces of files are written on their own.
    pieces: bool,
    /// Lanes of training loops.
    pub(super) looping: HashSet<(u32, dlio_event::Lane)>,
    /// Folders of all objects.
    pub(super) folders: Folders,
}

impl Survey {
    /// Returns the number of operations.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.kinds.values().map(|(operations, _)| operations).sum()
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kinds.values().map(|(_, bytes)| bytes).sum()
    }

    /// Returns the number of files that the trace opens for reading.
    #[must_use]
    pub fn opens(&self) -> u64 {
        self.opens
    }

    /// Returns the objects that this rank writes in place, as hashes, with their final sizes in bytes.
    #[must_use]
    pub fn in_place(&self) -> Vec<(u64, u64)> {
        let objects = self.writings.objects.iter().filter(|(_, writing)| writing.way == Way::InPlace);
        objects.map(|(id, writing)| (*id, writing.extent)).collect()
    }

    /// Decides how objects are written. `in_place` combines the answers of all ranks.
    ///
    /// # Errors
    /// If a part of an object would have to be written.
    pub fn settle(&mut self, plan: &ReplayPlan, in_place: &[(u64, u64)]) -> Result<(), Error> {
        let options = plan.options();
        if let (false, false, Some(uri)) = (self.pieces, options.whole, &self.writings.example) {
            return Err(Error::Parts { uri: uri.clone(), count: in_place.len() });
        }
        let mut extents: HashMap<u64, u64> = HashMap::new();
        for (id, extent) in in_place {
            let known = extents.entry(*id).or_default();
            *known = (*known).max(*extent);
        }
        let mut writes = (0, 0);
        for (id, writing) in std::mem::take(&mut self.writings.objects) {
            let extent = extents.get(&id).copied();
            let way = if extent.is_some() { Way::InPlace } else { writing.way };
            match (way, extent) {
                (Way::Pieces | Way::InPlace, _) if self.pieces => {
                    self.notes.ways.insert(id, None);
                    writes = (writes.0 + writing.rows, writes.1 + writing.bytes);
                    self.opens += writing.opens;
                    self.count(ReplayKind::Open, writing.opens, 0);
                    self.count(ReplayKind::Close, writing.closes, 0);
                    self.count(ReplayKind::Sync, writing.syncs, 0);
                    let parts = writing.rows - writing.begun + writing.syncs + writing.opens + writing.closes;
                    self.folded = self.folded.saturating_sub(parts);
                }
                (Way::InPlace, Some(extent)) => {
                    self.notes.ways.insert(id, Some(extent));
                    writes = (writes.0 + 1, writes.1 + options.scaled(extent));
                    self.folded = (self.folded + writing.begun).saturating_sub(1);
                }
                _ => writes = (writes.0 + writing.begun, writes.1 + options.scaled(writing.whole_bytes)),
            }
        }
        self.count(ReplayKind::Write, writes.0, writes.1);
        Ok(())
    }

    /// Returns whether the replay changes the storage.
    #[must_use]
    pub fn changes(&self) -> bool {
        let writes = !self.writings.objects.is_empty() || self.kinds.contains_key(&ReplayKind::Write);
        writes || self.kinds.contains_key(&ReplayKind::Delete)
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

/// Requirement for an object that the trace reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequiredObject {
    /// Required size in bytes: the end of the farthest read, or the recorded size.
    pub bytes: u64,
    /// The size was recorded, so the object was not larger.
    pub exact: bool,
    /// The object is a folder, which only has to exist.
    pub folder: bool,
}

/// Counters of the pass.
#[derive(Default)]
struct Counting {
    look: FirstPass,
    lanes: HashSet<(u32, dlio_event::Lane)>,
    meetings: HashMap<u32, u32>,
    running: BinaryHeap<Reverse<i64>>,
    opens: u64,
}

impl Counting {
    /// Returns whether the row is already known to be an operation of its own.
    fn take(&mut self, survey: &mut Survey, kind: ReplayKind, (row, bytes): (&Recorded, u64)) -> bool {
        self.lanes.insert((row.source, row.lane));
        let (own, counts) = match kind {
            ReplayKind::Open => {
                self.look.open(row);
                self.opens += 1;
                (false, false)
            }
            ReplayKind::Close => {
                survey.folded += 1;
                (false, self.look.close(row))
            }
            ReplayKind::Read => {
                self.look.read(row);
                (true, true)
            }
            ReplayKind::Write => {
                let begins = self.look.write(row, bytes);
                survey.folded += u64::from(!begins);
                (begins, true)
            }
            ReplayKind::Sync => {
                survey.folded += 1;
                (false, self.look.sync(row))
            }
            _ => (true, true),
        };
        if counts {
            self.spend(survey, row);
        }
        own
    }

    /// Counts the time of a row that is an operation or a part of one.
    fn spend(&mut self, survey: &mut Survey, row: &Recorded) {
        survey.last = survey.last.max(row.end);
        survey.busy += u64::try_from(row.end.saturating_sub(row.start)).unwrap_or(0);
        while self.running.peek().is_some_and(|Reverse(end)| *end <= row.start) {
            self.running.pop();
        }
        self.running.push(Reverse(row.end));
        survey.peak = survey.peak.max(self.running.len() as u64);
    }
}

impl ReplayPlan {
    /// Surveys the rows of `rank`, which are in the order of their start times.
    ///
    /// # Errors
    /// If the trace cannot be read, or an object has no address.
    pub fn survey(&self, rank: u32, rows: impl Iterator<Item = Result<Recorded, Error>>) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        let mut counting = Counting::default();
        counting.look.outputs_only = !self.options.operations.contains(ReplayKind::Read);
        for row in rows {
            let row = row?;
            let verdict = self.judge(rank, &row)?;
            let done = matches!(verdict, Verdict::Do(..) | Verdict::Elsewhere);
            if ReplayKind::of(row.kind) == Some(ReplayKind::Write) && !done {
                counting.look.leave_out(&row);
            }
            match verdict {
                Verdict::Elsewhere => {}
                Verdict::Folded => survey.folded += 1,
                Verdict::Filtered => survey.filtered += 1,
                Verdict::Failed => {
                    survey.failed += 1;
                    let part = matches!(row.kind, OpKind::MultipartCreate | OpKind::MultipartPart);
                    survey.failed_parts += u64::from(part);
                }
                Verdict::Loop => {
                    survey.looping.insert((row.source, row.lane));
                    *counting.meetings.entry(row.source).or_default() += u32::from(row.kind == OpKind::Barrier);
                }
                Verdict::Do(kind, address) => {
                    survey.folders.add(&address.key);
                    survey.placed(address)?;
                    let bytes =
                        self.options.scaled(if row.ok { row.bytes } else { row.requested.unwrap_or(row.bytes) });
                    let own = counting.take(&mut survey, kind, (&row, bytes));
                    if own {
                        survey.first = Some(survey.first.map_or(row.start, |first| first.min(row.start)));
                    }
                    match kind {
                        // Decided when all rows have been seen.
                        ReplayKind::Write => {}
                        ReplayKind::Read => survey.count(kind, 1, self.options.scaled(row.bytes)),
                        _ => survey.count(kind, u64::from(own), 0),
                    }
                }
            }
        }
        let closes = counting.look.closes;
        let opened;
        (survey.notes, survey.writings, opened) = counting.look.done();
        if opened.first <= opened.last {
            survey.first = Some(survey.first.map_or(opened.first, |first| first.min(opened.first)));
            (survey.last, survey.busy) = (survey.last.max(opened.last), survey.busy + opened.busy);
            survey.peak = survey.peak.max(1);
        }
        survey.pieces = !self.options.whole && survey.root.as_deref().is_none_or(|root| root == "/");
        let opens = survey.notes.opens();
        survey.opens = opens;
        survey.folded = survey.folded.saturating_sub(closes) + counting.opens.saturating_sub(opens);
        survey.count(ReplayKind::Open, opens, 0);
        survey.count(ReplayKind::Close, closes, 0);
        survey.lanes = u32::try_from(counting.lanes.len()).unwrap_or(u32::MAX);
        let loops = u32::try_from(counting.meetings.len()).unwrap_or(u32::MAX);
        survey.loops = (loops, counting.meetings.into_values().min().unwrap_or(0));
        Ok(survey)
    }

    /// Returns the objects that the trace reads or looks up, with their required sizes. Every rank computes them for
    /// all recorded ranks and creates its share.
    ///
    /// # Errors
    /// As for [`ReplayPlan::survey`].
    pub fn needed(
        &self,
        rows: impl Iterator<Item = Result<Recorded, Error>>,
    ) -> Result<BTreeMap<String, RequiredObject>, Error> {
        let mut sizes: BTreeMap<String, RequiredObject> = BTreeMap::new();
        let mut folders = Folders::default();
        // Files that were opened and have neither been read nor written so far.
        let mut opened: HashMap<(u32, dlio_event::Lane, Arc<str>), String> = HashMap::new();
        let alone = Self { world: 1, ..self.clone() };
        for row in rows {
            let row = row?;
            let Verdict::Do(kind, address) = alone.judge(0, &row)? else { continue };
            folders.add(&address.key);
            // A failed operation does not show that the object existed.
            if !row.ok {
                continue;
            }
            let asked = match kind {
                ReplayKind::Read => row.offset.saturating_add(row.bytes),
                ReplayKind::List => {
                    // In a bucket, every prefix can be listed.
                    if S3Uri::parse(&row.uri).is_none() {
                        sizes.entry(address.key).or_default().folder = true;
                    }
                    continue;
                }
                ReplayKind::Stat => {
                    sizes.entry(address.key.clone()).or_default().folder |= row.uri.ends_with('/');
                    0
                }
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
            // The read covered all of the object, or requested more than it contained.
            let to_the_end = kind == ReplayKind::Read && row.requested.is_none_or(|requested| requested > row.bytes);
            let known = sizes.entry(address.key).or_default();
            known.bytes = known.bytes.max(self.options.scaled(row.object_size.unwrap_or(0).max(asked)));
            known.exact |= row.object_size.is_some() || to_the_end;
        }
        for key in opened.into_values() {
            sizes.entry(key).or_default();
        }
        for (key, needed) in &mut sizes {
            // An object with bytes is not a folder; a name with objects below it is always a folder.
            needed.folder = (needed.folder && needed.bytes == 0) || folders.holds(key);
        }
        Ok(sizes)
    }
}
