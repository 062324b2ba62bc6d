//! A panic is a defect, after which no rank continues: it is reported with rank, host and source location, recorded
//! data are saved, and all ranks end. Only a server continues: the request that caused the panic fails.

use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Exit code of an unexpected error.
const UNEXPECTED: i32 = 1;
/// Seconds after which the kernel ends a process that hangs in its panic hook.
const LAST: u32 = 5;

/// Rank and host of this process, for the message.
static WHO: OnceLock<String> = OnceLock::new();
/// Function that saves data before the process ends.
static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);
type LastWords = Box<dyn FnOnce() + Send>;

/// Installs the hook: a panic in any thread, except threads with the name `but`, ends the process and all ranks.
pub(crate) fn end_the_run(but: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let message = message(panic);
        let _ = std::io::stderr().write_all(format!("dlio-rs: error: {message}\n").as_bytes());
        if std::thread::current().name() != Some(but) {
            end();
        }
    }));
}

/// Sets the rank and host for the message.
pub(crate) fn introduce(rank: u32, host: &str) {
    let _ = WHO.set(format!("rank {rank} on {host}: "));
}

/// Sets the function that saves data before the process ends, in place of an earlier one.
pub(crate) fn set_last_words(words: impl FnOnce() + Send + 'static) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(words));
}

fn message(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let place = panic.location().map_or_else(String::new, |place| format!(", {}:{}", place.file(), place.line()));
    text(panic.payload_as_str().unwrap_or("it gives no reason"), thread.name().unwrap_or("unnamed"), &place)
}

fn text(reason: &str, thread: &str, place: &str) -> String {
    let who = WHO.get().map_or("", String::as_str);
    format!(
        "{who}this is a defect of dlio-rs: {reason} (thread {thread}{place}); please report it with the command and this line"
    )
}

/// Ends all ranks. Nothing is unwound, because destructors might wait for ranks that never arrive.
fn end() -> ! {
    static BEGUN: Mutex<bool> = Mutex::new(false);
    // A second thread that panics waits here until the process ends; a thread that panics while it saves data continues
    // to the end.
    let first = match BEGUN.try_lock() {
        Ok(mut begun) => !std::mem::replace(&mut *begun, true),
        Err(_) => false,
    };
    if first {
        end_at_the_latest(LAST);
        let words = LAST_WORDS.try_lock().ok().and_then(|mut words| words.take());
        if let Some(words) = words {
            words();
        }
    }
    dlio_comm::abort_world(UNEXPECTED);
    std::process::exit(UNEXPECTED)
}

/// Lets the kernel end the process after `seconds`, whatever its threads do.
fn end_at_the_latest(seconds: u32) {
    #[expect(unsafe_code, reason = "alarm(2) has no safe wrapper")]
    // SAFETY: the call takes a number; no handler is installed for SIGALRM, which ends the process.
    unsafe {
        libc::alarm(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_panic_is_told_with_its_reason_thread_and_place() {
        let text = text("index 3 of 2", "lane-1", ", src/a.rs:7");
        assert!(text.contains("index 3 of 2 (thread lane-1, src/a.rs:7)"), "{text}");
    }
}
