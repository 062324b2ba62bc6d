//! Progress of whatever takes long: what is done, counted by those who do it, and lines about it.

mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::Nanos;

pub use text::{Counts, Estimate, FIRST_AFTER, Pace, Task};

/// What was done, counted by those who do it.
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
    /// One more is done; with `kept`, nothing had to be done for it.
    pub fn add(&self, kept: bool) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.kept.fetch_add(u64::from(kept), Ordering::Relaxed);
    }

    /// So many are done.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// Counts begin anew: so many are done already, and no byte was moved.
    pub fn reset(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        for count in [&self.kept, &*self.bytes, &self.computed, &self.spent] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// What is done; who does it adds to this.
    pub fn done(&self) -> &Arc<AtomicU64> {
        &self.done
    }

    /// Bytes moved; who moves them adds to this.
    pub fn bytes(&self) -> &Arc<AtomicU64> {
        &self.bytes
    }

    /// How long the steps have computed, and how long they have lasted: AU so far.
    pub fn set_times(&self, computed: Nanos, spent: Nanos) {
        self.computed.store(computed, Ordering::Relaxed);
        self.spent.store(spent, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (computed, spent) = (of(&self.computed), of(&self.spent));
        let au = if spent == 0 { None } else { Some(computed as f64 * 100.0 / spent as f64) };
        Counts { done: of(&self.done), kept: of(&self.kept), bytes: of(&self.bytes), au }
    }
}
