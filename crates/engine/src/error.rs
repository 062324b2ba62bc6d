//! What ends a run early, and its class for the exit code.

use dlio_storage::ErrorKind;

use crate::Stall;
use crate::place::Place;

/// A run of this rank that did not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A storage operation failed.
    #[error("{place}")]
    Storage {
        /// Rank, epoch, step.
        place: Place,
        /// Operation, object, endpoint and what went wrong.
        #[source]
        source: Box<dlio_storage::Error>,
    },
    /// An object of the data set does not exist.
    #[error("{place}: {object} does not exist{answer}; generate the data set first")]
    Missing {
        /// Rank, epoch, step.
        place: Place,
        /// Full name.
        object: String,
        /// Which endpoint said so and how, where one did; begins with a space.
        answer: String,
    },
    /// A file of a checkpoint cannot be made as configured.
    #[error("saving {object} ({place})")]
    Checkpoint {
        /// Rank.
        place: Place,
        /// Full name.
        object: String,
        /// Why not.
        #[source]
        source: dlio_format::checkpoint::Error,
    },
    /// A file of a checkpoint does not exist.
    #[error(
        "{place}: {object} does not exist{answer}: this checkpoint is not complete, or was written with another model or number of \
         ranks; write it first (checkpoint.num_checkpoints_write), or load what exists"
    )]
    MissingCheckpoint {
        /// Rank, and the number of the checkpoint as the step.
        place: Place,
        /// Full name.
        object: String,
        /// Which endpoint said so and how, where one did; begins with a space.
        answer: String,
    },
    /// A file of a checkpoint is damaged, or one of another checkpoint.
    #[error("loading {object} ({place}): {what}; write the checkpoint again, or load another one")]
    DamagedCheckpoint {
        /// Rank, and the number of the checkpoint as the step.
        place: Place,
        /// Full name.
        object: String,
        /// What was expected and what was found.
        what: String,
    },
    /// Fewer checkpoints exist than are to be read.
    #[error(
        "Number of checkpoints to be read: {wanted} is more than the number of checkpoints available: {found}, in {folder}; \
         lower checkpoint.num_checkpoints_read, or write more first (checkpoint.num_checkpoints_write)"
    )]
    TooFewCheckpoints {
        /// `checkpoint.num_checkpoints_read`
        wanted: u64,
        /// Those that exist.
        found: u64,
        /// `checkpoint.checkpoint_folder`
        folder: String,
    },
    /// An object is not what its format requires.
    #[error("reading {object} ({place})")]
    Corrupt {
        /// Rank, epoch, step.
        place: Place,
        /// Full name.
        object: String,
        /// What was expected and what was found.
        #[source]
        source: dlio_format::Error,
    },
    /// A file cannot be made as configured.
    #[error("generating {object} ({place})")]
    Encode {
        /// Rank.
        place: Place,
        /// Full name.
        object: String,
        /// Why not.
        #[source]
        source: dlio_format::Error,
    },
    /// The ranks do not plan the same run.
    #[error(
        "{} would not run what rank 0 runs (its plan is {expected}): start every rank with the same workload, \
         overrides, environment and version of dlio-rs",
        name_ranks(ranks)
    )]
    PlanMismatch {
        /// Ranks whose plan differs from that of rank 0.
        ranks: Vec<u32>,
        /// Fingerprint of rank 0's plan.
        expected: String,
    },
    /// The plan is for another number of ranks.
    #[error("the plan is for {planned} ranks, but {started} were started")]
    World {
        /// Ranks of the plan.
        planned: u32,
        /// Ranks of the communicator.
        started: u32,
    },
    /// A collective failed: another rank gave up, or the communicator is broken.
    #[error("{place}: the ranks could not meet")]
    Comm {
        /// Rank, epoch, step.
        place: Place,
        /// Which rank, and why.
        #[source]
        source: dlio_comm::Error,
    },
    /// The run was asked to end.
    #[error("{place}: cancelled")]
    Cancelled {
        /// Rank, epoch, step.
        place: Place,
    },
    /// A wait lasted longer than it may.
    #[error("{stall}; this ends the run (--stall-timeout)")]
    Stalled {
        /// Who waits, for what, and how long.
        stall: Box<Stall>,
    },
    /// The operating system would not start a lane.
    #[error("{place}: starting lane {lane}; {} or lower reader.read_threads", allow_more(source))]
    LaneStart {
        /// Rank.
        place: Place,
        /// Lane.
        lane: u32,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// A trace cannot be replayed.
    #[error("replaying the trace ({place})")]
    Trace {
        /// Rank.
        place: Place,
        /// What is wrong with it.
        #[source]
        source: dlio_plan::replay::Error,
    },
    /// The plan and what a lane delivered contradict each other: a defect of this program.
    #[error("{place}: {what}; this is a defect of dlio-rs, please report it")]
    Defect {
        /// Rank, epoch, step.
        place: Place,
        /// The contradiction.
        what: String,
    },
}

/// Classes of errors; each has a documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Storage, with its own class.
    Storage(ErrorKind),
    /// The content of the data set is damaged, or the data set is another one.
    Corrupt,
    /// The ranks do not plan the same run, or the plan cannot be carried out.
    Plan,
    /// Another rank ended the run.
    Aborted,
    /// The communicator failed.
    Comm,
    /// Asked to end.
    Cancelled,
    /// A wait lasted longer than it may.
    Stalled,
    /// A recorded trace cannot be read or replayed.
    Trace,
    /// The machine or this program.
    Internal,
}

/// ` at http://host:port (HTTP 404 NoSuchKey)` for what an endpoint says does not exist; nothing for files.
pub(crate) fn answer(error: &dlio_storage::Error) -> String {
    let Some(endpoint) = &error.endpoint else { return String::new() };
    let said = error.message.split(';').next().unwrap_or_default();
    format!(" at {endpoint} ({said})")
}

impl Error {
    /// The class, for the exit code.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Storage { source, .. } => ErrorClass::Storage(source.kind),
            Error::Missing { .. } | Error::MissingCheckpoint { .. } | Error::TooFewCheckpoints { .. } => {
                ErrorClass::Storage(ErrorKind::NotFound)
            }
            Error::Corrupt { .. } | Error::DamagedCheckpoint { .. } => ErrorClass::Corrupt,
            Error::Encode { .. } | Error::Checkpoint { .. } | Error::PlanMismatch { .. } | Error::World { .. } => {
                ErrorClass::Plan
            }
            Error::Comm { source: dlio_comm::Error::Aborted { .. }, .. } => ErrorClass::Aborted,
            Error::Cancelled { .. } | Error::Comm { source: dlio_comm::Error::Cancelled, .. } => ErrorClass::Cancelled,
            Error::Stalled { .. } | Error::Comm { source: dlio_comm::Error::Stalled(_), .. } => ErrorClass::Stalled,
            Error::Comm { .. } => ErrorClass::Comm,
            Error::Trace { .. } => ErrorClass::Trace,
            Error::LaneStart { .. } | Error::Defect { .. } => ErrorClass::Internal,
        }
    }
}

/// `rank 3`, or `ranks 1, 2`; a long list is cut.
fn name_ranks(ranks: &[u32]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = ranks.iter().take(SHOWN).map(u32::to_string).collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    match ranks.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{noun} {} and {more} others", names.join(", ")),
        _ => format!("{noun} {}", names.join(", ")),
    }
}

/// Which limit a lane ran into: its thread, or the descriptors of its runtime.
fn allow_more(error: &std::io::Error) -> &'static str {
    // Linux's numbers, which the standard library has no names for.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match error.raw_os_error() {
        Some(EMFILE) => "allow more open files (ulimit -n)",
        Some(ENFILE) => "allow more open files on this system (fs.file-max)",
        _ => "allow more threads (ulimit -u)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_mismatch_names_the_ranks() {
        let error = Error::PlanMismatch { ranks: vec![1, 3], expected: "ab12".into() };
        assert!(error.to_string().starts_with("ranks 1, 3 would not run what rank 0 runs (its plan is ab12)"));
        assert_eq!(name_ranks(&(1..=10).collect::<Vec<_>>()), "ranks 1, 2, 3, 4, 5, 6, 7, 8 and 2 others");
    }
}
