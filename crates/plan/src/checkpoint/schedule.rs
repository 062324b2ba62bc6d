//! Times at which checkpoints are saved and loaded.

use std::time::Duration;

use dlio_config::Workload;
use dlio_config::time::TimeSpec;
use dlio_config::workload::Checkpoint;

use crate::times;

/// When a training loop saves checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuringTraining {
    /// After a number of steps within an epoch; each checkpoint ends the current block of the metrics.
    Steps {
        /// Value of `checkpoint.steps_between_checkpoints`, in steps, at least 1.
        between: u64,
    },
    /// After epochs, outside of blocks.
    Epochs {
        /// Value of `checkpoint.checkpoint_after_epoch`: the first epoch with a checkpoint.
        after: u32,
        /// Value of `checkpoint.epochs_between_checkpoints`, in epochs, at least 1.
        between: u32,
    },
    /// Never.
    Never,
}

impl DuringTraining {
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        match checkpoint.steps_between_checkpoints {
            Some(0) => Self::Never,
            Some(between) => Self::Steps { between },
            // The reference waits until the epoch equals a threshold that begins at 0, which never happens.
            None if checkpoint.checkpoint_after_epoch == 0 => Self::Never,
            None => Self::Epochs {
                after: checkpoint.checkpoint_after_epoch,
                between: checkpoint.epochs_between_checkpoints.max(1),
            },
        }
    }

    /// Returns whether a checkpoint is saved directly after this step of an epoch, counted from 1. The step is the
    /// number of the checkpoint.
    #[must_use]
    pub fn after_step(self, step: u64) -> bool {
        matches!(self, Self::Steps { between } if step > 0 && step.is_multiple_of(between))
    }

    /// Returns whether a checkpoint is saved at the end of this epoch, counted from 1. Its number is
    /// [`epoch_step`](Self::epoch_step).
    #[must_use]
    pub fn after_epoch(self, epoch: u32) -> bool {
        matches!(self, Self::Epochs { after, between } if epoch >= after && (epoch - after).is_multiple_of(between))
    }

    /// Returns the step number of a checkpoint after an epoch with this number of steps: one more than the last step,
    /// as in the reference (quirk 20).
    #[must_use]
    pub fn epoch_step(steps: u64) -> u64 {
        steps + 1
    }

    /// Returns the epoch and step number of each checkpoint, in order, for a run with this number of steps per epoch.
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

/// The checkpoints of a run that does nothing else: all are written, then all are read. All belong to epoch 1, and
/// their step numbers count from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct StandaloneCheckpoints {
    /// Number of checkpoints to write.
    pub writes: u64,
    /// Number of checkpoints to read.
    pub reads: u64,
    /// The time of a checkpoint includes waiting for the slowest rank.
    pub rank_sync: bool,
    pause: TimeSpec,
    seed: u32,
}

impl StandaloneCheckpoints {
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

    /// Returns the pauses of a rank before each checkpoint: one per write, then one per read.
    pub fn pauses(&self, rank: u32) -> impl Iterator<Item = Duration> + Send + use<> {
        times::pauses(&self.pause, self.seed, rank)
    }

    /// Returns the mean of the pauses, in seconds.
    #[must_use]
    pub fn mean_pause(&self) -> f64 {
        self.pause.mean().abs()
    }
}
