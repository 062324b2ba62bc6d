//! Overlap of a rank's computation and storage operations, from a sweep over their starts and ends while the trace is
//! read.
//!
//! Invariant: no later row begins before the current position of the sweep. Row groups have the start of their earliest
//! row, so that only operations around the position are in memory. If rows are not retained, at most [`PENDING`] edges
//! are in memory, and an operation that begins before the position counts from the position on.

use dlio_event::OpKind;

use super::rank_stats::OverlapTime;
use super::step_attribution::{Span, nearly_sort};
use crate::timeline::{Axis, Timeline, between};

/// Largest number of pending edges in a streaming analysis.
const PENDING: usize = 4 << 20;

/// Start (1) or end (-1) of a computation, and whether the training loop is known to have reached it.
type ComputeEdge = (i64, i8, bool);

/// Starts and ends of one row group, each in order of time.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    starts: Vec<(i64, u64)>,
    ends: Vec<i64>,
    turns: Vec<ComputeEdge>,
    /// Start of the first step of the training loop.
    first: Option<i64>,
}

impl Edges {
    /// Allocates room for the given number of operations.
    pub(crate) fn with_room(operations: usize) -> Self {
        Self { starts: Vec::with_capacity(operations), ends: Vec::with_capacity(operations), ..Self::default() }
    }

    /// Adds a storage operation of non-zero duration.
    pub(crate) fn operation(&mut self, start: i64, end: i64) {
        self.starts.push((start, between(start, end)));
        self.ends.push(end);
    }

    /// Adds a span of the training loop.
    pub(crate) fn span(&mut self, kind: OpKind, train: bool, stepping: bool, (start, end): Span) {
        match kind {
            OpKind::Compute if train => self.turns.extend([(start, 1, false), (end, -1, stepping)]),
            OpKind::Fetch if stepping => self.turns.push((end, 0, true)),
            _ => return,
        }
        if stepping {
            self.first = Some(self.first.map_or(start, |first| first.min(start)));
        }
    }

    pub(crate) fn sort(&mut self) {
        nearly_sort(&mut self.starts);
        nearly_sort(&mut self.ends);
        nearly_sort(&mut self.turns);
    }

    fn len(&self) -> usize {
        self.starts.len() + self.ends.len() + self.turns.len()
    }

    /// Returns the time of the first edge.
    fn earliest(&self) -> Option<i64> {
        let firsts = [self.starts.first().map(|edge| edge.0), self.turns.first().map(|edge| edge.0)];
        firsts.into_iter().chain([self.ends.first().copied()]).flatten().min()
    }

    fn join(&mut self, other: Self) {
        join(&mut self.starts, other.starts);
        join(&mut self.ends, other.ends);
        join(&mut self.turns, other.turns);
    }

    /// Moves edges before `now` to it, and returns the number of operations that this shortens.
    fn clip(&mut self, now: i64) -> u64 {
        let late = self.starts.partition_point(|(start, _)| *start < now);
        for (start, nanos) in &mut self.starts[..late] {
            *nanos = nanos.saturating_sub(between(*start, now));
            *start = now;
        }
        self.ends.iter_mut().for_each(|end| *end = (*end).max(now));
        self.turns.iter_mut().for_each(|turn| turn.0 = turn.0.max(now));
        late as u64
    }
}

/// Joins two sorted lists, in the memory of the longer one.
fn join<T: Ord>(mine: &mut Vec<T>, mut theirs: Vec<T>) {
    if mine.len() < theirs.len() {
        std::mem::swap(mine, &mut theirs);
    }
    if !theirs.is_empty() {
        mine.extend(theirs);
        // The stable sort merges two consecutive sorted runs.
        mine.sort();
    }
}

/// Sweep over the edges of one rank.
#[derive(Debug)]
pub(crate) struct OverlapSweep {
    axis: Axis,
    /// Pending edges by row group. There are many if one row of a later group begins early, such as the span of an
    /// epoch.
    waiting: Vec<Edges>,
    bounded: bool,
    /// Start of the training loop.
    first: Option<i64>,
    at: i64,
    in_flight: u64,
    computing: i64,
    since: Option<i64>,
    busy: Timeline,
    /// Overlap up to the last known step of the training loop, and after it.
    within: Option<OverlapTime>,
    beyond: OverlapTime,
    /// Number of operations that began before the position of the sweep.
    late: u64,
}

impl OverlapSweep {
    pub(crate) fn new(axis: Axis, bounded: bool) -> Self {
        Self {
            axis,
            waiting: Vec::new(),
            bounded,
            first: None,
            at: i64::MIN,
            in_flight: 0,
            computing: 0,
            since: None,
            busy: Timeline::default(),
            within: None,
            beyond: OverlapTime::default(),
            late: 0,
        }
    }

    /// Adds the edges of one group; no later row begins before `upto` (`None` after the last group).
    pub(crate) fn take(&mut self, mut edges: Edges, upto: Option<i64>) {
        self.late += edges.clip(self.at);
        self.first = self.first.into_iter().chain(edges.first).min();
        if edges.len() > 0 {
            self.waiting.push(edges);
        }
        self.run(upto);
        if self.bounded && self.waiting.iter().map(Edges::len).sum::<usize>() > PENDING {
            let mut all = std::mem::take(&mut self.waiting).into_iter();
            let mut joined = all.next().unwrap_or_default();
            all.for_each(|edges| joined.join(edges));
            let middle = joined.starts.get(joined.starts.len() / 2).map(|(start, _)| *start);
            let turned = joined.turns.get(joined.turns.len() / 2).map(|turn| turn.0);
            self.waiting.push(joined);
            self.run(middle.max(turned));
        }
    }

    /// Returns the times with operations in flight, the overlap during the training loop, and the number of late
    /// operations.
    pub(crate) fn finish(mut self) -> (Timeline, Option<OverlapTime>, u64) {
        self.run(None);
        (self.busy, self.within, self.late)
    }

    /// Groups follow each other with little overlap: each is swept up to the start of the next one, which takes over
    /// the rest.
    fn run(&mut self, upto: Option<i64>) {
        while let Some((earliest, at)) = self.next_group()
            && upto.is_none_or(|upto| earliest < upto)
        {
            let edges = self.waiting.swap_remove(at);
            let next = self.next_group();
            let limit = [next.map(|next| next.0), upto].into_iter().flatten().min();
            let left = self.pass_through(edges, limit);
            match next {
                _ if left.len() == 0 => {}
                Some((_, next)) => self.waiting[next].join(left),
                None => self.waiting.push(left),
            }
        }
    }

    /// Returns the first time of the pending edges, and their index in `waiting`.
    fn next_group(&self) -> Option<(i64, usize)> {
        self.waiting.iter().zip(0..).filter_map(|(edges, at)| Some((edges.earliest()?, at))).min()
    }

    /// Sweeps over edges before a time; returns the remaining ones.
    fn pass_through(&mut self, edges: Edges, upto: Option<i64>) -> Edges {
        let Edges { mut starts, mut ends, mut turns, .. } = edges;
        let (mut begun, mut ended, mut turned) = (0, 0, 0);
        loop {
            let edges =
                [starts.get(begun).map(|edge| edge.0), ends.get(ended).copied(), turns.get(turned).map(|edge| edge.0)];
            let next = edges.into_iter().flatten().min().filter(|time| upto.is_none_or(|upto| *time < upto));
            let Some(time) = next else { break };
            self.pass(time);
            while let Some((_, change, stepping)) = turns.get(turned).filter(|turn| turn.0 == time) {
                self.computing += i64::from(*change);
                turned += 1;
                if *stepping {
                    self.within.get_or_insert_default().add(&std::mem::take(&mut self.beyond));
                }
            }
            let counts = self.first.is_some_and(|first| first <= time);
            while let Some((_, nanos)) = starts.get(begun).filter(|start| start.0 == time) {
                self.in_flight += 1;
                self.beyond.begun += if counts { *nanos } else { 0 };
                begun += 1;
            }
            while ends.get(ended) == Some(&time) {
                self.in_flight = self.in_flight.saturating_sub(1);
                ended += 1;
            }
            match (self.since, self.in_flight > 0) {
                (None, true) => self.since = Some(time),
                (Some(since), false) => {
                    self.busy.add(self.axis.stretch(since, time), between(since, time) as f64);
                    self.since = None;
                }
                _ => {}
            }
        }
        starts.drain(..begun);
        ends.drain(..ended);
        turns.drain(..turned);
        Edges { starts, ends, turns, first: None }
    }

    /// Accounts for the time up to `time`, in which nothing changes.
    fn pass(&mut self, time: i64) {
        if let Some(first) = self.first.filter(|first| *first < time) {
            let nanos = between(self.at.max(first), time);
            if nanos > 0 {
                self.beyond.pass(nanos, self.in_flight, self.computing > 0);
            }
        }
        self.at = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Extent;

    /// Operations, and steps as start, end of fetching, and end of computing.
    type TestGroup<'a> = (&'a [Span], &'a [(i64, i64, i64)]);

    /// Sweeps group by group.
    fn sweep(groups: &[TestGroup<'_>]) -> (Timeline, OverlapTime, u64) {
        let mut sweep = OverlapSweep::new(Extent { start: 0, end: 200 }.axis(), false);
        let first = |group: &TestGroup<'_>| {
            group.0.iter().map(|operation| operation.0).chain(group.1.iter().map(|step| step.0)).min()
        };
        for (at, (operations, steps)) in groups.iter().enumerate() {
            let mut edges = Edges::default();
            for (start, end) in *operations {
                edges.operation(*start, *end);
            }
            for (start, fetched, computed) in *steps {
                edges.span(OpKind::Fetch, true, true, (*start, *fetched));
                edges.span(OpKind::Compute, true, true, (*fetched, *computed));
            }
            edges.sort();
            sweep.take(edges, groups[at + 1..].iter().filter_map(first).min());
        }
        let (busy, within, late) = sweep.finish();
        (busy, within.unwrap(), late)
    }

    #[test]
    fn what_overlaps_is_counted_within_the_training_only_however_rows_are_grouped() {
        let operations = [(0, 20), (10, 30), (40, 50), (95, 145)];
        let steps = [(10, 20, 60), (60, 70, 100)];
        let whole: [TestGroup<'_>; 1] = [(&operations, &steps)];
        let parts: [TestGroup<'_>; 3] =
            [(&operations[1..2], &steps[..1]), (&operations[..1], &[]), (&operations[2..], &steps[1..])];
        for groups in [&whole[..], &parts[..]] {
            let (busy, within, late) = sweep(groups);
            // 10–20: two operations; 20–30: one operation and computation; the same for 40–50 and 95–100.
            assert_eq!((within.io, within.both, within.most), (10, 10 + 10 + 5, 2));
            assert_eq!((within.compute, within.neither), (10 + 10 + 25, 10));
            assert_eq!((within.in_flight, within.begun, late), (20 + 10 + 10 + 5, 20 + 10 + 50, 0));
            assert!((busy.amounts.iter().sum::<f64>() - 90.0).abs() < 1e-9);
        }
    }

    #[test]
    fn an_operation_that_comes_too_late_counts_from_where_the_sweep_is() {
        let mut sweep = OverlapSweep::new(Extent { start: 0, end: 200 }.axis(), true);
        let group = |operations: &[Span]| {
            let mut edges = Edges::default();
            for (start, end) in operations {
                edges.operation(*start, *end);
            }
            edges.sort();
            edges
        };
        sweep.take(group(&[(10, 20)]), Some(50));
        sweep.take(group(&[(5, 15), (12, 60)]), None);
        let (busy, _, late) = sweep.finish();
        assert_eq!(late, 2);
        assert!((busy.amounts.iter().sum::<f64>() - 50.0).abs() < 1e-9);
    }
}
