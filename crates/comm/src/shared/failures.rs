//! Which ranks of a node have failed, and which one of them says so for all.

use std::sync::atomic::Ordering;

use super::memory::Memory;
use super::offer::{ALIGN, memory_of_node};
use crate::communicator::Communicator;
use crate::error::Error;

const WORD: usize = size_of::<u32>();

/// The failures of a node's ranks as all of them see them. A word is the number of a rank and one, or 0.
#[derive(Debug)]
pub struct Failures {
    memory: Memory,
    rank: u32,
    local_rank: usize,
    local_size: usize,
}

impl Failures {
    /// Shares them between the ranks of each node; `None` where this rank is alone on its node or could not share.
    ///
    /// # Errors
    /// When the ranks cannot talk.
    pub async fn share(comm: &dyn Communicator) -> Result<Option<Self>, Error> {
        let place = comm.place();
        let (rank, local_rank, local_size) = (place.rank, place.local_rank as usize, place.local_size as usize);
        let bytes = ((local_size + 1) * WORD).next_multiple_of(ALIGN);
        let (memory, _) = memory_of_node(comm, bytes, bytes).await?;
        Ok(memory.map(|memory| Self { memory, rank, local_rank, local_size }))
    }

    /// This rank has failed.
    pub fn add(&self) {
        self.memory.word((1 + self.local_rank) * WORD).store(self.rank + 1, Ordering::Release);
    }

    /// Whether this rank is the first that asks: it is the one that tells.
    #[must_use]
    pub fn tell(&self) -> bool {
        let teller = self.memory.word(0);
        teller.compare_exchange(0, self.rank + 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The other ranks that have failed so far.
    #[must_use]
    pub fn others(&self) -> Vec<u32> {
        let word = |local: usize| self.memory.word((1 + local) * WORD).load(Ordering::Acquire);
        (0..self.local_size).filter_map(|local| word(local).checked_sub(1)).filter(|rank| *rank != self.rank).collect()
    }
}
