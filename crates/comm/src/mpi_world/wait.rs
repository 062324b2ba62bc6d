//! Waiting for an MPI request without burning a core.
#![expect(unsafe_code, reason = "nanosleep(2) and prctl(2) have no safe wrapper that clippy.toml does not ban")]

use std::time::{Duration, Instant};

use crate::Error;

/// How long a rank polls before it sleeps: ranks that arrive together meet within this time.
const SPIN: Duration = Duration::from_micros(20);

/// First sleep, and the longest: what a late rank can cost the others beyond its lateness.
const SLEEP_MIN: Duration = Duration::from_micros(10);
const SLEEP_MAX: Duration = Duration::from_micros(200);

/// Polls `done` for a short time, letting others have the core in between; tells whether it came true.
pub(super) fn spin(mut done: impl FnMut() -> Result<bool, Error>) -> Result<bool, Error> {
    #[expect(clippy::disallowed_methods, reason = "measures its own polling, not the run")]
    let start = Instant::now();
    loop {
        if done()? {
            return Ok(true);
        }
        if start.elapsed() >= SPIN {
            return Ok(false);
        }
        std::thread::yield_now();
    }
}

/// Polls `done` until it comes true: at first without a pause, then after ever longer sleeps.
pub(super) fn until(mut done: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
    if spin(&mut done)? {
        return Ok(());
    }
    let mut pause = SLEEP_MIN;
    while !done()? {
        sleep(pause);
        pause = (pause * 3 / 2).min(SLEEP_MAX);
    }
    Ok(())
}

fn sleep(pause: Duration) {
    let request = libc::timespec { tv_sec: 0, tv_nsec: libc::c_long::from(pause.subsec_nanos()) };
    // SAFETY: the request is a valid timespec; a null remainder is allowed. A signal may shorten the sleep, which
    // only leads to one more poll.
    unsafe { libc::nanosleep(&raw const request, std::ptr::null_mut()) };
}

/// Lets sleeps of this thread end within 1 ns of what was asked for; the default slack of 50 µs would be most of a
/// short pause.
pub(super) fn precise_sleeps() {
    // SAFETY: PR_SET_TIMERSLACK takes a number and concerns the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

#[cfg(test)]
mod tests {
    use super::until;

    #[test]
    fn it_polls_until_done() {
        let mut polls = 0;
        until(|| {
            polls += 1;
            Ok(polls == 3)
        })
        .unwrap();
        assert_eq!(polls, 3);
    }

    #[test]
    fn an_error_ends_the_wait() {
        assert!(until(|| Err(crate::Error::Library("broken".to_owned()))).is_err());
    }
}
