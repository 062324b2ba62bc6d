//! The front end that this program passes to runs: environment, command line, and an observer that prints to standard error.

use std::any::Any;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};

use dlio_run::failure::Failure;
use dlio_run::front_end::{FrontEnd, ProgressLine, RunObserver};
use dlio_run::message::{Level, Verbosity};
use dlio_run::outputs::meter::{Tally, Task};
use indicatif::MultiProgress;

use crate::meter::{Screen, bars};
use crate::stop::stop;

/// Returns the front end for the runs of a command.
pub(crate) fn front_end(verbosity: Verbosity) -> Arc<FrontEnd> {
    release_at_exit();
    Arc::new(FrontEnd {
        environment: crate::environment::environment(),
        command_line: crate::launch::command_line(),
        tool_version: crate::version::line().to_owned(),
        stop: stop().clone(),
        observer: Arc::new(Terminal::new(verbosity)),
    })
}

/// Installs a handler that releases output folders when the process exits.
#[expect(unsafe_code, reason = "the standard library runs nothing at `process::exit`")]
fn release_at_exit() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // SAFETY: the function does not unwind and uses statics alone, which live as long as the process.
        if unsafe { libc::atexit(at_exit) } != 0 {
            tracing::warn!("an output folder stays locked if the process exits early");
        }
    });
}

extern "C" fn at_exit() {
    stop().end_early();
}

/// An observer that prints messages and progress to standard error.
struct Terminal {
    /// Live progress lines on a terminal.
    bars: Option<MultiProgress>,
    /// Display of progress, created when the first task begins.
    screen: Mutex<Option<Screen>>,
}

impl Terminal {
    fn new(verbosity: Verbosity) -> Self {
        let bars = if verbosity > Verbosity::Quiet { bars() } else { None };
        Self { bars, screen: Mutex::default() }
    }
}

impl RunObserver for Terminal {
    fn message(&self, _: Level, line: &str) {
        let write = || {
            let _ = writeln!(std::io::stderr(), "{line}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn note(&self, text: &str) {
        crate::log::note(text);
    }

    fn failure(&self, failure: &Failure) {
        crate::log::failure(failure);
    }

    fn progress(&self, task: Task, tally: &Arc<Tally>, line: ProgressLine) -> Option<Box<dyn Any>> {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = screen.get_or_insert_with(|| {
            let clock = Arc::new(dlio_engine::MonotonicClock);
            Screen::new(self.bars.clone(), clock).live()
        });
        Some(Box::new(screen.show(task, tally, line)))
    }

    fn resolved(&self, launched: bool) {
        crate::signals::watch(dlio_run::stop::GRACE, launched);
    }

    fn enter(&self, folder: &Path) -> std::io::Result<()> {
        std::env::set_current_dir(folder)
    }
}
