//! How a front end stops a run and what it saves when the process ends early: one value, shared by both.
//!
//! Invariant: the first failure or signal decides how the run ended; everything that was registered is finished once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dlio_engine::CancelFlag;
use dlio_event::Ending;

use crate::failure::{Code, Failure};

/// How long a run may take to end in order after the first signal.
pub const GRACE: Duration = Duration::from_secs(3);

/// State of a run that completed, as `run.json` has it.
pub const COMPLETED: &str = "completed";

/// A signal that ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Name, such as `SIGTERM`.
    pub name: &'static str,
    /// Class of the failure that it causes.
    pub code: Code,
}

impl Signal {
    /// Every signal that ends a run.
    pub const ALL: [Self; 7] = [
        Self { name: "SIGHUP", code: Code::HungUp },
        Self { name: "SIGINT", code: Code::Interrupted },
        Self { name: "SIGQUIT", code: Code::Quit },
        Self { name: "SIGUSR1", code: Code::User1 },
        Self { name: "SIGUSR2", code: Code::User2 },
        Self { name: "SIGTERM", code: Code::Terminated },
        Self { name: "SIGXCPU", code: Code::CpuTime },
    ];

    /// The signal that causes failures of this class.
    #[must_use]
    pub fn of_code(code: Code) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.code == code)
    }
}

type OnSignal = Box<dyn FnOnce(Signal) + Send>;
type OnPanic = Box<dyn FnOnce() + Send>;
type AtEnd = Box<dyn FnOnce(&str) + Send>;

/// The handle through which a front end stops a run. A clone is the same handle.
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
    /// How the run ended, after the first failure that was reported.
    failed: Option<String>,
}

impl StopHandle {
    /// Stops the run because of a signal; the first one counts. Front ends call this.
    pub fn stop(&self, signal: Signal) {
        lock(&self.state.signal).get_or_insert(signal);
        self.cancel.cancel();
    }

    /// Saves what a run that does not end in time would lose: the rest of its trace, and how it ended. It may block as long as
    /// the disk does. Front ends call this; `None`: there is nothing left to save.
    pub fn save(&self) -> Option<impl FnOnce(Signal) + Send + 'static> {
        lock(&self.state.on_signal).take()
    }

    /// Saves what can be saved while another thread panics, without a wait. Front ends call this from their panic hook.
    pub fn save_in_panic(&self) {
        let save = self.state.on_panic.try_lock().ok().and_then(|mut save| save.take());
        if let Some(save) = save {
            save();
        }
    }

    /// Releases the output folders of a command that came to its end. Front ends call this.
    pub fn completed(&self) {
        self.finish(|_| COMPLETED.to_owned());
    }

    /// Releases the output folders of a process that ends, or is about to be ended, before its command. Front ends call this.
    pub fn end_early(&self) {
        let signal = self.received();
        self.finish(|failed| match (failed, signal) {
            (Some(state), _) => state.to_owned(),
            (None, Some(signal)) => Ending::Interrupted { signal: signal.name.to_owned() }.to_string(),
            (None, None) => "failed: the process exited early".to_owned(),
        });
    }

    /// Remembers a failure that was reported: the first one is how the run ended.
    pub fn failed(&self, failure: &Failure) {
        lock(&self.state.ends).failed.get_or_insert_with(|| state(failure));
    }

    /// The flag that waits and lanes look at.
    #[must_use]
    pub fn cancel_flag(&self) -> CancelFlag {
        self.cancel.clone()
    }

    /// The signal that was received first.
    #[must_use]
    pub fn received(&self) -> Option<Signal> {
        *lock(&self.state.signal)
    }

    /// Remembers how this rank's part of the run ended, which says more than the failure that follows from it.
    pub(crate) fn ended(&self, ending: &Ending) {
        if !ending.is_completed() {
            lock(&self.state.ends).failed.get_or_insert_with(|| ending.to_string());
        }
    }

    /// Calls `end` with the state of the run when the command or the process ends.
    pub(crate) fn at_end(&self, end: impl FnOnce(&str) + Send + 'static) {
        lock(&self.state.ends).at_end.push(Box::new(end));
    }

    /// Ends the run because it lost something that it cannot go on without.
    pub(crate) fn end_with(&self, failure: Failure) {
        lock(&self.state.lost).get_or_insert(failure);
        self.cancel.cancel();
    }

    /// The first failure that [`Self::end_with`] was given.
    pub(crate) fn lost(&self) -> Option<Failure> {
        lock(&self.state.lost).clone()
    }

    /// Sets what is saved if the run does not end in time after a signal, in place of what was set before.
    pub(crate) fn on_signal(&self, save: impl FnOnce(Signal) + Send + 'static) {
        *lock(&self.state.on_signal) = Some(Box::new(save));
    }

    /// Sets what is saved when a thread panics, in place of what was set before.
    pub(crate) fn on_panic(&self, save: impl FnOnce() + Send + 'static) {
        *lock(&self.state.on_panic) = Some(Box::new(save));
    }

    /// The run has ended in order: a signal has nothing left to save.
    pub(crate) fn disarm(&self) {
        lock(&self.state.on_signal).take();
    }

    fn finish(&self, state: impl Fn(Option<&str>) -> String) {
        // Kept while the folders are released: an exit on another thread waits for that.
        let mut ends = lock(&self.state.ends);
        let state = state(ends.failed.as_deref());
        for end in std::mem::take(&mut ends.at_end) {
            end(&state);
        }
    }
}

/// How a run that failed ended.
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
