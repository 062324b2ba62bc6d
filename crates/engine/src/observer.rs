//! Progress, told to whoever prints it.

use std::time::Duration;

use dlio_comm::Absence;
use dlio_event::{BlockTimings, CheckpointTimings, EpochTimings, Nanos};
use dlio_plan::CheckpointPart;

use crate::Cost;

/// Is told about the progress of this rank, on the thread of the training loop.
///
/// Every call happens between two measured intervals except [`Observer::step_ended`], which is on the measured path:
/// an implementation stores numbers and returns.
pub trait Observer {
    /// Generation begins; this rank has `files` files to look at.
    fn generation_started(&self, files: u64) {
        let _ = files;
    }

    /// One file of this rank is there.
    fn file_done(&self, file: &FileDone) {
        let _ = file;
    }

    /// All files of all ranks are there.
    fn generation_ended(&self, generated: &Generated) {
        let _ = generated;
    }

    /// A look at the whole data set begins; this rank has `files` files to look at.
    fn verification_started(&self, files: u64) {
        let _ = files;
    }

    /// This rank has looked at one more file.
    fn file_verified(&self) {}

    /// This rank has looked at all of its files.
    fn verification_ended(&self) {}

    /// Rank 0 has removed one more file of the data set.
    fn file_removed(&self) {}

    /// Operations of a replayed trace are over on this rank: so many and so many bytes, in all, left out ones included.
    fn operations_done(&self, operations: u64, bytes: u64) {
        let _ = (operations, bytes);
    }

    /// All ranks are ready and agree on the plan.
    fn run_started(&self, run: &RunStarted) {
        let _ = run;
    }

    /// An epoch begins.
    fn epoch_started(&self, epoch: u32) {
        let _ = epoch;
    }

    /// The training part of an epoch is over.
    fn training_ended(&self, epoch: &EpochTimings) {
        let _ = epoch;
    }

    /// An epoch is over, with its evaluation.
    fn epoch_ended(&self, epoch: &EpochTimings) {
        let _ = epoch;
    }

    /// A block of training steps begins.
    fn block_started(&self, epoch: u32, block: u32) {
        let _ = (epoch, block);
    }

    /// A block of training steps is over.
    fn block_ended(&self, epoch: u32, block: &BlockTimings) {
        let _ = (epoch, block);
    }

    /// A training or evaluation step is over, its barrier included.
    fn step_ended(&self, step: &StepDone) {
        let _ = step;
    }

    /// An evaluation begins.
    fn eval_started(&self, epoch: u32) {
        let _ = epoch;
    }

    /// An evaluation is over.
    fn eval_ended(&self, epoch: u32, eval: &BlockTimings) {
        let _ = (epoch, eval);
    }

    /// A run that only takes checkpoints begins or ends to save, or to load, them.
    fn checkpointing(&self, load: bool, begins: bool) {
        let _ = (load, begins);
    }

    /// A checkpoint is about to be saved or loaded.
    fn checkpoint_started(&self, checkpoint: &CheckpointStarted) {
        let _ = checkpoint;
    }

    /// One part of a checkpoint was saved or loaded by this rank.
    fn checkpoint_part(&self, part: &PartDone) {
        let _ = part;
    }

    /// A checkpoint was saved or loaded by this rank.
    fn checkpoint_ended(&self, epoch: u32, checkpoint: &CheckpointTimings) {
        let _ = (epoch, checkpoint);
    }

    /// The whole run of this rank is over; `cost` is what the client itself needed.
    fn run_ended(&self, cost: &Cost) {
        let _ = cost;
    }

    /// This rank waits for something for much longer than expected; told again and again while it lasts.
    fn stalled(&self, stall: &Stall) {
        let _ = stall;
    }
}

/// An observer that is not interested.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// One file of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDone {
    /// Combined number of the file.
    pub file: u64,
    /// Size in bytes, its index included.
    pub bytes: u64,
    /// It was complete already and was not written.
    pub kept: bool,
    /// One of another size was there, and nobody asked for it to be overwritten.
    pub replaced: bool,
}

/// What a generation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generated {
    /// By this rank.
    pub rank: FileTotals,
    /// By all ranks.
    pub world: FileTotals,
    /// From the first barrier to the last.
    pub duration: Duration,
    /// CPU time of this process meanwhile.
    pub cpu: Duration,
}

/// Files and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileTotals {
    /// Files looked at, kept ones included.
    pub files: u64,
    /// Files that were complete already.
    pub kept: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files that took the place of some of another size, without having been asked to.
    pub replaced: u64,
}

/// What is about to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunStarted {
    /// Epochs.
    pub epochs: u32,
    /// Training steps per epoch that will be run.
    pub steps: u64,
    /// Evaluation steps per evaluation that will be run.
    pub eval_steps: u64,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepDone {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Step of the epoch or evaluation, from 1.
    pub step: u64,
    /// An evaluation step.
    pub eval: bool,
    /// Waiting for the batch.
    pub load: Nanos,
    /// Emulated computation.
    pub compute: Nanos,
    /// Bytes of the batch.
    pub bytes: u64,
}

/// A checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointStarted {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Number in its keys (`save_ckpt<k>`): that of the block before it, or its own where nothing is trained.
    pub number: u32,
    /// Steps of the epoch that were done before it.
    pub steps: u64,
    /// It is loaded rather than saved.
    pub load: bool,
}

/// One part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartDone {
    /// Which.
    pub part: CheckpointPart,
    /// It was loaded rather than saved.
    pub load: bool,
    /// How long that took this rank.
    pub took: Duration,
}

/// What a rank is stuck in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// Rank that waits.
    pub rank: u32,
    /// Epoch, from 1; 0: not in one.
    pub epoch: u32,
    /// Step, from 1; 0: not in one.
    pub step: u64,
    /// What it waits for.
    pub waiting: Waiting,
    /// For how long already.
    pub waited: Duration,
}

impl std::fmt::Display for Stall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} has waited {} s", self.rank, self.waited.as_secs())?;
        match &self.waiting {
            Waiting::Batch { lane, object: Some(object) } => write!(f, " for lane {lane}, which reads {object}")?,
            Waiting::Batch { lane, object: None } => write!(f, " for lane {lane}, which reads nothing")?,
            Waiting::Ranks { absent } => write!(f, " for {absent}")?,
            Waiting::Checkpoint { objects } if objects.is_empty() => write!(f, " for a checkpoint lane")?,
            Waiting::Checkpoint { objects } => write!(f, " for the checkpoint file {}", objects.join(", "))?,
            Waiting::Work { what } => write!(f, " for {what}")?,
            Waiting::Files { objects, done } => write!(f, " for {} to be {done}", objects.join(", "))?,
        }
        // A missing rank's last activity has its position already, most often the same.
        let told = matches!(&self.waiting, Waiting::Ranks { absent } if absent.to_string().contains("epoch "));
        if self.epoch > 0 && !told {
            write!(f, " (epoch {}, step {})", self.epoch, self.step)?;
        }
        Ok(())
    }
}

/// When a long wait is spoken of, and when it ends the run; zero: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StallLimits {
    /// A wait of this length is reported to the observer, again after each further one.
    pub report_after: Duration,
    /// A wait of this length ends the run.
    pub end_after: Duration,
}

impl StallLimits {
    /// Reports after this time, and never ends the run.
    #[must_use]
    pub fn reporting_after(report_after: Duration) -> Self {
        Self { report_after, end_after: Duration::ZERO }
    }
}

impl Waiting {
    /// Whether another rank of the node says the same.
    #[must_use]
    pub fn is_told_elsewhere(&self) -> bool {
        matches!(self, Waiting::Ranks { absent } if absent.told_elsewhere)
    }
}

/// What a rank waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// For its next batch.
    Batch {
        /// The lane that has to deliver it.
        lane: u32,
        /// What that lane is reading.
        object: Option<String>,
    },
    /// For the other ranks, in a barrier or another collective.
    Ranks {
        /// Who is missing.
        absent: Absence,
    },
    /// For something that has no object's name.
    Work {
        /// What it is.
        what: &'static str,
    },
    /// For a lane to save or load a file of a checkpoint.
    Checkpoint {
        /// What the lanes are working on.
        objects: Vec<String>,
    },
    /// For a lane to finish a file of the data set.
    Files {
        /// What the lanes are working on.
        objects: Vec<String>,
        /// What is to be done with them: `written`, `read`, `removed`.
        done: &'static str,
    },
}
