//! What a lane is doing, and when it must stop: shared by the lane and the task that waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::CancelFlag;

/// The file that a lane works on, for the task that waits for the lane.
#[derive(Debug)]
pub(crate) struct LaneStatus {
    file: AtomicU64,
}

impl LaneStatus {
    const IDLE: u64 = u64::MAX;

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { file: AtomicU64::new(Self::IDLE) })
    }

    pub(crate) fn set(&self, file: u64) {
        self.file.store(file, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.set(Self::IDLE);
    }

    /// Combined number of the file that is being read or written.
    pub(crate) fn file(&self) -> Option<u64> {
        Some(self.file.load(Ordering::Relaxed)).filter(|&file| file != Self::IDLE)
    }
}

/// Stops a lane: the run was cancelled, or the main task has dropped its end.
#[derive(Debug, Clone)]
pub(crate) struct Halt {
    pub(crate) cancel: CancelFlag,
    pub(crate) released: Option<tokio::sync::watch::Receiver<()>>,
}

impl Halt {
    pub(crate) fn is_set(&self) -> bool {
        self.cancel.is_cancelled() || self.released.as_ref().is_some_and(|main| main.has_changed().is_err())
    }

    /// Completes when the main task has dropped its end.
    pub(crate) async fn released(&self) {
        match self.released.clone() {
            // Nothing is ever sent: a change can only be the end of the sender.
            Some(mut main) => drop(main.changed().await),
            None => std::future::pending().await,
        }
    }
}
