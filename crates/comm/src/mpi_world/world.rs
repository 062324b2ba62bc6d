//! What the collectives of an MPI run share: communicators, the meeting of the node, the order of collectives.

use std::cell::Cell;
use std::rc::Rc;

use super::calls::{Comm, Session, to_usize};
use super::meeting::Meeting;
use super::pause::Timer;
use super::queue::Queue;
use super::roll_call::RollCall;
use crate::communicator::Place;
use crate::doing::{Absence, ProcessState, Sighting};
use crate::error::Error;

/// What collectives need, which may outlive their futures.
pub(super) struct World {
    pub(super) place: Place,
    pub(super) limit: Cell<usize>,
    /// Collectives that were dropped before they were done, and whose turn it is.
    pub(super) queue: Queue,
    pub(super) timer: Timer,
    pub(super) roll_call: RollCall,
    // The order matters: communicators are freed before the library is finalized.
    /// Where the ranks of this node meet; `None` if some node cannot share memory.
    pub(super) meeting: Option<Meeting>,
    /// The first ranks of all nodes (of which this is one), or the others, who do not use it.
    pub(super) leaders: Comm,
    pub(super) comm: Comm,
    pub(super) _session: Session,
}

impl World {
    /// Lengths first, then rounds in which every rank passes at most its share of the limit.
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

    /// The length first, then parts of at most the limit.
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

    /// Ranks that have not come to the collective that this rank is in, or have come and hang since: those of this node, and,
    /// where this rank speaks for all, what other nodes have said.
    pub(super) fn absent(&self) -> Absence {
        let mut absence = self.absent_here();
        let Place { rank, node, nodes, .. } = self.place;
        if nodes > 1 {
            // What cannot be received is not known.
            let elsewhere = self.roll_call.hear(&self.comm, (rank, node), self.queue.entered()).unwrap_or_default();
            absence.ranks.extend(elsewhere.into_iter().flatten());
            absence.ranks.sort_unstable_by_key(|seen| seen.rank);
        }
        absence.unseen = absence.ranks.is_empty() && nodes > 1;
        absence
    }

    pub(super) fn absent_here(&self) -> Absence {
        let Some(meeting) = &self.meeting else { return Absence::default() };
        let entered = self.queue.entered();
        let mut absence = Absence::default();
        let mut teller = self.place.rank;
        for seen in meeting.board().all().filter(|seen| seen.rank != self.place.rank) {
            let state = ProcessState::of(seen.process);
            let is_here = entered.wrapping_sub(seen.entered).cast_signed() <= 0;
            if is_here && state == ProcessState::Alive {
                teller = teller.min(seen.rank);
                continue;
            }
            absence.ranks.push(Sighting {
                rank: seen.rank,
                host: self.roll_call.host(seen.rank),
                process: Some((seen.process, state)),
                doing: Some(seen.doing),
            });
        }
        absence.told_elsewhere = teller != self.place.rank;
        absence
    }

    /// Tells the ranks of the node that this one has come to its next collective.
    pub(super) fn has_entered(&self, collectives: u32) {
        if let Some(meeting) = &self.meeting {
            meeting.board().enter(collectives);
        }
    }
}
