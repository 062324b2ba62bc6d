//! Memory limit for objects: memory is reserved before bytes arrive and released when the last reference to them is
//! dropped.
//!
//! Invariant: the reservations of all objects, parts and writes in progress never exceed the limit, however many
//! requests arrive at once. The cost is one atomic addition per object or part, and one per MiB if no size was
//! announced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::StoreError;

/// Memory that an object needs in addition to its bytes and its key: its entry, segment list and reservation.
const ENTRY_BYTES: u64 = 512;

/// A limit and the amount reserved, in bytes. All stores of a process share it.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// Creates a budget of `limit` bytes; `None`: unlimited.
    pub(crate) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { limit: limit.unwrap_or(u64::MAX), used: AtomicU64::new(0) })
    }

    /// Reserves memory for an object or part of `bytes` bytes.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, StoreError> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes.saturating_add(ENTRY_BYTES))?;
        Ok(reservation)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Memory reserved for one object or part; released when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Extends the reservation so that it covers `size` bytes.
    pub(super) fn cover(&mut self, size: u64, step: u64) -> Result<(), StoreError> {
        let needed = size.saturating_add(ENTRY_BYTES);
        if needed <= self.bytes { Ok(()) } else { self.grow((needed - self.bytes).max(step)) }
    }

    /// Releases what exceeds `size` bytes.
    pub(super) fn settle(&mut self, size: u64) {
        let needed = size.saturating_add(ENTRY_BYTES);
        if let Some(over) = self.bytes.checked_sub(needed) {
            self.budget.used.fetch_sub(over, Ordering::Relaxed);
            self.bytes = needed;
        }
    }

    fn grow(&mut self, by: u64) -> Result<(), StoreError> {
        let Budget { limit, used } = &*self.budget;
        let fits = |used: u64| used.checked_add(by).filter(|sum| sum <= limit);
        match used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += by;
                Ok(())
            }
            Err(used) => Err(StoreError::Full { wanted: self.bytes.saturating_add(by), used, limit: *limit }),
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
        assert!(matches!(budget.reserve(5000), Err(StoreError::Full { used: 5512, limit: 10_000, .. })));
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
