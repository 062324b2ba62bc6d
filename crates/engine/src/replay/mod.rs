//! Does the operations of a recorded trace again, at their moments.
//!
//! Invariant: what is in memory is a window of operations. With the recorded schedule, one worker at a time waits for the
//! next moment, and another takes over from it before that comes, so no operation that is not yet due has a thread, and
//! none changes threads when it is. With program order, a worker has its lanes' operations in their order.

mod board;
mod body;
mod crew;
mod handles;
mod loops;
mod order;
mod tally;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dlio_comm::Activity;
use dlio_event::{Nanos, Phase, Position};
use dlio_plan::replay::{Error as TraceError, Fidelity, Late, ReplayOp, Timing};
use dlio_storage::Storage;
use tokio::sync::watch;

use crate::clock::nanos;
use crate::watch::Watch;
use crate::{CancelFlag, Error, Rig, StallLimits, Waiting};
use crew::{Crew, News};
use handles::Handles;
use loops::Loops;
use tally::Tally;

/// Where events of a replay are: in no epoch or step.
const AT: Position = Position { phase: Phase::Train, epoch: 0, block: 0, step: 0, sample: None };

/// Operations that are read ahead, over all queues.
const WINDOW: usize = 4096;

/// An operation that is later than this is late for `--late stretch` and `--late skip`.
const TOLERANCE: Nanos = 10_000_000;
/// Of so many operations that are late already when they are read, one is looked at by the workers.
const MISSED: u64 = 256;

/// How to replay.
#[derive(Clone)]
pub struct ReplayOptions {
    /// When operations are issued.
    pub timing: Timing,
    /// What happens to late ones (open timing).
    pub late: Late,
    /// Operations of this rank at a time, at most, each on a thread of its own; at least 1. Training loops have threads beside them.
    pub inflight: u32,
    /// Operations of this rank at a time when it was recorded: how many threads the schedule begins with.
    pub peak: u64,
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
    pub stall_after: StallLimits,
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
    // Threads take time to start; the moment is agreed on when the first are there, and operations are handed out after that.
    let (crew, shared) = Crew::start(rig, options, &released)?;
    let start = agree_on_start(rig, &mut watch, options.lead).await?;
    shared.start.store(start, Ordering::Release);
    let loops = Arc::clone(&shared.loops);
    let skips = options.late == Late::Skip && options.timing == Timing::Open;
    let schedule = Schedule { start, skips, handles: Arc::clone(&shared.handles) };
    drop(shared);
    let mut tally = Tally::default();
    let fed = feed(operations, crew, (&mut watch, rig, &loops), (&mut tally, &schedule)).await;
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

/// What is late before anybody has it.
struct Schedule {
    start: Nanos,
    /// `--late skip`.
    skips: bool,
    handles: Arc<Handles>,
}

impl Schedule {
    fn is_missed(&self, op: &ReplayOp, now: Nanos) -> bool {
        self.skips && now.saturating_sub(self.start.saturating_add(op.due)) > TOLERANCE
    }
}

enum Turn {
    News(News),
    Met(Result<(), dlio_comm::Error>),
}

/// Hands operations out as there is room, counts what comes back, and meets the other ranks where the trace did.
async fn feed(
    mut operations: impl Iterator<Item = Result<ReplayOp, TraceError>>,
    mut crew: Crew,
    (watch, rig, loops): (&mut Watch<'_>, &Rig, &Loops),
    (tally, schedule): (&mut Tally, &Schedule),
) -> Result<(), Error> {
    let place = watch.place(AT);
    watch.begin(AT, Activity::Replaying);
    let (mut next, mut more, mut missed) = (None, true, 0u64);
    let mut meeting = std::pin::pin!(meet(rig, loops));
    loop {
        if more && next.is_none() {
            next = operations.next().transpose().map_err(|source| Error::Trace { place, source })?;
            if let Some(op) = &next {
                tally.planned(op);
                // Where the schedule is denser than it can be read, reading on is all that helps. Now and then one goes to the workers,
                // who leave it out: so their reports are heard.
                let is_missed = schedule.is_missed(op, rig.clock.now());
                missed += u64::from(is_missed);
                if is_missed && !missed.is_multiple_of(MISSED) {
                    schedule.handles.pass(op.handle, (op.kind, op.closes));
                    tally.unread();
                    next = None;
                    continue;
                }
            } else {
                more = false;
                crew.close();
            }
        }
        let turn = async {
            tokio::select! {
                biased;
                met = &mut meeting => Turn::Met(met),
                news = crew.news(next.as_ref()) => Turn::News(news),
            }
        };
        match watch.attend(AT, waiting, turn).await? {
            Turn::Met(met) => {
                met.map_err(|source| Error::Comm { place, source })?;
                loops.part();
                meeting.set(meet(rig, loops));
            }
            Turn::News(News::Done(done)) => {
                for report in done {
                    tally.take(report);
                }
                let (operations, bytes) = tally.over();
                rig.observer.operations_done(operations, bytes);
            }
            Turn::News(News::Room) => next.take().map_or(Ok(()), |op| crew.give(op))?,
            Turn::News(News::Short) => crew.grow()?,
            Turn::News(News::Enough) => crew.settle(),
            // Workers that were told to stop end as those do that have done all.
            Turn::News(News::Over) if !more => return watch.check_cancelled(AT),
            Turn::News(News::Over) => return Err(Error::Cancelled { place }),
        }
    }
}

/// The next meeting of the training loops of all ranks.
async fn meet(rig: &Rig, loops: &Loops) -> Result<(), dlio_comm::Error> {
    loops.assembled().await;
    rig.comm.barrier().await
}

fn waiting() -> Waiting {
    Waiting::Work { what: "the operations that are under way" }
}
