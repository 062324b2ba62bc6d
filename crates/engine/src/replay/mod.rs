//! Does the operations of a recorded trace again, at their moments.
//!
//! Invariant: what is in memory is a window of operations. With the recorded schedule, the workers take turns: one of
//! them waits for the next moment and issues that operation itself, so no operation that is not yet due has a thread,
//! and none changes threads when it is. With program order, a worker has its lanes' operations in their order.

#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dlio_event::{Nanos, Phase, Position};
use dlio_plan::replay::{Error as TraceError, Fidelity, Issue, Late, ReplayOp, Timing};
use tokio::sync::{Mutex, mpsc, watch};

use crate::clock::nanos;
use crate::reader::Halt;
use crate::watch::Watch;
use crate::{CancelFlag, Error, Place, Rig, Waiting};
use worker::{Queue, Report, Worker};

/// Where events of a replay are: in no epoch or step.
const AT: Position = Position { phase: Phase::Train, epoch: 0, block: 0, step: 0, sample: None };

/// Operations that are read ahead, over all queues.
const WINDOW: usize = 4096;

/// How to replay.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// When operations are issued.
    pub timing: Timing,
    /// What happens to late ones (open timing).
    pub late: Late,
    /// Operations of this rank at a time, each on a thread of its own; at least 1.
    pub inflight: u32,
    /// Lanes of this rank: with program order there is no use for more workers.
    pub lanes: u32,
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
    operations: impl Iterator<Item = Result<ReplayOp, TraceError>>,
    rig: &Rig,
    options: &ReplayOptions,
) -> Result<Fidelity, Error> {
    let mut watch = Watch::new(rig, options.cancel.clone(), options.stall_after);
    watch.check_cancelled(AT)?;
    let (alive, released) = watch::channel(());
    // Threads take time to start; the moment is agreed on when all are there, and operations are handed out after that.
    let start = Arc::new(AtomicU64::new(0));
    let crew = start_workers(rig, options, &start, &released)?;
    start.store(agree_on_start(rig, &mut watch, options.lead).await?, Ordering::Release);
    let mut tally =
        Tally { fidelity: Fidelity::default(), early: BTreeMap::new(), next: 0, span: (Nanos::MAX, 0), stretched: 0 };
    let fed = feed(operations, crew, &mut watch, &mut tally).await;
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
    queues: Vec<mpsc::Sender<ReplayOp>>,
    reports: mpsc::UnboundedReceiver<Report>,
}

fn start_workers(
    rig: &Rig,
    options: &ReplayOptions,
    start: &Arc<AtomicU64>,
    released: &watch::Receiver<()>,
) -> Result<Crew, Error> {
    let limit = if options.timing == Timing::Open { u32::MAX } else { options.lanes };
    let workers = options.inflight.min(limit).max(1);
    let rank = rig.comm.place().rank;
    let (report, reports) = mpsc::unbounded_channel();
    let (running, tickets) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut queues = Vec::new();
    let count = if options.timing == Timing::Open { 1 } else { workers };
    let room = (WINDOW / count as usize).max(16);
    let mut inboxes = Vec::new();
    for _ in 0..count {
        let (queue, inbox) = mpsc::channel(room);
        queues.push(queue);
        inboxes.push(Arc::new(Mutex::new(Queue { operations: inbox, shift: 0 })));
    }
    for number in 0..workers {
        let worker = Worker {
            queue: Arc::clone(&inboxes[number as usize % inboxes.len()]),
            storage: rig.storage.clone(),
            clock: rig.clock.clone(),
            events: rig.events.clone(),
            options: options.clone(),
            start: Arc::clone(start),
            ended: BTreeMap::new(),
            halt: Halt { cancel: options.cancel.clone(), released: Some(released.clone()) },
            reports: report.clone(),
            running: Arc::clone(&running),
            tickets: Arc::clone(&tickets),
        };
        let live = move || worker.live();
        rig.lanes.start(format!("replay-{number}"), live).map_err(|source| Error::LaneStart {
            place: Place { rank, at: AT },
            lane: number,
            source,
        })?;
    }
    Ok(Crew { queues, reports })
}

enum Turn<'q> {
    Done(Report),
    Room(mpsc::Permit<'q, ReplayOp>),
    AllDone,
}

/// Hands operations out as there is room, and counts what comes back.
async fn feed(
    mut operations: impl Iterator<Item = Result<ReplayOp, TraceError>>,
    crew: Crew,
    watch: &mut Watch<'_>,
    tally: &mut Tally,
) -> Result<(), Error> {
    let Crew { mut queues, mut reports } = crew;
    let place = watch.place(AT);
    let mut following = || operations.next().transpose().map_err(|source| Error::Trace { place, source });
    let mut next = following()?;
    loop {
        let Some(op) = &next else {
            // Without a queue the workers end when they have emptied it, and with them the reports.
            queues.clear();
            while let Some(report) = watch.attend(AT, waiting, reports.recv()).await? {
                tally.take(report);
            }
            return Ok(());
        };
        let queue = &queues[op.lane as usize % queues.len()];
        let turn = async {
            tokio::select! {
                biased;
                report = reports.recv() => report.map_or(Turn::AllDone, Turn::Done),
                room = queue.reserve() => room.map_or(Turn::AllDone, Turn::Room),
            }
        };
        match watch.attend(AT, waiting, turn).await? {
            Turn::Done(report) => tally.take(report),
            Turn::Room(room) => {
                tally.fidelity.planned(op);
                if let Some(op) = next.take() {
                    room.send(op);
                }
                next = following()?;
            }
            // Workers end early only when the replay was cancelled.
            Turn::AllDone => return Err(Error::Cancelled { place }),
        }
    }
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
