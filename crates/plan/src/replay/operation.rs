//! Recorded rows, and the operations of a replay.

use std::sync::Arc;

use dlio_event::{Lane, Nanos, OpKind, Position};

/// One row of a recorded trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Recorded rank, as an index into the list of ranks of the plan.
    pub source: u32,
    /// Lane within the recorded rank.
    pub lane: Lane,
    /// Kind of the event.
    pub kind: OpKind,
    /// Position in the recorded run.
    pub at: Position,
    /// Name of the object; empty if there is none.
    pub uri: Arc<str>,
    /// Endpoint, if there was one.
    pub endpoint: Option<Arc<str>>,
    /// Offset of the first byte of the range, in bytes.
    pub offset: u64,
    /// Length of the range in bytes; `None` for a range up to the end.
    pub requested: Option<u64>,
    /// Bytes that were transferred.
    pub bytes: u64,
    /// Size of the object in bytes, if the row contains it.
    pub object_size: Option<u64>,
    /// Start time in nanoseconds on the clock of rank 0.
    pub start: i64,
    /// End time in nanoseconds on the clock of rank 0.
    pub end: i64,
    /// The attempt succeeded.
    pub ok: bool,
}

impl Recorded {
    /// Returns whether the row is a span of the training loop, which only dependent timing uses.
    pub(super) fn is_loop(&self) -> bool {
        matches!(self.kind, OpKind::Fetch | OpKind::Compute | OpKind::Barrier)
    }

    /// Returns the time that determines the order, in nanoseconds. Spans of the training loop use their end, so that
    /// everything they waited for precedes them.
    pub(super) fn moment(&self) -> i64 {
        if self.is_loop() { self.end } else { self.start }
    }
}

/// Kind of a replayed operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ReplayKind {
    /// Opens a file and keeps it open.
    Open,
    /// Reads a range.
    #[default]
    Read,
    /// Closes an open file.
    Close,
    /// Writes a whole object, or a range of an open file.
    Write,
    /// Flushes an open file to stable storage.
    Sync,
    /// Looks up an object.
    Stat,
    /// Lists the objects with a prefix.
    List,
    /// Removes an object.
    Delete,
    /// The training loop waits until the operations of its step are complete (dependent timing).
    Fetch,
    /// The training loop computes (dependent timing).
    Compute,
    /// All training loops wait for each other (dependent timing).
    Barrier,
}

impl ReplayKind {
    /// All kinds that access storage.
    pub const ALL: [ReplayKind; 8] = [
        ReplayKind::Open,
        ReplayKind::Read,
        ReplayKind::Close,
        ReplayKind::Write,
        ReplayKind::Sync,
        ReplayKind::Stat,
        ReplayKind::List,
        ReplayKind::Delete,
    ];

    /// Returns the name that is used in summaries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ReplayKind::Open => "open",
            ReplayKind::Read => "read",
            ReplayKind::Close => "close",
            ReplayKind::Write => "write",
            ReplayKind::Sync => "sync",
            ReplayKind::Stat => "stat",
            ReplayKind::List => "list",
            ReplayKind::Delete => "delete",
            ReplayKind::Fetch => "fetch",
            ReplayKind::Compute => "compute",
            ReplayKind::Barrier => "barrier",
        }
    }

    /// Returns whether the operation is part of the training loop and does not access storage.
    #[must_use]
    pub fn is_loop(self) -> bool {
        matches!(self, ReplayKind::Fetch | ReplayKind::Compute | ReplayKind::Barrier)
    }

    /// Returns the kind for a recorded row; `None` if the row is part of another row, or not an operation on an object.
    #[must_use]
    pub fn of(kind: OpKind) -> Option<Self> {
        Some(match kind {
            OpKind::Open => ReplayKind::Open,
            OpKind::Close => ReplayKind::Close,
            OpKind::Get | OpKind::GetRange | OpKind::Read => ReplayKind::Read,
            OpKind::Put | OpKind::Write | OpKind::MultipartCreate | OpKind::MultipartPart => ReplayKind::Write,
            OpKind::Fsync => ReplayKind::Sync,
            OpKind::Head | OpKind::Stat => ReplayKind::Stat,
            OpKind::List => ReplayKind::List,
            OpKind::Delete => ReplayKind::Delete,
            OpKind::Fetch => ReplayKind::Fetch,
            OpKind::Compute => ReplayKind::Compute,
            OpKind::Barrier => ReplayKind::Barrier,
            _ => return None,
        })
    }
}

/// Access mode with which the first use opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// For reading.
    #[default]
    Read,
    /// For reading and writing parts.
    Update {
        /// The file is created if it does not exist.
        create: bool,
    },
}

/// Dependencies of an operation in addition to its lane (dependent timing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edges {
    /// The lane is that of a training loop.
    pub own: bool,
    /// Number of the training loop within this rank, from 0 without gaps.
    pub group: u32,
    /// Number of fetches of the loop, and of its barriers outside of steps, that must end before this operation; 0 for
    /// none.
    pub after: u32,
    /// Number that identifies the step of the operation; 0 for none.
    pub batch: u64,
    /// For a fetch: the number of operations of its step that must complete first.
    pub needs: u32,
    /// The operation is counted by `after`.
    pub counts: bool,
}

/// An operation of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayOp {
    /// Number within this rank in recorded order, from 0.
    pub number: u64,
    /// Lane of the replay, from 0 without gaps: one per recorded rank and lane.
    pub lane: u32,
    /// Kind of the operation.
    pub kind: ReplayKind,
    /// Key of the object, relative to the root of [`super::Address`].
    pub key: String,
    /// Offset of the first byte, in bytes.
    pub offset: u64,
    /// Number of bytes to read; `None` for a read up to the end.
    pub len: Option<u64>,
    /// Number of bytes that the operation is expected to transfer.
    pub bytes: u64,
    /// Due time in nanoseconds after the start of the replay.
    pub due: Nanos,
    /// Pause in nanoseconds after the completion of the preceding operation; for the first operation of a lane, after
    /// the start of the replay.
    pub think: Nanos,
    /// Recorded duration in nanoseconds at the speed of the replay. `due` plus this duration is never later than the
    /// `due` of an operation that began after its end.
    pub took: Nanos,
    /// Open file that the operation uses; `None` if the operation opens and closes its object itself.
    pub handle: Option<u64>,
    /// Access mode of the open file.
    pub access: Access,
    /// Set for the last use of the open file: the number of uses, its opening and reads included. The file is closed
    /// when all are complete.
    pub closes: Option<u32>,
    /// Number of the endpoint rule that applies; 0 for none.
    pub via: u16,
    /// The operation looks up a name that other rows show to be a folder.
    pub folder: bool,
    /// The operation failed in the recording. Another failure is not a difference, and no number of bytes is expected.
    pub failed: bool,
    /// Dependencies in addition to the lane (dependent timing).
    pub edges: Edges,
}
