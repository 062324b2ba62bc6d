//! Jobs that the main task sends to a checkpoint lane, and their results.

use std::sync::{Arc, Mutex, PoisonError};

use dlio_event::{Nanos, Position};
use dlio_format::Encoder;
use dlio_plan::{CheckpointFile, CheckpointPart};
use dlio_storage::Staged;

/// A job of a checkpoint lane.
pub(super) enum Job {
    /// Create the root of the checkpoints.
    Create,
    /// List the checkpoints in the folder.
    List,
    /// Remove this rank's files of a checkpoint that is replaced.
    Clear { at: Position, folder: String, files: Vec<CheckpointFile> },
    /// Store the files of a checkpoint in order, without making them visible.
    Save { at: Position, folder: String, files: Vec<CheckpointFile> },
    /// Make stored files visible.
    Publish { at: Position, staged: Vec<Staged> },
    /// Request the size of a file.
    Size(Block),
    /// Read one block of a file.
    Read(Block),
}

/// Result of a job, or of a part of it.
#[derive(Debug)]
pub(super) enum JobDone {
    /// Names of the existing checkpoints.
    Listed(Vec<String>),
    /// A file was stored.
    Stored { part: CheckpointPart, span: (Nanos, Nanos), staged: Box<Staged> },
    /// Size of the file in bytes.
    Size(u64),
    /// Number of bytes of a block that were read.
    Read(u64),
    /// The job is complete.
    Finished,
}

/// Minimum length of a block in bytes; smaller blocks gain nothing.
const BLOCK_MIN: u64 = 1 << 20;

/// A contiguous block of a file.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) at: Position,
    pub(super) key: String,
    /// Number of the block, from 0.
    pub(super) number: u32,
    /// Number of blocks of the file.
    pub(super) of: u32,
    /// Size of the file in bytes, if it was requested.
    pub(super) size: Option<u64>,
    /// Exact size of the object in bytes, if the container determines it.
    pub(super) exact: Option<u64>,
    /// Minimum size of the object in bytes, which is the size of its tensors.
    pub(super) least: u64,
    /// Encoder of the expected content, if the object is verified.
    pub(super) expected: Option<Encoder>,
}

impl Block {
    /// Returns first byte and end of the block in a file of this size in bytes.
    pub(super) fn range(&self, size: u64) -> (u64, u64) {
        let of = u64::from(self.of).min(size.div_ceil(BLOCK_MIN)).max(1);
        let number = u64::from(self.number);
        if number >= of {
            return (size, size);
        }
        let len = size / of;
        (number * len, if number + 1 == of { size } else { (number + 1) * len })
    }
}

/// The object that a lane works on, for the task that waits for the lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Status(Arc<Mutex<Option<String>>>);

impl Status {
    pub(super) fn set(&self, object: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = object;
    }

    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_a_file_without_gaps() {
        for size in [0, 1, 5, BLOCK_MIN, 3 * BLOCK_MIN + 1, 4 * BLOCK_MIN + 3] {
            let mut next = 0;
            for number in 0..4 {
                let at = Position::default();
                let block =
                    Block { at, key: String::new(), number, of: 4, size: None, exact: None, least: 0, expected: None };
                let (start, end) = block.range(size);
                if start < end {
                    assert_eq!(start, next, "{size}");
                    next = end;
                }
            }
            assert_eq!(next, size);
        }
    }
}
