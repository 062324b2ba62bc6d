//! The files of each rank in the mlperf dialect, and their exchange between epochs.
//!
//! Rank r begins with files r, r + P, r + 2P, and so on, for P ranks. All ranks have the same number of files; the
//! remainder is left out. With `file_shuffle`, every epoch starts from the lists of the preceding epoch, shuffles the
//! list of each rank, sends element j of rank m's list to rank (j + m) mod P, and shuffles the received lists.
//!
//! Invariant: every file of a split is in exactly one list, and all lists have the same length at all times.
//!
//! A list depends on all lists before it, so all lists are computed together. This needs one array of file numbers per
//! split, and a second one while the lists of an epoch are computed. Without a shuffle, nothing is stored.

use std::sync::Arc;

use crate::Split;
use crate::numpy::Mt19937;
use crate::order::FileList;
use crate::permutation_store::{PermutationKey, PermutationStore, PermutedNumbers, Purpose, count_up};

/// Number that the fork adds, per rank, to the seed of a rank's second shuffle.
const RANK_SEED: u32 = 31;

/// The lists of all ranks.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    size: u32,
    seed: u32,
    /// The epoch is added to the seed of the first shuffle; it is always added to the seed of the second one.
    change: bool,
    reshuffle: bool,
    /// Files per rank: training, evaluation.
    files: [u32; 2],
    /// Storage of the lists.
    pub(crate) lists: Arc<dyn PermutationStore>,
}

impl Shards {
    /// Returns the lists. `files` is the number of files per rank of each split, which matters only with `reshuffle`.
    pub(crate) fn new(
        size: u32,
        (seed, change): (u32, bool),
        reshuffle: bool,
        files: [u32; 2],
        lists: Arc<dyn PermutationStore>,
    ) -> Self {
        Self { size, seed, change, reshuffle, files, lists }
    }

    /// Returns whether the lists change between epochs.
    pub(crate) fn reshuffles(&self) -> bool {
        self.reshuffle
    }

    /// Returns the lists of all ranks, concatenated into one list; `None` if nothing is stored.
    pub(crate) fn of(&self, split: Split) -> Option<PermutationKey> {
        let purpose = match split {
            Split::Train => Purpose::TrainShards,
            Split::Eval => Purpose::EvalShards,
        };
        // The files of all ranks are no more than the files of the split, whose number fits.
        let len = self.files[split as usize].saturating_mul(self.size);
        self.reshuffle.then_some(PermutationKey { purpose, len })
    }

    /// Returns the list of a rank in an epoch.
    pub(crate) fn list(&self, rank: u32, split: Split, epoch: u32) -> FileList {
        let Some(list) = self.of(split) else {
            return FileList::Strided { first: u64::from(rank), step: u64::from(self.size) };
        };
        let first = rank as usize * self.files[split as usize] as usize;
        FileList::Listed { numbers: self.numbers(list, epoch), first }
    }

    /// Returns all lists of an epoch.
    pub(crate) fn numbers(&self, list: PermutationKey, epoch: u32) -> PermutedNumbers {
        self.lists.numbers(list, epoch, &mut |have, numbers| {
            if have.is_none() {
                self.begin(numbers);
            }
            for epoch in have.unwrap_or(0) + 1..=epoch {
                self.advance(epoch, numbers);
            }
        })
    }

    /// Fills the lists before any shuffle: every rank has the files that are congruent to its number.
    fn begin(&self, numbers: &mut [u32]) {
        for (rank, list) in (0..).zip(numbers.chunks_exact_mut(self.files_of(numbers).max(1))) {
            for (number, place) in list.iter_mut().zip(0..) {
                *number = rank + place * self.size;
            }
        }
    }

    /// Returns the number of files per rank.
    fn files_of(&self, numbers: &[u32]) -> usize {
        numbers.len() / self.size as usize
    }

    /// Turns the lists of the preceding epoch into those of this one.
    fn advance(&self, epoch: u32, numbers: &mut [u32]) {
        let (files, size) = (self.files_of(numbers), self.size as usize);
        let first = self.seed.wrapping_add(if self.change { epoch } else { 0 });
        let second = |rank: u32| self.seed.wrapping_add(epoch).wrapping_add(rank.wrapping_mul(RANK_SEED));
        if size == 1 {
            // A single rank only shuffles twice, which needs no second array.
            Mt19937::new(first).shuffle(numbers);
            Mt19937::new(second(0)).shuffle(numbers);
            return;
        }
        // The order is the same on all ranks because their lists have the same length.
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
    use crate::LocalPermutations;

    fn shards(size: u32, seed: (u32, bool), reshuffle: bool, files: u32) -> Shards {
        Shards::new(size, seed, reshuffle, [files, 0], Arc::new(LocalPermutations::default()))
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
