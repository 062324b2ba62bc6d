//! The training loops of the recorded ranks, for operations that wait for them (dependent timing).
//!
//! Invariant: an operation only waits for operations that are handed out before it, so every wait ends, however few threads there are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlio_event::Nanos;
use dlio_plan::replay::Edges;
use tokio::sync::Notify;

/// All training loops of this rank.
pub(super) struct TrainingLoops {
    state: Mutex<State>,
    changed: Notify,
    /// Number of loops, and number of barriers that all of them enter.
    count: usize,
    barriers: u32,
}

#[derive(Default)]
struct State {
    /// Per loop, the end times of the operations that [`Edges::after`] counts.
    ends: HashMap<u32, Vec<Nanos>>,
    /// Number of completed operations by loop and step, until a fetch has waited for them.
    done: HashMap<(u32, u64), u32>,
    /// Number of barriers that each loop has entered.
    arrivals: HashMap<u32, u32>,
    /// Number of barriers that are over.
    over: u32,
}

impl TrainingLoops {
    /// Returns `count` loops with this number of common barriers.
    pub(super) fn new((count, barriers): (u32, u32)) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), count: count as usize, barriers }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` returns a value.
    async fn wait<T>(&self, mut found: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let value = found(&mut self.state());
            if let Some(value) = value {
                return value;
            }
            changed.await;
        }
    }

    /// Waits for the loop's operation that an operation must follow; returns its end time in nanoseconds, or `None` if there is none.
    pub(super) async fn after(&self, edges: Edges) -> Option<Nanos> {
        let index = edges.after.checked_sub(1)? as usize;
        Some(self.wait(|state| state.ends.get(&edges.group)?.get(index).copied()).await)
    }

    /// Counts a completed operation.
    pub(super) fn done(&self, edges: Edges) {
        if edges.batch != 0 {
            *self.state().done.entry((edges.group, edges.batch)).or_default() += 1;
            self.changed.notify_waiters();
        }
    }

    /// Waits until all operations of a fetch's step are done.
    pub(super) async fn fetched(&self, edges: Edges) {
        let step = (edges.group, edges.batch);
        self.wait(|state| (state.done.get(&step).copied().unwrap_or(0) >= edges.needs).then_some(())).await;
        self.state().done.remove(&step);
    }

    /// Records the end time of an operation that [`Edges::after`] counts.
    pub(super) fn ended(&self, edges: Edges, end: Nanos) {
        if edges.counts {
            self.state().ends.entry(edges.group).or_default().push(end);
            self.changed.notify_waiters();
        }
    }

    /// Enters the loop's next barrier with all loops of all ranks, and waits until it is over.
    pub(super) async fn barrier(&self, group: u32) {
        let number = {
            let mut state = self.state();
            let arrivals = state.arrivals.entry(group).or_default();
            *arrivals += 1;
            *arrivals
        };
        if number > self.barriers {
            return;
        }
        self.changed.notify_waiters();
        self.wait(|state| (state.over >= number).then_some(())).await;
    }

    /// Completes when all loops of this rank have entered the next barrier; never completes if none is left.
    pub(super) async fn all_arrived(&self) {
        self.wait(|state| {
            let next = state.over + 1;
            let all = state.arrivals.values().filter(|count| **count >= next).count() >= self.count;
            (all && next <= self.barriers).then_some(())
        })
        .await;
    }

    /// Ends the barrier that all ranks have entered.
    pub(super) fn release(&self) {
        self.state().over += 1;
        self.changed.notify_waiters();
    }
}
