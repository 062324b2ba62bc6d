//! Records which ranks of a node have failed, and selects one of them to report all failures.

use std::sync::atomic::Ordering;

use super::memory::Memory;
use super::memory_offer::{ALIGN, memory_of_node};
use crate::communicator::Communicator;
use crate::error::Error;

const WORD: usize = size_of::<u32>();

/// The failures of a node's ranks, shared by all of them. A word contains the rank number plus one, or 0.
#[derive(Debug)]
pub struct Failures {
    memory: Memory,
    rank: u32,
    local_rank: usize,
    local_size: usize,
}

impl Failures {
    /// Shares the record between the ranks of each node; `None` if this rank is alone on its node or could not share.
    ///
    /// # Errors
    /// When communication between the ranks fails.
    pub async fn share(comm: &dyn Communicator) -> Result<Option<Self>, Error> {
        let place = comm.place();
        let (rank, local_rank, local_size) = (place.rank, place.local_rank as usize, place.local_size as usize);
        let bytes = ((local_size + 1) * WORD).next_multiple_of(ALIGN);
        let (memory, _) = memory_of_node(comm, bytes, bytes).await?;
        Ok(memory.map(|memory| Self { memory, rank, local_rank, local_size }))
    }

    /// Records that this rank has failed.
    pub fn add(&self) {
        self.memory.word((1 + self.local_rank) * WORD).store(self.rank + 1, Ordering::Release);
    }

    /// Returns whether this rank is the first caller, which reports the failures.
    #[must_use]
    pub fn claim_report(&self) -> bool {
        let teller = self.memory.word(0);
        teller.compare_exchange(0, self.rank + 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Returns the other ranks that have failed so far.
    #[must_use]
    pub fn others(&self) -> Vec<u32> {
        let word = |local: usize| self.memory.word((1 + local) * WORD).load(Ordering::Acquire);
        (0..self.local_size).filter_map(|local| word(local).checked_sub(1)).filter(|rank| *rank != self.rank).collect()
    }
}
