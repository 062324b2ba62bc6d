//! Waits on a word of memory that is shared between processes.
#![expect(unsafe_code, reason = "futex(2) has no safe wrapper")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` has the value `seen`, for at most `pause` or until a signal arrives.
pub(crate) fn sleep_while(word: &AtomicU32, seen: u32, pause: Duration) {
    let seconds = libc::time_t::try_from(pause.as_secs()).unwrap_or(libc::time_t::MAX);
    let limit = libc::timespec { tv_sec: seconds, tv_nsec: libc::c_long::from(pause.subsec_nanos()) };
    // SAFETY: the word outlives the call; the futex is not process-private because other processes wake it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, &raw const limit) };
}

/// Wakes all sleepers on `word`.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
