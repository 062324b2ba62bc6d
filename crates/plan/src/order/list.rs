//! The files that a rank reads, by their positions in its list.

use std::sync::Arc;

use crate::PermutedNumbers;

/// A list of file numbers within a split. Regular lists are computed; others are parts of a shared array.
#[derive(Debug, Clone)]
pub(crate) enum FileList {
    /// Every `step`-th file, beginning with `first`; (0, 1) means all files in order.
    Strided { first: u64, step: u64 },
    /// The numbers of an array, beginning with this position.
    Listed { numbers: PermutedNumbers, first: usize },
}

impl FileList {
    /// All files in order.
    pub(crate) const ALL: FileList = FileList::Strided { first: 0, step: 1 };

    /// Returns a list with these numbers.
    pub(crate) fn of(numbers: Vec<u32>) -> Self {
        FileList::Listed { numbers: PermutedNumbers::new(Arc::new(numbers)), first: 0 }
    }

    /// Returns the number of the file at this position. A position beyond the end of an array is its own number.
    pub(crate) fn file(&self, place: u64) -> u64 {
        match self {
            FileList::Strided { first, step } => first + place * step,
            FileList::Listed { numbers, first } => {
                let at = usize::try_from(place).ok().and_then(|place| first.checked_add(place));
                at.and_then(|at| numbers.get(at)).map_or(place, |&number| u64::from(number))
            }
        }
    }

    /// Sorts the first `len` positions by number.
    pub(crate) fn sorted(self, len: u64) -> Self {
        let FileList::Listed { numbers, first } = &self else { return self };
        let end = usize::try_from(len).map_or(numbers.len(), |len| first.saturating_add(len).min(numbers.len()));
        let mut part = numbers.get(*first..end).unwrap_or_default().to_vec();
        part.sort_unstable();
        FileList::of(part)
    }
}
