//! Barriers of the steps over all ranks: which rank arrived last, and what it cost the others. There is one entry per
//! step, independent of the number of ranks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::objects::{Map, SamplingRate};
use super::step_attribution::{EpochStep, Span};
use crate::timeline::between;

/// Arrival of one rank at the barrier of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BarrierArrival {
    pub(crate) at: EpochStep,
    /// Index of the rank's trace among all traces.
    pub(crate) rank: u32,
    pub(crate) fetch: Option<u64>,
    pub(crate) compute: u64,
    pub(crate) barrier: Option<Span>,
}

/// Barrier of one step over all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepBarrier {
    /// Number of ranks that fetched, their total and longest fetch, and their computation, nanoseconds.
    pub(crate) ranks: u64,
    pub(crate) fetched: u64,
    pub(crate) fetched_most: u64,
    pub(crate) computed: u64,
    /// Number of ranks at the barrier, with their fetching and computation in nanoseconds.
    pub(crate) arrived: u64,
    pub(crate) arrived_fetched: u64,
    pub(crate) arrived_computed: u64,
    /// Sums of arrival times and of times in the barrier, nanoseconds.
    arrivals: i128,
    pub(crate) waited_in: u64,
    /// Arrival, end and index of the last rank, with its fetching and computation in nanoseconds.
    pub(crate) last: (i64, i64, u32),
    pub(crate) last_fetched: u64,
    pub(crate) last_computed: u64,
    /// Time at which the first rank left the barrier, and its index.
    pub(crate) left_first: (i64, u32),
}

impl StepBarrier {
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
            waited_in: 0,
            last: (i64::MIN, i64::MIN, 0),
            last_fetched: 0,
            last_computed: 0,
            left_first: (i64::MAX, 0),
        }
    }

    fn is_empty(&self) -> bool {
        self.ranks == 0 && self.arrived == 0
    }

    fn arrival(&mut self, arrival: &BarrierArrival) {
        if let Some(fetch) = arrival.fetch {
            self.ranks += 1;
            self.fetched += fetch;
            self.fetched_most = self.fetched_most.max(fetch);
            self.computed += arrival.compute;
        }
        let Some((start, end)) = arrival.barrier else { return };
        self.arrived += 1;
        self.arrived_fetched += arrival.fetch.unwrap_or(0);
        self.arrived_computed += arrival.compute;
        self.arrivals += i128::from(start);
        self.waited_in += between(start, end);
        if (start, end, arrival.rank) > self.last {
            self.last = (start, end, arrival.rank);
            (self.last_fetched, self.last_computed) = (arrival.fetch.unwrap_or(0), arrival.compute);
        }
        self.left_first = self.left_first.min((end, arrival.rank));
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
        self.waited_in += other.waited_in;
        if other.last > self.last {
            self.last = other.last;
            (self.last_fetched, self.last_computed) = (other.last_fetched, other.last_computed);
        }
        self.left_first = self.left_first.min(other.left_first);
    }

    /// Returns the total time that the other ranks waited for the last one, in nanoseconds: at most the time that they
    /// spent in the barrier, whatever the clock differences.
    pub(crate) fn waited(&self) -> u64 {
        let late = i128::from(self.last.0) * i128::from(self.arrived) - self.arrivals;
        u64::try_from(late).unwrap_or(0).min(self.waited_in)
    }
}

/// Collects the barriers of all steps, or of a sample of them.
#[derive(Debug, Default)]
pub(crate) struct BarrierCollector(Mutex<Steps>);

/// Largest number of steps in a streaming analysis.
pub(crate) const STEPS: usize = 1 << 18;

/// Number of steps in a chunk.
const CHUNK: usize = 1024;

#[derive(Debug, Default)]
struct Steps {
    /// Barriers by step, while all steps are included and gaps are small.
    epochs: BTreeMap<u32, Vec<Vec<StepBarrier>>>,
    others: Map<EpochStep, StepBarrier>,
    filled: usize,
    sampling: SamplingRate,
}

impl Steps {
    fn slot(&mut self, at: EpochStep) -> Option<&mut StepBarrier> {
        let known = !self.others.is_empty() && self.others.contains_key(&at);
        let step = at.1 as usize;
        if !known && self.sampling.all() {
            let chunks = self.epochs.entry(at.0).or_default();
            let (chunk, place) = (step / CHUNK, step % CHUNK);
            if chunk <= 2 * chunks.len() {
                // Chunks are small and never copied by growth; the first chunk may be shorter than the others.
                while chunks.len() <= chunk {
                    chunks.push(Vec::new());
                }
                let barriers = &mut chunks[chunk];
                if place >= barriers.len() {
                    barriers.resize_with((place + 1).next_power_of_two().max(16), StepBarrier::new);
                }
                self.filled += usize::from(barriers[place].is_empty());
                return Some(&mut barriers[place]);
            }
        }
        if !includes(self.sampling, at) {
            return None;
        }
        self.filled += usize::from(!known);
        Some(self.others.entry(at).or_insert_with(StepBarrier::new))
    }

    fn halve(&mut self) {
        self.sampling.halve();
        let rate = self.sampling;
        self.others.retain(|at, _| includes(rate, *at));
        for (epoch, chunks) in std::mem::take(&mut self.epochs) {
            let steps = numbered(chunks).map(|(step, barrier)| ((epoch, step), barrier));
            self.others.extend(steps.filter(|(at, barrier)| !barrier.is_empty() && includes(rate, *at)));
        }
        self.filled = self.others.len();
    }
}

/// Returns steps with their numbers.
fn numbered(chunks: Vec<Vec<StepBarrier>>) -> impl Iterator<Item = (u32, StepBarrier)> {
    let chunks = (0_u32..).step_by(CHUNK).zip(chunks);
    chunks.flat_map(|(first, chunk)| (first..).zip(chunk))
}

fn includes(rate: SamplingRate, (epoch, step): EpochStep) -> bool {
    rate.includes(u64::from(epoch) << 32 | u64::from(step))
}

impl BarrierCollector {
    /// Adds arrivals of a rank; keeps at most `most` steps.
    pub(crate) fn add(&self, arrivals: &[BarrierArrival], most: usize) {
        if arrivals.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for arrival in arrivals.iter().filter(|arrival| arrival.fetch.is_some() || arrival.barrier.is_some()) {
            if let Some(barrier) = all.slot(arrival.at) {
                barrier.arrival(arrival);
            }
        }
        while all.filled > most {
            all.halve();
        }
    }

    /// Returns the steps in the order of epochs and steps.
    pub(crate) fn take(self) -> BarrierStats {
        let all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut list = Vec::with_capacity(all.filled);
        list.extend(all.others);
        for (epoch, chunks) in all.epochs {
            let steps = numbered(chunks).filter(|(_, barrier)| !barrier.is_empty());
            list.extend(steps.map(|(step, barrier)| ((epoch, step), barrier)));
        }
        list.sort_unstable_by_key(|(at, _)| *at);
        BarrierStats { list, sampling: all.sampling }
    }
}

/// Barriers of all steps, or of a sample of them, in the order of epochs and steps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BarrierStats {
    pub(crate) list: Vec<(EpochStep, StepBarrier)>,
    pub(crate) sampling: SamplingRate,
}

impl BarrierStats {
    /// Joins the steps of several processes; keeps at most `most` steps.
    pub(crate) fn join(all: Vec<Self>, most: usize) -> Self {
        let mut sampling = all.iter().map(|one| one.sampling).max().unwrap_or_default();
        // Usually there is only one process, for which nothing is copied.
        let list = all.into_iter().map(|one| one.list).reduce(|mut list, other| {
            list.extend(other);
            list
        });
        let mut list = list.unwrap_or_default();
        list.retain(|(at, _)| includes(sampling, *at));
        list.sort_by_key(|(at, _)| *at);
        list.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            if same {
                sum.1.merge(&next.1);
            }
            same
        });
        while list.len() > most {
            sampling.halve();
            list.retain(|(at, _)| includes(sampling, *at));
        }
        Self { list, sampling }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rank: u32, steps: std::ops::Range<u32>) -> Vec<BarrierArrival> {
        let arrival = |step| {
            let at = i64::from(step) * 100;
            let barrier = Some((at + i64::from(rank), at + 10));
            BarrierArrival { at: (1, step), rank, fetch: Some(5), compute: 7, barrier }
        };
        steps.map(arrival).collect()
    }

    #[test]
    fn the_same_steps_are_followed_however_ranks_are_shared_out() {
        let most = 1_000;
        let add = |ranks: &[u32]| {
            let barriers = BarrierCollector::default();
            for rank in ranks {
                // A step far from the others is kept as well.
                barriers.add(&arrivals(*rank, 1..3_000), most);
                barriers.add(&arrivals(*rank, 4_000_000..4_000_002), most);
            }
            barriers.take()
        };
        let together = BarrierStats::join(vec![add(&[0, 1, 2, 3])], most);
        let apart = BarrierStats::join(vec![add(&[0]), add(&[2, 1]), add(&[]), add(&[3])], most);
        assert!(together.list.len() <= most && together.list.len() > most / 4);
        assert_eq!((&together.list, together.sampling), (&apart.list, apart.sampling));
        assert!(together.list.iter().all(|(_, barrier)| barrier.arrived == 4 && barrier.waited() == 1 + 2 + 3));
    }
}
