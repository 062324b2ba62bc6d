//! Options of a training run, or of a run that only takes checkpoints.

use std::rc::Rc;
use std::time::Duration;

use dlio_format::Decode;
use futures::future::LocalBoxFuture;

use crate::checkpoint::Checkpoints;
use crate::{CancelFlag, StallLimits};

/// Options of a training run.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// Number of samples of one batch that a lane reads at the same time; at least 1. More than one takes effect only where every sample
    /// opens its file.
    pub inflight: u32,
    /// How samples are decoded.
    pub decode: Decode,
    /// Limits after which long waits are reported and the run is ended.
    pub stall_after: StallLimits,
    /// Cancels the run.
    pub cancel: CancelFlag,
    /// Checkpoints, which are taken as their plan schedules.
    pub checkpoints: Option<Checkpoints>,
    /// Work before each epoch. A barrier follows the work, so either all ranks have it or none.
    pub before_epoch: Option<BeforeEpoch>,
}

/// Work of the caller before each epoch, given the number of the epoch.
#[derive(Clone)]
pub struct BeforeEpoch(pub(crate) Rc<dyn Fn(u32) -> LocalBoxFuture<'static, ()>>);

impl BeforeEpoch {
    /// Returns work whose futures `make` creates.
    pub fn new(make: impl Fn(u32) -> LocalBoxFuture<'static, ()> + 'static) -> Self {
        Self(Rc::new(make))
    }
}

impl std::fmt::Debug for BeforeEpoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BeforeEpoch")
    }
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            inflight: 1,
            decode: Decode::None,
            stall_after: StallLimits::reporting_after(Duration::from_mins(1)),
            cancel: CancelFlag::new(),
            before_epoch: None,
            checkpoints: None,
        }
    }
}
