//! Lists of numbers that cannot be computed element by element, because numpy's shuffles permute them as a whole.
//!
//! A list is computed when its epoch is first requested, and may be as large as memory allows. Its storage is a seam: a
//! process keeps its own lists ([`LocalPermutations`]), or all ranks of a node share one copy.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Purpose of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// File lists of all ranks: the training files, followed by the evaluation files.
    Files,
    /// Order of the samples of a rank; equal for all ranks with the same number of samples.
    Samples,
    /// Training files of all ranks, concatenated in the order of the ranks (mlperf dialect).
    TrainShards,
    /// Evaluation files of all ranks, concatenated in the order of the ranks (mlperf dialect).
    EvalShards,
}

/// Identifies a list, whose numbers differ between epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PermutationKey {
    /// Purpose.
    pub purpose: Purpose,
    /// Number of elements.
    pub len: u32,
}

/// Computes the numbers of a list for an epoch from the numbers in the slice. The argument is the epoch of those
/// numbers, or `None` if they are uninitialized.
pub type FillNumbers<'a> = &'a mut dyn FnMut(Option<u32>, &mut [u32]);

/// Storage of lists.
pub trait PermutationStore: fmt::Debug + Send + Sync {
    /// Returns the numbers of a list in an epoch: the stored ones, or those that `make` computes.
    fn numbers(&self, list: PermutationKey, epoch: u32, make: FillNumbers<'_>) -> PermutedNumbers;
}

/// Numbers of a list in one epoch. They do not change as long as a reference to them exists.
#[derive(Clone)]
pub struct PermutedNumbers(Arc<dyn AsRef<[u32]> + Send + Sync>);

impl PermutedNumbers {
    /// Wraps numbers that are stored elsewhere.
    #[must_use]
    pub fn new(kept: Arc<dyn AsRef<[u32]> + Send + Sync>) -> Self {
        Self(kept)
    }
}

impl Deref for PermutedNumbers {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for PermutedNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} numbers", self.len())
    }
}

/// Lists in the memory of one process. The latest epoch of each list is kept because all lanes of an epoch request the
/// same numbers.
#[derive(Debug, Default)]
pub struct LocalPermutations {
    kept: Mutex<HashMap<PermutationKey, Arc<Mutex<Option<Kept>>>>>,
}

#[derive(Debug)]
struct Kept {
    epoch: u32,
    numbers: Arc<Vec<u32>>,
}

impl PermutationStore for LocalPermutations {
    fn numbers(&self, list: PermutationKey, epoch: u32, make: FillNumbers<'_>) -> PermutedNumbers {
        // Each list has its own lock, so that two lists can be computed at the same time.
        let place = Arc::clone(lock(&self.kept).entry(list).or_default());
        let mut kept = lock(&place);
        let (have, mut numbers) = match kept.take().filter(|kept| kept.epoch <= epoch) {
            Some(Kept { epoch, numbers }) => (Some(epoch), numbers),
            None => (None, Arc::new(vec![0_u32; list.len as usize])),
        };
        if have != Some(epoch) {
            // The numbers are updated in place, unless a lane of an earlier epoch still uses them.
            make(have, Arc::<Vec<u32>>::make_mut(&mut numbers).as_mut_slice());
        }
        *kept = Some(Kept { epoch, numbers: Arc::clone(&numbers) });
        PermutedNumbers(numbers)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The stored lists are always complete, so a panic of another thread cannot have damaged them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills a list with 0, 1, 2, and so on.
pub(crate) fn count_up(numbers: &mut [u32]) {
    for (number, value) in numbers.iter_mut().zip(0..) {
        *number = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: PermutationKey = PermutationKey { purpose: Purpose::Files, len: 3 };

    /// Records which epoch was computed from which.
    fn made(lists: &LocalPermutations, epoch: u32) -> PermutedNumbers {
        lists.numbers(LIST, epoch, &mut |have, numbers| numbers.fill(100 * have.unwrap_or(99) + epoch))
    }

    #[test]
    fn a_list_is_made_once_per_epoch_out_of_the_epoch_before() {
        let lists = LocalPermutations::default();
        assert_eq!(*made(&lists, 1), [9901; 3]);
        assert_eq!(*made(&lists, 3), [103; 3]);
        assert_eq!(*made(&lists, 3), [103; 3]);
        assert_eq!(*made(&lists, 2), [9902; 3], "an earlier epoch begins anew");
    }

    #[test]
    fn who_still_reads_an_epoch_keeps_its_numbers() {
        let lists = LocalPermutations::default();
        let first = made(&lists, 1);
        assert_eq!(*made(&lists, 2), [102; 3]);
        assert_eq!(*first, [9901; 3]);
    }
}
