//! A panic is a defect, and no rank goes on alone after one: it is told with rank, host and place, what was recorded is saved,
//! and all ranks end. Only a server goes on after one: the request that met it fails.

use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Exit code of an unexpected error.
const UNEXPECTED: i32 = 1;
/// Seconds after which the kernel ends a process that cannot end itself.
const LAST: u32 = 5;

/// Who this process is, for the message.
static WHO: OnceLock<String> = OnceLock::new();
/// What is saved before the process ends.
static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);
type LastWords = Box<dyn FnOnce() + Send>;

/// From now on a panic in any thread but those of this name ends the process, and with it all ranks.
pub(crate) fn end_the_run(but: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let message = message(panic);
        let _ = std::io::stderr().write_all(format!("dlio-rs: error: {message}\n").as_bytes());
        if std::thread::current().name() != Some(but) {
            end();
        }
    }));
}

/// Names this process in the message.
pub(crate) fn introduce(rank: u32, host: &str) {
    let _ = WHO.set(format!("rank {rank} on {host}: "));
}

/// What to save first, in place of what was to be saved before.
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

/// Ends all ranks. Nothing is unwound: what is dropped then might wait for ranks that are not coming.
fn end() -> ! {
    static BEGUN: Mutex<bool> = Mutex::new(false);
    // A second thread that panics waits here for the end; one that panics while it saves something goes on to it.
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

/// Lets the kernel end the process after so many seconds, whatever its threads do.
fn end_at_the_latest(seconds: u32) {
    #[expect(unsafe_code, reason = "alarm(2) has no safe wrapper")]
    // SAFETY: the call takes a number; nothing handles SIGALRM, which ends the process.
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
