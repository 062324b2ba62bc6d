//! Times measured by the training loop: the inputs of the reference's metrics.
//!
//! The engine records them during the run. The analyzer rebuilds the same values from the spans of a trace and applies
//! the same formulas, so live metrics can be compared with recomputed ones.

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// Times of all steps of one training block or of one evaluation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BlockTimings {
    /// Number of the block within the epoch, from 1; 0 for an evaluation.
    pub block: u32,
    /// Start time of the block.
    pub start: Nanos,
    /// End time of the block.
    pub end: Nanos,
    /// Time that each step waited for its batch, in nanoseconds.
    pub load: Vec<Nanos>,
    /// Emulated computation time of each step, in nanoseconds.
    pub compute: Vec<Nanos>,
    /// Time of each step from the start of its wait to the end of its computation, in nanoseconds.
    pub proc: Vec<Nanos>,
}

/// A checkpoint that was saved or loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointTimings {
    /// Number in the key of the metric (`save_ckpt<k>`, `load_ckpt<k>`).
    pub number: u32,
    /// `true` if the checkpoint was loaded, `false` if it was saved.
    pub load: bool,
    /// Start time.
    pub start: Nanos,
    /// End time.
    pub end: Nanos,
}

/// Times of one epoch on one rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochTimings {
    /// Number of the epoch, from 1.
    pub epoch: u32,
    /// Start time of the training part.
    pub start: Nanos,
    /// End time of the training part, its checkpoints included.
    pub train_end: Nanos,
    /// End time of the epoch, its evaluation included.
    pub end: Nanos,
    /// Blocks, in order.
    pub blocks: Vec<BlockTimings>,
    /// The evaluation, if the epoch has one.
    pub eval: Option<BlockTimings>,
    /// Checkpoints, in order.
    pub checkpoints: Vec<CheckpointTimings>,
}

/// All times measured by one rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankTimings {
    /// Number of the rank.
    pub rank: u32,
    /// Epochs, in order.
    pub epochs: Vec<EpochTimings>,
}
