//! What a reader looks up when it is made, before its first sample: the indexes of all files that it may read.

use dlio_config::vocabulary::{DataLoader, Dialect, IndexFile};

use crate::counts::Kind;
use crate::{Split, TrainingPlan};

/// The files whose indexes a lane reads before the first sample of an epoch or evaluation.
pub struct Lookups {
    /// The loader makes a new reader for this epoch, which knows nothing of what an earlier one has read.
    pub fresh: bool,
    /// Combined numbers of the files, in the order of the reader's map; a file may come again.
    pub files: Box<dyn Iterator<Item = u64> + Send>,
}

impl TrainingPlan {
    /// The lookups of a lane's reader. Empty for formats without an index of offsets, and where an index is only read
    /// when its file is opened: in every dialect but `dlio`.
    ///
    /// The reference's index readers look up every file of their rank, in every worker, in the order of the shuffled samples
    /// (the only trace of that shuffle under torch); its iterative readers those of their thread, anew in every epoch.
    #[must_use]
    pub fn lookups(&self, rank: u32, split: Split, epoch: u32, lane: u32) -> Lookups {
        let reading = self.reading();
        let fresh = reading.loader() != DataLoader::Pytorch;
        let indexed = self.files().format().index_files().contains(&IndexFile::Offsets);
        if !indexed || reading.dialect != Dialect::Dlio {
            return Lookups { fresh, files: Box::new(std::iter::empty()) };
        }
        let files: Box<dyn Iterator<Item = u64> + Send> = match reading.kind {
            Kind::Iterative => {
                let threads = reading.threads(rank, split, epoch);
                let mut last = None;
                let entries = (0..threads.entries(lane)).map(move |at| threads.entry(lane, at).file);
                Box::new(entries.filter(move |&file| last.replace(file) != Some(file)))
            }
            Kind::Index => {
                let (start, samples) = reading.share(rank, split);
                let records = self.files().samples_per_file();
                let first = self.files().combined(split, start / records);
                let files = (start % records + samples).div_ceil(records);
                // The loader of torch pickles the map of the first epoch.
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
