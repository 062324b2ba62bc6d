//! The operations of one rank, in order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::{Lane, OpKind};

use super::row_annotations::{FileUse, ReplayPass, Written};
use super::{Edges, Error, Recorded, ReplayKind, ReplayOp, ReplayPlan, Survey, Verdict};

/// State that is kept between the passes over the trace.
#[derive(Debug, Default)]
struct Memory {
    lanes: HashMap<(u32, Lane), (u32, Option<i64>)>,
    groups: HashMap<u32, Group>,
    handles: u64,
    next: u64,
}

/// The training loop of a recorded rank.
#[derive(Debug, Default)]
struct Group {
    number: u32,
    /// Number of operations that [`Edges::after`] counts, and the recorded end of the last one.
    ended: u32,
    last: Option<i64>,
    /// Recorded ends, in nanoseconds, of operations of steps that no fetch has waited for yet.
    steps: HashMap<u64, Vec<i64>>,
}

/// The operations of one rank: one pass over its rows after the other.
pub struct Stream<'p, F, I> {
    plan: &'p ReplayPlan,
    rank: u32,
    survey: &'p Survey,
    /// Recorded start of the first operation and end of the last operation of all ranks, in nanoseconds.
    window: (i64, i64),
    open: F,
    rows: Option<I>,
    passes: std::ops::Range<u32>,
    number: u32,
    shift: i64,
    pass: ReplayPass,
    memory: Memory,
}

impl ReplayPlan {
    /// Returns the operations of `rank` in `passes` passes. `window` is the start of the first operation and the end of
    /// the last operation of all ranks, in nanoseconds. `open` returns the rows of this rank in the order of their
    /// start times, for each pass again.
    pub fn stream<'p, F, I>(
        &'p self,
        (rank, survey): (u32, &'p Survey),
        window: (i64, i64),
        passes: u32,
        open: F,
    ) -> Stream<'p, F, I>
    where
        F: FnMut() -> Result<I, Error>,
        I: Iterator<Item = Result<Recorded, Error>>,
    {
        Stream {
            plan: self,
            rank,
            survey,
            window,
            open,
            rows: None,
            passes: 0..passes,
            number: 0,
            shift: 0,
            pass: ReplayPass::default(),
            memory: Memory::default(),
        }
    }
}

impl<F, I> Stream<'_, F, I>
where
    F: FnMut() -> Result<I, Error>,
    I: Iterator<Item = Result<Recorded, Error>>,
{
    /// Begins the next pass; returns whether there is one.
    fn begin(&mut self) -> Result<bool, Error> {
        let Some(pass) = self.passes.next() else { return Ok(false) };
        self.rows = Some((self.open)()?);
        for (_, last) in self.memory.lanes.values_mut() {
            *last = None;
        }
        for group in self.memory.groups.values_mut() {
            group.last = None;
            group.steps.clear();
        }
        let (origin, end) = self.window;
        self.number = pass;
        self.shift = i64::from(pass).saturating_mul(end.saturating_sub(origin));
        self.pass = ReplayPass::default();
        Ok(true)
    }

    fn following(&mut self) -> Result<Option<ReplayOp>, Error> {
        loop {
            let Some(row) = self.rows.as_mut().and_then(Iterator::next) else {
                if self.begin()? {
                    continue;
                }
                return Ok(None);
            };
            let row = row?;
            let (kind, key) = match self.plan.judge(self.rank, &row)? {
                Verdict::Do(kind, address) => (kind, address.key),
                Verdict::Loop => (ReplayKind::of(row.kind).unwrap_or_default(), String::new()),
                _ => continue,
            };
            if let Some(op) = self.sized(kind, key, &row) {
                return Ok(Some(self.timed(op, &row)));
            }
        }
    }

    /// Determines the operation, its bytes and its open file; `None` if the row is part of another operation.
    fn sized(&mut self, kind: ReplayKind, key: String, row: &Recorded) -> Option<ReplayOp> {
        let (options, notes) = (&self.plan.options, &self.survey.notes);
        let handles = &mut self.memory.handles;
        let (file, bytes) = match kind {
            ReplayKind::Open => (self.pass.open(notes, row, handles)?, 0),
            ReplayKind::Close => (self.pass.close(row)?, 0),
            ReplayKind::Read => (self.pass.read(notes, row, handles), row.bytes),
            ReplayKind::Sync => (self.pass.sync(notes, row, handles)?, 0),
            ReplayKind::Write => match self.pass.write(notes, row, handles)? {
                Written::Whole(size) => (FileUse::default(), size),
                Written::Piece(file) if row.ok => (file, row.bytes),
                Written::Piece(file) => (file, row.requested.unwrap_or(row.bytes)),
            },
            _ => (FileUse::default(), 0),
        };
        let FileUse { handle, closes, access } = file;
        let bytes = options.scaled(bytes);
        let folder = kind == ReplayKind::Stat && self.survey.folders.holds(&key);
        Some(ReplayOp {
            kind,
            key,
            folder,
            offset: options.scaled(row.offset),
            len: row.requested.map(|len| options.scaled(len)),
            bytes,
            handle,
            access,
            closes,
            via: options.route(row.endpoint.as_deref()),
            failed: !row.ok,
            ..ReplayOp::default()
        })
    }

    /// Sets the due time and the dependencies.
    fn timed(&mut self, op: ReplayOp, row: &Recorded) -> ReplayOp {
        let (plan, (origin, _), shift) = (self.plan, self.window, self.shift);
        let (edges, before) =
            if plan.options.dependent { self.memory.edges(row, self.number) } else { (Edges::default(), None) };
        let memory = &mut self.memory;
        let edges = Edges { own: self.survey.looping.contains(&(row.source, row.lane)), ..edges };
        let count = u32::try_from(memory.lanes.len()).unwrap_or(u32::MAX);
        let (lane, last) = memory.lanes.entry((row.source, row.lane)).or_insert((count, None));
        let since_origin = row.start.saturating_sub(origin);
        let think = match (*last).max(before) {
            Some(last) => row.start.saturating_sub(last),
            None => since_origin,
        };
        *last = Some(last.map_or(row.end, |last| last.max(row.end)));
        let number = memory.next;
        memory.next += 1;
        let due = plan.options.paced(since_origin.saturating_add(shift));
        let ended = plan.options.paced(row.end.saturating_sub(origin).saturating_add(shift));
        ReplayOp {
            number,
            lane: *lane,
            due,
            think: plan.options.paced(think),
            took: ended.saturating_sub(due),
            edges,
            ..op
        }
    }
}

impl Memory {
    /// Returns the dependencies of a row in addition to its lane, and the recorded end of the latest one.
    fn edges(&mut self, row: &Recorded, pass: u32) -> (Edges, Option<i64>) {
        let count = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let group = self.groups.entry(row.source).or_insert_with(|| Group { number: count, ..Group::default() });
        let step = (row.at.step > 0).then(|| {
            let mut hasher = DefaultHasher::new();
            (pass, row.at.phase, row.at.epoch, row.at.step).hash(&mut hasher);
            hasher.finish().max(1)
        });
        let mut edges = Edges { group: group.number, after: group.ended, ..Edges::default() };
        if !row.is_loop() {
            if let Some(step) = step {
                edges.batch = step;
                group.steps.entry(step).or_default().push(row.end);
            }
            // The operations of the loop itself follow it anyway.
            let before = group.last.filter(|_| group.ended > 0);
            return (edges, before);
        }
        if let (OpKind::Fetch, Some(step)) = (row.kind, step) {
            let ends = group.steps.remove(&step).unwrap_or_default();
            edges.batch = step;
            edges.needs = u32::try_from(ends.iter().filter(|end| **end <= row.end).count()).unwrap_or(u32::MAX);
        }
        edges.counts = row.kind == OpKind::Fetch || (row.kind == OpKind::Barrier && row.at.step == 0);
        if edges.counts {
            group.ended += 1;
            group.last = Some(row.end);
        }
        (Edges { after: 0, ..edges }, None)
    }
}

impl<F, I> Iterator for Stream<'_, F, I>
where
    F: FnMut() -> Result<I, Error>,
    I: Iterator<Item = Result<Recorded, Error>>,
{
    type Item = Result<ReplayOp, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.following().transpose()
    }
}
