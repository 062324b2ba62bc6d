//! When checkpoints are taken.

use std::time::Duration;

use dlio_config::Workload;
use dlio_config::time::TimeSpec;
use dlio_config::workload::Checkpoint;

use crate::times;

/// When a training loop takes checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuringTraining {
    /// After every so many steps of an epoch; each ends the current block of the metrics.
    Steps {
        /// `checkpoint.steps_between_checkpoints`, at least 1.
        between: u64,
    },
    /// After epochs, outside of blocks.
    Epochs {
        /// `checkpoint.checkpoint_after_epoch`, the first one.
        after: u32,
        /// `checkpoint.epochs_between_checkpoints`, at least 1.
        between: u32,
    },
    /// Not at all.
    Never,
}

impl DuringTraining {
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        match checkpoint.steps_between_checkpoints {
            Some(0) => Self::Never,
            Some(between) => Self::Steps { between },
            // The reference waits for the epoch to become equal to a threshold that begins at 0, so for ever.
            None if checkpoint.checkpoint_after_epoch == 0 => Self::Never,
            None => Self::Epochs {
                after: checkpoint.checkpoint_after_epoch,
                between: checkpoint.epochs_between_checkpoints.max(1),
            },
        }
    }

    /// Whether a checkpoint is taken right after this step of an epoch, counted from 1; the step is its number.
    #[must_use]
    pub fn after_step(self, step: u64) -> bool {
        matches!(self, Self::Steps { between } if step > 0 && step.is_multiple_of(between))
    }

    /// Whether a checkpoint is taken at the end of this epoch, counted from 1; its number is
    /// [`epoch_step`](Self::epoch_step).
    #[must_use]
    pub fn after_epoch(self, epoch: u32) -> bool {
        matches!(self, Self::Epochs { after, between } if epoch >= after && (epoch - after).is_multiple_of(between))
    }

    /// Step number of a checkpoint after an epoch of so many steps: one more, as in the reference (quirk 20).
    #[must_use]
    pub fn epoch_step(steps: u64) -> u64 {
        steps + 1
    }

    /// The checkpoints of a run with so many steps in each of its epochs, in order: epoch and step number.
    pub fn taken(self, epochs: u32, steps: u64) -> impl Iterator<Item = (u32, u64)> + Send {
        (1..=epochs).flat_map(move |epoch| {
            let (first, every, last) = match self {
                Self::Steps { between } => (between, between, steps),
                _ if self.after_epoch(epoch) => (Self::epoch_step(steps), 1, Self::epoch_step(steps)),
                _ => (1, 1, 0),
            };
            let every = usize::try_from(every).unwrap_or(usize::MAX);
            (first..=last).step_by(every).map(move |step| (epoch, step))
        })
    }
}

/// The checkpoints of a run that does nothing else: all are written, then all are read. Each is of epoch 1, and its step
/// is its number, from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Alone {
    /// Checkpoints to write.
    pub writes: u64,
    /// Checkpoints to read.
    pub reads: u64,
    /// Whether the time of a checkpoint includes waiting for the slowest rank.
    pub rank_sync: bool,
    pause: TimeSpec,
    seed: u32,
}

impl Alone {
    pub(super) fn new(workload: &Workload) -> Self {
        let checkpoint = &workload.checkpoint;
        Self {
            writes: checkpoint.num_checkpoints_write.unwrap_or(0),
            reads: checkpoint.num_checkpoints_read.unwrap_or(0),
            rank_sync: checkpoint.rank_sync,
            pause: checkpoint.time_between_checkpoints.clone(),
            seed: workload.train.seed,
        }
    }

    /// How a rank waits before each checkpoint: one pause for every write, then one for every read.
    pub fn pauses(&self, rank: u32) -> impl Iterator<Item = Duration> + Send + use<> {
        times::pauses(&self.pause, self.seed, rank)
    }

    /// Mean of the pauses, in seconds.
    #[must_use]
    pub fn mean_pause(&self) -> f64 {
        self.pause.mean().abs()
    }
}
