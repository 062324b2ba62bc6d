//! Shuffles of the reference, with the legacy stream of numpy: reseeded in every epoch, with files shuffled
//! cumulatively.

use std::sync::Arc;

use crate::Split;
use crate::numpy::Mt19937;
use crate::permutation_store::{PermutationKey, PermutationStore, PermutedNumbers, Purpose, count_up};

use super::FileList;

/// Orders of files and samples in each epoch.
#[derive(Debug, Clone)]
pub(crate) struct Shuffles {
    pub(crate) seed: u32,
    /// The epoch is added to the seed.
    pub(crate) change: bool,
    /// The file lists are shuffled.
    pub(crate) shuffle_files: bool,
    /// The samples of a rank are shuffled.
    pub(crate) shuffle_samples: bool,
    /// Lengths of the training list and of the evaluation list.
    pub(crate) files: (u32, u32),
    /// Storage of the orders.
    pub(crate) lists: Arc<dyn PermutationStore>,
}

impl Shuffles {
    pub(crate) fn new(
        seed: (u32, bool),
        files: bool,
        samples: bool,
        lens: (u32, u32),
        lists: Arc<dyn PermutationStore>,
    ) -> Self {
        Self { seed: seed.0, change: seed.1, shuffle_files: files, shuffle_samples: samples, files: lens, lists }
    }

    /// Returns the generator after it is reseeded for an epoch.
    pub(crate) fn generator(&self, epoch: u32) -> Mt19937 {
        Mt19937::new(if self.change { self.seed.wrapping_add(epoch) } else { self.seed })
    }

    /// Returns the list of all files; `None` if the files are sorted and need no list.
    pub(crate) fn files(&self) -> Option<PermutationKey> {
        // More than 2³² files have no list.
        let len = self.files.0.checked_add(self.files.1).filter(|_| self.shuffle_files)?;
        Some(PermutationKey { purpose: Purpose::Files, len })
    }

    /// Returns the list of this many samples of a rank; `None` if they are in ascending order and need no list.
    pub(crate) fn samples(&self, len: u32) -> Option<PermutationKey> {
        self.shuffle_samples.then_some(PermutationKey { purpose: Purpose::Samples, len })
    }

    /// Returns the files of a split in an epoch.
    pub(crate) fn file_order(&self, split: Split, epoch: u32) -> FileList {
        let Some(list) = self.files() else { return FileList::ALL };
        let first = if split == Split::Train { 0 } else { self.files.0 as usize };
        FileList::Listed { numbers: self.file_numbers(list, epoch), first }
    }

    /// Returns the file numbers of an epoch. Both lists are shuffled one after the other with one seeding, and every
    /// epoch continues from the order of the preceding one.
    pub(crate) fn file_numbers(&self, list: PermutationKey, epoch: u32) -> PermutedNumbers {
        self.lists.numbers(list, epoch, &mut |have, numbers| {
            let (train, eval) = numbers.split_at_mut(self.files.0 as usize);
            if have.is_none() {
                count_up(train);
                count_up(eval);
            }
            for epoch in have.unwrap_or(0) + 1..=epoch {
                let mut generator = self.generator(epoch);
                generator.shuffle(train);
                generator.shuffle(eval);
            }
        })
    }

    /// Returns the order of `len` samples of one rank in an epoch; `None` for ascending order. It is equal for all
    /// ranks with the same number of samples.
    pub(crate) fn sample_order(&self, len: u32, epoch: u32) -> Option<PermutedNumbers> {
        self.samples(len).map(|list| self.sample_numbers(list, epoch))
    }

    pub(crate) fn sample_numbers(&self, list: PermutationKey, epoch: u32) -> PermutedNumbers {
        // If all epochs have the same seed, they have the same order.
        let epoch = if self.change { epoch } else { 1 };
        self.lists.numbers(list, epoch, &mut |_, numbers| {
            count_up(numbers);
            self.generator(epoch).shuffle(numbers);
        })
    }
}
