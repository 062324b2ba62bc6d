//! Results of a run for its front end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dlio_analyze::outputs::Summary;
use dlio_engine::{Generated, Verified};

use crate::failure::Failure;

/// Results of a run. Rank 0 gathers the numbers of all ranks; other ranks have only some of them.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Name of the configuration: a path or a bundled name.
    pub workload: String,
    /// Number of ranks.
    pub ranks: u32,
    /// Number of nodes.
    pub nodes: u32,
    /// Output folder.
    pub output: PathBuf,
    /// Files that were generated.
    pub generated: Option<Generated>,
    /// Files whose content was checked.
    pub verified: Option<Verified>,
    /// Metrics of a training or of checkpoints.
    pub summary: Option<Summary>,
    /// Operations and bytes of one pass of a replayed trace, by kind of operation.
    pub planned: Option<BTreeMap<String, PlannedOperations>>,
    /// How closely the schedule of a trace was followed: the content of `replay.json`.
    pub replayed: Option<serde_json::Value>,
    /// The run came to its end, so the results are complete, even if the run then failed, for example because of bad
    /// files.
    pub complete: bool,
}

/// Operations of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlannedOperations {
    /// Number of operations.
    pub operations: u64,
    /// Bytes that they move.
    pub bytes: u64,
}

/// The end of a run.
#[derive(Debug)]
pub struct Ended {
    /// Results; `None` if the run ended before it started its work.
    pub outcome: Option<Outcome>,
    /// The failure of the run, the same on all ranks.
    pub result: Result<(), Failure>,
}

impl Ended {
    /// Returns the results of a run that did not fail.
    ///
    /// # Errors
    /// The run failed.
    pub fn into_result(self) -> Result<Outcome, Failure> {
        self.result.map(|()| self.outcome.unwrap_or_default())
    }
}
