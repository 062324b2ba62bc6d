//! What a step waited for: the chain of operations that ends with the batch's hand-over, walked backwards.

use std::collections::HashMap;

use dlio_event::{Lane, OpKind, Outcome};

use super::Parts;
use super::detail::{Detail, Op};

/// The operations of one rank, found by step and by lane.
pub(super) struct Paths<'a> {
    ops: &'a [Op],
    /// Operations of each step, in the order of their end.
    own: HashMap<(u32, u32), Vec<usize>>,
    /// Operations of each lane, in the order of their end.
    lanes: HashMap<Lane, Vec<usize>>,
}

/// One wait, explained.
#[derive(Debug, Default)]
pub(super) struct Wait {
    pub(super) parts: Parts,
    /// Operations on the path, and how much of the wait each took.
    pub(super) ops: Vec<(usize, u64)>,
}

impl<'a> Paths<'a> {
    pub(super) fn new(detail: &'a Detail) -> Self {
        let ops = detail.ops.as_slice();
        let mut paths = Self { ops, own: HashMap::new(), lanes: HashMap::new() };
        for (at, op) in ops.iter().enumerate().filter(|(_, op)| op.step.1 > 0) {
            paths.own.entry(op.step).or_default().push(at);
            paths.lanes.entry(op.lane).or_default().push(at);
        }
        for list in paths.own.values_mut().chain(paths.lanes.values_mut()) {
            list.sort_by_key(|at| ops[*at].end);
        }
        paths
    }

    /// From the end of the wait back to its start: the operation of the step that ended last, then what ended before
    /// that began. Where the step's own operations do not reach back, its lanes were busy with earlier steps.
    pub(super) fn wait(&self, step: (u32, u32), from: i64, to: i64) -> Wait {
        let mut wait = Wait::default();
        let own = self.own.get(&step).map(Vec::as_slice).unwrap_or_default();
        let mut lanes: Vec<Lane> = own.iter().map(|at| self.ops[*at].lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let mut at = to;
        let mut later: Option<&Op> = None;
        while at > from {
            let mine = self.last_before(own, from, at);
            let lists = lanes.iter().filter_map(|lane| self.lanes.get(lane));
            let other = || lists.filter_map(|list| self.last_before(list, from, at)).max_by_key(|op| self.ops[*op].end);
            let Some(found) = mine.or_else(other) else { break };
            let op = &self.ops[found];
            let pause = later.is_some_and(|later| later.attempt > 0 && later.object == op.object);
            let gap = between(op.end, at);
            *(if pause { &mut wait.parts.retries } else { &mut wait.parts.rest }) += gap;
            split(op, from, &mut wait.parts);
            wait.ops.push((found, between(op.start.max(from), op.end)));
            at = op.start;
            later = Some(op);
        }
        wait.parts.rest += between(from, at);
        wait
    }

    /// Of operations in the order of their end, the last that is over at `at` and touches the time after `from`.
    fn last_before(&self, list: &[usize], from: i64, at: i64) -> Option<usize> {
        let upto = list.partition_point(|op| self.ops[*op].end <= at);
        let over = list[..upto].iter().rev().take_while(|op| self.ops[**op].end > from);
        over.copied().find(|op| self.ops[*op].start < at)
    }
}

fn split(op: &Op, from: i64, parts: &mut Parts) {
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
}

pub(super) fn between(start: i64, end: i64) -> u64 {
    u64::try_from(end.saturating_sub(start)).unwrap_or(0)
}
