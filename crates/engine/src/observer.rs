//! Progress of a run, reported to an observer.

use std::time::Duration;

use dlio_comm::MissingRanks;
use dlio_event::{BlockTimings, CheckpointTimings, EpochTimings, Nanos};
use dlio_plan::CheckpointPart;

use crate::Cost;

/// Receives the progress of this rank, on the thread of the training loop.
///
/// Every call happens between two measured intervals, except [`Observer::step_ended`], which is on the measured path:
/// its implementations only store numbers and return.
pub trait Observer {
    /// Generation starts; this rank has `files` files to write or check.
    fn generation_started(&self, files: u64) {
        let _ = files;
    }

    /// This rank has written or kept one file.
    fn file_done(&self, file: &FileDone) {
        let _ = file;
    }

    /// All ranks have generated all their files.
    fn generation_ended(&self, generated: &Generated) {
        let _ = generated;
    }

    /// Verification of the dataset starts; this rank has `files` files to verify.
    fn verification_started(&self, files: u64) {
        let _ = files;
    }

    /// This rank has verified one more file.
    fn file_verified(&self) {}

    /// This rank has verified all of its files.
    fn verification_ended(&self) {}

    /// Rank 0 has removed one more file of the dataset.
    fn file_removed(&self) {}

    /// Total numbers of operations that are over in a replay on this rank, skipped ones included, and of bytes that they transferred.
    fn operations_done(&self, operations: u64, bytes: u64) {
        let _ = (operations, bytes);
    }

    /// All ranks are ready and have the same plan.
    fn run_started(&self, run: &RunStarted) {
        let _ = run;
    }

    /// An epoch starts.
    fn epoch_started(&self, epoch: u32) {
        let _ = epoch;
    }

    /// The training part of an epoch has ended.
    fn training_ended(&self, epoch: &EpochTimings) {
        let _ = epoch;
    }

    /// An epoch has ended, including its evaluation.
    fn epoch_ended(&self, epoch: &EpochTimings) {
        let _ = epoch;
    }

    /// A block of training steps starts.
    fn block_started(&self, epoch: u32, block: u32) {
        let _ = (epoch, block);
    }

    /// A block of training steps has ended.
    fn block_ended(&self, epoch: u32, block: &BlockTimings) {
        let _ = (epoch, block);
    }

    /// A training or evaluation step has ended, including its barrier.
    fn step_ended(&self, step: &StepDone) {
        let _ = step;
    }

    /// An evaluation starts.
    fn eval_started(&self, epoch: u32) {
        let _ = epoch;
    }

    /// An evaluation has ended.
    fn eval_ended(&self, epoch: u32, eval: &BlockTimings) {
        let _ = (epoch, eval);
    }

    /// A run that only takes checkpoints starts or ends its saves, or its loads.
    fn checkpointing(&self, load: bool, begins: bool) {
        let _ = (load, begins);
    }

    /// The save or load of a checkpoint starts.
    fn checkpoint_started(&self, checkpoint: &CheckpointStarted) {
        let _ = checkpoint;
    }

    /// This rank has saved or loaded one part of a checkpoint.
    fn checkpoint_part(&self, part: &PartDone) {
        let _ = part;
    }

    /// This rank has saved or loaded a checkpoint.
    fn checkpoint_ended(&self, epoch: u32, checkpoint: &CheckpointTimings) {
        let _ = (epoch, checkpoint);
    }

    /// The run of this rank has ended; `cost` is the CPU time of the client itself.
    fn run_ended(&self, cost: &Cost) {
        let _ = cost;
    }

    /// A wait of this rank has lasted longer than expected; called repeatedly while the wait lasts.
    fn stalled(&self, stall: &Stall) {
        let _ = stall;
    }
}

/// An observer that ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// A generated file of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDone {
    /// Combined number of the file.
    pub file: u64,
    /// Size in bytes, including its index files.
    pub bytes: u64,
    /// The file was already complete and was not written.
    pub kept: bool,
    /// The file replaced one of another size, although overwriting was not requested.
    pub replaced: bool,
}

/// Result of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generated {
    /// Totals of this rank.
    pub rank: FileTotals,
    /// Totals of all ranks.
    pub world: FileTotals,
    /// Time from the first barrier to the last.
    pub duration: Duration,
    /// CPU time of this process during that time.
    pub cpu: Duration,
}

/// Numbers of files and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileTotals {
    /// Number of files, including kept ones.
    pub files: u64,
    /// Number of files that were already complete and were kept.
    pub kept: u64,
    /// Number of bytes written.
    pub bytes: u64,
    /// Number of files that replaced files of another size, although overwriting was not requested.
    pub replaced: u64,
}

/// Dimensions of a training run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunStarted {
    /// Number of epochs.
    pub epochs: u32,
    /// Number of training steps per epoch.
    pub steps: u64,
    /// Number of steps per evaluation.
    pub eval_steps: u64,
}

/// A completed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepDone {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Step of the epoch or evaluation, from 1.
    pub step: u64,
    /// Whether this is an evaluation step.
    pub eval: bool,
    /// Time spent waiting for the batch, in nanoseconds.
    pub load: Nanos,
    /// Emulated computation time, in nanoseconds.
    pub compute: Nanos,
    /// Size of the batch in bytes.
    pub bytes: u64,
}

/// A checkpoint whose save or load starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointStarted {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Number in its keys (`save_ckpt<k>`): the number of the preceding block, or of the checkpoint itself in a run without training.
    pub number: u32,
    /// Number of steps of the epoch before the checkpoint.
    pub steps: u64,
    /// Whether the checkpoint is loaded rather than saved.
    pub load: bool,
}

/// A saved or loaded part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartDone {
    /// The part.
    pub part: CheckpointPart,
    /// Whether the part was loaded rather than saved.
    pub load: bool,
    /// Time that this rank took.
    pub took: Duration,
}

/// A wait of a rank that lasts too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// Rank that waits.
    pub rank: u32,
    /// Epoch, from 1; 0 outside of epochs.
    pub epoch: u32,
    /// Step, from 1; 0 outside of steps.
    pub step: u64,
    /// The awaited event.
    pub waiting: Waiting,
    /// Duration of the wait so far.
    pub waited: Duration,
}

impl std::fmt::Display for Stall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} has waited {} s", self.rank, self.waited.as_secs())?;
        match &self.waiting {
            Waiting::Batch { lane, object: Some(object) } => write!(f, " for lane {lane}, which reads {object}")?,
            Waiting::Batch { lane, object: None } => write!(f, " for lane {lane}, which is idle")?,
            Waiting::Ranks { absent } => write!(f, " for {absent}")?,
            Waiting::Checkpoint { objects } if objects.is_empty() => write!(f, " for a checkpoint lane")?,
            Waiting::Checkpoint { objects } => write!(f, " for the checkpoint file {}", objects.join(", "))?,
            Waiting::Work { what } => write!(f, " for {what}")?,
            Waiting::Files { objects, done } => write!(f, " for {} to be {done}", objects.join(", "))?,
        }
        // The text about an absent rank already has a position, usually the same one.
        let told = matches!(&self.waiting, Waiting::Ranks { absent } if absent.to_string().contains("epoch "));
        if self.epoch > 0 && !told {
            write!(f, " (epoch {}, step {})", self.epoch, self.step)?;
        }
        Ok(())
    }
}

/// Durations after which a wait is reported, and after which it ends the run; zero disables either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StallLimits {
    /// A wait is reported to the observer each time that it has lasted this much longer.
    pub report_after: Duration,
    /// A wait that lasts this long ends the run.
    pub end_after: Duration,
}

impl StallLimits {
    /// Returns limits that report waits after this time and never end the run.
    #[must_use]
    pub fn reporting_after(report_after: Duration) -> Self {
        Self { report_after, end_after: Duration::ZERO }
    }
}

impl Waiting {
    /// Returns whether another rank of the node reports the same wait.
    #[must_use]
    pub fn is_reported_elsewhere(&self) -> bool {
        matches!(self, Waiting::Ranks { absent } if absent.reported_elsewhere)
    }
}

/// The event that a rank waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The next batch.
    Batch {
        /// The lane that delivers the batch.
        lane: u32,
        /// The object that this lane reads.
        object: Option<String>,
    },
    /// The other ranks, in a barrier or another collective.
    Ranks {
        /// The ranks that are absent.
        absent: MissingRanks,
    },
    /// Work without an object.
    Work {
        /// Description of the work.
        what: &'static str,
    },
    /// A checkpoint lane that saves or loads a file.
    Checkpoint {
        /// The objects that the lanes are working on.
        objects: Vec<String>,
    },
    /// A lane that works on a dataset file.
    Files {
        /// The objects that the lanes are working on.
        objects: Vec<String>,
        /// Participle of the work: `written`, `read`, `removed`.
        done: &'static str,
    },
}
