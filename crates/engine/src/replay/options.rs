//! Options of a replay.

use std::sync::Arc;
use std::time::Duration;

use dlio_event::{Nanos, Phase, Position};
use dlio_plan::replay::{Late, Timing};
use dlio_storage::Storage;

use crate::{CancelFlag, StallLimits};

/// Position of the events of a replay, which has no epochs and steps.
pub(super) const AT: Position = Position { phase: Phase::Train, epoch: 0, block: 0, step: 0, sample: None };

/// Number of operations that are read ahead, in all queues together.
pub(super) const WINDOW: usize = 4096;

/// Lateness in nanoseconds from which `--late stretch` and `--late skip` treat an operation as late.
pub(super) const TOLERANCE: Nanos = 10_000_000;
/// Options of a replay.
#[derive(Clone)]
pub struct ReplayOptions {
    /// Timing of the operations.
    pub timing: Timing,
    /// Treatment of late operations (open timing).
    pub late: Late,
    /// Maximum number of operations of this rank in flight, each on its own thread; at least 1. Training loops have additional threads.
    pub inflight: u32,
    /// Recorded peak of this rank's operations in flight, which determines the initial number of threads.
    pub peak: u64,
    /// Number of lanes of this rank, which limits the number of workers with program order.
    pub lanes: u32,
    /// Storages of the endpoint rules, in the order of the rules.
    pub routes: Vec<Arc<dyn Storage>>,
    /// Number of training loops of this rank, and number of barriers of all loops (dependent timing).
    pub loops: (u32, u32),
    /// Seed of the written content.
    pub seed: u64,
    /// Time from the barrier of the ranks to the start.
    pub lead: Duration,
    /// Limits after which long waits are reported and the replay is ended.
    pub stall_after: StallLimits,
    /// Cancels the replay.
    pub cancel: CancelFlag,
}
