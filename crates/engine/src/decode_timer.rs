//! Timing of CPU work on bytes as they arrive, separate from the time of the storage.
//!
//! Bytes are decoded as they stream by, between two system calls of one read, so that no code holds a whole record. The time of this
//! work is added up, subtracted from the end of the read, and recorded as a separate span after it. The read then lasts as long as the
//! storage took, the decode span as long as the processor took, and together they last as long as both.

use dlio_event::Nanos;
use dlio_format::Decode;
use dlio_storage::Attempts;

use crate::Clock;

/// Timer of the work on the bytes of one read.
pub(crate) struct DecodeTimer<'c> {
    /// `None` if the work is too short to read the clock twice per chunk.
    clock: Option<&'c dyn Clock>,
    spent: Nanos,
    end: Nanos,
}

impl<'c> DecodeTimer<'c> {
    pub(crate) fn new(clock: &'c dyn Clock, decode: Decode) -> Self {
        Self { clock: (decode != Decode::None).then_some(clock), spent: 0, end: 0 }
    }

    /// Runs a part of the work and adds up its time.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let Some(clock) = self.clock else { return work() };
        let start = clock.now();
        let done = work();
        self.end = clock.now();
        self.spent += self.end.saturating_sub(start);
        done
    }

    /// Subtracts the time spent so far from the attempts of the read, starting with the last attempt.
    pub(crate) fn take_from(&self, attempts: &mut Attempts) {
        let mut left = self.spent;
        for attempt in attempts.iter_mut().rev() {
            // Work starts with the first byte.
            let earliest = attempt.first_byte.unwrap_or(attempt.start).min(attempt.end);
            let taken = left.min(attempt.end - earliest);
            attempt.end -= taken;
            left -= taken;
        }
    }

    /// Returns start and end of a span that lasts as long as the work and ends with it; `None` if no work was timed.
    pub(crate) fn span(&self) -> Option<(Nanos, Nanos)> {
        self.clock.is_some().then(|| (self.end.saturating_sub(self.spent), self.end))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use dlio_event::{OpKind, TimeSource};
    use dlio_storage::Attempt;

    use super::*;

    /// A clock that the work advances.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl TimeSource for Hand {
        fn now(&self) -> Nanos {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Clock for Hand {
        fn sleep_until(&self, _until: Nanos) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
            Box::pin(async {})
        }
    }

    fn attempt(start: Nanos, first_byte: Nanos, end: Nanos) -> Attempt {
        Attempt { first_byte: Some(first_byte), end, ..Attempt::started(OpKind::Read, start) }
    }

    #[test]
    fn a_read_and_its_decoding_last_together_as_long_as_both_took() {
        let hand = Hand::default();
        let mut work = DecodeTimer::new(&hand, Decode::Verify);
        hand.0.store(100, Ordering::Relaxed);
        work.time(|| hand.0.store(130, Ordering::Relaxed));
        hand.0.store(200, Ordering::Relaxed);
        work.time(|| hand.0.store(220, Ordering::Relaxed));
        let mut attempts = Attempts::from_iter([attempt(10, 90, 225)]);
        work.take_from(&mut attempts);
        assert_eq!((attempts[0].start, attempts[0].end), (10, 175));
        work.time(|| hand.0.store(230, Ordering::Relaxed));
        assert_eq!(work.span(), Some((170, 230)));
    }

    #[test]
    fn work_of_an_earlier_attempt_is_taken_from_it() {
        let hand = Hand::default();
        let mut work = DecodeTimer::new(&hand, Decode::Full);
        work.time(|| hand.0.store(30, Ordering::Relaxed));
        let mut attempts = Attempts::from_iter([attempt(0, 5, 60), attempt(60, 70, 80)]);
        work.take_from(&mut attempts);
        assert_eq!([attempts[0].end, attempts[1].end], [40, 70]);
    }

    #[test]
    fn without_decoding_no_clock_is_read_and_no_span_made() {
        let hand = Hand::default();
        let mut work = DecodeTimer::new(&hand, Decode::None);
        assert_eq!(work.time(|| 7), 7);
        assert_eq!(work.span(), None);
    }
}
