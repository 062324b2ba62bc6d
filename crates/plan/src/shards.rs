//! Which files are a rank's own in the mlperf dialect, and how they change hands from epoch to epoch.
//!
//! Rank r begins with files r, r + P, r + 2P, …; all ranks have equally many, the remainder is left out. With
//! `file_shuffle` every epoch shuffles each rank's list, sends element j of rank m's list to rank (j + m) mod P and
//! shuffles what arrived, starting from the lists of the epoch before.
//!
//! Invariant: every file of a split is in exactly one list, and all lists are equally long at all times.
//!
//! Where a list goes depends on all lists before it, so a process computes all of them: one array of file numbers per
//! split, shared by the lanes (and ranks) of the process; a second one while an epoch's lists are made. Without a shuffle
//! nothing is stored.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Split;
use crate::numpy::Mt19937;
use crate::order::FileList;

/// What the fork adds to the seed of a rank's second shuffle, per rank.
const RANK_SEED: u32 = 31;

/// The lists of all ranks.
#[derive(Debug)]
pub(crate) struct Shards {
    size: u32,
    seed: u32,
    /// Add the epoch to the seed of the first shuffle; the second always has it.
    change: bool,
    reshuffle: bool,
    /// Files of one rank: train, eval.
    files: [u32; 2],
    memory: [Mutex<Option<Lists>>; 2],
}

/// All ranks' lists of one epoch, one after the other.
#[derive(Debug, Clone)]
struct Lists {
    epoch: u32,
    numbers: Arc<[u32]>,
}

impl Shards {
    /// `files`: those of one rank; they only matter with `reshuffle`.
    pub(crate) fn new(size: u32, (seed, change): (u32, bool), reshuffle: bool, files: [u32; 2]) -> Self {
        Self { size, seed, change, reshuffle, files, memory: [Mutex::default(), Mutex::default()] }
    }

    /// Whether the lists change from epoch to epoch.
    pub(crate) fn reshuffles(&self) -> bool {
        self.reshuffle
    }

    /// A rank's list in an epoch.
    pub(crate) fn list(&self, rank: u32, split: Split, epoch: u32) -> FileList {
        if !self.reshuffle {
            return FileList::Strided { first: u64::from(rank), step: u64::from(self.size) };
        }
        let first = rank as usize * self.files[split as usize] as usize;
        FileList::Listed { numbers: self.lists(split, epoch), first }
    }

    fn lists(&self, split: Split, epoch: u32) -> Arc<[u32]> {
        // What is kept is complete at all times, so a panic elsewhere cannot have spoilt it.
        let mut memory = self.memory[split as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let mut lists = memory.take().filter(|lists| lists.epoch <= epoch).unwrap_or_else(|| self.first(split));
        while lists.epoch < epoch {
            lists = self.advance(split, &lists);
        }
        let numbers = Arc::clone(&lists.numbers);
        *memory = Some(lists);
        numbers
    }

    /// Before any shuffle.
    fn first(&self, split: Split) -> Lists {
        let files = self.files[split as usize];
        let numbers = (0..self.size).flat_map(|rank| (0..files).map(move |place| rank + place * self.size)).collect();
        Lists { epoch: 0, numbers }
    }

    /// The lists of the next epoch.
    fn advance(&self, split: Split, before: &Lists) -> Lists {
        let (epoch, files, size) = (before.epoch + 1, self.files[split as usize] as usize, self.size as usize);
        if files == 0 {
            return Lists { epoch, ..before.clone() };
        }
        let seed = self.seed.wrapping_add(if self.change { epoch } else { 0 });
        // The same on all ranks, because their lists are equally long.
        let mut places: Vec<u32> = (0..self.files[split as usize]).collect();
        Mt19937::new(seed).shuffle(&mut places);
        let mut numbers = Vec::with_capacity(before.numbers.len());
        for rank in 0..self.size {
            let start = numbers.len();
            for (sender, list) in before.numbers.chunks_exact(files).enumerate() {
                let first = (rank as usize + size - sender) % size;
                numbers.extend(places.iter().skip(first).step_by(size).map(|&place| list[place as usize]));
            }
            let seed = self.seed.wrapping_add(epoch).wrapping_add(rank.wrapping_mul(RANK_SEED));
            Mt19937::new(seed).shuffle(&mut numbers[start..]);
        }
        Lists { epoch, numbers: numbers.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(shards: &Shards, epoch: u32, files: u64) -> Vec<Vec<u64>> {
        let list = |rank| {
            let list = shards.list(rank, Split::Train, epoch);
            (0..files).map(|place| list.file(place)).collect()
        };
        (0..shards.size).map(list).collect()
    }

    #[test]
    fn without_a_shuffle_rank_r_keeps_every_file_congruent_to_r() {
        let shards = Shards::new(3, (123, true), false, [4, 0]);
        assert_eq!(lists(&shards, 7, 4), [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]);
    }

    #[test]
    fn every_epoch_deals_every_file_once_whichever_epoch_is_asked_for_first() {
        for size in [1, 2, 5, 8] {
            let shards = |()| Shards::new(size, (42, true), true, [7, 0]);
            let (forward, asked_late) = (shards(()), shards(()));
            let last = lists(&asked_late, 4, 7);
            for epoch in 1..=4 {
                let dealt = lists(&forward, epoch, 7);
                let mut all: Vec<u64> = dealt.concat();
                all.sort_unstable();
                assert_eq!(all, (0..u64::from(size) * 7).collect::<Vec<_>>());
                assert_eq!(dealt, lists(&asked_late, epoch, 7), "asked for in another order");
            }
            assert_eq!(last, lists(&forward, 4, 7));
        }
    }

    #[test]
    fn one_rank_shuffles_its_list_twice() {
        let shards = Shards::new(1, (5, false), true, [6, 0]);
        let mut expected: Vec<u64> = (0..6).collect();
        for epoch in 1..=2_u32 {
            Mt19937::new(5).shuffle(&mut expected);
            Mt19937::new(5 + epoch).shuffle(&mut expected);
            assert_eq!(lists(&shards, epoch, 6), [expected.clone()]);
        }
    }
}
