//! The stop handle: how a front end stops a run, and what is saved when the process ends early.
//!
//! Invariant: the first failure or signal decides how the run ended, and each registered end is called once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dlio_engine::CancelFlag;
use dlio_event::Ending;

use crate::failure::{Code, Failure};

/// How long a run may take to end in order after the first signal.
pub const GRACE: Duration = Duration::from_secs(3);

/// State of a completed run in `run.json`.
pub const COMPLETED: &str = "completed";

/// A signal that ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Name, such as `SIGTERM`.
    pub name: &'static str,
    /// Class of the failure that the signal causes.
    pub code: Code,
}

impl Signal {
    /// All signals that end a run.
    pub const ALL: [Self; 7] = [
        Self { name: "SIGHUP", code: Code::HungUp },
        Self { name: "SIGINT", code: Code::Interrupted },
        Self { name: "SIGQUIT", code: Code::Quit },
        Self { name: "SIGUSR1", code: Code::User1 },
        Self { name: "SIGUSR2", code: Code::User2 },
        Self { name: "SIGTERM", code: Code::Terminated },
        Self { name: "SIGXCPU", code: Code::CpuTime },
    ];

    /// Returns the signal that causes failures of this class; `None` for other classes.
    #[must_use]
    pub fn of_code(code: Code) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.code == code)
    }
}

type OnSignal = Box<dyn FnOnce(Signal) + Send>;
type OnPanic = Box<dyn FnOnce() + Send>;
type AtEnd = Box<dyn FnOnce(&str) + Send>;

/// Handle through which a front end stops a run. Clones are the same handle.
#[derive(Clone, Default)]
pub struct StopHandle {
    cancel: CancelFlag,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    signal: Mutex<Option<Signal>>,
    lost: Mutex<Option<Failure>>,
    on_signal: Mutex<Option<OnSignal>>,
    on_panic: Mutex<Option<OnPanic>>,
    ends: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    at_end: Vec<AtEnd>,
    /// How the run ended: the first failure that was reported.
    failed: Option<String>,
}

impl StopHandle {
    /// Stops the run because of a signal. The first signal counts. Called by front ends.
    pub fn stop(&self, signal: Signal) {
        lock(&self.state.signal).get_or_insert(signal);
        self.cancel.cancel();
    }

    /// Returns a function that saves the rest of the trace and the ending of a run that does not end in time; it may
    /// block as long as the disk does. `None` if nothing is left to save. Called by front ends.
    #[must_use]
    pub fn save(&self) -> Option<impl FnOnce(Signal) + Send + 'static> {
        lock(&self.state.on_signal).take()
    }

    /// Saves, without waiting for locks, what can be saved while a thread panics. Called by the panic hook of front
    /// ends.
    pub fn save_in_panic(&self) {
        let save = self.state.on_panic.try_lock().ok().and_then(|mut save| save.take());
        if let Some(save) = save {
            save();
        }
    }

    /// Releases the output folders after a command has completed. Called by front ends.
    pub fn completed(&self) {
        self.finish(|_| COMPLETED.to_owned());
    }

    /// Releases the output folders of a process that ends, or will be killed, before its command completes. Called by
    /// front ends.
    pub fn end_early(&self) {
        let signal = self.received();
        self.finish(|failed| match (failed, signal) {
            (Some(state), _) => state.to_owned(),
            (None, Some(signal)) => Ending::Interrupted { signal: signal.name.to_owned() }.to_string(),
            (None, None) => "failed: the process exited early".to_owned(),
        });
    }

    /// Remembers a reported failure. The first one is how the run ended.
    pub fn failed(&self, failure: &Failure) {
        lock(&self.state.ends).failed.get_or_insert_with(|| state(failure));
    }

    /// The flag that cancels waits and reader lanes.
    #[must_use]
    pub fn cancel_flag(&self) -> CancelFlag {
        self.cancel.clone()
    }

    /// The signal that was received first; `None` if there was none.
    #[must_use]
    pub fn received(&self) -> Option<Signal> {
        *lock(&self.state.signal)
    }

    /// Remembers how this rank's part of the run ended, which is more precise than the failure that follows from it.
    pub(crate) fn ended(&self, ending: &Ending) {
        if !ending.is_completed() {
            lock(&self.state.ends).failed.get_or_insert_with(|| ending.to_string());
        }
    }

    /// Registers `end`, which is called with the state of the run when the command or the process ends.
    pub(crate) fn at_end(&self, end: impl FnOnce(&str) + Send + 'static) {
        lock(&self.state.ends).at_end.push(Box::new(end));
    }

    /// Ends the run because of a failure in the background, such as a trace that cannot be written.
    pub(crate) fn end_with(&self, failure: Failure) {
        lock(&self.state.lost).get_or_insert(failure);
        self.cancel.cancel();
    }

    /// The first failure that [`Self::end_with`] was called with.
    pub(crate) fn lost(&self) -> Option<Failure> {
        lock(&self.state.lost).clone()
    }

    /// Sets what [`Self::save`] returns.
    pub(crate) fn on_signal(&self, save: impl FnOnce(Signal) + Send + 'static) {
        *lock(&self.state.on_signal) = Some(Box::new(save));
    }

    /// Sets what [`Self::save_in_panic`] calls.
    pub(crate) fn on_panic(&self, save: impl FnOnce() + Send + 'static) {
        *lock(&self.state.on_panic) = Some(Box::new(save));
    }

    /// Clears what [`Self::save`] returns: the run has ended in order.
    pub(crate) fn disarm(&self) {
        lock(&self.state.on_signal).take();
    }

    fn finish(&self, state: impl Fn(Option<&str>) -> String) {
        // The lock is held while folders are released, so that an exit on another thread waits for it.
        let mut ends = lock(&self.state.ends);
        let state = state(ends.failed.as_deref());
        for end in std::mem::take(&mut ends.at_end) {
            end(&state);
        }
    }
}

/// Returns the state of a failed run for `run.json`.
fn state(failure: &Failure) -> String {
    match Signal::of_code(failure.code) {
        Some(signal) => Ending::Interrupted { signal: signal.name.to_owned() }.to_string(),
        None => Ending::failed(&failure.message).to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_state_of_its_code() {
        let of = |code| state(&Failure::new(code, "why"));
        assert_eq!(of(Code::Data), "failed: why");
        assert_eq!(of(Code::Interrupted), "interrupted by SIGINT");
        assert_eq!(of(Code::Terminated), "interrupted by SIGTERM");
    }

    #[test]
    fn the_first_signal_counts_and_folders_are_released_once() {
        let stop = StopHandle::default();
        let states = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&states);
        stop.at_end(move |state| seen.lock().unwrap().push(state.to_owned()));
        stop.stop(Signal::ALL[5]);
        stop.stop(Signal::ALL[1]);
        assert!(stop.cancel_flag().is_cancelled());
        stop.end_early();
        stop.completed();
        assert_eq!(*states.lock().unwrap(), ["interrupted by SIGTERM"]);
    }
}
