//! The sample maps that the reference builds, for tests and for inspection.
//!
//! The reference builds them before its main program trims the file list. Maps of the index sampler are in the order of
//! their construction, although the loader reads in ascending order.

use dlio_config::Workload;
use dlio_config::vocabulary::Sampler;

use crate::reading::Reading;
use crate::{Error, FileSet, SampleRead, Split, World};

/// Sample map of one rank in one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SampleMap {
    /// Index sampler: the samples of the rank, in the order of construction.
    Index(Vec<SampleRead>),
    /// Iterative sampler: the samples of each reader thread.
    Threads(Vec<Vec<SampleRead>>),
}

/// Returns the map that the reference builds for a rank from the untrimmed file list, regardless of the dialect.
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
