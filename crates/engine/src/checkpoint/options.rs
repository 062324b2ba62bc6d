//! Plan, content, storage and loading of the checkpoints of a run.

use std::sync::Arc;

use dlio_format::checkpoint::Container;
use dlio_format::payload::Payload;
use dlio_plan::CheckpointPlan;
use dlio_storage::Storage;

/// Plan, content, storage and loading of the checkpoints of a run.
#[derive(Clone)]
pub struct Checkpoints {
    /// Plan: which rank writes which files, and when.
    pub plan: CheckpointPlan,
    /// File format of the checkpoints.
    pub container: Container,
    /// Content of the tensors.
    pub payload: Payload,
    /// Whether elements are random rather than ones (`checkpoint.randomize_tensor`).
    pub randomize: bool,
    /// Storage of the checkpoints, with keys relative to `checkpoint.checkpoint_folder`.
    pub storage: Arc<dyn Storage>,
    /// Options of loads.
    pub loading: Loading,
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoints").field("storage", &self.storage.uri("")).finish_non_exhaustive()
    }
}

/// Options for reading the files of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// Number of contiguous blocks of a file that are read at the same time, each by its own lane; 1 reads front to back.
    pub blocks: u32,
    /// Maximum size of a read in bytes; `None` reads a block, or the whole file, at once.
    pub read_bytes: Option<u64>,
    /// Whether every byte is compared with what a save writes; one lane then reads each file front to back.
    pub verify: bool,
}

impl Default for Loading {
    fn default() -> Self {
        Self { blocks: 1, read_bytes: None, verify: false }
    }
}
