//! The global order of a split: file after file, or permuted as the keys ask for.

use dlio_config::vocabulary::Shuffle;
use dlio_event::mix::split_seed;

use crate::permutation::Permutation;
use crate::{SampleRead, Split};

use super::FileList;

/// Position in an epoch → sample. Without permutations it is the reference's ascending order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NativeOrder {
    /// Combined number of the split's first file.
    base: u64,
    samples_per_file: u64,
    files: Option<Permutation>,
    samples: Option<Permutation>,
}

impl NativeOrder {
    /// File after file, sample after sample.
    pub(crate) fn ascending(base: u64, samples_per_file: u64) -> Self {
        Self { base, samples_per_file, files: None, samples: None }
    }

    /// The same with the order of the files and the order of the samples permuted by their own streams.
    ///
    /// `seed` and `random` are both deterministic, but draw from different streams; `epoch` is 0 when the seed does not
    /// change from epoch to epoch.
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

    /// Number within the split of the file at this place of the file order.
    pub(crate) fn file(&self, place: u64) -> u64 {
        self.files.map_or(place, |files| files.apply(place))
    }

    /// The sample at this position of the global order.
    pub(crate) fn sample(&self, position: u64) -> SampleRead {
        let position = self.samples.map_or(position, |samples| samples.apply(position));
        let (file, sample) = (self.file(position / self.samples_per_file), position % self.samples_per_file);
        self.read(file, sample)
    }

    /// The sample at this position of a rank's own list.
    pub(crate) fn sample_in(&self, list: &FileList, position: u64) -> SampleRead {
        self.read(list.file(position / self.samples_per_file), position % self.samples_per_file)
    }

    /// Sample `sample` of file `file` of the split.
    pub(crate) fn read(&self, file: u64, sample: u64) -> SampleRead {
        SampleRead { index: file * self.samples_per_file + sample, file: self.base + file, sample }
    }
}
