//! A queue of file numbers for lanes: the main task fills the queue, and each idle lane takes the next number.

use std::future::Future;
use std::sync::Arc;

use dlio_comm::Activity;
use dlio_event::{Lane, Position};
use tokio::sync::{Mutex, mpsc, watch};

use crate::lane_status::{Halt, LaneStatus};
use crate::watchdog::Watchdog;
use crate::{CancelFlag, Error, Place, Rig, Waiting};

/// The work of a lane on files.
pub(crate) trait FileWork: Send + 'static {
    /// Result for one file.
    type Done: Send + 'static;

    /// Processes one file, by combined number.
    fn file(&self, number: u64) -> impl Future<Output = Result<Self::Done, Error>>;

    /// Returns the status of the lane and the signal that stops it.
    fn lane(&self) -> (&Arc<LaneStatus>, &Halt);
}

/// Number, name and cancellation of the lanes.
pub(crate) struct WorkQueueOptions<'c> {
    pub(crate) name: &'static str,
    /// Participle of the work for reports of long waits: `written`, `read`.
    pub(crate) done: &'static str,
    pub(crate) lanes: u32,
    pub(crate) at: Position,
    pub(crate) cancel: &'c CancelFlag,
}

/// The queue and its running lanes.
pub(crate) struct WorkQueue<D> {
    queue: mpsc::Sender<u64>,
    reports: mpsc::UnboundedReceiver<D>,
    statuses: Vec<Arc<LaneStatus>>,
    at: Position,
    done: &'static str,
    /// Dropping this sender stops the lanes.
    _alive: watch::Sender<()>,
}

/// File numbers that no lane has taken yet.
type Queue = Arc<Mutex<mpsc::Receiver<u64>>>;

/// Next event for the main task.
enum Turn<'q, D> {
    Done(D),
    Room(mpsc::Permit<'q, u64>),
    AllDone,
}

impl<D: Send + 'static> WorkQueue<D> {
    /// Starts the lanes; `work` creates the work of each.
    pub(crate) fn start<W: FileWork<Done = D>>(
        rig: &Rig,
        watchdog: &mut Watchdog<'_>,
        options: &WorkQueueOptions<'_>,
        mut work: impl FnMut(Lane, Halt) -> W,
    ) -> Result<Self, Error> {
        let (alive, released) = watch::channel(());
        let (queue, inbox) = mpsc::channel(options.lanes as usize);
        let inbox = Arc::new(Mutex::new(inbox));
        let (report, reports) = mpsc::unbounded_channel();
        let (failed, failures) = mpsc::unbounded_channel();
        watchdog.set_failures(failures);
        let mut statuses = Vec::new();
        for lane in 0..options.lanes {
            let halt = Halt { cancel: options.cancel.clone(), released: Some(released.clone()) };
            let work = work(Lane(u16::try_from(lane).unwrap_or(u16::MAX - 1)), halt);
            statuses.push(work.lane().0.clone());
            let (inbox, report, failed) = (inbox.clone(), report.clone(), failed.clone());
            let run = move || run_lane(work, inbox, report, failed);
            let place = Place { rank: rig.comm.place().rank, at: options.at };
            rig.lanes.start(format!("{}-{lane}", options.name), run).map_err(|source| Error::LaneStart {
                place,
                lane,
                source,
            })?;
        }
        Ok(Self { queue, reports, statuses, at: options.at, done: options.done, _alive: alive })
    }

    /// Distributes the file numbers to the lanes and passes their results to `report`; `uri` returns the name of a file.
    pub(crate) async fn run(
        self,
        mut numbers: impl Iterator<Item = u64>,
        uri: impl Fn(u64) -> String,
        watchdog: &mut Watchdog<'_>,
        mut report: impl FnMut(D),
    ) -> Result<(), Error> {
        let Self { queue, mut reports, statuses, at, done, _alive } = self;
        let names = || statuses.iter().filter_map(|status| status.file()).map(&uri);
        let waiting = || Waiting::Files { objects: names().collect(), done };
        watchdog.announce(at, Activity::Files);
        let mut queue = Some(queue);
        let mut next = numbers.next();
        loop {
            // Dropping the sender ends the lanes when the queue is empty, and then the reports.
            queue = queue.filter(|_| next.is_some());
            let turn = async {
                tokio::select! {
                    biased;
                    done = reports.recv() => done.map_or(Turn::AllDone, Turn::Done),
                    room = room(queue.as_ref()) => Turn::Room(room),
                }
            };
            match watchdog.wait_for(at, waiting, turn).await? {
                Turn::Done(file) => report(file),
                Turn::Room(room) => {
                    if let Some(number) = next {
                        room.send(number);
                    }
                    next = numbers.next();
                }
                // The last lane may have reported its error after this turn's check for errors.
                Turn::AllDone => return watchdog.lane_error().map_or(Ok(()), Err),
            }
        }
    }
}

/// Processes files until the queue ends, a file fails, or the main task stops the lanes.
async fn run_lane<W: FileWork>(
    work: W,
    queue: Queue,
    done: mpsc::UnboundedSender<W::Done>,
    failed: mpsc::UnboundedSender<Error>,
) {
    let files = async {
        loop {
            let next = queue.lock().await.recv().await;
            let Some(number) = next else { return Ok(()) };
            work.lane().0.set(number);
            // Sending fails only when the work has ended for another reason.
            let _ = done.send(work.file(number).await?);
            work.lane().0.clear();
        }
    };
    tokio::select! {
        biased;
        () = work.lane().1.released() => {}
        outcome = files => if let Err(error) = outcome {
            drop(failed.send(error));
        },
    }
}

/// Waits for room for one more file number; never completes without a queue.
async fn room(queue: Option<&mpsc::Sender<u64>>) -> mpsc::Permit<'_, u64> {
    match queue {
        Some(queue) => match queue.reserve().await {
            Ok(room) => room,
            // Every lane has ended; an error or the end of the reports follows.
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
