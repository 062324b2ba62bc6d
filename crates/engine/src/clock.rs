//! Clocks with waits: the precise clock of real runs and the virtual clock of simulations.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dlio_event::{Nanos, TimeSource};

use crate::{Alarm, syscalls};

/// A time source with waits.
pub trait Clock: TimeSource {
    /// Completes when [`TimeSource::now`] is at least `at`, immediately if it already is.
    fn sleep_until(&self, at: Nanos) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Waits as [`Clock::sleep_until`] does, but without spinning, so the wait ends late by the time that waking takes. The wait ends early
    /// when the alarm has rung more often than the number that is passed with it.
    fn doze_until<'a>(&'a self, at: Nanos, alarm: (&'a Alarm, u32)) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = alarm.0.wait(alarm.1) => {}
                () = self.sleep_until(at) => {}
            }
        })
    }

    /// Spins until [`TimeSource::now`] is at least `at`, for the last microseconds before an operation is due.
    fn spin_until(&self, at: Nanos) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.sleep_until(at)
    }
}

/// `CLOCK_MONOTONIC` of the operating system, the clock of every real run.
///
/// Waiting blocks the calling thread in `clock_nanosleep(TIMER_ABSTIME)` with a timer slack of 1 ns, because the timer
/// wheel of an asynchronous runtime ticks once per millisecond, whereas a DLRM step computes for 375 µs. Other tasks on the same
/// thread make no progress during a wait; every lane therefore has its own thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct MonotonicClock;

impl TimeSource for MonotonicClock {
    fn now(&self) -> Nanos {
        syscalls::monotonic()
    }
}

impl Clock for MonotonicClock {
    fn sleep_until(&self, at: Nanos) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move { syscalls::sleep_until(at) })
    }

    fn doze_until<'a>(&'a self, at: Nanos, alarm: (&'a Alarm, u32)) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move { alarm.0.block_until(at, alarm.1) })
    }

    fn spin_until(&self, at: Nanos) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move { syscalls::spin_until(at) })
    }
}

/// The paused clock of a tokio runtime, whose time advances instantly when every task waits, and never otherwise.
///
/// Its resolution is that of tokio's timers: a wait ends at the next whole millisecond.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock {
    origin: tokio::time::Instant,
}

impl VirtualClock {
    /// Returns a clock that reads 0 now. Call it inside a current-thread runtime whose time is paused (`start_paused`).
    #[must_use]
    pub fn new() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl TimeSource for VirtualClock {
    fn now(&self) -> Nanos {
        nanos(self.origin.elapsed())
    }
}

impl Clock for VirtualClock {
    fn sleep_until(&self, at: Nanos) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(tokio::time::sleep_until(self.origin + Duration::from_nanos(at)))
    }
}

/// Converts a duration to nanoseconds of the clock.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_passes_at_once_and_exactly() {
        let clock = VirtualClock::new();
        clock.sleep_until(3_600_000_000_000).await;
        assert_eq!(clock.now(), 3_600_000_000_000);
        clock.sleep_until(5).await;
        assert_eq!(clock.now(), 3_600_000_000_000, "a moment that has passed is not waited for");
    }

    #[tokio::test]
    async fn an_alarm_ends_a_wait_of_either_clock_and_one_that_rang_before_ends_it_at_once() {
        let (real, virtual_one) = (MonotonicClock, VirtualClock::new());
        let clocks: [&dyn Clock; 2] = [&real, &virtual_one];
        for clock in clocks {
            let alarm = Alarm::default();
            let before = alarm.rung();
            alarm.ring();
            clock.doze_until(Nanos::MAX / 2, (&alarm, before)).await;
        }
        let alarm = std::sync::Arc::new(Alarm::default());
        let (before, ringing) = (alarm.rung(), std::sync::Arc::clone(&alarm));
        let ring = std::thread::spawn(move || ringing.ring());
        real.doze_until(Nanos::MAX / 2, (&alarm, before)).await;
        ring.join().unwrap();
    }

    #[tokio::test]
    async fn the_monotonic_clock_never_wakes_early() {
        let clock = MonotonicClock;
        let at = clock.now() + 200_000;
        clock.sleep_until(at).await;
        assert!(clock.now() >= at);
    }
}
