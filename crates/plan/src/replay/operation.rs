//! What a trace recorded, and what a replay makes of it.

use std::sync::Arc;

use dlio_event::{Lane, Nanos, OpKind, Position};

/// One row of a recorded trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Which of the recorded ranks, as an index into the list that the plan was made with.
    pub source: u32,
    /// Lane within that rank.
    pub lane: Lane,
    /// What was done.
    pub kind: OpKind,
    /// Where in the recorded run.
    pub at: Position,
    /// To what; empty: to no object.
    pub uri: Arc<str>,
    /// By which endpoint, where there was one.
    pub endpoint: Option<Arc<str>>,
    /// First byte of the range.
    pub offset: u64,
    /// Length of the range; `None`: to the end.
    pub requested: Option<u64>,
    /// Bytes moved.
    pub bytes: u64,
    /// Size of the object, where the row tells it.
    pub object_size: Option<u64>,
    /// Start, nanoseconds on rank 0's clock.
    pub start: i64,
    /// End.
    pub end: i64,
    /// Whether the attempt succeeded.
    pub ok: bool,
}

impl Recorded {
    /// Whether it is a span of the training loop, which only dependent timing looks at.
    pub(super) fn is_loop(&self) -> bool {
        matches!(self.kind, OpKind::Fetch | OpKind::Compute | OpKind::Barrier)
    }

    /// The moment that decides the order: of the training loop's spans the end, so that all they waited for comes before.
    pub(super) fn moment(&self) -> i64 {
        if self.is_loop() { self.end } else { self.start }
    }
}

/// What a replay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ReplayKind {
    /// Opens a file and keeps it open.
    Open,
    /// Reads a range.
    #[default]
    Read,
    /// Closes what was opened.
    Close,
    /// Writes an object whole, or a range of an open file.
    Write,
    /// Makes durable what was written to an open file.
    Sync,
    /// Looks an object up.
    Stat,
    /// Lists what begins with a prefix.
    List,
    /// Removes an object.
    Delete,
    /// The training loop waits until the operations of its step are done (dependent timing).
    Fetch,
    /// The training loop computes (dependent timing).
    Compute,
    /// All training loops meet (dependent timing).
    Barrier,
}

impl ReplayKind {
    /// Every kind that touches storage.
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

    /// Name in summaries.
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

    /// Whether it is part of the training loop and touches no storage.
    #[must_use]
    pub fn is_loop(self) -> bool {
        matches!(self, ReplayKind::Fetch | ReplayKind::Compute | ReplayKind::Barrier)
    }

    /// What a recorded row stands for; `None`: it is part of another row, or no operation on an object.
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

/// What an operation wants of the open file that it uses, if it is the first to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// To read it.
    #[default]
    Read,
    /// To write parts of it too.
    Update {
        /// It need not exist.
        create: bool,
    },
}

/// What an operation waits for beside its lane (dependent timing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edges {
    /// Its lane is that of a training loop.
    pub own: bool,
    /// Which training loop, dense from 0 within this rank.
    pub group: u32,
    /// So many of its fetches, and of its meetings outside steps, have ended first; 0: none.
    pub after: u32,
    /// The step that the operation belongs to, as a number of its own; 0: none.
    pub batch: u64,
    /// A fetch: operations of its step that are done first.
    pub needs: u32,
    /// Whether it is what `after` counts.
    pub counts: bool,
}

/// One operation to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayOp {
    /// Number within this rank, in recorded order, from 0.
    pub number: u64,
    /// Lane of the replay, dense from 0: one per recorded rank and lane.
    pub lane: u32,
    /// What to do.
    pub kind: ReplayKind,
    /// With which object, relative to the root of [`super::Address`].
    pub key: String,
    /// First byte.
    pub offset: u64,
    /// Bytes to read; `None`: to the end.
    pub len: Option<u64>,
    /// Bytes that should move.
    pub bytes: u64,
    /// When, nanoseconds after the start of the replay.
    pub due: Nanos,
    /// Pause since the completion of what it follows; of the first of a lane: since the start of the replay.
    pub think: Nanos,
    /// How long it took when it was recorded, at the speed of the replay: `due` and this are never later than the `due` of what began
    /// after its end.
    pub took: Nanos,
    /// The open file that it uses; `None`: it opens what it needs, and closes it.
    pub handle: Option<u64>,
    /// How it is opened.
    pub access: Access,
    /// The last use of that file, and how many there are with its opening and reads; it is closed when all are done.
    pub closes: Option<u32>,
    /// Which endpoint rule fits; 0: none.
    pub via: u16,
    /// A look-up of what other rows show to be a folder.
    pub folder: bool,
    /// It failed when it was recorded: another failure is no difference, and no number of bytes is expected.
    pub failed: bool,
    /// What it waits for beside its lane (dependent timing).
    pub edges: Edges,
}
