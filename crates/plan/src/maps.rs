//! The sample maps that the reference builds, as a view for tests and for the curious.
//!
//! They are built before the main program trims the file list, and for the index sampler they are in order of
//! construction: the loader reads in ascending order all the same.

use dlio_config::Workload;
use dlio_config::vocabulary::Sampler;

use crate::reading::Reading;
use crate::{Error, FileSet, SampleRead, Split, World};

/// One rank's map of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SampleMap {
    /// Index sampler: the rank's samples in order of construction.
    Index(Vec<SampleRead>),
    /// Iterative sampler: per reader thread.
    Threads(Vec<Vec<SampleRead>>),
}

/// The map that the reference builds for a rank, of the untrimmed file list, whatever the dialect.
///
/// # Errors
///
/// If the workload has no plan.
pub fn sample_map(workload: &Workload, world: World, split: Split, rank: u32, epoch: u32) -> Result<SampleMap, Error> {
    let files = FileSet::new(workload)?;
    let reading = Reading::untrimmed(workload, &files, world)?;
    if workload.reader.sampler == Sampler::Iterative {
        let threads = reading.threads(rank, split, epoch);
        let map = |thread| (0..threads.entries(thread)).map(|at| threads.entry(thread, at)).collect();
        return Ok(SampleMap::Threads((0..reading.lanes()).map(map).collect()));
    }
    let (start, samples) = reading.share(rank, split);
    let mut numbers: Vec<u64> = (start..start + samples).collect();
    if reading.shuffles.shuffle_samples {
        reading.shuffles.generator(epoch).shuffle(&mut numbers);
    }
    let global = reading.global(split, epoch);
    Ok(SampleMap::Index(numbers.into_iter().map(|number| global.sample(number)).collect()))
}
