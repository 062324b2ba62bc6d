//! Which operations of a recorded schedule wait for others: what one lane did to one object one after the other stays so, however late.
//!
//! Invariant: an operation waits only for operations that were handed out before it, so there is always one that does not wait.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use dlio_event::Nanos;
use dlio_plan::replay::{ReplayKind, ReplayOp};

/// What one lane does to one object. Two of the same number by chance only wait for each other too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChainId(u64);

impl ChainId {
    pub(super) fn of(op: &ReplayOp) -> Self {
        let mut hasher = DefaultHasher::new();
        (op.lane, &op.key).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// An operation that is not done.
struct Entry {
    number: u64,
    due: Nanos,
    /// Recorded end, and the latest of the chain up to here.
    ended: Nanos,
    latest: Nanos,
    /// Who waits for it.
    followers: Vec<u64>,
}

/// What is not done of a chain, in recorded order.
#[derive(Default)]
struct Chain {
    timed: VecDeque<Entry>,
    /// Reads of which the recording does not tell how long they took: whether they followed each other is not known.
    timeless: VecDeque<Entry>,
}

impl Chain {
    fn list(&mut self, op: &ReplayOp) -> &mut VecDeque<Entry> {
        if is_timeless(op) { &mut self.timeless } else { &mut self.timed }
    }
}

fn is_timeless(op: &ReplayOp) -> bool {
    op.timeless && op.kind == ReplayKind::Read
}

/// An operation, and how many it waits for.
struct Waiting {
    op: ReplayOp,
    left: u32,
}

/// All operations that are handed out and not done.
#[derive(Default)]
pub(super) struct Order {
    chains: HashMap<ChainId, Chain>,
    waiting: HashMap<u64, Waiting>,
}

impl Order {
    /// Operations that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the next operation; returns it if it waits for none.
    pub(super) fn admit(&mut self, id: ChainId, op: ReplayOp) -> Option<ReplayOp> {
        let chain = self.chains.entry(id).or_default();
        let left = follow(chain, &op);
        let ended = op.due.saturating_add(op.took);
        let list = chain.list(&op);
        let latest = list.back().map_or(ended, |last| last.latest.max(ended));
        list.push_back(Entry { number: op.number, due: op.due, ended, latest, followers: Vec::new() });
        if left == 0 {
            return Some(op);
        }
        self.waiting.insert(op.number, Waiting { op, left });
        None
    }

    /// Operation `number` of a chain is done or left out: those that waited for nothing else any more.
    pub(super) fn done(&mut self, id: ChainId, number: u64) -> Vec<ReplayOp> {
        let Some(chain) = self.chains.get_mut(&id) else { return Vec::new() };
        let mut released = Vec::new();
        for list in [&mut chain.timed, &mut chain.timeless] {
            let Ok(index) = list.binary_search_by_key(&number, |entry| entry.number) else { continue };
            let followers = list.remove(index).map(|entry| entry.followers).unwrap_or_default();
            for follower in followers {
                let Some(waiting) = self.waiting.get_mut(&follower) else { continue };
                waiting.left -= 1;
                if waiting.left == 0 {
                    released.extend(self.waiting.remove(&follower).map(|waiting| waiting.op));
                }
            }
        }
        if chain.timed.is_empty() && chain.timeless.is_empty() {
            self.chains.remove(&id);
        }
        released
    }
}

/// Notes with those that `op` follows that it does; returns how many they are. Left out are those that one of them follows itself.
fn follow(chain: &mut Chain, op: &ReplayOp) -> u32 {
    let (mut count, mut since, mut newest) = (0, 0, None);
    for entry in chain.timed.iter_mut().rev() {
        if entry.latest <= since && newest.is_some() {
            break;
        }
        if entry.ended <= op.due && (entry.ended > since || newest.is_none()) {
            entry.followers.push(op.number);
            (count, since) = (count + 1, since.max(entry.due));
            newest = newest.or(Some(entry.number));
        }
    }
    if is_timeless(op) {
        return count;
    }
    for entry in chain.timeless.iter_mut().rev().take_while(|entry| newest.is_none_or(|newest| entry.number > newest)) {
        entry.followers.push(op.number);
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operation `number` of lane 0 on `a`, recorded from `due` to `due + took`.
    fn op(number: u64, due: Nanos, took: Nanos) -> ReplayOp {
        ReplayOp { number, due, took, key: "a".into(), ..ReplayOp::default() }
    }

    /// Admits all; then completes whatever waits for nothing, in the order of `pick`, and returns the order.
    fn completed(ops: Vec<ReplayOp>, pick: impl Fn(&[ReplayOp]) -> usize) -> Vec<u64> {
        let mut order = Order::default();
        let mut free: Vec<ReplayOp> = ops.into_iter().filter_map(|op| order.admit(ChainId::of(&op), op)).collect();
        let mut found = Vec::new();
        while !free.is_empty() {
            let op = free.remove(pick(&free));
            found.push(op.number);
            free.extend(order.done(ChainId::of(&op), op.number));
        }
        assert!(order.chains.is_empty() && order.waiting.is_empty());
        found
    }

    #[test]
    fn what_ended_before_another_began_stays_before_it_and_what_overlapped_may_change_places() {
        // Recorded: 0 and 1 overlap, 2 follows 1 while 0 goes on, 3 follows all.
        let ops = || vec![op(0, 0, 100), op(1, 1, 9), op(2, 10, 20), op(3, 100, 5)];
        assert_eq!(completed(ops(), |_| 0), [0, 1, 2, 3]);
        assert_eq!(completed(ops(), |free| free.len() - 1), [1, 2, 0, 3]);
        // A repeated moment: one after the other.
        assert_eq!(completed(vec![op(0, 5, 0), op(1, 5, 0), op(2, 5, 1)], |free| free.len() - 1), [0, 1, 2]);
    }

    #[test]
    fn other_objects_and_lanes_wait_for_nothing() {
        let ops = vec![op(0, 0, 9), ReplayOp { key: "b".into(), ..op(1, 10, 1) }, ReplayOp { lane: 1, ..op(2, 10, 1) }];
        assert_eq!(completed(ops, |free| free.len() - 1), [2, 1, 0]);
    }

    #[test]
    fn reads_of_unknown_time_are_free_among_themselves_and_keep_their_side_of_a_write() {
        let read = |number| ReplayOp { timeless: true, ..op(number, number, 0) };
        let write = |number| ReplayOp { timeless: true, kind: ReplayKind::Write, ..op(number, number, 0) };
        let ops = vec![read(0), read(1), write(2), read(3), read(4), write(5), write(6)];
        assert_eq!(completed(ops, |free| free.len() - 1), [1, 0, 2, 4, 3, 5, 6]);
    }

    /// Every pair in every recording of five operations on one object: what is strictly ordered stays so, in the most hurried order.
    #[test]
    fn no_chain_of_five_loses_an_edge_or_stands_still() {
        for seed in 0..4096u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut draw = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let mut due = 0;
            let ops: Vec<ReplayOp> = (0..5)
                .map(|number| {
                    due += draw(4);
                    op(number, due, draw(8))
                })
                .collect();
            let picks: Vec<u64> = (0..5).map(|_| draw(60)).collect();
            let turn = std::cell::Cell::new(0);
            let found = completed(ops.clone(), |free| {
                turn.set(turn.get() + 1);
                usize::try_from(picks[turn.get() - 1]).unwrap() % free.len()
            });
            assert_eq!(found.len(), 5, "seed {seed}");
            let place = |number: u64| found.iter().position(|found| *found == number);
            for (one, other) in ops.iter().flat_map(|one| ops.iter().map(move |other| (one, other))) {
                if one.number < other.number && one.due + one.took <= other.due {
                    assert!(place(one.number) < place(other.number), "seed {seed}: {one:?} {other:?} {found:?}");
                }
            }
        }
    }
}
