//! Does the operations of a recorded trace again, at their moments.
//!
//! Invariant: what is in memory is a window of operations. With the recorded schedule, one worker at a time waits for the
//! next moment, and another takes over from it before that comes, so no operation that is not yet due has a thread, and
//! none changes threads when it is. With program order, a worker has its lanes' operations in their order.

mod board;
mod handles;
mod loops;
mod order;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dlio_event::{Nanos, Phase, Position};
use dlio_plan::replay::{Edges, Error as TraceError, Fidelity, Issue, Late, ReplayOp, Timing};
use dlio_storage::Storage;
use tokio::sync::{mpsc, watch};

use crate::clock::nanos;
use crate::reader::Halt;
use crate::watch::Watch;
use crate::{CancelFlag, Error, Place, Rig, Waiting};
use board::Board;
use handles::Handles;
use loops::Loops;
use worker::{Report, Shared, Source, Worker};

/// Where events of a replay are: in no epoch or step.
const AT: Position = Position { phase: Phase::Train, epoch: 0, block: 0, step: 0, sample: None };

/// Operations that are read ahead, over all queues.
const WINDOW: usize = 4096;

/// How to replay.
#[derive(Clone)]
pub struct ReplayOptions {
    /// When operations are issued.
    pub timing: Timing,
    /// What happens to late ones (open timing).
    pub late: Late,
    /// Operations of this rank at a time, each on a thread of its own; at least 1. Training loops have threads beside them.
    pub inflight: u32,
    /// Lanes of this rank: with program order there is no use for more workers.
    pub lanes: u32,
    /// Storages of the endpoint rules, by number from 1.
    pub routes: Vec<Arc<dyn Storage>>,
    /// Training loops of this rank, and the meetings that those of all ranks have (dependent timing).
    pub loops: (u32, u32),
    /// Seed of what is written.
    pub seed: u64,
    /// From the meeting of the ranks to the start.
    pub lead: Duration,
    /// A wait of this length is reported to the observer; zero: never.
    pub stall_after: Duration,
    /// Ends the replay early.
    pub cancel: CancelFlag,
}

/// Replays this rank's operations, together with all other ranks; a failed operation is counted and does not end the replay.
///
/// # Errors
/// When the trace cannot be read, a worker cannot be started, or the replay is cancelled.
pub async fn replay(
    mut operations: impl Iterator<Item = Result<ReplayOp, TraceError>>,
    rig: &Rig,
    options: &ReplayOptions,
) -> Result<Fidelity, Error> {
    let mut watch = Watch::new(rig, options.cancel.clone(), options.stall_after);
    watch.check_cancelled(AT)?;
    // Before the start is agreed on: a long trace takes a while until its rows are in order, and the first ones would be late.
    let first: Vec<_> = operations.by_ref().take(WINDOW).collect();
    let operations = first.into_iter().chain(operations);
    let (alive, released) = watch::channel(());
    // Threads take time to start; the moment is agreed on when all are there, and operations are handed out after that.
    let (crew, shared) = start_workers(rig, options, &released)?;
    shared.start.store(agree_on_start(rig, &mut watch, options.lead).await?, Ordering::Release);
    let loops = Arc::clone(&shared.loops);
    drop(shared);
    let mut tally =
        Tally { fidelity: Fidelity::default(), early: BTreeMap::new(), next: 0, span: (Nanos::MAX, 0), stretched: 0 };
    let fed = feed(operations, crew, (&mut watch, rig, &loops), &mut tally).await;
    drop(alive);
    fed?;
    watch.meet(AT, rig.comm.barrier()).await?;
    Ok(tally.finish())
}

/// The same moment on all ranks of a node; on several nodes, whose clocks differ, a moment after a meeting.
async fn agree_on_start(rig: &Rig, watch: &mut Watch<'_>, lead: Duration) -> Result<Nanos, Error> {
    let now = rig.clock.now().to_le_bytes();
    let all = watch.meet(AT, rig.comm.all_gather(&now)).await?;
    if rig.comm.place().nodes > 1 {
        watch.meet(AT, rig.comm.barrier()).await?;
        return Ok(rig.clock.now().saturating_add(nanos(lead)));
    }
    let readings = all.iter().filter_map(|bytes| <[u8; 8]>::try_from(bytes.as_slice()).ok()).map(Nanos::from_le_bytes);
    Ok(readings.max().unwrap_or(0).saturating_add(nanos(lead)))
}

/// The workers as the main task sees them.
struct Crew {
    inboxes: Inboxes,
    reports: mpsc::UnboundedReceiver<Vec<Report>>,
}

/// Where operations go.
enum Inboxes {
    Board(Arc<Board>),
    /// Queues of workers, of which the first so many share all lanes but those of training loops; each of these has its own, because
    /// it waits for others.
    Lanes(Vec<mpsc::Sender<ReplayOp>>, usize),
}

impl Inboxes {
    /// Hands an operation out when there is room.
    async fn take(&self, op: &mut Option<ReplayOp>) -> Handed {
        match self {
            Inboxes::Board(board) => {
                board.has_room().await;
                if let Some(op) = op.take() {
                    board.push(op);
                }
                Handed::Out
            }
            Inboxes::Lanes(queues, shared) => {
                let queue = op.as_ref().map_or(0, |op| match op.edges {
                    Edges { own: true, group, .. } => *shared + group as usize % (queues.len() - shared).max(1),
                    _ => op.lane as usize % (*shared).max(1),
                });
                match queues[queue % queues.len()].reserve().await {
                    Ok(room) => {
                        if let Some(op) = op.take() {
                            room.send(op);
                        }
                        Handed::Out
                    }
                    Err(_) => Handed::Gone,
                }
            }
        }
    }
}

enum Handed {
    Out,
    /// Workers end early only when the replay was cancelled.
    Gone,
}

fn start_workers(rig: &Rig, options: &ReplayOptions, released: &watch::Receiver<()>) -> Result<(Crew, Shared), Error> {
    let open = options.timing == Timing::Open;
    let workers = options.inflight.min(if open { u32::MAX } else { options.lanes }).max(1);
    let rank = rig.comm.place().rank;
    let (report, reports) = mpsc::unbounded_channel();
    let mut storages = vec![rig.storage.clone()];
    storages.extend(options.routes.iter().cloned());
    let shared = Shared {
        storages: storages.into(),
        clock: rig.clock.clone(),
        events: rig.events.clone(),
        start: Arc::new(AtomicU64::new(0)),
        handles: Arc::new(Handles::default()),
        loops: Arc::new(Loops::new(options.loops)),
        halt: Halt { cancel: options.cancel.clone(), released: Some(released.clone()) },
        reports: report,
        running: Arc::new(AtomicU64::new(0)),
        tickets: Arc::new(AtomicU64::new(0)),
    };
    let board = Arc::new(Board::new(workers as usize, WINDOW));
    let mut queues = Vec::new();
    // Program order only: the schedule knows no training loops.
    let loops = if open { 0 } else { options.loops.0 };
    for number in 0..workers + loops {
        let source = if open {
            Source::Board(Arc::clone(&board), number as usize)
        } else {
            let (queue, inbox) = mpsc::channel((WINDOW / workers as usize).max(16));
            queues.push(queue);
            Source::Lanes(inbox)
        };
        let (ended, told) = (BTreeMap::new(), Vec::new());
        let worker = Worker { shared: shared.clone(), options: options.clone(), ended, told };
        let live = move || worker.live(source);
        rig.lanes.start(format!("replay-{number}"), live).map_err(|source| Error::LaneStart {
            place: Place { rank, at: AT },
            lane: number,
            source,
        })?;
    }
    let inboxes = if open { Inboxes::Board(board) } else { Inboxes::Lanes(queues, workers as usize) };
    Ok((Crew { inboxes, reports }, shared))
}

enum Turn {
    Done(Vec<Report>),
    Handed(Handed),
    Met(Result<(), dlio_comm::Error>),
    Over,
}

/// Hands operations out as there is room, counts what comes back, and meets the other ranks where the trace did.
async fn feed(
    mut operations: impl Iterator<Item = Result<ReplayOp, TraceError>>,
    crew: Crew,
    (watch, rig, loops): (&mut Watch<'_>, &Rig, &Loops),
    tally: &mut Tally,
) -> Result<(), Error> {
    let Crew { inboxes, mut reports } = crew;
    let place = watch.place(AT);
    let mut inboxes = Some(inboxes);
    let mut next = None;
    let mut meeting = std::pin::pin!(meet(rig, loops));
    loop {
        if let (None, Some(open)) = (&next, &inboxes) {
            next = operations.next().transpose().map_err(|source| Error::Trace { place, source })?;
            if let Some(op) = &next {
                tally.fidelity.planned(op);
            } else {
                // The workers end when they have done what they have, and with them the reports.
                if let Inboxes::Board(board) = open {
                    board.close();
                }
                inboxes = None;
            }
        }
        let turn = async {
            let hand_out = async {
                match &inboxes {
                    Some(inboxes) => inboxes.take(&mut next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                report = reports.recv() => report.map_or(Turn::Over, Turn::Done),
                met = &mut meeting => Turn::Met(met),
                handed = hand_out => Turn::Handed(handed),
            }
        };
        match watch.attend(AT, waiting, turn).await? {
            Turn::Done(done) => done.into_iter().for_each(|report| tally.take(report)),
            Turn::Handed(Handed::Out) => {}
            Turn::Met(met) => {
                met.map_err(|source| Error::Comm { place, source })?;
                loops.part();
                meeting.set(meet(rig, loops));
            }
            Turn::Over if inboxes.is_none() => return Ok(()),
            Turn::Handed(Handed::Gone) | Turn::Over => return Err(Error::Cancelled { place }),
        }
    }
}

/// The next meeting of the training loops of all ranks.
async fn meet(rig: &Rig, loops: &Loops) -> Result<(), dlio_comm::Error> {
    loops.assembled().await;
    rig.comm.barrier().await
}

fn waiting() -> Waiting {
    Waiting::Files { objects: vec!["the operations that are under way".to_owned()] }
}

/// Counts, in the order of issue.
struct Tally {
    fidelity: Fidelity,
    /// Issues whose predecessors have not been reported yet: as many as there are operations at a time.
    early: BTreeMap<u64, (Issue, bool)>,
    next: u64,
    span: (Nanos, Nanos),
    stretched: Nanos,
}

impl Tally {
    fn take(&mut self, report: Report) {
        let done = match report {
            Report::Skipped => {
                self.fidelity.operations_skipped += 1;
                return;
            }
            Report::Done(done) => done,
        };
        self.span = (self.span.0.min(done.issue.at), self.span.1.max(done.end));
        self.stretched = self.stretched.max(done.shift);
        self.early.insert(done.ticket, (done.issue, done.think));
        while let Some((issue, think)) = self.early.remove(&self.next) {
            self.fidelity.issued(issue, think);
            self.next += 1;
        }
        let counts = &mut self.fidelity;
        counts.busy_ns += done.end.saturating_sub(done.issue.at);
        counts.peak = counts.peak.max(done.running);
        counts.bytes_done += done.bytes;
        counts.opens += done.opens;
        counts.operations_failed_again += u64::from(done.failed_again);
        match done.failure {
            None => counts.operations_done += 1,
            Some(failure) => {
                counts.operations_failed += 1;
                counts.first_failure.get_or_insert(failure);
            }
        }
    }

    fn finish(mut self) -> Fidelity {
        self.fidelity.span_ns = self.span.1.saturating_sub(self.span.0);
        self.fidelity.stretched_ns = self.stretched;
        self.fidelity
    }
}
