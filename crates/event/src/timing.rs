//! What the training loop measured: the lists that the reference's metrics are computed from.
//!
//! The engine fills these while it runs; the analyzer rebuilds the same values from the spans of a trace and applies
//! the same formulas, so that live and recomputed metrics can be compared.

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// Times of the steps of one block (training) or one evaluation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BlockTimings {
    /// Block of the epoch, from 1; 0 for an evaluation.
    pub block: u32,
    /// Start of the block.
    pub start: Nanos,
    /// End of the block.
    pub end: Nanos,
    /// Per step: waiting for the batch, nanoseconds.
    pub load: Vec<Nanos>,
    /// Per step: emulated computation, nanoseconds.
    pub compute: Vec<Nanos>,
    /// Per step: from the start of the wait to the end of the computation, nanoseconds.
    pub proc: Vec<Nanos>,
}

/// One saved or loaded checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointTimings {
    /// Number in its key (`save_ckpt<k>`, `load_ckpt<k>`).
    pub number: u32,
    /// Whether it was loaded rather than saved.
    pub load: bool,
    /// Start.
    pub start: Nanos,
    /// End.
    pub end: Nanos,
}

/// One epoch of one rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochTimings {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Start of the training part.
    pub start: Nanos,
    /// End of the training part, its checkpoints included.
    pub train_end: Nanos,
    /// End of the epoch, evaluation included.
    pub end: Nanos,
    /// Blocks in order.
    pub blocks: Vec<BlockTimings>,
    /// Evaluation, if there was one.
    pub eval: Option<BlockTimings>,
    /// Checkpoints in order.
    pub checkpoints: Vec<CheckpointTimings>,
}

/// Everything one rank measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankTimings {
    /// Rank.
    pub rank: u32,
    /// Epochs in order.
    pub epochs: Vec<EpochTimings>,
}
