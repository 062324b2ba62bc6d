//! The steps of all ranks together: who came last to each barrier, and what that cost the others. One entry per step, however
//! many ranks there are.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::objects::Map;
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

/// All steps.
#[derive(Debug, Default)]
pub(crate) struct Meetings(Mutex<Map<At, Meeting>>);

impl Meetings {
    pub(crate) fn add(&self, visits: &[Visit]) {
        if visits.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for visit in visits {
            all.entry(visit.at).or_insert_with(Meeting::new).visit(visit);
        }
    }

    /// In the order of epochs and steps.
    pub(crate) fn take(self) -> Vec<(At, Meeting)> {
        let all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<(At, Meeting)> = all.into_iter().collect();
        list.sort_unstable_by_key(|(at, _)| *at);
        list
    }
}

/// Joins lists of several processes.
pub(crate) fn join(mut all: Vec<(At, Meeting)>) -> Vec<(At, Meeting)> {
    all.sort_by_key(|(at, _)| *at);
    let mut joined: Vec<(At, Meeting)> = Vec::with_capacity(all.len());
    for (at, meeting) in all {
        match joined.last_mut() {
            Some((known, sum)) if *known == at => sum.merge(&meeting),
            _ => joined.push((at, meeting)),
        }
    }
    joined
}
