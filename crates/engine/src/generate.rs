//! Generation of the dataset: every rank writes its files, several at a time, each streamed from its encoder.

use std::time::Duration;

use dlio_comm::Activity;
use dlio_event::{Lane, Phase, Position};
use dlio_format::Layout;
use dlio_plan::{FileSet, GeneratePlan};
use dlio_storage::record_attempts;

use crate::cost::CpuMeter;
use crate::lane_status::LaneStatus;
use crate::watchdog::Watchdog;
use crate::work_queue::{WorkQueue, WorkQueueOptions};
use crate::writer::Writer;
use crate::{CancelFlag, Error, FileDone, FileTotals, Generated, Place, Rig, StallLimits, Waiting};

const AT: Position = Position { phase: Phase::Generate, epoch: 0, block: 0, step: 0, sample: None };

/// Options of a generation.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// Number of files that this rank writes at the same time, each in its own lane; at least 1.
    pub inflight: u32,
    /// Write every file, including files that are already complete.
    pub overwrite: bool,
    /// Limits after which long waits are reported and the run is ended.
    pub stall_after: StallLimits,
    /// Cancels the generation.
    pub cancel: CancelFlag,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        let stall_after = StallLimits::reporting_after(Duration::from_mins(1));
        Self { inflight: 1, overwrite: false, stall_after, cancel: CancelFlag::new() }
    }
}

/// Writes this rank's files of the dataset, in step with all other ranks: rank 0 creates the root and the folders, then all ranks
/// write, then all ranks enter a barrier.
///
/// A file that exists with the length that its encoder announces is kept, unless `overwrite` is set.
///
/// # Errors
/// The first error of any of this rank's lanes, which stops the others; the caller then aborts the communicator.
pub async fn generate(
    plan: &GeneratePlan,
    files: &FileSet,
    layout: &Layout,
    rig: &Rig,
    options: GenerateOptions,
) -> Result<Generated, Error> {
    let (cpu, start) = (CpuMeter::start(), rig.clock.now());
    let mut watchdog = Watchdog::new(rig, options.cancel.clone(), options.stall_after);
    watchdog.check_cancelled(AT)?;
    let rank = rig.comm.place().rank;
    if rank == 0 {
        make_folders(files, rig, &mut watchdog).await?;
    }
    watchdog.collective(AT, rig.comm.barrier()).await?;

    let writer = |lane, halt| Writer {
        files: files.clone(),
        layout: layout.clone(),
        storage: rig.storage.clone(),
        clock: rig.clock.clone(),
        events: rig.events.clone(),
        overwrite: options.overwrite,
        place: Place { rank, at: AT },
        lane,
        halt,
        status: LaneStatus::new(),
    };
    let numbers = plan.files(rank);
    let count = numbers.size_hint().1.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    rig.observer.generation_started(count);
    let lanes = options.inflight.clamp(1, u32::try_from(count.max(1)).unwrap_or(u32::MAX));
    let queue_options = WorkQueueOptions { name: "generate", done: "written", lanes, at: AT, cancel: &options.cancel };
    let mut totals = FileTotals::default();
    let count = |file: FileDone| {
        totals.files += 1;
        totals.kept += u64::from(file.kept);
        totals.replaced += u64::from(file.replaced);
        totals.bytes += if file.kept { 0 } else { file.bytes };
        rig.observer.file_done(&file);
    };
    let uri = |number| rig.storage.uri(&files.name(number));
    let outcome = match WorkQueue::start(rig, &mut watchdog, &queue_options, writer) {
        Ok(queue) => queue.run(numbers, uri, &mut watchdog, count).await,
        Err(error) => Err(error),
    };
    watchdog.lanes_ended().await;
    outcome?;
    let world = sum(&watchdog.collective(AT, rig.comm.all_gather(&encode(totals))).await?);
    let duration = Duration::from_nanos(rig.clock.now().saturating_sub(start));
    let generated = Generated { rank: totals, world, duration, cpu: cpu.read() };
    rig.observer.generation_ended(&generated);
    Ok(generated)
}

/// Creates the root and the folders; only rank 0 calls it.
async fn make_folders(files: &FileSet, rig: &Rig, watchdog: &mut Watchdog<'_>) -> Result<(), Error> {
    let waiting = || Waiting::Files { objects: vec![rig.storage.uri("")], done: "made" };
    watchdog.announce(AT, Activity::Files);
    let root = watchdog.wait_for(AT, waiting, rig.storage.create_root()).await?;
    record_folder(rig, &rig.storage.root_uri(), root)?;
    for folder in files.folders() {
        let made = watchdog.wait_for(AT, waiting, rig.storage.create_folder(&folder)).await?;
        record_folder(rig, &rig.storage.uri(&folder), made)?;
    }
    Ok(())
}

fn record_folder(rig: &Rig, name: &str, made: Result<dlio_storage::Receipt, dlio_storage::Error>) -> Result<(), Error> {
    let object = rig.events.object(name);
    let record = |attempts| record_attempts(&*rig.events, attempts, object, Lane::MAIN, AT);
    match made {
        Ok(receipt) => record(&receipt.attempts),
        Err(source) => {
            record(&source.attempts);
            let place = Place { rank: rig.comm.place().rank, at: AT };
            return Err(Error::Storage { place, source: Box::new(source) });
        }
    }
    Ok(())
}

fn encode(totals: FileTotals) -> Vec<u8> {
    [totals.files, totals.kept, totals.bytes, totals.replaced].iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Returns the totals of all ranks.
fn sum(ranks: &[Vec<u8>]) -> FileTotals {
    let number = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at * 8..at * 8 + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    ranks.iter().fold(FileTotals::default(), |sum, rank| FileTotals {
        files: sum.files + number(rank, 0),
        kept: sum.kept + number(rank, 1),
        bytes: sum.bytes + number(rank, 2),
        replaced: sum.replaced + number(rank, 3),
    })
}
