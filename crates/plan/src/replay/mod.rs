//! The operations of a recorded trace that a rank repeats, with their objects and times.
//!
//! Invariant: a stream of recorded rows becomes a lazy stream of operations. Memory holds a window of rows for sorting,
//! one number per lane and per object that the trace writes, and one or two bits per row.

mod address;
mod error;
mod fidelity;
mod folders;
mod merge;
mod operation;
mod options;
mod requirement;
mod row_annotations;
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
pub use merge::merged;
pub use operation::{Access, Edges, Recorded, ReplayKind, ReplayOp};
pub use options::{Late, Mapping, Operations, Options, Timing};
pub use requirement::{METRICS, Requirement};
pub use rule::{EndpointRule, Rule, Share};
pub use stream::Stream;
pub use survey::{RequiredObject, Survey};

/// Plan for the replay of a trace on a number of ranks.
#[derive(Debug, Clone)]
pub struct ReplayPlan {
    options: Options,
    recorded: Vec<u32>,
    world: u32,
    began: i64,
}

impl ReplayPlan {
    /// Plans the replay of a trace on `world` ranks. `recorded` lists the recorded ranks, and `began` is the time of
    /// the first event in nanoseconds.
    ///
    /// # Errors
    /// If an option is invalid.
    pub fn new(options: Options, recorded: Vec<u32>, world: u32, began: i64) -> Result<Self, Error> {
        options.check(&recorded)?;
        Ok(Self { options, recorded, world: world.max(1), began })
    }

    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Returns the indices of the recorded ranks whose operations `rank` repeats.
    #[must_use]
    pub fn sources(&self, rank: u32) -> Vec<usize> {
        let chosen = |source: &u32| self.options.ranks.is_empty() || self.options.ranks.contains(source);
        let indices = self.recorded.iter().enumerate().filter(|(_, number)| chosen(number)).map(|(index, _)| index);
        indices.filter(|&index| self.share(index, rank).is_some()).collect()
    }

    /// Returns which part of a recorded rank's lanes `rank` repeats, and the number of parts.
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

    /// Returns whether `rank` repeats the work of the row's lane. If there are more ranks than recorded ranks, the
    /// lanes of a recorded rank are distributed over several ranks, each of which has the training loop.
    fn is_mine(&self, rank: u32, row: &Recorded) -> bool {
        let number = u64::from(row.lane.0.wrapping_add(1));
        self.share(row.source as usize, rank).is_some_and(|(part, parts)| row.is_loop() || number % parts == part)
    }

    /// Decides how a row is replayed.
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
        // A part of a failed upload belongs to the following attempt.
        let part = matches!(row.kind, OpKind::MultipartCreate | OpKind::MultipartPart);
        if !row.ok && (!self.options.failed || part) {
            return Ok(Verdict::Failed);
        }
        if is_bucket(row) {
            return Ok(Verdict::Folded);
        }
        let address = self.options.target(&row.uri)?;
        self.options.meet(row.endpoint.as_deref());
        // The bucket or folder as a whole is looked up before a run, and listed from its root.
        if address.key.is_empty() {
            return Ok(Verdict::Folded);
        }
        Ok(Verdict::Do(kind, address))
    }
}

/// Returns whether a row looks up a bucket as a whole. In recordings up to format 1.2, the name may contain the prefix
/// of the run and end in a slash.
fn is_bucket(row: &Recorded) -> bool {
    let uri = S3Uri::parse(&row.uri).filter(|_| row.kind == OpKind::Head);
    uri.is_some_and(|uri| uri.key.is_empty() || uri.key.ends_with('/'))
}

/// How a recorded row is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Not by this rank, or the row is not a storage operation.
    Elsewhere,
    /// As a part of another operation.
    Folded,
    /// Not at all: the options exclude it.
    Filtered,
    /// Not at all: it failed in the recording.
    Failed,
    /// As an operation.
    Do(ReplayKind, Address),
    /// As a span of the training loop.
    Loop,
}
