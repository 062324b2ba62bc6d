//! Waits without occupying a core and without blocking the thread: after a short spin, polls follow at increasing
//! intervals, which a kernel timer ends. The timers of an asynchronous runtime have a resolution of 1 ms, which is
//! longer than many barriers take.
#![expect(unsafe_code, reason = "timerfd(2), nanosleep(2) and prctl(2) have no safe wrapper in this crate")]

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::Error;

/// Longest spin of a rank before it waits; ranks that arrive together meet within this time.
const SPIN: Duration = Duration::from_micros(20);

/// First and longest pause of a short wait. The longest one bounds the delay that a late rank causes beyond its
/// lateness.
const PAUSE_MIN: Duration = Duration::from_micros(10);
const PAUSE_MAX: Duration = Duration::from_micros(200);
/// Number of polls after which a wait counts as long (about a tenth of a second), and the longest pause of a long
/// wait.
const LONG_AFTER: u32 = 500;
const LONG_PAUSE: Duration = Duration::from_millis(1);

/// Polls `done` for a short time while yielding the core to other threads; returns whether it became true.
pub(super) fn spin(mut done: impl FnMut() -> Result<bool, Error>) -> Result<bool, Error> {
    if done()? {
        return Ok(true);
    }
    #[expect(clippy::disallowed_methods, reason = "measures its own polling, not the run")]
    let start = Instant::now();
    loop {
        std::thread::yield_now();
        if done()? {
            return Ok(true);
        }
        if start.elapsed() >= SPIN {
            return Ok(false);
        }
    }
}

/// Number of polls before the core is first yielded. Ranks with a core each arrive in less time than a system call
/// takes; ranks that share a core need it for the others to arrive.
#[derive(Debug, Default)]
pub(super) struct SpinBudget {
    waits: Cell<u32>,
    shares: Cell<bool>,
}

impl SpinBudget {
    const ALONE: u32 = 64;
    const SHARING: u32 = 4;
    /// After this many consecutive waits that look like a shared core, the longer spin is tried again.
    const TRY_EVERY: u32 = 16;

    /// Polls for a short time without yielding the core, and adapts to the result.
    pub(super) fn spin(&self, done: impl Fn() -> bool) -> bool {
        let waits = self.waits.get().wrapping_add(1);
        self.waits.set(waits);
        let few = self.shares.get() && !waits.is_multiple_of(Self::TRY_EVERY);
        for _ in 0..if few { Self::SHARING } else { Self::ALONE } {
            if done() {
                self.shares.set(few);
                return true;
            }
            std::hint::spin_loop();
        }
        self.shares.set(true);
        false
    }
}

/// Number of polls and current pause of one wait.
#[derive(Debug, Default)]
pub(super) struct PollBackoff {
    looks: u32,
    pause: Duration,
}

impl PollBackoff {
    /// Returns whether this is the first poll, which may spin.
    pub(super) fn spins(&self) -> bool {
        self.looks == 0
    }

    /// Returns the pause before the next poll.
    pub(super) fn pause(&mut self) -> Duration {
        self.looks = self.looks.saturating_add(1);
        let longest = if self.looks > LONG_AFTER { LONG_PAUSE } else { PAUSE_MAX };
        self.pause = (self.pause * 3 / 2).clamp(PAUSE_MIN, longest);
        self.pause
    }
}

/// Wakes a task at a precise time, through the runtime's reactor.
#[derive(Default)]
pub(super) struct Timer(RefCell<Option<AsyncFd<OwnedFd>>>);

impl Timer {
    /// Wakes the task of `context` after `pause`. Outside of a runtime, or without a timer, it sleeps for at most a
    /// millisecond and has the task polled again.
    pub(super) fn wake_after(&self, pause: Duration, context: &mut Context<'_>) {
        if self.arm(pause, context).is_err() {
            *self.0.borrow_mut() = None;
            sleep(pause.min(LONG_PAUSE));
            context.waker().wake_by_ref();
        }
    }

    fn arm(&self, pause: Duration, context: &mut Context<'_>) -> io::Result<()> {
        let mut timer = self.0.borrow_mut();
        let timer = match &mut *timer {
            Some(timer) => timer,
            none => none.insert(register(create()?)?),
        };
        // Earlier expirations are irrelevant.
        while let Poll::Ready(guard) = timer.poll_read_ready(context) {
            guard?.clear_ready();
        }
        set(timer.get_ref(), pause)
    }
}

/// Registers a descriptor with the reactor of the current runtime.
pub(super) fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    // SAFETY: the descriptor is owned and always the same one, and it stays open as long as it is registered.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

fn create() -> io::Result<OwnedFd> {
    // SAFETY: the call touches no memory; the descriptor is owned from here on.
    unsafe {
        let descriptor = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

fn set(timer: &OwnedFd, pause: Duration) -> io::Result<()> {
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let once = libc::itimerspec { it_interval: never, it_value: timespec(pause) };
    // SAFETY: the setting is valid and read only; a null pointer asks for no old one.
    let code = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const once, std::ptr::null_mut()) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn timespec(pause: Duration) -> libc::timespec {
    let seconds = libc::time_t::try_from(pause.as_secs()).unwrap_or(libc::time_t::MAX);
    libc::timespec { tv_sec: seconds, tv_nsec: libc::c_long::from(pause.subsec_nanos()) }
}

/// Blocks the thread for a short time.
pub(super) fn sleep(pause: Duration) {
    let request = timespec(pause);
    // SAFETY: the request is a valid timespec; a null remainder is allowed. A signal may shorten the sleep, which
    // only leads to one more poll.
    unsafe { libc::nanosleep(&raw const request, std::ptr::null_mut()) };
}

/// Sets the timer slack of this thread to 1 ns; the default of 50 µs would dominate a short pause.
pub(super) fn precise_sleeps() {
    // SAFETY: PR_SET_TIMERSLACK takes a number and concerns the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_ends_when_it_is_done_and_with_an_error() {
        let mut polls = 0;
        let done = spin(|| {
            polls += 1;
            Ok(polls == 2)
        });
        assert!(done.unwrap());
        assert_eq!(polls, 2);
        assert!(spin(|| Err(Error::Library("broken".to_owned()))).is_err());
    }

    #[test]
    fn pauses_grow_to_a_fraction_of_a_millisecond_and_to_one_in_a_long_wait() {
        let mut backoff = PollBackoff::default();
        assert!(backoff.spins());
        assert_eq!(backoff.pause(), PAUSE_MIN);
        assert!(!backoff.spins());
        let short = (0..LONG_AFTER - 1).map(|_| backoff.pause()).max();
        assert_eq!(short, Some(PAUSE_MAX));
        assert_eq!((0..10).map(|_| backoff.pause()).max(), Some(LONG_PAUSE));
    }

    #[test]
    fn a_timer_wakes_its_task_again_and_again_in_every_runtime() {
        let timer = Timer::default();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            let mut polls = 0;
            runtime.block_on(std::future::poll_fn(|context| {
                polls += 1;
                if polls == 4 {
                    return Poll::Ready(());
                }
                timer.wake_after(PAUSE_MIN, context);
                Poll::Pending
            }));
        }
    }

    #[test]
    fn without_a_runtime_the_task_is_polled_again() {
        struct Woken(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Release);
            }
        }
        let woken = std::sync::Arc::new(Woken(false.into()));
        Timer::default().wake_after(PAUSE_MIN, &mut Context::from_waker(&std::sync::Arc::clone(&woken).into()));
        assert!(woken.0.load(std::sync::atomic::Ordering::Acquire));
    }
}
