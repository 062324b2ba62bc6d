//! The end of a run, recorded in one place, however the process ends.

use std::sync::{Arc, Mutex, Once, PoisonError};

use dlio_event::Ending;

use super::Claim;
use crate::failure::Failure;
use crate::signals::{Caught, Signals};

/// State of a run that came to its end.
pub(super) const COMPLETED: &str = "completed";

/// Folders that this process holds, and the signals that it has received.
struct Open {
    claims: Vec<Arc<Claim>>,
    signals: Option<Signals>,
    /// A launcher kills this process soon after a signal.
    launched: bool,
    /// State after the first failure that was told.
    failure: Option<String>,
}

static OPEN: Mutex<Open> = Mutex::new(Open { claims: Vec::new(), signals: None, launched: false, failure: None });

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
pub fn watch(signals: &Signals, launched: bool) {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    (open.signals, open.launched) = (Some(signals.clone()), launched);
}

/// Some time has passed since a signal: under a launcher, which leaves about a second until SIGKILL, the folder is released now.
pub fn last_chance() {
    let launched = OPEN.lock().unwrap_or_else(PoisonError::into_inner).launched;
    if launched {
        end_early();
    }
}

/// The command came to its end.
pub fn completed() {
    finish_all(|_| COMPLETED.to_owned());
}

/// A failure was told: it is how the run ends, and the first one counts. The run may still have files to close.
pub fn failed(failure: &Failure) {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.failure.get_or_insert_with(|| state(failure));
}

/// This rank's part of the run ended like this, which says more than the failure that follows from it.
pub fn ended(ending: &Ending) {
    if !ending.is_completed() {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.failure.get_or_insert_with(|| ending.to_string());
    }
}

/// The process ends, or is about to be ended, without the end of its command.
pub fn end_early() {
    finish_all(|open| match (&open.failure, open.signals.as_ref().and_then(Signals::received)) {
        (Some(state), _) => state.clone(),
        (None, Some(signal)) => Ending::Interrupted { signal: signal.name.to_owned() }.to_string(),
        (None, None) => "failed: the process exited early".to_owned(),
    });
}

/// The words for a failure.
fn state(failure: &Failure) -> String {
    match Caught::of_code(failure.code) {
        Some(signal) => Ending::Interrupted { signal: signal.name.to_owned() }.to_string(),
        None => Ending::failed(&failure.message).to_string(),
    }
}

extern "C" fn at_exit() {
    end_early();
}

fn finish_all(state: impl Fn(&Open) -> String) {
    // Kept while the claims end: an exit on another thread waits for that.
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let state = state(&open);
    for claim in std::mem::take(&mut open.claims) {
        claim.finish(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    #[test]
    fn a_failure_has_the_state_of_its_code() {
        let of = |code| state(&Failure::new(code, "why"));
        assert_eq!(of(Code::Data), "failed: why");
        assert_eq!(of(Code::Interrupted), "interrupted by SIGINT");
        assert_eq!(of(Code::Terminated), "interrupted by SIGTERM");
    }
}
