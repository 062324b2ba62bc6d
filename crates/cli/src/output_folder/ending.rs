//! The end of a run, recorded in one place, however the process ends.

use std::sync::{Arc, Mutex, Once, PoisonError};

use dlio_event::Ending;

use super::Claim;
use crate::exit::Failure;
use crate::signals::{Caught, Signals};

/// State of a run that came to its end.
pub(super) const COMPLETED: &str = "completed";

/// Folders that this process holds, and the signals that it has received.
struct Open {
    claims: Vec<Arc<Claim>>,
    signals: Option<Signals>,
    /// A launcher kills this process soon after a signal.
    launched: bool,
}

static OPEN: Mutex<Open> = Mutex::new(Open { claims: Vec::new(), signals: None, launched: false });

/// From now on the folder is released when the process exits.
#[expect(unsafe_code, reason = "the standard library runs nothing at `process::exit`")]
pub(super) fn register(claim: &Arc<Claim>) {
    static HOOK: Once = Once::new();
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).claims.push(Arc::clone(claim));
    HOOK.call_once(|| {
        // SAFETY: the function does not unwind and uses statics alone, which live as long as the process.
        if unsafe { libc::atexit(at_exit) } != 0 {
            tracing::warn!("an output folder stays locked if the process exits early");
        }
    });
}

/// From now on an early exit is told from the signal that caused it; `launched`: a launcher started this process.
pub(crate) fn watch(signals: &Signals, launched: bool) {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    (open.signals, open.launched) = (Some(signals.clone()), launched);
}

/// Some time has passed since a signal: under a launcher, which leaves about a second until SIGKILL, the folder is released now.
pub(crate) fn last_chance() {
    if OPEN.lock().unwrap_or_else(PoisonError::into_inner).launched {
        at_exit();
    }
}

/// The command came to its end.
pub(crate) fn completed() {
    finish_all(|_| COMPLETED.to_owned());
}

/// The command failed.
pub(crate) fn failed(failure: &Failure) {
    finish_all(|_| state(failure));
}

/// The words for a failure.
fn state(failure: &Failure) -> String {
    match Caught::of_code(failure.code) {
        Some(signal) => Ending::Interrupted { signal: signal.name.to_owned() }.to_string(),
        None => Ending::failed(&failure.message).to_string(),
    }
}

/// The process exits without the end of its command.
extern "C" fn at_exit() {
    finish_all(|signals| match signals.and_then(Signals::received) {
        Some(signal) => Ending::Interrupted { signal: signal.name.to_owned() }.to_string(),
        None => "failed: the process exited early".to_owned(),
    });
}

fn finish_all(state: impl Fn(Option<&Signals>) -> String) {
    // Kept while the claims end: an exit on another thread waits for that.
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let state = state(open.signals.as_ref());
    for claim in std::mem::take(&mut open.claims) {
        claim.finish(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    #[test]
    fn a_failure_has_the_state_of_its_code() {
        let of = |code| state(&Failure::new(code, "why"));
        assert_eq!(of(Code::Data), "failed: why");
        assert_eq!(of(Code::Interrupted), "interrupted by SIGINT");
        assert_eq!(of(Code::Terminated), "interrupted by SIGTERM");
    }
}
