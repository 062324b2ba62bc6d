//! Progress of long tasks: counts, and lines about them.

mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::Nanos;

pub use text::{Counts, Estimate, FIRST_AFTER, Pace, Task};

/// Counts of a task, updated by the code that does it.
#[derive(Debug, Default)]
pub struct Tally {
    done: Arc<AtomicU64>,
    kept: AtomicU64,
    bytes: Arc<AtomicU64>,
    /// Nanoseconds of computation, and of computation and waiting.
    computed: AtomicU64,
    spent: AtomicU64,
}

impl Tally {
    /// Adds one unit that is done; `kept`: it was complete already and nothing was written.
    pub fn add(&self, kept: bool) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.kept.fetch_add(u64::from(kept), Ordering::Relaxed);
    }

    /// Sets the number of units that are done.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// Starts a new task, of which `done` units are done already.
    pub fn reset(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        for count in [&self.kept, &*self.bytes, &self.computed, &self.spent] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Counter of units that are done.
    pub fn done(&self) -> &Arc<AtomicU64> {
        &self.done
    }

    /// Counter of bytes that were read or written.
    pub fn bytes(&self) -> &Arc<AtomicU64> {
        &self.bytes
    }

    /// Sets the time of computation and the total time of the steps, in nanoseconds; their ratio is the AU so far.
    pub fn set_times(&self, computed: Nanos, spent: Nanos) {
        self.computed.store(computed, Ordering::Relaxed);
        self.spent.store(spent, Ordering::Relaxed);
    }

    /// Returns the current counts.
    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (computed, spent) = (of(&self.computed), of(&self.spent));
        let au = if spent == 0 { None } else { Some(computed as f64 * 100.0 / spent as f64) };
        Counts { done: of(&self.done), kept: of(&self.kept), bytes: of(&self.bytes), au }
    }
}
