//! The global order of a split: file after file, or permuted.

use dlio_config::vocabulary::Shuffle;
use dlio_event::mix::split_seed;

use crate::permutation::Permutation;
use crate::{SampleRead, Split};

use super::FileList;

/// Maps positions in an epoch to samples. Without permutations, it is the ascending order of the reference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NativeOrder {
    /// Combined number of the first file of the split.
    base: u64,
    samples_per_file: u64,
    files: Option<Permutation>,
    samples: Option<Permutation>,
}

impl NativeOrder {
    /// Returns the ascending order: file after file, sample after sample.
    pub(crate) fn ascending(base: u64, samples_per_file: u64) -> Self {
        Self { base, samples_per_file, files: None, samples: None }
    }

    /// Permutes the files and the samples, each with its own stream.
    ///
    /// `seed` and `random` are both deterministic but use different streams. `epoch` is 0 if the seed does not change
    /// between epochs.
    pub(crate) fn shuffled(self, files: u64, shuffles: (Shuffle, Shuffle), seed: u32, at: (Split, u32)) -> Self {
        let permutation = |shuffle: Shuffle, purpose: u64, len: u64| {
            let stream = match shuffle {
                Shuffle::Off => return None,
                Shuffle::Seed => 1,
                Shuffle::Random => 2,
            };
            let split = u64::from(at.0 == Split::Eval);
            Some(Permutation::new(len, split_seed(&[purpose, stream, u64::from(seed), u64::from(at.1), split])))
        };
        Self {
            files: permutation(shuffles.0, 1, files),
            samples: permutation(shuffles.1, 2, files * self.samples_per_file),
            ..self
        }
    }

    /// Returns the number within the split of the file at this position of the file order.
    pub(crate) fn file(&self, place: u64) -> u64 {
        self.files.map_or(place, |files| files.apply(place))
    }

    /// Returns the sample at this position of the global order.
    pub(crate) fn sample(&self, position: u64) -> SampleRead {
        let position = self.samples.map_or(position, |samples| samples.apply(position));
        let (file, sample) = (self.file(position / self.samples_per_file), position % self.samples_per_file);
        self.read(file, sample)
    }

    /// Returns the sample at this position of a rank's own list.
    pub(crate) fn sample_in(&self, list: &FileList, position: u64) -> SampleRead {
        self.read(list.file(position / self.samples_per_file), position % self.samples_per_file)
    }

    /// Returns sample `sample` of file `file` of the split.
    pub(crate) fn read(&self, file: u64, sample: u64) -> SampleRead {
        SampleRead { index: file * self.samples_per_file + sample, file: self.base + file, sample }
    }
}
