//! Lists of numbers that cannot be computed place by place, because numpy's shuffles permute them as a whole.
//!
//! A list is made when its epoch is first asked for, and may be as large as memory allows. Who keeps it is a seam: a
//! process for itself ([`OwnLists`]), or one copy for all ranks of a node.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The file lists of all ranks: the training files, then the evaluation files.
    Files,
    /// The order of a rank's samples; the same for all ranks with as many.
    Samples,
    /// The training files of all ranks, one rank after the other (mlperf dialect).
    TrainShards,
    /// The evaluation files of all ranks, one rank after the other (mlperf dialect).
    EvalShards,
}

/// One list, which has other numbers in every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct List {
    /// What it is for.
    pub purpose: Purpose,
    /// Numbers in it.
    pub len: u32,
}

/// Brings the numbers of a list to an epoch; it is told which epoch's they are, `None`: nobody's.
pub type Make<'a> = &'a mut dyn FnMut(Option<u32>, &mut [u32]);

/// Keeps lists.
pub trait Lists: fmt::Debug + Send + Sync {
    /// The numbers of a list in an epoch: those that are there, or what `make` makes.
    fn numbers(&self, list: List, epoch: u32, make: Make<'_>) -> Numbers;
}

/// The numbers of a list in one epoch; they stay as they are as long as anybody has them.
#[derive(Clone)]
pub struct Numbers(Arc<dyn AsRef<[u32]> + Send + Sync>);

impl Numbers {
    /// Numbers that somebody keeps.
    #[must_use]
    pub fn new(kept: Arc<dyn AsRef<[u32]> + Send + Sync>) -> Self {
        Self(kept)
    }
}

impl Deref for Numbers {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} numbers", self.len())
    }
}

/// Lists in the memory of one process. The last epoch of each is kept, because all lanes of an epoch ask for the same.
#[derive(Debug, Default)]
pub struct OwnLists {
    kept: Mutex<HashMap<List, Arc<Mutex<Option<Kept>>>>>,
}

#[derive(Debug)]
struct Kept {
    epoch: u32,
    numbers: Arc<Vec<u32>>,
}

impl Lists for OwnLists {
    fn numbers(&self, list: List, epoch: u32, make: Make<'_>) -> Numbers {
        // A lock for each list, so that two can be made at the same time.
        let place = Arc::clone(lock(&self.kept).entry(list).or_default());
        let mut kept = lock(&place);
        let (have, mut numbers) = match kept.take().filter(|kept| kept.epoch <= epoch) {
            Some(Kept { epoch, numbers }) => (Some(epoch), numbers),
            None => (None, Arc::new(vec![0_u32; list.len as usize])),
        };
        if have != Some(epoch) {
            // In place, unless a lane of an earlier epoch still reads by these numbers.
            make(have, Arc::<Vec<u32>>::make_mut(&mut numbers).as_mut_slice());
        }
        *kept = Some(Kept { epoch, numbers: Arc::clone(&numbers) });
        Numbers(numbers)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is complete at all times, so a panic elsewhere cannot have spoilt it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts 0, 1, 2, … into a list.
pub(crate) fn count_up(numbers: &mut [u32]) {
    for (number, value) in numbers.iter_mut().zip(0..) {
        *number = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List { purpose: Purpose::Files, len: 3 };

    /// Writes which epoch was made of which.
    fn made(lists: &OwnLists, epoch: u32) -> Numbers {
        lists.numbers(LIST, epoch, &mut |have, numbers| numbers.fill(100 * have.unwrap_or(99) + epoch))
    }

    #[test]
    fn a_list_is_made_once_per_epoch_out_of_the_epoch_before() {
        let lists = OwnLists::default();
        assert_eq!(*made(&lists, 1), [9901; 3]);
        assert_eq!(*made(&lists, 3), [103; 3]);
        assert_eq!(*made(&lists, 3), [103; 3]);
        assert_eq!(*made(&lists, 2), [9902; 3], "an earlier epoch begins anew");
    }

    #[test]
    fn who_still_reads_an_epoch_keeps_its_numbers() {
        let lists = OwnLists::default();
        let first = made(&lists, 1);
        assert_eq!(*made(&lists, 2), [102; 3]);
        assert_eq!(*first, [9901; 3]);
    }
}
