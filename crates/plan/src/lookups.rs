//! Index lookups of a reader when it is created, before its first sample.

use dlio_config::vocabulary::{DataLoader, Dialect, IndexFile};

use crate::counts::LoaderKind;
use crate::{Split, TrainingPlan};

/// The files whose indexes a lane reads before the first sample of an epoch or evaluation.
pub struct Lookups {
    /// The loader creates a new reader for this epoch, which has no indexes from earlier epochs.
    pub fresh: bool,
    /// Combined numbers of the files, in the order of the reader's map; a file may occur several times.
    pub files: Box<dyn Iterator<Item = u64> + Send>,
}

impl TrainingPlan {
    /// Returns the lookups of a lane's reader. They are empty for formats without an index of offsets, and in dialects
    /// other than `dlio`, where an index is read only when its file is opened.
    ///
    /// In the reference, every worker of an index reader looks up every file of its rank, in the order of the shuffled
    /// samples; under torch, this is the only effect of that shuffle. An iterative reader looks up the files of its
    /// thread, in every epoch again.
    #[must_use]
    pub fn lookups(&self, rank: u32, split: Split, epoch: u32, lane: u32) -> Lookups {
        let reading = self.reading();
        let fresh = reading.loader() != DataLoader::Pytorch;
        let indexed = self.files().format().index_files().contains(&IndexFile::Offsets);
        if !indexed || reading.dialect != Dialect::Dlio {
            return Lookups { fresh, files: Box::new(std::iter::empty()) };
        }
        let files: Box<dyn Iterator<Item = u64> + Send> = match reading.kind {
            LoaderKind::Iterative => {
                let threads = reading.threads(rank, split, epoch);
                let mut last = None;
                let entries = (0..threads.entries(lane)).map(move |at| threads.entry(lane, at).file);
                Box::new(entries.filter(move |&file| last.replace(file) != Some(file)))
            }
            LoaderKind::Index => {
                let (start, samples) = reading.share(rank, split);
                let records = self.files().samples_per_file();
                let first = self.files().combined(split, start / records);
                let files = (start % records + samples).div_ceil(records);
                // The torch loader pickles the map of the first epoch.
                let epoch = if fresh { epoch } else { 1 };
                match u32::try_from(samples).ok().filter(|_| files > 1) {
                    Some(samples) if let Some(order) = reading.shuffles.sample_order(samples, epoch) => {
                        let file = move |at| first + (start % records + u64::from(order[at])) / records;
                        Box::new((0..samples as usize).map(file))
                    }
                    _ => Box::new(first..first + files),
                }
            }
            _ => Box::new(std::iter::empty()),
        };
        Lookups { fresh, files }
    }
}
