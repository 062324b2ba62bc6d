//! The interface between a run and its ranks: each rank's place in the world, and collectives.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::error::Error;
use crate::rank_status::{MissingRanks, RankStatus};

/// A boxed future of a collective. It is not `Send`, because MPI is used from one thread.
///
/// The rank enters the collective when the future is first polled; a poll never waits for other ranks. A future that
/// is dropped afterwards has still entered: the other ranks receive this rank's part, and this rank's later
/// collectives follow it. Under MPI the future must be polled within a tokio runtime with I/O; otherwise every poll
/// takes up to a millisecond.
pub type Collective<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

/// Position of a rank in the world.
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
    /// Host name of this rank's node.
    pub host: String,
}

/// The ranks of a run.
pub trait Communicator {
    /// Returns this rank's position.
    fn place(&self) -> &Place;

    /// Waits until every rank has arrived, without occupying a core.
    fn barrier(&self) -> Collective<'_, ()>;

    /// Returns every rank's bytes, in rank order. Their lengths may differ.
    fn all_gather<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<Vec<u8>>>;

    /// Returns rank 0's bytes on every rank; the bytes passed by the other ranks are ignored.
    fn broadcast<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<u8>>;

    /// Records what this rank does from now on, for ranks that wait for it. It is cheap enough to be called in every
    /// step.
    fn note(&self, status: RankStatus) {
        let _ = status;
    }

    /// Called now and then while this rank waits in a collective, with the time it has waited so far.
    fn waiting(&self, waited: Duration) {
        let _ = waited;
    }

    /// Returns the ranks that have not arrived at the collective in which this rank waits.
    fn missing(&self) -> MissingRanks;

    /// Ends all ranks because this one failed. Where it returns (solo, simulated), the other ranks' collectives fail
    /// with [`Error::Aborted`]; under MPI it does not return.
    fn abort(&self, message: &str, exit_code: i32);
}
