//! The memory that objects may take: what is reserved before bytes arrive and given back when the last holder of them goes.
//!
//! Invariant: the reservations of all objects, parts and writes in progress never add up to more than the limit, however
//! many requests come at once. One atomic addition per object or part, and per mebibyte where no size was announced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Fault;

/// What an object costs beside its bytes and its key: its entry, its list of segments, its reservation.
const ENTRY_BYTES: u64 = 512;

/// A limit and what of it is taken, in bytes. Stores of one process share one.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// At most `limit` bytes; `None`: as many as there are.
    pub(crate) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { limit: limit.unwrap_or(u64::MAX), used: AtomicU64::new(0) })
    }

    /// Reserves the memory of an object or part of `bytes` bytes.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, Fault> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes.saturating_add(ENTRY_BYTES))?;
        Ok(reservation)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Memory set aside for one object or part; given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Makes sure that `size` bytes fit.
    pub(super) fn cover(&mut self, size: u64, step: u64) -> Result<(), Fault> {
        let needed = size.saturating_add(ENTRY_BYTES);
        if needed <= self.bytes { Ok(()) } else { self.grow((needed - self.bytes).max(step)) }
    }

    /// Gives back what `size` bytes do not need.
    pub(super) fn settle(&mut self, size: u64) {
        let needed = size.saturating_add(ENTRY_BYTES);
        if let Some(over) = self.bytes.checked_sub(needed) {
            self.budget.used.fetch_sub(over, Ordering::Relaxed);
            self.bytes = needed;
        }
    }

    fn grow(&mut self, by: u64) -> Result<(), Fault> {
        let Budget { limit, used } = &*self.budget;
        let fits = |used: u64| used.checked_add(by).filter(|sum| sum <= limit);
        match used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += by;
                Ok(())
            }
            Err(used) => Err(Fault::Full { wanted: self.bytes.saturating_add(by), used, limit: *limit }),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_never_exceeds_the_limit_and_is_given_back() {
        let budget = Budget::new(Some(10_000));
        let mut first = budget.reserve(5000).unwrap();
        assert!(matches!(budget.reserve(5000), Err(Fault::Full { used: 5512, limit: 10_000, .. })));
        assert_eq!(budget.used(), 5512, "a refusal takes nothing");
        first.cover(6000, 1).unwrap();
        assert_eq!(budget.used(), 6512);
        assert!(first.cover(6001, 4000).is_err());
        first.settle(100);
        assert_eq!(budget.used(), 612);
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn writers_that_come_at_once_do_not_exceed_it_together() {
        let budget = Budget::new(Some(10 * (1000 + ENTRY_BYTES)));
        let kept: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..40).map(|_| scope.spawn(|| budget.reserve(1000).ok())).collect();
            writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(kept.len(), 10);
    }
}
