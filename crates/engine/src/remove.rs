//! Removal of the dataset after a run that does not keep it: the files that the workload describes, their index files, and folders
//! that become empty. All other files stay.

use dlio_comm::Activity;
use dlio_event::{Lane, Phase, Position};
use dlio_plan::FileSet;
use dlio_storage::record_attempts;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::watchdog::Watchdog;
use crate::{CancelFlag, Error, Place, Rig, StallLimits, Waiting};

/// Number of removals in flight.
const INFLIGHT: usize = 32;

const AT: Position = Position { phase: Phase::Setup, epoch: 0, block: 0, step: 0, sample: None };

/// Result of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Number of files of the dataset, including files that did not exist.
    pub files: u64,
    /// Whether the data folder itself was removed; `false` on storage without folders.
    pub folder: bool,
}

/// Removes the dataset on rank 0, after a barrier in which every rank has stopped reading; another barrier follows.
///
/// # Errors
/// The first failed removal, on rank 0; the caller then aborts the communicator.
pub async fn remove(
    files: &FileSet,
    rig: &Rig,
    cancel: CancelFlag,
    stall_after: StallLimits,
) -> Result<Removed, Error> {
    let mut watchdog = Watchdog::new(rig, cancel, stall_after);
    watchdog.collective(AT, rig.comm.barrier()).await?;
    let mut removed = Removed::default();
    if rig.comm.place().rank == 0 {
        let waiting = || Waiting::Files { objects: vec![rig.storage.uri("")], done: "removed" };
        watchdog.announce(AT, Activity::Files);
        removed = watchdog.wait_for(AT, waiting, sweep(files, rig)).await??;
    }
    watchdog.collective(AT, rig.comm.barrier()).await?;
    Ok(removed)
}

async fn sweep(files: &FileSet, rig: &Rig) -> Result<Removed, Error> {
    let numbers = futures::stream::iter(0..files.total());
    numbers.map(|number| sweep_file(files, rig, number)).buffer_unordered(INFLIGHT).try_collect::<()>().await?;
    let mut folders = files.folders();
    // The list has parents before their children.
    folders.reverse();
    for folder in &folders {
        sweep_folder(rig, folder).await?;
    }
    let folder = sweep_folder(rig, "").await?;
    Ok(Removed { files: files.total(), folder })
}

async fn sweep_file(files: &FileSet, rig: &Rig, number: u64) -> Result<(), Error> {
    let file = files.file(number);
    for key in std::iter::once(file.key.clone()).chain(file.index_keys().into_iter().map(|(_, key)| key)) {
        let removed = rig.storage.delete(&key).await;
        record(rig, &key, removed.map(|receipt| receipt.attempts))?;
    }
    rig.observer.file_removed();
    Ok(())
}

/// Removes a folder if it is empty; returns whether it is gone.
async fn sweep_folder(rig: &Rig, key: &str) -> Result<bool, Error> {
    match rig.storage.remove_folder(key).await {
        Ok((gone, receipt)) => record(rig, key, Ok(receipt.attempts)).map(|()| gone),
        Err(error) => record(rig, key, Err(error)).map(|()| false),
    }
}

fn record(rig: &Rig, key: &str, outcome: Result<dlio_storage::Attempts, dlio_storage::Error>) -> Result<(), Error> {
    let object = rig.events.object(&rig.storage.uri(key));
    let attempts = outcome.as_ref().unwrap_or_else(|error| &error.attempts);
    record_attempts(&*rig.events, attempts, object, Lane::MAIN, AT);
    let place = Place { rank: rig.comm.place().rank, at: AT };
    outcome.map(drop).map_err(|source| Error::Storage { place, source: Box::new(source) })
}
