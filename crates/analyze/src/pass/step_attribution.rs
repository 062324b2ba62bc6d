//! Attribution of each step's wait to operations while the trace is read. Only operations around steps that are not
//! attributed yet are in memory.
//!
//! A wait is attributed backwards from its end: to the operation of the step that ended last, then to the one that
//! ended before that began, and so on. Where the step's own operations do not reach back, its lanes were busy with
//! other steps.
//!
//! Invariant: a step is attributed after every row that ended before the end of its wait has been seen. Row groups have
//! the end of their earliest row, so that this holds for any order of rows. A rank waits for one batch at a time.

use std::collections::VecDeque;

use dlio_event::{OpKind, Outcome};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::objects::NO_OBJECT;
use crate::metric::Window;
use crate::timeline::between;
use crate::wait_breakdown::WaitBreakdown;

/// Endpoint number of rows without an endpoint.
pub(crate) const NO_ENDPOINT: u16 = u16::MAX;
/// Largest number of operations that are kept for later steps; beyond it the earlier half is dropped.
const WINDOW: usize = 4 << 20;

/// Largest number of steps with pending operations in a streaming analysis.
const OPEN_STEPS: usize = 1 << 16;

/// A list that is usually short.
type ShortList<T> = SmallVec<[T; 4]>;

/// Epoch and step.
pub(crate) type EpochStep = (u32, u32);

/// A storage operation, or a period of decoding, of a training step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    pub(crate) start: i64,
    pub(crate) issued: i64,
    pub(crate) first_byte: i64,
    pub(crate) end: i64,
    pub(crate) step: EpochStep,
    pub(crate) object: u64,
    pub(crate) named_at: RowPosition,
    pub(crate) endpoint: u16,
    pub(crate) lane: u16,
    /// Whether it is the first request of its connection.
    pub(crate) opens: bool,
    pub(crate) attempt: u8,
    pub(crate) kind: OpKind,
    pub(crate) outcome: Outcome,
}

/// Row group and row in the rank's trace.
pub(crate) type RowPosition = (u32, u32);

/// Start and end, nanoseconds.
pub(crate) type Span = (i64, i64);

/// Spans of one training step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StepSpans {
    pub(crate) block: u32,
    pub(crate) fetch: Option<Span>,
    pub(crate) compute: Option<Span>,
    pub(crate) barrier: Option<Span>,
}

/// A training step whose rows have all been seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttributedStep {
    pub(crate) spans: StepSpans,
    pub(crate) wait: Option<AttributedWait>,
}

/// A training step that may still get rows.
#[derive(Debug, Default)]
struct OpenStep {
    at: EpochStep,
    spans: StepSpans,
    lanes: ShortList<u16>,
}

/// A wait with its causes.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttributedWait {
    pub(crate) parts: WaitBreakdown,
    /// Nanoseconds of the wait by endpoint.
    pub(crate) endpoints: ShortList<(u16, u64)>,
    /// Object that took most of the wait, with its endpoint.
    pub(crate) object: Option<(RowPosition, u16)>,
    /// First requests of connections within the wait.
    pub(crate) opened: ConnectionOpenings,
}

/// First requests of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ConnectionOpenings {
    pub(crate) count: u64,
    /// Nanoseconds until the requests were handed to the connection.
    pub(crate) queueing: u64,
    /// Nanoseconds from the hand-over to the first byte.
    pub(crate) first_byte: u64,
    /// Longest sum of both, nanoseconds.
    pub(crate) longest: u64,
}

impl ConnectionOpenings {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.queueing += other.queueing;
        self.first_byte += other.first_byte;
        self.longest = self.longest.max(other.longest);
    }
}

/// Steps and operations of a rank that are still needed.
#[derive(Debug, Default)]
pub(crate) struct StepAttribution {
    /// Operations in the order of their rows.
    window: Vec<Op>,
    /// End, start and position of each operation, in this order, while steps are attributed.
    order: Vec<(i64, i64, u32)>,
    /// Position in `order` at which the last wait ended.
    cursor: usize,
    /// Returns the steps in the order of epochs and steps.
    steps: VecDeque<OpenStep>,
    /// Number of complete steps, from the first one; and the earliest end of all later rows.
    complete: usize,
    watermark: Option<i64>,
    /// The last step of each lane, which is looked up in `steps` when it changes.
    lane_steps: Vec<(u16, EpochStep)>,
    /// The last complete step, and the end of the last wait.
    over: Option<EpochStep>,
    upto: i64,
    bounded: bool,
}

impl StepAttribution {
    /// Creates the state for row groups of `rows` rows. If `bounded`, memory does not grow with steps whose operations
    /// are pending.
    pub(crate) fn new(rows: usize, bounded: bool) -> Self {
        // The limit guards against a damaged file with an arbitrary number.
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

    fn works_for(&mut self, lane: u16, step: EpochStep) {
        if self.over.is_none_or(|over| step > over) {
            let lanes = &mut self.step(step).lanes;
            if !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
    }

    /// Usually one of the last steps.
    fn step(&mut self, at: EpochStep) -> &mut OpenStep {
        let steps = &mut self.steps;
        let place = match steps.iter().rev().take(8).position(|known| known.at <= at) {
            Some(take_backwards) => {
                let place = steps.len() - 1 - take_backwards;
                if steps[place].at == at { Ok(place) } else { Err(place + 1) }
            }
            None => steps.binary_search_by_key(&at, |known| known.at),
        };
        let place = place.unwrap_or_else(|place| {
            steps.insert(place, OpenStep { at, ..OpenStep::default() });
            place
        });
        &mut steps[place]
    }

    pub(crate) fn span(&mut self, kind: OpKind, at: EpochStep, block: u32, span: Span) {
        let spans = &mut self.step(at).spans;
        spans.block = block;
        match kind {
            OpKind::Fetch => spans.fetch = Some(span),
            OpKind::Compute => spans.compute = Some(span),
            _ => spans.barrier = Some(span),
        }
    }

    /// Prepares the attribution of steps: every later row ends at `watermark` or later (`None` after the last row).
    /// [`StepAttribution::complete`] returns the steps that are complete.
    pub(crate) fn advance(&mut self, watermark: Option<i64>) {
        self.watermark = watermark;
        self.order.clear();
        self.order.extend(self.window.iter().zip(0..).map(|(op, at)| (op.end, op.start, at)));
        nearly_sort(&mut self.order);
        self.cursor = 0;
        // The barrier of a step is recorded before the end of the next wait.
        self.complete = match watermark {
            None => self.steps.len(),
            Some(_) => self.steps.iter().rposition(|step| self.seen(&step.spans)).unwrap_or(0),
        };
        if self.bounded {
            self.complete = self.complete.max(self.steps.len().saturating_sub(OPEN_STEPS));
        }
    }

    /// Returns whether every operation that may explain the step's wait has been seen.
    fn seen(&self, spans: &StepSpans) -> bool {
        spans.fetch.is_some_and(|(_, to)| self.watermark.is_none_or(|watermark| to < watermark))
    }

    /// Returns the next complete step with its causes. After the last one, it drops the operations that no other step
    /// needs.
    pub(crate) fn complete(&mut self) -> Option<(EpochStep, AttributedStep)> {
        let Some(left) = self.complete.checked_sub(1) else {
            let open = self.steps.iter().filter_map(|step| step.spans.fetch);
            self.drop_ended(open.map(|fetch| fetch.0).chain([self.upto]).min().unwrap_or(self.upto));
            return None;
        };
        self.complete = left;
        let OpenStep { at, spans, lanes } = self.steps.pop_front()?;
        let wait = spans.fetch.filter(|_| self.seen(&spans)).map(|(from, to)| {
            self.upto = self.upto.max(to);
            self.attribute(at, (from, to), &lanes)
        });
        self.over = self.over.max(Some(at));
        Some((at, AttributedStep { spans, wait }))
    }

    /// Drops the operations that ended by `needed`.
    fn drop_ended(&mut self, mut needed: i64) {
        let over = self.order.partition_point(|(end, ..)| *end <= needed);
        if self.order.len() - over > WINDOW {
            needed = self.order[self.order.len() - WINDOW / 2].0;
        }
        self.window.retain(|op| op.end > needed);
    }

    fn attribute(&mut self, step: EpochStep, (from, to): Span, lanes: &[u16]) -> AttributedWait {
        let before = |place: usize, moment: i64| self.order.get(place).is_some_and(|(end, ..)| *end <= moment);
        // Waits usually follow each other.
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
        let during = WaitWindow { window: &self.window, order: &self.order[first..last] };
        let mut path = BackwardPath { at: to, later: None, wait: AttributedWait::default(), objects: ShortList::new() };
        path.take_backwards(&during, from, |op| op.step == step);
        path.take_backwards(&during, from, |op| lanes.contains(&op.lane));
        path.wait.parts.rest += between(from, path.at);
        let most = path.objects.into_iter().max_by_key(|(object, _, _, nanos)| (*nanos, *object));
        path.wait.object = most.map(|(_, named_at, endpoint, _)| (named_at, endpoint));
        path.wait
    }
}

/// Sorts a list that is nearly sorted, such as the ends of operations in the order of their starts.
pub(crate) fn nearly_sort<T: Ord + Copy>(list: &mut [T]) {
    /// Number of moves per value beyond which another algorithm is faster.
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

/// Operations that ended within a wait, in the order of their ends.
struct WaitWindow<'a> {
    window: &'a [Op],
    order: &'a [(i64, i64, u32)],
}

struct BackwardPath {
    /// Time down to which the wait has been attributed.
    at: i64,
    /// The operation that follows: its object, and whether it was a retry.
    later: Option<(u64, bool)>,
    wait: AttributedWait,
    /// Object, location of its name, endpoint, nanoseconds.
    objects: ShortList<(u64, RowPosition, u16, u64)>,
}

impl BackwardPath {
    /// Takes the operations that satisfy `counts` in descending order, each ending before the start of the previous
    /// one.
    fn take_backwards(&mut self, during: &WaitWindow<'_>, from: i64, counts: impl Fn(&Op) -> bool) {
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
        let batch = |start: i64, end: i64| between(start.max(from), end);
        if matches!(op.kind, OpKind::Decode | OpKind::Preprocess) {
            parts.decode += batch(op.start, op.end);
        } else if op.outcome == Outcome::Ok {
            parts.queueing += batch(op.start, op.issued);
            parts.first_byte += batch(op.issued, op.first_byte);
            parts.transfer += batch(op.first_byte, op.end);
        } else {
            parts.retries += batch(op.start, op.end);
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
            let (queueing, first_byte) = (batch(op.start, op.issued), batch(op.issued, op.first_byte));
            let longest = queueing + first_byte;
            self.wait.opened.merge(&ConnectionOpenings { count: 1, queueing, first_byte, longest });
        }
        self.at = op.start;
        self.later = Some((op.object, op.attempt > 0));
    }
}

/// Steps of the current block, of which AU leaves out some at both ends.
#[derive(Debug, Default)]
pub(crate) struct CountedSteps {
    block: Option<(u32, u32)>,
    seen: u64,
    held: VecDeque<(EpochStep, AttributedStep)>,
}

impl CountedSteps {
    /// Takes the next step, and returns one that is known to count.
    pub(crate) fn next(
        &mut self,
        step: (EpochStep, AttributedStep),
        window: Window,
    ) -> Option<(EpochStep, AttributedStep)> {
        let block = (step.0.0, step.1.spans.block);
        if self.block != Some(block) {
            *self = Self { block: Some(block), ..Self::default() };
        }
        self.seen += 1;
        if self.seen <= window.first || (window.end >= 0 && self.seen > window.end.unsigned_abs()) {
            return None;
        }
        // The end of the window is counted from the end of the block, which is not known yet.
        let left_out = if window.end < 0 { window.end.unsigned_abs() } else { 0 };
        self.held.push_back(step);
        (self.held.len() as u64 > left_out).then(|| self.held.pop_front()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(step: EpochStep, start: i64, end: i64) -> Op {
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
        let mut attribution = StepAttribution::new(0, false);
        for step in 1..=3 {
            let at = i64::from(step) * 100;
            attribution.op(op((1, step), at, at + 40));
            attribution.span(OpKind::Fetch, (1, step), 1, (at, at + 50));
            attribution.span(OpKind::Compute, (1, step), 1, (at + 50, at + 90));
        }
        let mut done = |watermark: Option<i64>| {
            attribution.advance(watermark);
            let done = std::iter::from_fn(|| attribution.complete()).collect::<Vec<_>>();
            (done, attribution.window.len())
        };
        let (first, left) = done(Some(300));
        assert_eq!(first.iter().map(|(at, _)| at.1).collect::<Vec<_>>(), [1]);
        let parts = first[0].1.wait.as_ref().unwrap().parts;
        assert_eq!((parts.queueing, parts.first_byte, parts.transfer, parts.rest), (1, 1, 38, 10));
        assert_eq!(left, 2, "the operations of the second and third step");
        assert_eq!(done(None).0.len(), 2);
        assert!(attribution.window.is_empty() && attribution.steps.is_empty());
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
            let mut counted = CountedSteps::default();
            let mut found = Vec::new();
            for (block, step) in [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6), (2, 7)] {
                let spans = StepSpans { block, ..StepSpans::default() };
                let step = ((1, step), AttributedStep { spans, wait: None });
                found.extend(counted.next(step, Window { first: 1, end }).map(|(at, _)| at.1));
            }
            let expected: &[u32] = if end < 0 { &[2, 3, 6] } else { &[2, 3, 6, 7] };
            assert_eq!(found, expected);
        }
    }
}
