//! What each step of a rank waited for, found while its trace is read: only the operations around the steps that are not
//! explained yet are in memory.
//!
//! A wait is explained backwards from its end: by the operation of the step that ended last, then by what ended before that
//! began; where the step's own operations do not reach back, its lanes were busy with other steps.
//!
//! Invariant: a step is explained when every row that ended before its wait did has been seen. Row groups say when their
//! earliest row ends, so this holds whatever the order of rows is. A rank waits for one batch at a time.

use std::collections::VecDeque;

use dlio_event::{OpKind, Outcome};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::objects::NO_OBJECT;
use crate::metric::Window;
use crate::why::{Parts, between};

/// No endpoint.
pub(crate) const NO_ENDPOINT: u16 = u16::MAX;
/// Operations that are kept while no step asks for them; beyond it the earliest half is given up.
const WINDOW: usize = 4 << 20;

/// Steps that wait for their operations in a streaming analysis.
const OPEN: usize = 1 << 16;

/// Lists that are short as a rule, and of which there are many.
type Few<T> = SmallVec<[T; 4]>;

/// Epoch and step.
pub(crate) type At = (u32, u32);

/// One storage operation of a training step, or one stretch of decoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    pub(crate) start: i64,
    pub(crate) issued: i64,
    pub(crate) first_byte: i64,
    pub(crate) end: i64,
    pub(crate) step: At,
    pub(crate) object: u64,
    pub(crate) named_at: Place,
    pub(crate) endpoint: u16,
    pub(crate) lane: u16,
    /// The first request of its connection.
    pub(crate) opens: bool,
    pub(crate) attempt: u8,
    pub(crate) kind: OpKind,
    pub(crate) outcome: Outcome,
}

/// Row group and row of the rank's trace.
pub(crate) type Place = (u32, u32);

/// Start and end of something.
pub(crate) type Span = (i64, i64);

/// The spans of one training step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spans {
    pub(crate) block: u32,
    pub(crate) fetch: Option<Span>,
    pub(crate) compute: Option<Span>,
    pub(crate) barrier: Option<Span>,
}

/// One training step whose rows have been seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    pub(crate) spans: Spans,
    pub(crate) wait: Option<Wait>,
}

/// One training step of which rows may still come.
#[derive(Debug, Default)]
struct Open {
    at: At,
    spans: Spans,
    lanes: Few<u16>,
}

/// One wait, explained.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wait {
    pub(crate) parts: Parts,
    /// How much of it each endpoint took.
    pub(crate) endpoints: Few<(u16, u64)>,
    /// The object that took most of it, from which endpoint.
    pub(crate) object: Option<(Place, u16)>,
    /// First requests of connections in it.
    pub(crate) opened: Opened,
}

/// First requests of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) count: u64,
    /// Nanoseconds until they were handed to the connection.
    pub(crate) queueing: u64,
    /// Nanoseconds from there to the first byte.
    pub(crate) first_byte: u64,
    /// The longest of both together.
    pub(crate) longest: u64,
}

impl Opened {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.queueing += other.queueing;
        self.first_byte += other.first_byte;
        self.longest = self.longest.max(other.longest);
    }
}

/// The steps and operations of a rank that are not done with.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// As they came.
    window: Vec<Op>,
    /// End, start and place of each, in this order, while steps are explained.
    order: Vec<(i64, i64, u32)>,
    /// Where in it the last wait ended.
    cursor: usize,
    /// In the order of epochs and steps.
    steps: VecDeque<Open>,
    /// How many of them, from the first one, are complete, and what is to come ends at this moment or later.
    complete: usize,
    watermark: Option<i64>,
    /// The step that each lane worked for last: looked up in `steps` when it changes.
    lane_steps: Vec<(u16, At)>,
    /// The last step that was complete, and when the last wait ended.
    over: Option<At>,
    upto: i64,
    bounded: bool,
}

impl Walk {
    /// Of row groups of so many rows; `bounded`: it must not grow with steps whose operations may still come.
    pub(crate) fn new(rows: usize, bounded: bool) -> Self {
        // A damaged file may promise any number.
        let window = Vec::with_capacity(rows.min(1 << 20));
        Self { upto: i64::MIN, bounded, window, ..Self::default() }
    }

    pub(crate) fn op(&mut self, op: Op) {
        match self.lane_steps.iter_mut().find(|(lane, _)| *lane == op.lane) {
            Some((_, at)) if *at == op.step => {}
            Some((_, at)) => {
                *at = op.step;
                self.works_for(op.lane, op.step);
            }
            None => {
                self.lane_steps.push((op.lane, op.step));
                self.works_for(op.lane, op.step);
            }
        }
        self.window.push(op);
    }

    fn works_for(&mut self, lane: u16, step: At) {
        if self.over.is_none_or(|over| step > over) {
            let lanes = &mut self.step(step).lanes;
            if !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
    }

    /// Mostly one of the last.
    fn step(&mut self, at: At) -> &mut Open {
        let steps = &mut self.steps;
        let place = match steps.iter().rev().take(8).position(|known| known.at <= at) {
            Some(back) => {
                let place = steps.len() - 1 - back;
                if steps[place].at == at { Ok(place) } else { Err(place + 1) }
            }
            None => steps.binary_search_by_key(&at, |known| known.at),
        };
        let place = place.unwrap_or_else(|place| {
            steps.insert(place, Open { at, ..Open::default() });
            place
        });
        &mut steps[place]
    }

    pub(crate) fn span(&mut self, kind: OpKind, at: At, block: u32, span: Span) {
        let spans = &mut self.step(at).spans;
        spans.block = block;
        match kind {
            OpKind::Fetch => spans.fetch = Some(span),
            OpKind::Compute => spans.compute = Some(span),
            _ => spans.barrier = Some(span),
        }
    }

    /// Every row that is still to come ends at `watermark` or later; `None`: nothing is to come. [`Walk::complete`] tells the
    /// steps that this completes.
    pub(crate) fn advance(&mut self, watermark: Option<i64>) {
        self.watermark = watermark;
        self.order.clear();
        self.order.extend(self.window.iter().zip(0..).map(|(op, at)| (op.end, op.start, at)));
        nearly_sort(&mut self.order);
        self.cursor = 0;
        // The end of a step (its barrier) is recorded before the next wait is over.
        self.complete = match watermark {
            None => self.steps.len(),
            Some(_) => self.steps.iter().rposition(|step| self.seen(&step.spans)).unwrap_or(0),
        };
        if self.bounded {
            self.complete = self.complete.max(self.steps.len().saturating_sub(OPEN));
        }
    }

    /// Whether every operation that may explain the step's wait has been seen.
    fn seen(&self, spans: &Spans) -> bool {
        spans.fetch.is_some_and(|(_, to)| self.watermark.is_none_or(|watermark| to < watermark))
    }

    /// The next step that is complete, explained. After the last one, the operations that no other step needs are forgotten.
    pub(crate) fn complete(&mut self) -> Option<(At, Step)> {
        let Some(left) = self.complete.checked_sub(1) else {
            let open = self.steps.iter().filter_map(|step| step.spans.fetch);
            self.forget(open.map(|fetch| fetch.0).chain([self.upto]).min().unwrap_or(self.upto));
            return None;
        };
        self.complete = left;
        let Open { at, spans, lanes } = self.steps.pop_front()?;
        let wait = spans.fetch.filter(|_| self.seen(&spans)).map(|(from, to)| {
            self.upto = self.upto.max(to);
            self.explain(at, (from, to), &lanes)
        });
        self.over = self.over.max(Some(at));
        Some((at, Step { spans, wait }))
    }

    /// Gives up the operations that ended by then.
    fn forget(&mut self, mut needed: i64) {
        let over = self.order.partition_point(|(end, ..)| *end <= needed);
        if self.order.len() - over > WINDOW {
            needed = self.order[self.order.len() - WINDOW / 2].0;
        }
        self.window.retain(|op| op.end > needed);
    }

    fn explain(&mut self, step: At, (from, to): Span, lanes: &[u16]) -> Wait {
        let before = |place: usize, moment: i64| self.order.get(place).is_some_and(|(end, ..)| *end <= moment);
        // One wait follows the other as a rule.
        let mut first = self.cursor;
        if first > 0 && !before(first - 1, from) {
            first = self.order.partition_point(|(end, ..)| *end <= from);
        }
        while before(first, from) {
            first += 1;
        }
        let mut last = first;
        while before(last, to) {
            last += 1;
        }
        self.cursor = last;
        let during = During { window: &self.window, order: &self.order[first..last] };
        let mut path = Path { at: to, later: None, wait: Wait::default(), objects: Few::new() };
        path.back(&during, from, |op| op.step == step);
        path.back(&during, from, |op| lanes.contains(&op.lane));
        path.wait.parts.rest += between(from, path.at);
        let most = path.objects.into_iter().max_by_key(|(object, _, _, nanos)| (*nanos, *object));
        path.wait.object = most.map(|(_, named_at, endpoint, _)| (named_at, endpoint));
        path.wait
    }
}

/// Sorts what is in order but for neighbours, as the ends of operations are in the order of their starts.
pub(crate) fn nearly_sort<T: Ord + Copy>(list: &mut [T]) {
    /// Moves per value beyond which another way of sorting is faster.
    const MOVES: usize = 16;
    let mut left = MOVES * list.len();
    for at in 1..list.len() {
        let value = list[at];
        let mut place = at;
        while place > 0 && list[place - 1] > value {
            list[place] = list[place - 1];
            place -= 1;
        }
        list[place] = value;
        let moved = at - place;
        if moved > left {
            list.sort_unstable();
            return;
        }
        left -= moved;
    }
}

/// Operations that ended within a wait, in the order of their end.
struct During<'a> {
    window: &'a [Op],
    order: &'a [(i64, i64, u32)],
}

struct Path {
    /// Where the explanation has come to.
    at: i64,
    /// The operation that follows: its object and whether it was a later attempt.
    later: Option<(u64, bool)>,
    wait: Wait,
    /// Object, where its name is, its endpoint, nanoseconds.
    objects: Few<(u64, Place, u16, u64)>,
}

impl Path {
    /// Takes the operations that `counts` names, the last one first, each before the start of the one taken before.
    fn back(&mut self, during: &During<'_>, from: i64, counts: impl Fn(&Op) -> bool) {
        let upto = during.order.partition_point(|(end, ..)| *end <= self.at);
        for (end, start, at) in during.order[..upto].iter().rev() {
            if self.at <= from {
                return;
            }
            let op = &during.window[*at as usize];
            if *end <= self.at && *start < self.at && counts(op) {
                self.take(op, from);
            }
        }
    }

    fn take(&mut self, op: &Op, from: i64) {
        let parts = &mut self.wait.parts;
        let gap = between(op.end, self.at);
        let pause = self.later.is_some_and(|(object, again)| again && object == op.object);
        *(if pause { &mut parts.retries } else { &mut parts.rest }) += gap;
        let piece = |start: i64, end: i64| between(start.max(from), end);
        if matches!(op.kind, OpKind::Decode | OpKind::Preprocess) {
            parts.decode += piece(op.start, op.end);
        } else if op.outcome == Outcome::Ok {
            parts.queueing += piece(op.start, op.issued);
            parts.first_byte += piece(op.issued, op.first_byte);
            parts.transfer += piece(op.first_byte, op.end);
        } else {
            parts.retries += piece(op.start, op.end);
        }
        let nanos = between(op.start.max(from), op.end);
        match self.wait.endpoints.iter_mut().find(|(endpoint, _)| *endpoint == op.endpoint) {
            Some((_, sum)) => *sum += nanos,
            None => self.wait.endpoints.push((op.endpoint, nanos)),
        }
        if op.object != NO_OBJECT {
            match self.objects.iter_mut().find(|(object, ..)| *object == op.object) {
                Some((_, _, _, sum)) => *sum += nanos,
                None => self.objects.push((op.object, op.named_at, op.endpoint, nanos)),
            }
        }
        if op.opens {
            let (queueing, first_byte) = (piece(op.start, op.issued), piece(op.issued, op.first_byte));
            let longest = queueing + first_byte;
            self.wait.opened.merge(&Opened { count: 1, queueing, first_byte, longest });
        }
        self.at = op.start;
        self.later = Some((op.object, op.attempt > 0));
    }
}

/// The steps of the block that is being read, of which AU leaves out some at both ends.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    block: Option<(u32, u32)>,
    seen: u64,
    held: VecDeque<(At, Step)>,
}

impl Counted {
    /// Takes the next step and gives back one that counts, if it is known by now.
    pub(crate) fn next(&mut self, step: (At, Step), window: Window) -> Option<(At, Step)> {
        let block = (step.0.0, step.1.spans.block);
        if self.block != Some(block) {
            *self = Self { block: Some(block), ..Self::default() };
        }
        self.seen += 1;
        if self.seen <= window.first || (window.end >= 0 && self.seen > window.end.unsigned_abs()) {
            return None;
        }
        // Counted from the end of the block, wherever that will be.
        let left_out = if window.end < 0 { window.end.unsigned_abs() } else { 0 };
        self.held.push_back(step);
        (self.held.len() as u64 > left_out).then(|| self.held.pop_front()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(step: At, start: i64, end: i64) -> Op {
        Op {
            start,
            issued: start + 1,
            first_byte: start + 2,
            end,
            step,
            object: 1,
            named_at: (0, 0),
            endpoint: 0,
            lane: 0,
            opens: false,
            attempt: 0,
            kind: OpKind::Read,
            outcome: Outcome::Ok,
        }
    }

    #[test]
    fn a_step_is_explained_as_soon_as_its_rows_are_known_and_its_operations_are_forgotten() {
        let mut walk = Walk::new(0, false);
        for step in 1..=3 {
            let at = i64::from(step) * 100;
            walk.op(op((1, step), at, at + 40));
            walk.span(OpKind::Fetch, (1, step), 1, (at, at + 50));
            walk.span(OpKind::Compute, (1, step), 1, (at + 50, at + 90));
        }
        let mut done = |watermark: Option<i64>| {
            walk.advance(watermark);
            let done = std::iter::from_fn(|| walk.complete()).collect::<Vec<_>>();
            (done, walk.window.len())
        };
        let (first, left) = done(Some(300));
        assert_eq!(first.iter().map(|(at, _)| at.1).collect::<Vec<_>>(), [1]);
        let parts = first[0].1.wait.as_ref().unwrap().parts;
        assert_eq!((parts.queueing, parts.first_byte, parts.transfer, parts.rest), (1, 1, 38, 10));
        assert_eq!(left, 2, "the operations of the second and third step");
        assert_eq!(done(None).0.len(), 2);
        assert!(walk.window.is_empty() && walk.steps.is_empty());
    }

    #[test]
    fn lists_are_sorted_whether_nearly_sorted_or_not() {
        for factor in [1_u64, 7_919, u64::MAX] {
            let mut list: Vec<u64> = (0..3_000_u64).map(|at| at.wrapping_mul(factor) ^ 5).collect();
            nearly_sort(&mut list);
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn steps_at_both_ends_of_a_block_do_not_count() {
        for end in [-1, 3] {
            let mut counted = Counted::default();
            let mut found = Vec::new();
            for (block, step) in [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6), (2, 7)] {
                let spans = Spans { block, ..Spans::default() };
                let step = ((1, step), Step { spans, wait: None });
                found.extend(counted.next(step, Window { first: 1, end }).map(|(at, _)| at.1));
            }
            let expected: &[u32] = if end < 0 { &[2, 3, 6] } else { &[2, 3, 6, 7] };
            assert_eq!(found, expected);
        }
    }
}
