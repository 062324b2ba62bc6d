//! Artificial latency and bandwidth, for demonstrations and for checking a measured AU against one computed by hand.
//!
//! tokio's timers have a resolution of 1 ms. Here a thread waits on a condition variable with a timer slack of 1 ns.
//! The remaining wake-up delay on this machine under its current load is measured; sleeps are shortened by it, and
//! the rest of the time is spun.

use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Error;

/// Latency and bandwidth that the server imposes on every request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatencyModel {
    /// Shortest time from the arrival of a request to the start of its response.
    pub first_byte: Duration,
    /// Largest bandwidth of each response body.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl LatencyModel {
    pub(crate) fn is_unhindered(&self) -> bool {
        *self == Self::default()
    }
}

/// Delays responses as a [`LatencyModel`] says.
pub(crate) struct LatencyTimer {
    pace: LatencyModel,
    timer: Arc<Timer>,
    /// Moving average of the wake-up delay.
    late_ns: AtomicU64,
}

/// Longest time by which a sleep is shortened, which is also the longest spin of a response.
const LEAD_MAX: Duration = Duration::from_micros(300);

impl LatencyTimer {
    pub(crate) fn start(pace: LatencyModel) -> Result<Self, Error> {
        Ok(Self { pace, timer: Timer::start()?, late_ns: AtomicU64::new(0) })
    }

    /// Waits until the response to a request that arrived at `arrived` may begin, at least `delay` after that.
    pub(crate) async fn first_byte(&self, arrived: Instant, delay: Duration) {
        let delay = delay.max(self.pace.first_byte);
        if delay.is_zero() {
            return;
        }
        let due = arrived + delay;
        let late_ns = self.late_ns.load(Ordering::Relaxed);
        // A quarter more than the average, so that most sleepers wake early enough to be exactly on time.
        let asked = due - Duration::from_nanos(late_ns + late_ns / 4).min(LEAD_MAX).min(delay);
        // The timer thread outlives every sleeper; if it were gone, nobody would wait for it.
        let _ = self.timer.at(asked).await;
        let woken_late = u64::try_from(Instant::now().saturating_duration_since(asked).as_nanos()).unwrap_or(0);
        // If two sleepers wake at the same time, one of their updates is lost, which an average tolerates.
        self.late_ns.store(late_ns - late_ns / 8 + woken_late / 8, Ordering::Relaxed);
        while Instant::now() < due {
            std::hint::spin_loop();
        }
    }

    /// Returns a receiver that completes at the given time.
    pub(crate) fn at(&self, moment: Instant) -> oneshot::Receiver<()> {
        self.timer.at(moment)
    }

    /// Waits until `bytes` may have been sent since `begin`; `None` if that is now.
    pub(crate) fn sent(&self, begin: Instant, bytes: u64) -> Option<oneshot::Receiver<()>> {
        let rate = self.pace.bytes_per_second?;
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        Some(self.timer.at(begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))))
    }
}

impl Drop for LatencyTimer {
    fn drop(&mut self) {
        self.timer.lock().ended = true;
        self.timer.changed.notify_one();
    }
}

/// The thread that wakes sleepers on time.
struct Timer {
    state: Mutex<Sleepers>,
    changed: Condvar,
}

#[derive(Default)]
struct Sleepers {
    heap: BinaryHeap<Sleeper>,
    ended: bool,
}

struct Sleeper {
    at: Instant,
    wake: oneshot::Sender<()>,
}

impl Timer {
    fn start() -> Result<Arc<Self>, Error> {
        let timer = Arc::new(Self { state: Mutex::default(), changed: Condvar::new() });
        let sleeping = Arc::clone(&timer);
        let spawned = std::thread::Builder::new().name("pace".into()).spawn(move || sleeping.run());
        spawned.map_err(Error::Runtime)?;
        Ok(timer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sleepers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, at: Instant) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        self.lock().heap.push(Sleeper { at, wake });
        self.changed.notify_one();
        woken
    }

    fn run(&self) {
        // Without this the kernel may wake the thread 50 µs late; where it is refused, wake-ups are that late.
        let _ = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
        let mut sleepers = self.lock();
        while !sleepers.ended {
            let now = Instant::now();
            while sleepers.heap.peek().is_some_and(|sleeper| sleeper.at <= now) {
                if let Some(sleeper) = sleepers.heap.pop() {
                    // A cancelled request no longer waits.
                    let _ = sleeper.wake.send(());
                }
            }
            let wait = sleepers.heap.peek().map(|sleeper| sleeper.at.saturating_duration_since(now));
            sleepers = match wait {
                Some(wait) => {
                    let waited = self.changed.wait_timeout(sleepers, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(sleepers).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The earliest deadline is the greatest element, because a binary heap returns the greatest first.
impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Sleeper {}
