//! Which operations of a recorded trace a rank does again, on which objects and when.
//!
//! Invariant: a stream of recorded rows becomes a lazy stream of operations. What is held is a window of rows that
//! puts them in order, one number per lane and per object that the trace writes, and a bit or two per row.

mod address;
mod error;
mod fidelity;
mod folders;
mod histogram;
mod merge;
mod notes;
mod operation;
mod options;
mod requirement;
mod rule;
mod stream;
mod survey;
#[cfg(test)]
mod tests;
mod writing;

use dlio_event::{OpKind, S3Uri};

pub use address::{Address, address};
pub use error::Error;
pub use fidelity::{Fidelity, Issue};
pub use histogram::Histogram;
pub use merge::merged;
pub use operation::{Access, Edges, Recorded, ReplayKind, ReplayOp};
pub use options::{Late, Mapping, Operations, Options, Timing};
pub use requirement::{METRICS, Requirement};
pub use rule::{EndpointRule, Rule, Share};
pub use stream::Stream;
pub use survey::{Needed, Survey};

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
    /// ranks than were recorded; each of these has its training loop.
    fn is_mine(&self, rank: u32, row: &Recorded) -> bool {
        let number = u64::from(row.lane.0.wrapping_add(1));
        self.share(row.source as usize, rank).is_some_and(|(part, parts)| row.is_loop() || number % parts == part)
    }

    /// What becomes of a row.
    fn judge(&self, rank: u32, row: &Recorded) -> Result<Verdict, Error> {
        if !self.is_mine(rank, row) {
            return Ok(Verdict::Elsewhere);
        }
        if row.is_loop() {
            let wanted = self.options.dependent && self.options.within(row, self.began);
            return Ok(if wanted { Verdict::Loop } else { Verdict::Elsewhere });
        }
        let Some(kind) = ReplayKind::of(row.kind) else {
            let part = row.kind.is_storage();
            return Ok(if part { Verdict::Folded } else { Verdict::Elsewhere });
        };
        if !self.options.admits(kind, row, self.began) {
            return Ok(Verdict::Filtered);
        }
        // A part of an upload that failed is part of the attempt after it.
        let part = matches!(row.kind, OpKind::MultipartCreate | OpKind::MultipartPart);
        if !row.ok && (!self.options.failed || part) {
            return Ok(Verdict::Failed);
        }
        if is_bucket(row) {
            return Ok(Verdict::Folded);
        }
        let address = self.options.target(&row.uri)?;
        self.options.meet(row.endpoint.as_deref());
        // The bucket or folder as a whole: looked up before a run, listed from its root.
        if address.key.is_empty() {
            return Ok(Verdict::Folded);
        }
        Ok(Verdict::Do(kind, address))
    }
}

/// Whether a row looks up a bucket as a whole. Recordings up to format 1.2 may name the prefix of the run in it, with a slash at its end.
fn is_bucket(row: &Recorded) -> bool {
    let uri = S3Uri::parse(&row.uri).filter(|_| row.kind == OpKind::Head);
    uri.is_some_and(|uri| uri.key.is_empty() || uri.key.ends_with('/'))
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
    /// A span of the training loop, done again.
    Loop,
}
