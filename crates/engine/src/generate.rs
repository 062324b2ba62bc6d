//! Writes the data set: every rank its files, several at a time, each streamed from its encoder.

use std::sync::Arc;
use std::time::Duration;

use dlio_event::{Lane, Phase, Position};
use dlio_format::Layout;
use dlio_plan::{FileSet, GeneratePlan};
use dlio_storage::record_attempts;
use tokio::sync::{Mutex, mpsc, watch};

use crate::cost::CpuMeter;
use crate::reader::{Halt, LaneStatus};
use crate::watch::Watch;
use crate::writer::Writer;
use crate::{CancelFlag, Error, FileDone, FileTotals, Generated, Place, Rig, Waiting};

const AT: Position = Position { phase: Phase::Generate, epoch: 0, block: 0, step: 0, sample: None };

/// How to generate.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// Files that this rank writes at the same time, each in a lane of its own; at least 1.
    pub inflight: u32,
    /// Write every file, also one that is complete.
    pub overwrite: bool,
    /// A wait of this length is reported to the observer, again after each further one; zero: never.
    pub stall_after: Duration,
    /// Ends the generation early.
    pub cancel: CancelFlag,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        let stall_after = Duration::from_mins(1);
        Self { inflight: 1, overwrite: false, stall_after, cancel: CancelFlag::new() }
    }
}

/// Writes this rank's files of the data set, together with all other ranks: rank 0 makes the root and the folders,
/// then everybody writes, then everybody meets.
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
    let mut watch = Watch::new(rig, options.cancel.clone(), options.stall_after);
    watch.check_cancelled(AT)?;
    let rank = rig.comm.place().rank;
    if rank == 0 {
        make_folders(files, rig, &mut watch).await?;
    }
    watch.meet(AT, rig.comm.barrier()).await?;

    let writer = |lane, released| Writer {
        files: files.clone(),
        layout: layout.clone(),
        storage: rig.storage.clone(),
        clock: rig.clock.clone(),
        events: rig.events.clone(),
        overwrite: options.overwrite,
        place: Place { rank, at: AT },
        lane,
        halt: Halt { cancel: options.cancel.clone(), released: Some(released) },
        status: LaneStatus::new(),
    };
    let numbers = plan.files(rank);
    let count = numbers.size_hint().1.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    rig.observer.generation_started(count);
    let lanes = options.inflight.clamp(1, u32::try_from(count.max(1)).unwrap_or(u32::MAX));
    let totals = match start_lanes(rig, &mut watch, lanes, writer) {
        Ok(team) => deal(numbers, team, files, rig, &mut watch).await,
        Err(error) => Err(error),
    };
    watch.lanes_ended().await;
    let totals = totals?;
    let world = sum(&watch.meet(AT, rig.comm.all_gather(&encode(totals))).await?);
    let duration = Duration::from_nanos(rig.clock.now().saturating_sub(start));
    let generated = Generated { rank: totals, world, duration, cpu: cpu.read() };
    rig.observer.generation_ended(&generated);
    Ok(generated)
}

/// Rank 0: the root and the folders.
async fn make_folders(files: &FileSet, rig: &Rig, watch: &mut Watch<'_>) -> Result<(), Error> {
    let waiting = || Waiting::Files { objects: vec![rig.storage.uri("")] };
    let root = watch.attend(AT, waiting, rig.storage.create_root()).await?;
    record_folder(rig, "", root)?;
    for folder in files.folders() {
        let made = watch.attend(AT, waiting, rig.storage.create_folder(&folder)).await?;
        record_folder(rig, &folder, made)?;
    }
    Ok(())
}

fn record_folder(rig: &Rig, key: &str, made: Result<dlio_storage::Receipt, dlio_storage::Error>) -> Result<(), Error> {
    let object = rig.events.object(&rig.storage.uri(key));
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

/// What the main task hears or may do next.
enum Turn<'q> {
    Done(FileDone),
    Room(mpsc::Permit<'q, u64>),
    AllDone,
}

/// The lanes that write.
struct Team {
    queue: mpsc::Sender<u64>,
    reports: mpsc::UnboundedReceiver<FileDone>,
    statuses: Vec<Arc<LaneStatus>>,
    /// Dropping it stops the lanes.
    _alive: watch::Sender<()>,
}

/// Starts the lanes.
fn start_lanes(
    rig: &Rig,
    watch: &mut Watch<'_>,
    lanes: u32,
    mut writer: impl FnMut(Lane, watch::Receiver<()>) -> Writer,
) -> Result<Team, Error> {
    let (alive, released) = watch::channel(());
    let (queue, inbox) = mpsc::channel(lanes as usize);
    let inbox = Arc::new(Mutex::new(inbox));
    let (report, reports) = mpsc::unbounded_channel();
    let (failed, failures) = mpsc::unbounded_channel();
    watch.set_failures(failures);
    let mut statuses = Vec::new();
    for lane in 0..lanes {
        let writer = writer(Lane(u16::try_from(lane).unwrap_or(u16::MAX - 1)), released.clone());
        statuses.push(writer.status.clone());
        let place = writer.place;
        let (inbox, report, failed) = (inbox.clone(), report.clone(), failed.clone());
        let live = move || writer.live(inbox, report, failed);
        rig.lanes.start(format!("generate-{lane}"), live).map_err(|source| Error::LaneStart { place, lane, source })?;
    }
    Ok(Team { queue, reports, statuses, _alive: alive })
}

/// Deals the file numbers out to the lanes and adds up what they report.
async fn deal(
    mut numbers: impl Iterator<Item = u64>,
    team: Team,
    files: &FileSet,
    rig: &Rig,
    watch: &mut Watch<'_>,
) -> Result<FileTotals, Error> {
    let Team { queue, mut reports, statuses, _alive } = team;
    let names = || statuses.iter().filter_map(|status| status.file()).map(|file| rig.storage.uri(&files.key(file)));
    let waiting = || Waiting::Files { objects: names().collect() };
    let mut totals = FileTotals::default();
    let mut queue = Some(queue);
    let mut next = numbers.next();
    loop {
        // Without a queue the lanes end when they have emptied it, and with them the reports.
        queue = queue.filter(|_| next.is_some());
        let turn = async {
            tokio::select! {
                biased;
                done = reports.recv() => done.map_or(Turn::AllDone, Turn::Done),
                room = room(queue.as_ref()) => Turn::Room(room),
            }
        };
        match watch.attend(AT, waiting, turn).await? {
            Turn::Done(file) => {
                totals.files += 1;
                totals.kept += u64::from(file.kept);
                totals.bytes += if file.kept { 0 } else { file.bytes };
                rig.observer.file_done(&file);
            }
            Turn::Room(room) => {
                if let Some(number) = next {
                    room.send(number);
                }
                next = numbers.next();
            }
            // The last lane may have told its error between the two looks of one turn.
            Turn::AllDone => return watch.told().map_or(Ok(totals), Err),
        }
    }
}

/// Room for one more file number; never, once all have been dealt out.
async fn room(queue: Option<&mpsc::Sender<u64>>) -> mpsc::Permit<'_, u64> {
    match queue {
        Some(queue) => match queue.reserve().await {
            Ok(room) => room,
            // Every lane has ended: its error or the end of the reports comes next.
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

fn encode(totals: FileTotals) -> Vec<u8> {
    [totals.files, totals.kept, totals.bytes].iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The totals of all ranks.
fn sum(ranks: &[Vec<u8>]) -> FileTotals {
    let number = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at * 8..at * 8 + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    ranks.iter().fold(FileTotals::default(), |sum, rank| FileTotals {
        files: sum.files + number(rank, 0),
        kept: sum.kept + number(rank, 1),
        bytes: sum.bytes + number(rank, 2),
    })
}
