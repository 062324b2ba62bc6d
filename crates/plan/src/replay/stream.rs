//! The operations of one rank, one after the other.

use std::collections::{HashMap, HashSet};

use dlio_event::Lane;

use super::survey::Writes;
use super::{Error, Recorded, ReplayKind, ReplayOp, ReplayPlan, Survey, Verdict};

/// What stays from one pass over the trace to the next.
#[derive(Debug, Default)]
struct Memory {
    lanes: HashMap<(u32, Lane), (u32, Option<i64>)>,
    next: u64,
}

/// The operations of one rank: pass after pass over its rows.
pub struct Stream<'p, F, I> {
    plan: &'p ReplayPlan,
    rank: u32,
    survey: &'p Survey,
    /// Start of the first operation of all ranks and end of the last one, nanoseconds as recorded.
    window: (i64, i64),
    open: F,
    rows: Option<I>,
    passes: std::ops::Range<u32>,
    shift: i64,
    writes: Writes,
    seen: HashSet<u64>,
    memory: Memory,
}

impl ReplayPlan {
    /// The operations of `rank` in `passes` passes; `window` is the start of the first operation of all ranks and the end
    /// of the last one; `open` gives this rank's rows in the order of their starts, anew for each pass.
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
            shift: 0,
            writes: Writes::default(),
            seen: HashSet::new(),
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
        let (origin, end) = self.window;
        self.shift = i64::from(pass).saturating_mul(end.saturating_sub(origin));
        self.writes = self.survey.writes.clone();
        self.seen.clear();
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
            let Verdict::Do(kind, address) = self.plan.judge(self.rank, &row)? else { continue };
            if let Some(size) = self.plan.size(kind, &row, &mut self.writes, &mut self.seen) {
                let times = (self.window.0, self.shift);
                return Ok(Some(self.plan.operation((kind, address.key, size), &row, times, &mut self.memory)));
            }
        }
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

impl ReplayPlan {
    /// Bytes that an operation moves; `None`: the row is part of a write that has begun.
    fn size(&self, kind: ReplayKind, row: &Recorded, writes: &mut Writes, seen: &mut HashSet<u64>) -> Option<u64> {
        match kind {
            ReplayKind::Read => Some(self.options.scaled(row.bytes)),
            ReplayKind::Write => writes.pop(row, seen).map(|size| self.options.scaled(size)),
            _ => Some(0),
        }
    }

    fn operation(
        &self,
        (kind, key, bytes): (ReplayKind, String, u64),
        row: &Recorded,
        (origin, shift): (i64, i64),
        memory: &mut Memory,
    ) -> ReplayOp {
        let count = u32::try_from(memory.lanes.len()).unwrap_or(u32::MAX);
        let (lane, last) = memory.lanes.entry((row.source, row.lane)).or_insert((count, None));
        let since_origin = row.start.saturating_sub(origin);
        let think = match last {
            Some(last) => row.start.saturating_sub(*last),
            None => since_origin,
        };
        *last = Some(last.map_or(row.end, |last| last.max(row.end)));
        let number = memory.next;
        memory.next += 1;
        let due = self.options.paced(since_origin.saturating_add(shift));
        ReplayOp {
            number,
            lane: *lane,
            kind,
            key,
            offset: self.options.scaled(row.offset),
            len: row.requested.map(|len| self.options.scaled(len)),
            bytes,
            due,
            think: self.options.paced(think),
        }
    }
}
