//! Everything that a run needs from the outside world.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dlio_comm::Communicator;
use dlio_event::EventSink;
use dlio_storage::Storage;
use tokio::runtime::Runtime;

use crate::{Clock, Observer};

/// The outside world of one rank: real in production, simulated in tests and predictions.
#[derive(Clone)]
pub struct Rig {
    /// Where the data set is; keys are relative to the data folder.
    pub storage: Arc<dyn Storage>,
    /// The other ranks.
    pub comm: Rc<dyn Communicator>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
    /// What a lane runs on.
    pub lanes: LaneHost,
    /// Who is told about progress.
    pub observer: Rc<dyn Observer>,
}

/// Stack of a lane's thread: there may be a thousand of them, and none recurses.
const STACK: usize = 1 << 20;

/// What a reader lane runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneHost {
    /// One operating-system thread per lane, each with a current-thread runtime of its own: every real run.
    Threads,
    /// One local task per lane on the caller's `LocalSet`: simulations on [`crate::VirtualClock`]. With a clock that
    /// blocks its thread the lanes would stand still whenever the training loop computes.
    Tasks,
}

impl LaneHost {
    /// Starts a lane; `make` is called where the lane lives.
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
                // Connections of an S3 client are tasks beside the lane, hence the local set.
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

/// The runtime of a thread that may not come to be: it can be dropped wherever its thread could not be started, also within
/// another runtime, where dropping tokio's own panics.
pub(crate) struct LaneRuntime(Option<Runtime>);

impl LaneRuntime {
    /// Makes it; files, sockets and timers that it is to have need descriptors.
    pub(crate) fn new(builder: &mut tokio::runtime::Builder) -> std::io::Result<Self> {
        builder.build().map(|runtime| Self(Some(runtime)))
    }

    /// The runtime.
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

/// Asks a run to end: set by a signal handler or another thread, looked at between steps, samples and chunks.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to end. Only an atomic store, so a signal handler may call it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to end.
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
