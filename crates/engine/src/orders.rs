//! What the training loop orders from a lane, and what it gets back.

use dlio_event::{Phase, Position};
use dlio_plan::LaneWork;

/// The work of a lane in one epoch or evaluation.
pub(crate) struct LaneOrder {
    pub(crate) pass: Pass,
    pub(crate) work: LaneWork,
}

/// One epoch, evaluation or warm-up of a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    /// Tells batches of this pass from leftovers of an earlier one.
    pub(crate) number: u32,
    /// Phase, epoch and block.
    pub(crate) at: Position,
}

/// A batch (or a lane's part of one) that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchDone {
    /// Number of the pass.
    pub(crate) pass: u32,
    pub(crate) step: u64,
    pub(crate) bytes: u64,
}

/// Returns the position of a pass. It has no later block than the first, because a checkpoint may end a block while lanes read ahead.
pub(crate) fn pass_at(phase: Phase, epoch: u32) -> Position {
    Position { phase, epoch, block: u32::from(phase == Phase::Train), ..Position::default() }
}
