//! State that the collectives of an MPI run share: communicators, the node's barrier, the queue of collectives.

use std::cell::Cell;
use std::rc::Rc;

use super::backoff::Timer;
use super::calls::{Comm, Session, to_usize};
use super::collective_queue::CollectiveQueue;
use super::missing_ranks::MissingRankReports;
use super::node_barrier::NodeBarrier;
use crate::communicator::Place;
use crate::error::Error;
use crate::rank_status::{MissingRank, MissingRanks, ProcessState};

/// State of the collectives, which may outlive their futures.
pub(super) struct World {
    pub(super) place: Place,
    pub(super) limit: Cell<usize>,
    /// This rank's collectives, including those that were dropped before they were done.
    pub(super) queue: CollectiveQueue,
    pub(super) timer: Timer,
    pub(super) reports: MissingRankReports,
    // The order of the fields matters: communicators are freed before the library is finalized.
    /// The barrier of this node's ranks; `None` if some node cannot share memory.
    pub(super) node_barrier: Option<NodeBarrier>,
    /// The first ranks of all nodes, including this one; on other ranks a communicator that is not used.
    pub(super) leaders: Comm,
    pub(super) comm: Comm,
    pub(super) _session: Session,
}

impl World {
    /// Gathers the lengths first, then the bytes in rounds in which every rank passes at most its share of the limit.
    pub(super) async fn gather(self: Rc<Self>, mine: Vec<u8>) -> Result<Vec<Vec<u8>>, Error> {
        let ranks = self.place.size as usize;
        let lengths = self.comm.all_gather_number(mine.len() as u64)?.done(&self.timer).await?.numbers();
        let lengths = lengths.into_iter().map(to_usize).collect::<Result<Vec<_>, _>>()?;
        let share = (self.limit.get() / ranks).max(1);
        let mut all: Vec<Vec<u8>> = lengths.iter().map(|len| Vec::with_capacity(*len)).collect();
        while all.iter().zip(&lengths).any(|(got, len)| got.len() < *len) {
            let counts: Vec<usize> = all.iter().zip(&lengths).map(|(got, len)| (len - got.len()).min(share)).collect();
            let own = self.place.rank as usize;
            let sent = all[own].len();
            let part = mine[sent..sent + counts[own]].to_vec();
            let gathered = self.comm.all_gather_bytes(part, &counts)?.done(&self.timer).await?;
            let mut rest = gathered.bytes();
            for (got, count) in all.iter_mut().zip(counts) {
                let (part, tail) = rest.split_at(count);
                got.extend_from_slice(part);
                rest = tail;
            }
        }
        Ok(all)
    }

    /// Broadcasts the length first, then the bytes in parts of at most the limit.
    pub(super) async fn broadcast(self: Rc<Self>, mine: Vec<u8>) -> Result<Vec<u8>, Error> {
        let root = self.place.rank == 0;
        let len = (mine.len() as u64).to_le_bytes().to_vec();
        let len = self.comm.broadcast(len)?.done(&self.timer).await?;
        let len = to_usize(u64::from_le_bytes(len.try_into().unwrap_or_default()))?;
        let mut all = Vec::with_capacity(len);
        while all.len() < len {
            let from = all.len();
            let until = (from + self.limit.get()).min(len);
            let part = if root { mine[from..until].to_vec() } else { vec![0; until - from] };
            all.extend(self.comm.broadcast(part)?.done(&self.timer).await?);
        }
        Ok(all)
    }

    /// Returns the ranks that have not arrived at this rank's collective or have hung since: those of this node and,
    /// if this rank reports for all, those that other nodes reported.
    pub(super) fn missing(&self) -> MissingRanks {
        let mut missing = self.missing_here();
        let Place { rank, node, nodes, .. } = self.place;
        if nodes > 1 {
            // Reports that cannot be received are treated as missing.
            let elsewhere =
                self.reports.receive_reports(&self.comm, (rank, node), self.queue.entered()).unwrap_or_default();
            missing.ranks.extend(elsewhere.into_iter().flatten());
            missing.ranks.sort_unstable_by_key(|seen| seen.rank);
        }
        missing.unseen = missing.ranks.is_empty() && nodes > 1;
        missing
    }

    pub(super) fn missing_here(&self) -> MissingRanks {
        let Some(node_barrier) = &self.node_barrier else { return MissingRanks::default() };
        let entered = self.queue.entered();
        let mut missing = MissingRanks::default();
        let mut teller = self.place.rank;
        for seen in node_barrier.board().all().filter(|seen| seen.rank != self.place.rank) {
            let state = ProcessState::of(seen.process);
            let is_here = entered.wrapping_sub(seen.entered).cast_signed() <= 0;
            if is_here && state == ProcessState::Alive {
                teller = teller.min(seen.rank);
                continue;
            }
            missing.ranks.push(MissingRank {
                rank: seen.rank,
                host: self.reports.host(seen.rank),
                process: Some((seen.process, state)),
                status: Some(seen.status),
            });
        }
        missing.reported_elsewhere = teller != self.place.rank;
        missing
    }

    /// Tells the ranks of the node that this one has entered its next collective.
    pub(super) fn has_entered(&self, collectives: u32) {
        if let Some(node_barrier) = &self.node_barrier {
            node_barrier.board().enter(collectives);
        }
    }
}
