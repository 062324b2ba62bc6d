//! What a run did, for whoever started it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dlio_analyze::outputs::Summary;
use dlio_engine::{Generated, Verified};

use crate::failure::Failure;

/// What a run did. Numbers of all ranks are those of rank 0, which gathers them; other ranks have only some of them.
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
    /// How closely a trace was followed: the content of `replay.json`.
    pub replayed: Option<serde_json::Value>,
    /// The run came to its end, so that this is complete, whatever was found.
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

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// What was done; `None`: the run ended before there was anything to report.
    pub outcome: Option<Outcome>,
    /// The failure of the run: one for all ranks.
    pub result: Result<(), Failure>,
}

impl Ended {
    /// What was done, where nothing failed.
    ///
    /// # Errors
    /// The failure of the run.
    pub fn into_result(self) -> Result<Outcome, Failure> {
        self.result.map(|()| self.outcome.unwrap_or_default())
    }
}
