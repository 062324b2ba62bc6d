//! Which operations of a recorded trace a rank does again, on which objects and when.
//!
//! Invariant: a stream of recorded rows becomes a lazy stream of operations. What is held is a window of rows that
//! puts them in order, one number per lane, and one number per object that the trace writes.

mod address;
mod error;
mod fidelity;
mod histogram;
mod merge;
mod options;
mod requirement;
mod stream;
mod survey;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dlio_event::{Lane, Nanos, OpKind};

pub use address::{Address, address};
pub use error::Error;
pub use fidelity::{Fidelity, Issue};
pub use histogram::Histogram;
pub use merge::merged;
pub use options::{Late, Mapping, Operations, Options, Rule, Timing};
pub use requirement::{METRICS, Requirement};
pub use stream::Stream;
pub use survey::Survey;

/// One row of a recorded trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Which of the recorded ranks, as an index into the list that the plan was made with.
    pub source: u32,
    /// Lane within that rank.
    pub lane: Lane,
    /// What was done.
    pub kind: OpKind,
    /// To what; empty: to no object.
    pub uri: Arc<str>,
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

/// What a replay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplayKind {
    /// Reads a range.
    Read,
    /// Writes an object whole.
    Write,
    /// Looks an object up.
    Stat,
    /// Lists what begins with a prefix.
    List,
    /// Removes an object.
    Delete,
}

impl ReplayKind {
    /// Every kind.
    pub const ALL: [ReplayKind; 5] =
        [ReplayKind::Read, ReplayKind::Write, ReplayKind::Stat, ReplayKind::List, ReplayKind::Delete];

    /// Name in summaries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ReplayKind::Read => "read",
            ReplayKind::Write => "write",
            ReplayKind::Stat => "stat",
            ReplayKind::List => "list",
            ReplayKind::Delete => "delete",
        }
    }

    /// What a recorded row stands for; `None`: it is part of another row, or no operation on an object.
    #[must_use]
    pub fn of(kind: OpKind) -> Option<Self> {
        Some(match kind {
            OpKind::Get | OpKind::GetRange | OpKind::Read => ReplayKind::Read,
            OpKind::Put | OpKind::Write | OpKind::MultipartCreate | OpKind::MultipartPart => ReplayKind::Write,
            OpKind::Head | OpKind::Stat => ReplayKind::Stat,
            OpKind::List => ReplayKind::List,
            OpKind::Delete => ReplayKind::Delete,
            _ => return None,
        })
    }
}

/// One operation to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayOp {
    /// Number within this rank, in recorded order, from 0.
    pub number: u64,
    /// Lane of the replay, dense from 0: one per recorded rank and lane.
    pub lane: u32,
    /// What to do.
    pub kind: ReplayKind,
    /// With which object, relative to the root of [`Address`].
    pub key: String,
    /// First byte.
    pub offset: u64,
    /// Bytes to read; `None`: to the end.
    pub len: Option<u64>,
    /// Bytes that should move.
    pub bytes: u64,
    /// When, nanoseconds after the start of the replay.
    pub due: Nanos,
    /// Pause since the completion of the lane's operation before; of its first: since the start of the replay.
    pub think: Nanos,
}

/// How a trace is replayed by a number of ranks.
#[derive(Debug, Clone)]
pub struct ReplayPlan {
    options: Options,
    recorded: Vec<u32>,
    world: u32,
    began: i64,
}

impl ReplayPlan {
    /// Plans for `world` ranks the replay of a trace of the ranks `recorded`, whose first event was at `began`.
    ///
    /// # Errors
    /// When an option has no meaning.
    pub fn new(options: Options, recorded: Vec<u32>, world: u32, began: i64) -> Result<Self, Error> {
        options.check(&recorded)?;
        Ok(Self { options, recorded, world: world.max(1), began })
    }

    /// Options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The recorded ranks, as indices, of which `rank` does something.
    #[must_use]
    pub fn sources(&self, rank: u32) -> Vec<usize> {
        let chosen = |source: &u32| self.options.ranks.is_empty() || self.options.ranks.contains(source);
        let indices = self.recorded.iter().enumerate().filter(|(_, number)| chosen(number)).map(|(index, _)| index);
        indices.filter(|&index| self.share(index, rank).is_some()).collect()
    }

    /// Which part of a recorded rank's lanes `rank` has, and of how many parts.
    fn share(&self, index: usize, rank: u32) -> Option<(u64, u64)> {
        let (index, count) = (index as u64, self.recorded.len().max(1) as u64);
        let (rank, world) = (u64::from(rank), u64::from(self.world));
        if world <= count {
            let owner = match self.options.mapping {
                Mapping::Modulo => index % world,
                Mapping::Block => index * world / count,
            };
            return (owner == rank).then_some((0, 1));
        }
        let source_of = |rank: u64| match self.options.mapping {
            Mapping::Modulo => rank % count,
            Mapping::Block => rank * count / world,
        };
        if source_of(rank) != index {
            return None;
        }
        let before = (0..rank).filter(|&other| source_of(other) == index).count() as u64;
        let all = (0..world).filter(|&other| source_of(other) == index).count() as u64;
        Some((before, all))
    }

    /// Whether `rank` does what this row's lane did. A rank that was recorded is shared by its lanes where there are more
    /// ranks than were recorded.
    fn is_mine(&self, rank: u32, row: &Recorded) -> bool {
        let number = u64::from(row.lane.0.wrapping_add(1));
        self.share(row.source as usize, rank).is_some_and(|(part, parts)| number % parts == part)
    }

    /// What becomes of a row.
    fn judge(&self, rank: u32, row: &Recorded) -> Result<Verdict, Error> {
        if !self.is_mine(rank, row) {
            return Ok(Verdict::Elsewhere);
        }
        let Some(kind) = ReplayKind::of(row.kind) else {
            let part = row.kind.is_storage();
            return Ok(if part { Verdict::Folded } else { Verdict::Elsewhere });
        };
        if !self.options.admits(kind, row, self.began) {
            return Ok(Verdict::Filtered);
        }
        if !row.ok {
            return Ok(Verdict::Failed);
        }
        let address = self.options.target(&row.uri)?;
        // The bucket or folder as a whole: looked up before a run, listed from its root.
        if address.key.is_empty() {
            return Ok(Verdict::Folded);
        }
        Ok(Verdict::Do(kind, address))
    }
}

/// What becomes of a recorded row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Another rank's, or no storage operation.
    Elsewhere,
    /// Part of another operation.
    Folded,
    /// The options leave it out.
    Filtered,
    /// It failed when it was recorded.
    Failed,
    /// It is done again.
    Do(ReplayKind, Address),
}
