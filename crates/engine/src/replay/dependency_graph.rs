//! Dependencies between operations of a recorded schedule: operations of one lane on one object keep their recorded order, however
//! late they are. Reads and look-ups are issued in order; an operation that changes the object waits until earlier ones are done, and
//! later ones wait until it is done.
//!
//! Invariant: an operation waits only for operations that were admitted before it, so there is always one that can be issued.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::Nanos;
use dlio_plan::replay::{ReplayKind, ReplayOp};

/// Hash of a lane and an object, whose operations form one graph. If two hashes collide, their operations wait for each other needlessly,
/// which is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GraphId(u64);

impl GraphId {
    pub(super) fn of(op: &ReplayOp) -> Self {
        let mut hasher = DefaultHasher::new();
        (op.lane, &op.key).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// An operation that is not done yet.
struct Entry {
    number: u64,
    due: Nanos,
    /// Recorded end, and the latest recorded end of the list up to here, in nanoseconds.
    ended: Nanos,
    latest: Nanos,
    /// Whether a worker has taken the operation.
    handed: bool,
    /// Operations that wait until a worker has taken this one, and operations that wait until it is done.
    issue_successors: Vec<u64>,
    done_successors: Vec<u64>,
}

/// The state of another operation that an operation waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Issued,
    Done,
}

impl Entry {
    /// Returns the operations that wait for this state; `None` if it has been reached.
    fn waiters(&mut self, until: Until) -> Option<&mut Vec<u64>> {
        match until {
            Until::Issued => (!self.handed).then_some(&mut self.issue_successors),
            Until::Done => Some(&mut self.done_successors),
        }
    }
}

/// The operations of one lane on one object that are not done, in recorded order.
#[derive(Default)]
struct DependencyGraph {
    /// Operations that change nothing; each is issued after the previous one is issued, without waiting for its result.
    looks: VecDeque<Entry>,
    changes: VecDeque<Entry>,
}

impl DependencyGraph {
    fn list(&mut self, op: &ReplayOp) -> &mut VecDeque<Entry> {
        if is_look(op) { &mut self.looks } else { &mut self.changes }
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let find = |list: &VecDeque<Entry>| list.binary_search_by_key(&number, |entry| entry.number).ok();
        match find(&self.looks) {
            Some(index) => self.looks.get_mut(index),
            None => find(&self.changes).and_then(|index| self.changes.get_mut(index)),
        }
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let find = |list: &VecDeque<Entry>| list.binary_search_by_key(&number, |entry| entry.number).ok();
        match find(&self.looks) {
            Some(index) => self.looks.remove(index),
            None => find(&self.changes).and_then(|index| self.changes.remove(index)),
        }
    }
}

fn is_look(op: &ReplayOp) -> bool {
    matches!(op.kind, ReplayKind::Read | ReplayKind::Stat | ReplayKind::List)
}

/// An operation that waits, with the number of operations that it waits for.
struct Waiting {
    op: ReplayOp,
    left: u32,
}

/// The dependencies of all admitted operations that are not done.
#[derive(Default)]
pub(super) struct Dependencies {
    graphs: HashMap<GraphId, DependencyGraph>,
    waiting: HashMap<u64, Waiting>,
}

impl Dependencies {
    /// Returns the number of operations that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Admits the next operation; returns it if it can be issued immediately.
    pub(super) fn admit(&mut self, id: GraphId, op: ReplayOp) -> Option<ReplayOp> {
        let graph = self.graphs.entry(id).or_default();
        let left = follow(graph, &op);
        let ended = op.due.saturating_add(op.took);
        let list = graph.list(&op);
        let latest = list.back().map_or(ended, |last| last.latest.max(ended));
        let (issue_successors, done_successors) = (Vec::new(), Vec::new());
        list.push_back(Entry {
            number: op.number,
            due: op.due,
            ended,
            latest,
            handed: false,
            issue_successors,
            done_successors,
        });
        if left == 0 {
            return Some(op);
        }
        self.waiting.insert(op.number, Waiting { op, left });
        None
    }

    /// Notes that a worker has taken the operation; returns the operations that can be issued now.
    pub(super) fn handed(&mut self, op: &ReplayOp) -> Vec<ReplayOp> {
        if !is_look(op) {
            return Vec::new();
        }
        let Some(entry) = self.graphs.get_mut(&GraphId::of(op)).and_then(|graph| graph.entry(op.number)) else {
            return Vec::new();
        };
        entry.handed = true;
        let issue_successors = std::mem::take(&mut entry.issue_successors);
        self.release(issue_successors)
    }

    /// Notes that operation `number` of a graph is done or skipped; returns the operations that can be issued now.
    pub(super) fn done(&mut self, id: GraphId, number: u64) -> Vec<ReplayOp> {
        let Some(graph) = self.graphs.get_mut(&id) else { return Vec::new() };
        let entry = graph.remove(number);
        if graph.changes.is_empty() && graph.looks.is_empty() {
            self.graphs.remove(&id);
        }
        let Some(Entry { issue_successors, done_successors, .. }) = entry else { return Vec::new() };
        self.release(issue_successors.into_iter().chain(done_successors))
    }

    fn release(&mut self, numbers: impl IntoIterator<Item = u64>) -> Vec<ReplayOp> {
        let mut released = Vec::new();
        for number in numbers {
            let Some(waiting) = self.waiting.get_mut(&number) else { continue };
            waiting.left -= 1;
            if waiting.left == 0 {
                released.extend(self.waiting.remove(&number).map(|waiting| waiting.op));
            }
        }
        released
    }
}

/// Registers `op` as a successor of the operations that it must follow directly; returns their number. Operations that are already
/// predecessors of one of them are omitted.
fn follow(graph: &mut DependencyGraph, op: &ReplayOp) -> u32 {
    let (mut count, newest) = follow_in(&mut graph.changes, op, Until::Done);
    if is_look(op) {
        return count + follow_in(&mut graph.looks, op, Until::Issued).0;
    }
    // The latest change has already waited for reads that ended before it.
    let waited =
        |entry: &Entry, ended: Nanos| newest.is_some_and(|(number, due)| entry.number < number && ended <= due);
    for entry in graph.looks.iter_mut().rev() {
        if waited(entry, entry.latest) {
            break;
        }
        if entry.ended <= op.due && !waited(entry, entry.ended) {
            entry.done_successors.push(op.number);
            count += 1;
        }
    }
    count
}

/// Registers `op` as a successor of the operations of a list that it must follow; also returns number and due time of the newest of
/// them.
fn follow_in(list: &mut VecDeque<Entry>, op: &ReplayOp, until: Until) -> (u32, Option<(u64, Nanos)>) {
    let (mut count, mut since, mut newest) = (0, 0, None);
    for entry in list.iter_mut().rev() {
        if entry.latest <= since && newest.is_some() {
            break;
        }
        let (number, due) = (entry.number, entry.due);
        if entry.ended <= op.due
            && (entry.ended > since || newest.is_none())
            && let Some(waiters) = entry.waiters(until)
        {
            waiters.push(op.number);
            (count, since) = (count + 1, since.max(due));
            newest = newest.or(Some((number, due)));
        }
    }
    (count, newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A write of lane 0 to `a`, recorded from `due` to `due + took`.
    fn write(number: u64, due: Nanos, took: Nanos) -> ReplayOp {
        ReplayOp { number, due, took, key: "a".into(), kind: ReplayKind::Write, ..ReplayOp::default() }
    }

    fn read(number: u64, due: Nanos, took: Nanos) -> ReplayOp {
        ReplayOp { kind: ReplayKind::Read, ..write(number, due, took) }
    }

    /// Admits all operations; then repeatedly starts an operation that can be issued, or ends a started one, as `pick` chooses among them.
    /// Returns the numbers of the operations in the order of starts (`true`) and ends.
    fn steps(ops: Vec<ReplayOp>, mut pick: impl FnMut(usize) -> usize) -> Vec<(u64, bool)> {
        let mut order = Dependencies::default();
        let mut free: Vec<ReplayOp> = ops.into_iter().filter_map(|op| order.admit(GraphId::of(&op), op)).collect();
        let (mut begun, mut found): (Vec<ReplayOp>, _) = (Vec::new(), Vec::new());
        while free.len() + begun.len() > 0 {
            let chosen = pick(free.len() + begun.len());
            if chosen < free.len() {
                let op = free.remove(chosen);
                found.push((op.number, true));
                free.extend(order.handed(&op));
                begun.push(op);
            } else {
                let op = begun.remove(chosen - free.len());
                found.push((op.number, false));
                free.extend(order.done(GraphId::of(&op), op.number));
            }
        }
        assert!(order.graphs.is_empty() && order.waiting.is_empty());
        found
    }

    /// Returns the order of starts, if each operation ends before another one starts.
    fn alone(ops: Vec<ReplayOp>, last: bool) -> Vec<u64> {
        let mut running = false;
        let found = steps(ops, |count| {
            running = !running;
            // Started operations come last.
            if running && last {
                count - 1
            } else if running {
                0
            } else {
                count - 1
            }
        });
        found.into_iter().filter(|(_, begins)| *begins).map(|(number, _)| number).collect()
    }

    #[test]
    fn what_ended_before_another_began_stays_before_it_and_what_overlapped_may_change_places() {
        // Recorded: 0 and 1 overlap, 2 follows 1 while 0 is running, 3 follows all.
        let ops = || vec![write(0, 0, 100), write(1, 1, 9), write(2, 10, 20), write(3, 100, 5)];
        assert_eq!(alone(ops(), false), [0, 1, 2, 3]);
        assert_eq!(alone(ops(), true), [1, 2, 0, 3]);
        // Equal due times keep the recorded order.
        assert_eq!(alone(vec![write(0, 5, 0), write(1, 5, 0), read(2, 5, 1)], true), [0, 1, 2]);
    }

    #[test]
    fn other_objects_and_lanes_wait_for_nothing() {
        let ops = vec![
            write(0, 0, 9),
            ReplayOp { key: "b".into(), ..write(1, 10, 1) },
            ReplayOp { lane: 1, ..write(2, 10, 1) },
        ];
        assert_eq!(alone(ops, true), [2, 1, 0]);
    }

    #[test]
    fn reads_begin_in_their_order_and_wait_for_no_answer_but_of_changes() {
        let ops = vec![read(0, 0, 1), read(1, 2, 1), write(2, 4, 1), read(3, 6, 1), read(4, 8, 1)];
        // Starts every operation that can be issued before any operation ends.
        let found = steps(ops, |_| 0);
        let expected = [
            (0, true),
            (1, true),
            (0, false),
            (1, false),
            (2, true),
            (2, false),
            (3, true),
            (4, true),
            (3, false),
            (4, false),
        ];
        assert_eq!(found, expected);
    }

    /// Checks every pair of operations in many recordings of six operations on one object: strictly ordered pairs stay ordered, whatever the
    /// order of the others.
    #[test]
    fn no_chain_of_six_loses_an_edge_or_stands_still() {
        for seed in 0..8192u64 {
            let mut numbers = dlio_event::mix::Lcg64::new(seed);
            let mut draw = |below: u64| numbers.below(below);
            let mut due = 0;
            let ops: Vec<ReplayOp> = (0..6)
                .map(|number| {
                    due += draw(4);
                    if draw(2) == 0 { read(number, due, draw(8)) } else { write(number, due, draw(8)) }
                })
                .collect();
            let found = steps(ops.clone(), |count| usize::try_from(draw(60)).unwrap() % count);
            assert_eq!(found.len(), 12, "seed {seed}");
            let place = |number: u64, begins| found.iter().position(|found| *found == (number, begins)).unwrap();
            for (one, other) in ops.iter().flat_map(|one| ops.iter().map(move |other| (one, other))) {
                if one.number < other.number && one.due + one.took <= other.due {
                    let both_look = is_look(one) && is_look(other);
                    assert!(
                        place(one.number, both_look) < place(other.number, true),
                        "seed {seed}: {one:?} {other:?} {found:?}"
                    );
                }
            }
        }
    }
}
