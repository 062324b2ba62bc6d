//! Sleeping until another process changes a word of shared memory.
#![expect(unsafe_code, reason = "futex(2) has no safe wrapper")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps unless `word` has changed from `seen`; ends at the latest after `pause`, or at a signal.
pub(crate) fn sleep_while(word: &AtomicU32, seen: u32, pause: Duration) {
    let seconds = libc::time_t::try_from(pause.as_secs()).unwrap_or(libc::time_t::MAX);
    let limit = libc::timespec { tv_sec: seconds, tv_nsec: libc::c_long::from(pause.subsec_nanos()) };
    // SAFETY: the word outlives the call; the futex is not process-private because other processes wake it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, &raw const limit) };
}

/// Wakes all who sleep on `word`.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
