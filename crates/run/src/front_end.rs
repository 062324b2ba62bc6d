//! The seam between runs and whoever starts them: what a front end gives to a run, and what it is told meanwhile.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::failure::Failure;
use crate::launch::Environment;
use crate::outputs::log::Level;
use crate::outputs::meter::{Tally, Task};
use crate::stop::StopHandle;

/// What a front end gives to every run.
pub struct FrontEnd {
    /// Variables that the run may read in place of the process's environment.
    pub environment: Environment,
    /// Command line for the traces and `run.json`, without secrets.
    pub command_line: Vec<String>,
    /// Version of the program, for the traces.
    pub tool_version: String,
    /// Stops the run, and saves what it has when the process ends early.
    pub stop: StopHandle,
    /// Gets messages, progress and failures.
    pub observer: Arc<dyn RunObserver>,
}

impl FrontEnd {
    /// Reports a failure, which is then how the run ended.
    pub fn report(&self, failure: &Failure) {
        self.stop.failed(failure);
        self.observer.failure(failure);
    }
}

/// Gets what a run has to say. Calls come from any thread of the run; every method does nothing unless it is implemented.
pub trait RunObserver: Send + Sync {
    /// A line of the run's log, with its level and time stamp, that is also meant for the user at once.
    fn message(&self, level: Level, line: &str) {
        let _ = (level, line);
    }

    /// A remark that is not part of the run's log.
    fn note(&self, text: &str) {
        let _ = text;
    }

    /// The failure that ends the run, on the rank that reports it. One marked as `said` is already known to the user.
    fn failure(&self, failure: &Failure) {
        let _ = failure;
    }

    /// A task begins; it has ended when the value that is returned is dropped. `line` takes plain lines about it to where the
    /// task's other messages go.
    fn progress(&self, task: Task, tally: &Arc<Tally>, line: ProgressLine) -> Option<Box<dyn Any>> {
        let _ = (task, tally, line);
        None
    }

    /// The configuration is resolved and the output folder is about to be locked: from here on, signals should reach the
    /// [`StopHandle`]. `launched`: there are other ranks, whose launcher kills them soon after a signal.
    fn resolved(&self, launched: bool) {
        let _ = launched;
    }

    /// The run asks for `folder` as working directory of the process (Hydra's `job.chdir`).
    ///
    /// # Errors
    /// When the directory cannot be entered, or the front end does not allow it, which is the default.
    fn enter(&self, folder: &Path) -> io::Result<()> {
        let _ = folder;
        Err(io::Error::new(io::ErrorKind::Unsupported, "hydra.job.chdir is not available here"))
    }
}

/// Takes a plain line about a task.
pub type ProgressLine = Box<dyn Fn(&str) + Send>;

/// An observer that ignores everything.
pub struct Silent;

impl RunObserver for Silent {}
