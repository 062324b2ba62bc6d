//! Errors that end a run early, and their classes for the exit code.

use dlio_storage::ErrorKind;

use crate::Stall;
use crate::place::Place;

/// The reason why the run of this rank did not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A storage operation failed.
    #[error("{place}")]
    Storage {
        /// Rank, epoch and step.
        place: Place,
        /// The storage error with operation, object, endpoint and cause.
        #[source]
        source: Box<dlio_storage::Error>,
    },
    /// An object of the dataset does not exist.
    #[error("{place}: {object} does not exist{answer}; generate the dataset first")]
    Missing {
        /// Rank, epoch and step.
        place: Place,
        /// Full name of the object.
        object: String,
        /// Endpoint and response that reported it, preceded by a space; empty on local storage.
        answer: String,
    },
    /// A checkpoint file cannot be encoded as configured.
    #[error("saving {object} ({place})")]
    Checkpoint {
        /// Rank.
        place: Place,
        /// Full name of the object.
        object: String,
        /// Cause.
        #[source]
        source: dlio_format::checkpoint::Error,
    },
    /// A checkpoint file does not exist.
    #[error(
        "{place}: {object} does not exist{answer}: this checkpoint is not complete, or was written with another model or number of \
         ranks; write it first (checkpoint.num_checkpoints_write), or load what exists"
    )]
    MissingCheckpoint {
        /// Rank, with the number of the checkpoint as the step.
        place: Place,
        /// Full name of the object.
        object: String,
        /// Endpoint and response that reported it, preceded by a space; empty on local storage.
        answer: String,
    },
    /// A checkpoint file is damaged, or belongs to another checkpoint.
    #[error("loading {object} ({place}): {what}; write the checkpoint again, or load another one")]
    DamagedCheckpoint {
        /// Rank, with the number of the checkpoint as the step.
        place: Place,
        /// Full name of the object.
        object: String,
        /// Expected and actual content.
        what: String,
    },
    /// Fewer checkpoints exist than the workload reads.
    #[error(
        "Number of checkpoints to be read: {wanted} is more than the number of checkpoints available: {found}, in {folder}; \
         lower checkpoint.num_checkpoints_read, or write more first (checkpoint.num_checkpoints_write)"
    )]
    TooFewCheckpoints {
        /// Value of `checkpoint.num_checkpoints_read`.
        wanted: u64,
        /// Number of existing checkpoints.
        found: u64,
        /// Value of `checkpoint.checkpoint_folder`.
        folder: String,
    },
    /// The content of an object violates its format.
    #[error("reading {object} ({place})")]
    Corrupt {
        /// Rank, epoch and step.
        place: Place,
        /// Full name of the object.
        object: String,
        /// Expected and actual content.
        #[source]
        source: dlio_format::Error,
    },
    /// A dataset file cannot be encoded as configured.
    #[error("generating {object} ({place})")]
    Encode {
        /// Rank.
        place: Place,
        /// Full name of the object.
        object: String,
        /// Cause.
        #[source]
        source: dlio_format::Error,
    },
    /// The plans of the ranks differ.
    #[error(
        "the plan of {} differs from the plan of rank 0 ({expected}): start every rank with the same workload, \
         overrides, environment and version of dlio-rs",
        name_ranks(ranks)
    )]
    PlanMismatch {
        /// Ranks whose plan differs from that of rank 0.
        ranks: Vec<u32>,
        /// Fingerprint of rank 0's plan.
        expected: String,
    },
    /// The plan is for a different number of ranks.
    #[error("the plan is for {planned} ranks, but {started} were started")]
    World {
        /// Number of ranks in the plan.
        planned: u32,
        /// Number of ranks in the communicator.
        started: u32,
    },
    /// A collective failed, because another rank aborted or the communicator is broken.
    #[error("{place}: a collective of the ranks failed")]
    Comm {
        /// Rank, epoch and step.
        place: Place,
        /// The error of the communicator, with the rank and cause.
        #[source]
        source: dlio_comm::Error,
    },
    /// The run was cancelled.
    #[error("{place}: cancelled")]
    Cancelled {
        /// Rank, epoch and step.
        place: Place,
    },
    /// A wait exceeded its limit.
    #[error("{stall}; this ends the run (--stall-timeout)")]
    Stalled {
        /// The wait that exceeded the limit.
        stall: Box<Stall>,
    },
    /// The operating system refused to start a lane.
    #[error("{place}: starting lane {lane}; {} or lower reader.read_threads", allow_more(source))]
    LaneStart {
        /// Rank.
        place: Place,
        /// Number of the lane.
        lane: u32,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A trace cannot be replayed.
    #[error("replaying the trace ({place})")]
    Trace {
        /// Rank.
        place: Place,
        /// The error in the trace.
        #[source]
        source: dlio_plan::replay::Error,
    },
    /// The plan and the result of a lane contradict each other, which is a defect of this program.
    #[error("{place}: {what}; this is a defect of dlio-rs, please report it")]
    Defect {
        /// Rank, epoch and step.
        place: Place,
        /// Description of the contradiction.
        what: String,
    },
}

/// Class of an error; each class has a documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// A storage error of this kind.
    Storage(ErrorKind),
    /// The dataset is damaged, or is not the one that the workload describes.
    Corrupt,
    /// The plans of the ranks differ, or the plan cannot be executed.
    Plan,
    /// Another rank aborted the run.
    Aborted,
    /// The communicator failed.
    Comm,
    /// The run was cancelled.
    Cancelled,
    /// A wait exceeded its limit.
    Stalled,
    /// A recorded trace cannot be read or replayed.
    Trace,
    /// A fault of the machine or a defect of this program.
    Internal,
}

/// Returns ` at http://host:port (HTTP 404 NoSuchKey)` for an object that an endpoint reports as missing, and nothing for files.
pub(crate) fn answer(error: &dlio_storage::Error) -> String {
    let Some(endpoint) = &error.endpoint else { return String::new() };
    let said = error.message.split(';').next().unwrap_or_default();
    format!(" at {endpoint} ({said})")
}

impl Error {
    /// Returns the class of the error, which determines the exit code.
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

/// Returns `rank 3` or `ranks 1, 2`; a long list is shortened.
fn name_ranks(ranks: &[u32]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = ranks.iter().take(SHOWN).map(u32::to_string).collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    match ranks.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{noun} {} and {more} others", names.join(", ")),
        _ => format!("{noun} {}", names.join(", ")),
    }
}

/// Returns a remedy for the exceeded limit: threads, or the file descriptors of the lane's runtime.
fn allow_more(error: &std::io::Error) -> &'static str {
    // Error numbers of Linux, for which the standard library has no constants.
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
        assert!(error.to_string().starts_with("the plan of ranks 1, 3 differs from the plan of rank 0 (ab12)"));
        assert_eq!(name_ranks(&(1..=10).collect::<Vec<_>>()), "ranks 1, 2, 3, 4, 5, 6, 7, 8 and 2 others");
    }
}
