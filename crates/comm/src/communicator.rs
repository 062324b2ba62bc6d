//! The seam between a run and its ranks: a place in the world, and collectives.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::doing::{Absence, Doing};
use crate::error::Error;

/// A boxed future of a collective. Not `Send`: MPI is used from one thread.
///
/// The rank enters the collective when the future is first polled; a poll never waits for other ranks. A future that is
/// dropped after that stays entered: the other ranks have what this one passed, and its later collectives come after it.
/// Under MPI it is polled within a tokio runtime that has I/O; elsewhere every poll takes up to a millisecond.
pub type Collective<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

/// Where a rank stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Rank, from 0.
    pub rank: u32,
    /// Number of ranks.
    pub size: u32,
    /// Number of this rank's node, from 0.
    pub node: u32,
    /// Number of nodes.
    pub nodes: u32,
    /// Rank within the node, from 0.
    pub local_rank: u32,
    /// Ranks on this node.
    pub local_size: u32,
    /// Host name of this node.
    pub host: String,
}

/// The ranks of one run.
pub trait Communicator {
    /// Where this rank stands.
    fn place(&self) -> &Place;

    /// Waits until every rank is here; does not burn a core while it waits.
    fn barrier(&self) -> Collective<'_, ()>;

    /// Every rank's bytes, in rank order. Lengths may differ.
    fn all_gather<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<Vec<u8>>>;

    /// Rank 0's bytes on every rank; what the others pass is ignored.
    fn broadcast<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<u8>>;

    /// Says what this rank does from now on, for those that will wait for it; cheap enough for every step.
    fn note(&self, doing: Doing) {
        let _ = doing;
    }

    /// Said now and then while this rank waits in a collective: for how long already.
    fn waiting(&self, waited: Duration) {
        let _ = waited;
    }

    /// Who has not come to the collective that this rank waits in.
    fn absent(&self) -> Absence;

    /// Ends all ranks because this one failed. Where it can return (solo, simulated) the other ranks' collectives
    /// fail with [`Error::Aborted`]; under MPI it does not return.
    fn abort(&self, message: &str, exit_code: i32);
}
