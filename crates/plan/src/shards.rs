//! Which files are a rank's own in the mlperf dialect, and how they change hands from epoch to epoch.
//!
//! Rank r begins with files r, r + P, r + 2P, …; all ranks have equally many, the remainder is left out. With
//! `file_shuffle` every epoch shuffles each rank's list, sends element j of rank m's list to rank (j + m) mod P and
//! shuffles what arrived, starting from the lists of the epoch before.
//!
//! Invariant: every file of a split is in exactly one list, and all lists are equally long at all times.
//!
//! Where a list goes depends on all lists before it, so whoever makes them makes all: one array of file numbers per
//! split, and a second one while an epoch's lists are made. Without a shuffle nothing is stored.

use std::sync::Arc;

use crate::Split;
use crate::lists::{List, Lists, Numbers, Purpose, count_up};
use crate::numpy::Mt19937;
use crate::order::FileList;

/// What the fork adds to the seed of a rank's second shuffle, per rank.
const RANK_SEED: u32 = 31;

/// The lists of all ranks.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    size: u32,
    seed: u32,
    /// Add the epoch to the seed of the first shuffle; the second always has it.
    change: bool,
    reshuffle: bool,
    /// Files of one rank: train, eval.
    files: [u32; 2],
    /// Who keeps the lists.
    pub(crate) lists: Arc<dyn Lists>,
}

impl Shards {
    /// `files`: those of one rank; they only matter with `reshuffle`.
    pub(crate) fn new(
        size: u32,
        (seed, change): (u32, bool),
        reshuffle: bool,
        files: [u32; 2],
        lists: Arc<dyn Lists>,
    ) -> Self {
        Self { size, seed, change, reshuffle, files, lists }
    }

    /// Whether the lists change from epoch to epoch.
    pub(crate) fn reshuffles(&self) -> bool {
        self.reshuffle
    }

    /// The lists of all ranks, one after the other, as one; `None` where nothing is stored.
    pub(crate) fn of(&self, split: Split) -> Option<List> {
        let purpose = match split {
            Split::Train => Purpose::TrainShards,
            Split::Eval => Purpose::EvalShards,
        };
        // The files of all ranks are no more than there are files, whose number fits.
        let len = self.files[split as usize].saturating_mul(self.size);
        self.reshuffle.then_some(List { purpose, len })
    }

    /// A rank's list in an epoch.
    pub(crate) fn list(&self, rank: u32, split: Split, epoch: u32) -> FileList {
        let Some(list) = self.of(split) else {
            return FileList::Strided { first: u64::from(rank), step: u64::from(self.size) };
        };
        let first = rank as usize * self.files[split as usize] as usize;
        FileList::Listed { numbers: self.numbers(list, epoch), first }
    }

    /// All lists of an epoch.
    pub(crate) fn numbers(&self, list: List, epoch: u32) -> Numbers {
        self.lists.numbers(list, epoch, &mut |have, numbers| {
            if have.is_none() {
                self.begin(numbers);
            }
            for epoch in have.unwrap_or(0) + 1..=epoch {
                self.advance(epoch, numbers);
            }
        })
    }

    /// Before any shuffle: every rank has the files that are congruent to it.
    fn begin(&self, numbers: &mut [u32]) {
        for (rank, list) in (0..).zip(numbers.chunks_exact_mut(self.files_of(numbers).max(1))) {
            for (number, place) in list.iter_mut().zip(0..) {
                *number = rank + place * self.size;
            }
        }
    }

    /// Files of one rank among those of all.
    fn files_of(&self, numbers: &[u32]) -> usize {
        numbers.len() / self.size as usize
    }

    /// From the lists of the epoch before to those of this one.
    fn advance(&self, epoch: u32, numbers: &mut [u32]) {
        let (files, size) = (self.files_of(numbers), self.size as usize);
        let first = self.seed.wrapping_add(if self.change { epoch } else { 0 });
        let second = |rank: u32| self.seed.wrapping_add(epoch).wrapping_add(rank.wrapping_mul(RANK_SEED));
        if size == 1 {
            // A rank that sends to itself only shuffles twice, which needs no second array.
            Mt19937::new(first).shuffle(numbers);
            Mt19937::new(second(0)).shuffle(numbers);
            return;
        }
        // The same on all ranks, because their lists are equally long.
        let mut places = vec![0; files];
        count_up(&mut places);
        Mt19937::new(first).shuffle(&mut places);
        let before = numbers.to_vec();
        for (rank, list) in (0..self.size).zip(numbers.chunks_exact_mut(files.max(1))) {
            let senders = before.chunks_exact(files).enumerate();
            let arriving = senders.flat_map(|(sender, sent)| {
                let first = (rank as usize + size - sender) % size;
                places.iter().skip(first).step_by(size).map(|&place| sent[place as usize])
            });
            for (number, arrived) in list.iter_mut().zip(arriving) {
                *number = arrived;
            }
            Mt19937::new(second(rank)).shuffle(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OwnLists;

    fn shards(size: u32, seed: (u32, bool), reshuffle: bool, files: u32) -> Shards {
        Shards::new(size, seed, reshuffle, [files, 0], Arc::new(OwnLists::default()))
    }

    fn lists(shards: &Shards, epoch: u32, files: u64) -> Vec<Vec<u64>> {
        let list = |rank| {
            let list = shards.list(rank, Split::Train, epoch);
            (0..files).map(|place| list.file(place)).collect()
        };
        (0..shards.size).map(list).collect()
    }

    #[test]
    fn without_a_shuffle_rank_r_keeps_every_file_congruent_to_r() {
        let shards = shards(3, (123, true), false, 4);
        assert_eq!(lists(&shards, 7, 4), [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]);
    }

    #[test]
    fn every_epoch_deals_every_file_once_whichever_epoch_is_asked_for_first() {
        for size in [1, 2, 5, 8] {
            let fresh = || shards(size, (42, true), true, 7);
            let (forward, asked_late) = (fresh(), fresh());
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
        let shards = shards(1, (5, false), true, 6);
        let mut expected: Vec<u64> = (0..6).collect();
        for epoch in 1..=2_u32 {
            Mt19937::new(5).shuffle(&mut expected);
            Mt19937::new(5 + epoch).shuffle(&mut expected);
            assert_eq!(lists(&shards, epoch, 6), [expected.clone()]);
        }
    }
}
