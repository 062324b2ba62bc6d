//! The training loops of the recorded ranks, as far as operations wait for them (dependent timing).
//!
//! Invariant: everything that is waited for comes earlier in the order in which operations are handed out, so the wait
//! ends however few threads there are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlio_event::Nanos;
use dlio_plan::replay::Edges;
use tokio::sync::Notify;

/// All training loops of this rank.
pub(super) struct Loops {
    state: Mutex<State>,
    news: Notify,
    /// Loops, and meetings that all of them have.
    count: usize,
    meetings: u32,
}

#[derive(Default)]
struct State {
    /// Per loop: ends of what [`Edges::after`] counts.
    ends: HashMap<u32, Vec<Nanos>>,
    /// Operations that are done, by loop and step, until a fetch has waited for them.
    done: HashMap<(u32, u64), u32>,
    /// Meetings that each loop has come to.
    come: HashMap<u32, u32>,
    /// Meetings that are over.
    over: u32,
}

impl Loops {
    /// `count` loops with so many `meetings` in common.
    pub(super) fn new((count, meetings): (u32, u32)) -> Self {
        Self { state: Mutex::default(), news: Notify::new(), count: count as usize, meetings }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` finds something.
    async fn wait<T>(&self, mut found: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let value = found(&mut self.state());
            if let Some(value) = value {
                return value;
            }
            news.await;
        }
    }

    /// When the last of the loop's ends that an operation waits for was.
    pub(super) async fn after(&self, edges: Edges) -> Option<Nanos> {
        let index = edges.after.checked_sub(1)? as usize;
        Some(self.wait(|state| state.ends.get(&edges.group)?.get(index).copied()).await)
    }

    /// Counts an operation that is done.
    pub(super) fn done(&self, edges: Edges) {
        if edges.batch != 0 {
            *self.state().done.entry((edges.group, edges.batch)).or_default() += 1;
            self.news.notify_waiters();
        }
    }

    /// Waits until the operations of a fetch's step are done.
    pub(super) async fn fetched(&self, edges: Edges) {
        let step = (edges.group, edges.batch);
        self.wait(|state| (state.done.get(&step).copied().unwrap_or(0) >= edges.needs).then_some(())).await;
        self.state().done.remove(&step);
    }

    /// Notes an end that [`Edges::after`] counts.
    pub(super) fn ended(&self, edges: Edges, end: Nanos) {
        if edges.counts {
            self.state().ends.entry(edges.group).or_default().push(end);
            self.news.notify_waiters();
        }
    }

    /// Waits for the loop's next meeting with all others, on all ranks.
    pub(super) async fn meet(&self, group: u32) {
        let number = {
            let mut state = self.state();
            let come = state.come.entry(group).or_default();
            *come += 1;
            *come
        };
        if number > self.meetings {
            return;
        }
        self.news.notify_waiters();
        self.wait(|state| (state.over >= number).then_some(())).await;
    }

    /// Completes when all loops of this rank have come to the next meeting; never if there is none left.
    pub(super) async fn assembled(&self) {
        self.wait(|state| {
            let next = state.over + 1;
            let all = state.come.values().filter(|come| **come >= next).count() >= self.count;
            (all && next <= self.meetings).then_some(())
        })
        .await;
    }

    /// Ends the meeting that all ranks have come to.
    pub(super) fn part(&self) {
        self.state().over += 1;
        self.news.notify_waiters();
    }
}
