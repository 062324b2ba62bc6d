//! The steps of all ranks together: who came last to each barrier, and what that cost the others. One entry per step, however
//! many ranks there are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::objects::{Map, OneIn};
use super::walk::{At, Span};
use crate::why::between;

/// One step of one rank.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) at: At,
    /// Of its trace, in the order of all traces.
    pub(crate) rank: u32,
    pub(crate) fetch: Option<u64>,
    pub(crate) compute: u64,
    pub(crate) barrier: Option<Span>,
}

/// One step of all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meeting {
    /// Ranks that fetched, how long, and how long the same ones computed.
    pub(crate) ranks: u64,
    pub(crate) fetched: u64,
    pub(crate) fetched_most: u64,
    pub(crate) computed: u64,
    /// Ranks at the barrier; fetching and computation of those.
    pub(crate) arrived: u64,
    pub(crate) arrived_fetched: u64,
    pub(crate) arrived_computed: u64,
    /// Sums of their arrivals and of their times in the barrier.
    arrivals: i128,
    pub(crate) met: u64,
    /// Arrival, end and rank of the last, and its fetching and computation.
    pub(crate) last: (i64, i64, u32),
    pub(crate) last_fetched: u64,
    pub(crate) last_computed: u64,
    /// When the first rank left, and which.
    pub(crate) left_first: (i64, u32),
}

impl Meeting {
    fn new() -> Self {
        Self {
            ranks: 0,
            fetched: 0,
            fetched_most: 0,
            computed: 0,
            arrived: 0,
            arrived_fetched: 0,
            arrived_computed: 0,
            arrivals: 0,
            met: 0,
            last: (i64::MIN, i64::MIN, 0),
            last_fetched: 0,
            last_computed: 0,
            left_first: (i64::MAX, 0),
        }
    }

    fn is_empty(&self) -> bool {
        self.ranks == 0 && self.arrived == 0
    }

    fn visit(&mut self, visit: &Visit) {
        if let Some(fetch) = visit.fetch {
            self.ranks += 1;
            self.fetched += fetch;
            self.fetched_most = self.fetched_most.max(fetch);
            self.computed += visit.compute;
        }
        let Some((start, end)) = visit.barrier else { return };
        self.arrived += 1;
        self.arrived_fetched += visit.fetch.unwrap_or(0);
        self.arrived_computed += visit.compute;
        self.arrivals += i128::from(start);
        self.met += between(start, end);
        if (start, end, visit.rank) > self.last {
            self.last = (start, end, visit.rank);
            (self.last_fetched, self.last_computed) = (visit.fetch.unwrap_or(0), visit.compute);
        }
        self.left_first = self.left_first.min((end, visit.rank));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.ranks += other.ranks;
        self.fetched += other.fetched;
        self.fetched_most = self.fetched_most.max(other.fetched_most);
        self.computed += other.computed;
        self.arrived += other.arrived;
        self.arrived_fetched += other.arrived_fetched;
        self.arrived_computed += other.arrived_computed;
        self.arrivals += other.arrivals;
        self.met += other.met;
        if other.last > self.last {
            self.last = other.last;
            (self.last_fetched, self.last_computed) = (other.last_fetched, other.last_computed);
        }
        self.left_first = self.left_first.min(other.left_first);
    }

    /// How long the others together waited for the last: no longer than they really spent in the barrier, whatever their
    /// clocks say.
    pub(crate) fn waited(&self) -> u64 {
        let late = i128::from(self.last.0) * i128::from(self.arrived) - self.arrivals;
        u64::try_from(late).unwrap_or(0).min(self.met)
    }
}

/// All steps, or some of them.
#[derive(Debug, Default)]
pub(crate) struct Meetings(Mutex<Steps>);

/// Steps that are kept in an analysis that must not grow with them.
pub(crate) const STEPS: usize = 1 << 18;

/// Steps that are kept together.
const CHUNK: usize = 1024;

#[derive(Debug, Default)]
struct Steps {
    /// By step, as long as all are followed and there are not many gaps.
    epochs: BTreeMap<u32, Vec<Vec<Meeting>>>,
    others: Map<At, Meeting>,
    filled: usize,
    followed: OneIn,
}

impl Steps {
    fn slot(&mut self, at: At) -> Option<&mut Meeting> {
        let known = !self.others.is_empty() && self.others.contains_key(&at);
        let step = at.1 as usize;
        if !known && self.followed.all() {
            let chunks = self.epochs.entry(at.0).or_default();
            let (chunk, place) = (step / CHUNK, step % CHUNK);
            if chunk <= 2 * chunks.len() {
                // Chunks are small, and no growth copies them; the first need not be as long as all others.
                while chunks.len() <= chunk {
                    chunks.push(Vec::new());
                }
                let meetings = &mut chunks[chunk];
                if place >= meetings.len() {
                    meetings.resize_with((place + 1).next_power_of_two().max(16), Meeting::new);
                }
                self.filled += usize::from(meetings[place].is_empty());
                return Some(&mut meetings[place]);
            }
        }
        if !follows(self.followed, at) {
            return None;
        }
        self.filled += usize::from(!known);
        Some(self.others.entry(at).or_insert_with(Meeting::new))
    }

    fn halve(&mut self) {
        self.followed.halve();
        let one_in = self.followed;
        self.others.retain(|at, _| follows(one_in, *at));
        for (epoch, chunks) in std::mem::take(&mut self.epochs) {
            let steps = numbered(chunks).map(|(step, meeting)| ((epoch, step), meeting));
            self.others.extend(steps.filter(|(at, meeting)| !meeting.is_empty() && follows(one_in, *at)));
        }
        self.filled = self.others.len();
    }
}

/// Steps with their numbers.
fn numbered(chunks: Vec<Vec<Meeting>>) -> impl Iterator<Item = (u32, Meeting)> {
    let chunks = (0_u32..).step_by(CHUNK).zip(chunks);
    chunks.flat_map(|(first, chunk)| (first..).zip(chunk))
}

fn follows(one_in: OneIn, (epoch, step): At) -> bool {
    one_in.follows(u64::from(epoch) << 32 | u64::from(step))
}

impl Meetings {
    /// Adds steps of a rank; no more than `most` are kept.
    pub(crate) fn add(&self, visits: &[Visit], most: usize) {
        if visits.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for visit in visits.iter().filter(|visit| visit.fetch.is_some() || visit.barrier.is_some()) {
            if let Some(meeting) = all.slot(visit.at) {
                meeting.visit(visit);
            }
        }
        while all.filled > most {
            all.halve();
        }
    }

    /// In the order of epochs and steps.
    pub(crate) fn take(self) -> Met {
        let all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut list = Vec::with_capacity(all.filled);
        list.extend(all.others);
        for (epoch, chunks) in all.epochs {
            let steps = numbered(chunks).filter(|(_, meeting)| !meeting.is_empty());
            list.extend(steps.map(|(step, meeting)| ((epoch, step), meeting)));
        }
        list.sort_unstable_by_key(|(at, _)| *at);
        Met { list, followed: all.followed }
    }
}

/// Steps of all ranks, in the order of epochs and steps: all of them, or some.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Met {
    pub(crate) list: Vec<(At, Meeting)>,
    pub(crate) followed: OneIn,
}

impl Met {
    /// Joins those of several processes; no more than `most` are kept.
    pub(crate) fn join(all: Vec<Self>, most: usize) -> Self {
        let mut followed = all.iter().map(|one| one.followed).max().unwrap_or_default();
        // As a rule there is one process: nothing is copied then.
        let list = all.into_iter().map(|one| one.list).reduce(|mut list, other| {
            list.extend(other);
            list
        });
        let mut list = list.unwrap_or_default();
        list.retain(|(at, _)| follows(followed, *at));
        list.sort_by_key(|(at, _)| *at);
        list.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            if same {
                sum.1.merge(&next.1);
            }
            same
        });
        while list.len() > most {
            followed.halve();
            list.retain(|(at, _)| follows(followed, *at));
        }
        Self { list, followed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(rank: u32, steps: std::ops::Range<u32>) -> Vec<Visit> {
        let visit = |step| {
            let at = i64::from(step) * 100;
            let barrier = Some((at + i64::from(rank), at + 10));
            Visit { at: (1, step), rank, fetch: Some(5), compute: 7, barrier }
        };
        steps.map(visit).collect()
    }

    #[test]
    fn the_same_steps_are_followed_however_ranks_are_shared_out() {
        let most = 1_000;
        let add = |ranks: &[u32]| {
            let meetings = Meetings::default();
            for rank in ranks {
                // Some step far away is kept as well.
                meetings.add(&visits(*rank, 1..3_000), most);
                meetings.add(&visits(*rank, 4_000_000..4_000_002), most);
            }
            meetings.take()
        };
        let together = Met::join(vec![add(&[0, 1, 2, 3])], most);
        let apart = Met::join(vec![add(&[0]), add(&[2, 1]), add(&[]), add(&[3])], most);
        assert!(together.list.len() <= most && together.list.len() > most / 4);
        assert_eq!((&together.list, together.followed), (&apart.list, apart.followed));
        assert!(together.list.iter().all(|(_, meeting)| meeting.arrived == 4 && meeting.waited() == 1 + 2 + 3));
    }
}
