//! Lanes that work through files: the main task deals numbers out, each lane takes the next one when it is free.

use std::future::Future;
use std::sync::Arc;

use dlio_comm::Activity;
use dlio_event::{Lane, Position};
use tokio::sync::{Mutex, mpsc, watch};

use crate::reader::{Halt, LaneStatus};
use crate::watch::Watch;
use crate::{CancelFlag, Error, Place, Rig, Waiting};

/// What a lane does with files.
pub(crate) trait FileWork: Send + 'static {
    /// What it reports of each.
    type Done: Send + 'static;

    /// Does its work on one file.
    fn file(&self, number: u64) -> impl Future<Output = Result<Self::Done, Error>>;

    /// What the lane is doing, and when it must stop.
    fn lane(&self) -> (&Arc<LaneStatus>, &Halt);
}

/// How many lanes, what they are called, and when they stop.
pub(crate) struct Crew<'c> {
    pub(crate) name: &'static str,
    /// What becomes of a file, for the line about a long wait: `written`, `read`.
    pub(crate) done: &'static str,
    pub(crate) lanes: u32,
    pub(crate) at: Position,
    pub(crate) cancel: &'c CancelFlag,
}

/// The lanes at work.
pub(crate) struct Team<D> {
    queue: mpsc::Sender<u64>,
    reports: mpsc::UnboundedReceiver<D>,
    statuses: Vec<Arc<LaneStatus>>,
    at: Position,
    done: &'static str,
    /// Dropping it stops the lanes.
    _alive: watch::Sender<()>,
}

/// The file numbers that no lane has taken yet.
type Queue = Arc<Mutex<mpsc::Receiver<u64>>>;

/// What the main task hears or may do next.
enum Turn<'q, D> {
    Done(D),
    Room(mpsc::Permit<'q, u64>),
    AllDone,
}

impl<D: Send + 'static> Team<D> {
    /// Starts the lanes; `work` makes what each of them needs.
    pub(crate) fn start<W: FileWork<Done = D>>(
        rig: &Rig,
        watch: &mut Watch<'_>,
        crew: &Crew<'_>,
        mut work: impl FnMut(Lane, Halt) -> W,
    ) -> Result<Self, Error> {
        let (alive, released) = watch::channel(());
        let (queue, inbox) = mpsc::channel(crew.lanes as usize);
        let inbox = Arc::new(Mutex::new(inbox));
        let (report, reports) = mpsc::unbounded_channel();
        let (failed, failures) = mpsc::unbounded_channel();
        watch.set_failures(failures);
        let mut statuses = Vec::new();
        for lane in 0..crew.lanes {
            let halt = Halt { cancel: crew.cancel.clone(), released: Some(released.clone()) };
            let work = work(Lane(u16::try_from(lane).unwrap_or(u16::MAX - 1)), halt);
            statuses.push(work.lane().0.clone());
            let (inbox, report, failed) = (inbox.clone(), report.clone(), failed.clone());
            let live = move || live(work, inbox, report, failed);
            let place = Place { rank: rig.comm.place().rank, at: crew.at };
            rig.lanes.start(format!("{}-{lane}", crew.name), live).map_err(|source| Error::LaneStart {
                place,
                lane,
                source,
            })?;
        }
        Ok(Self { queue, reports, statuses, at: crew.at, done: crew.done, _alive: alive })
    }

    /// Deals the file numbers out to the lanes and passes on what they report; `uri` names a file.
    pub(crate) async fn deal(
        self,
        mut numbers: impl Iterator<Item = u64>,
        uri: impl Fn(u64) -> String,
        watch: &mut Watch<'_>,
        mut report: impl FnMut(D),
    ) -> Result<(), Error> {
        let Self { queue, mut reports, statuses, at, done, _alive } = self;
        let names = || statuses.iter().filter_map(|status| status.file()).map(&uri);
        let waiting = || Waiting::Files { objects: names().collect(), done };
        watch.begin(at, Activity::Files);
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
            match watch.attend(at, waiting, turn).await? {
                Turn::Done(file) => report(file),
                Turn::Room(room) => {
                    if let Some(number) = next {
                        room.send(number);
                    }
                    next = numbers.next();
                }
                // The last lane may have told its error between the two looks of one turn.
                Turn::AllDone => return watch.told().map_or(Ok(()), Err),
            }
        }
    }
}

/// Works until the queue ends, a file fails, or the main task has let go.
async fn live<W: FileWork>(
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
            // Nobody listens any more when the work has ended for another reason.
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
