//! The outside world of a run: storage, communicator, clock, events and observer.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dlio_comm::Communicator;
use dlio_event::EventSink;
use dlio_storage::Storage;
use tokio::runtime::Runtime;

use crate::{Clock, Observer};

/// The outside world of one rank, which is real in production and simulated in tests.
#[derive(Clone)]
pub struct Rig {
    /// Storage of the dataset, with keys relative to the data folder.
    pub storage: Arc<dyn Storage>,
    /// Communicator of the ranks.
    pub comm: Rc<dyn Communicator>,
    /// Clock of the run.
    pub clock: Arc<dyn Clock>,
    /// Sink of the trace events.
    pub events: Arc<dyn EventSink>,
    /// Kind of thread or task that lanes run on.
    pub lanes: LaneHost,
    /// Observer of the progress.
    pub observer: Rc<dyn Observer>,
}

/// Stack size in bytes of a lane's thread; it is small because there may be a thousand lanes, and none recurses.
const STACK: usize = 1 << 20;

/// Kind of thread or task that a reader lane runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneHost {
    /// One operating-system thread per lane, each with its own current-thread runtime; used in every real run.
    Threads,
    /// One local task per lane on the caller's `LocalSet`; used in simulations on [`crate::VirtualClock`]. With a clock that blocks
    /// its thread, lanes would not run while the training loop computes.
    Tasks,
}

impl LaneHost {
    /// Starts a lane; `make` is called on the lane's own thread or task.
    pub(crate) fn start<M, F>(self, name: String, make: M) -> std::io::Result<()>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        match self {
            LaneHost::Tasks => {
                drop(tokio::task::spawn_local(make()));
                Ok(())
            }
            LaneHost::Threads => {
                let runtime = LaneRuntime::new(tokio::runtime::Builder::new_current_thread().enable_all())?;
                // The connections of an S3 client are tasks on the lane's thread and need a local set.
                let body = move || {
                    if let Some(runtime) = runtime.get() {
                        tokio::task::LocalSet::new().block_on(runtime, make());
                    }
                };
                std::thread::Builder::new().name(name).stack_size(STACK).spawn(body).map(drop)
            }
        }
    }
}

/// A runtime for a new thread. If the thread cannot be started, this value can be dropped inside another runtime, where dropping
/// tokio's runtime would panic.
pub(crate) struct LaneRuntime(Option<Runtime>);

impl LaneRuntime {
    /// Builds the runtime; it needs file descriptors if I/O or timers are enabled.
    pub(crate) fn new(builder: &mut tokio::runtime::Builder) -> std::io::Result<Self> {
        builder.build().map(|runtime| Self(Some(runtime)))
    }

    /// Returns the runtime.
    pub(crate) fn get(&self) -> Option<&Runtime> {
        self.0.as_ref()
    }
}

impl Drop for LaneRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A flag that cancels a run: a signal handler or another thread sets it, and the run checks it between steps, samples and chunks.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Returns a flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the run. This is a single atomic store, so a signal handler may call it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether the run was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_runtime_whose_thread_was_not_started_is_dropped_within_another_runtime() {
        drop(LaneRuntime::new(&mut tokio::runtime::Builder::new_current_thread()).unwrap());
    }
}
