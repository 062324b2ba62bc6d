//! The interface between a run and its front end.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::failure::Failure;
use crate::launch::Environment;
use crate::message::Level;
use crate::outputs::meter::{Tally, Task};
use crate::stop::StopHandle;

/// Values that a front end passes to every run.
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

/// Receives messages of a run, from any of its threads. Every method does nothing by default.
pub trait RunObserver: Send + Sync {
    /// A line of the run's log, with level and time stamp, that the user should see at once.
    fn message(&self, level: Level, line: &str) {
        let _ = (level, line);
    }

    /// A remark that is not part of the run's log.
    fn note(&self, text: &str) {
        let _ = text;
    }

    /// The failure that ends the run, on the rank that reports it. The user knows a failure marked as `reported` already.
    fn failure(&self, failure: &Failure) {
        let _ = failure;
    }

    /// A task begins. It ends when the returned value is dropped. `line` sends plain lines about the task to the
    /// destination of the task's other messages.
    fn progress(&self, task: Task, tally: &Arc<Tally>, line: ProgressLine) -> Option<Box<dyn Any>> {
        let _ = (task, tally, line);
        None
    }

    /// The configuration is resolved, and the output folder will be locked next: from here on, signals should reach the
    /// [`StopHandle`]. `launched`: there are other ranks, whose launcher kills all ranks soon after a signal.
    fn resolved(&self, launched: bool) {
        let _ = launched;
    }

    /// The run asks for `folder` as working directory of the process (Hydra's `job.chdir`).
    ///
    /// # Errors
    /// If the directory cannot be entered, or the front end does not allow it. The default does not.
    fn enter(&self, folder: &Path) -> io::Result<()> {
        let _ = folder;
        Err(io::Error::new(io::ErrorKind::Unsupported, "hydra.job.chdir is not available here"))
    }
}

/// Destination of plain lines about a task.
pub type ProgressLine = Box<dyn Fn(&str) + Send>;

/// An observer that ignores everything.
pub struct Silent;

impl RunObserver for Silent {}
