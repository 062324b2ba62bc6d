//! Replay of the operations of a recorded trace, at their recorded times.
//!
//! Invariant: only a window of operations is in memory. With the recorded schedule, one worker at a time waits for the next due time, and
//! another worker takes over the waiting before it issues. So operations that are not due occupy no thread, and no operation changes
//! threads when it is issued. With program order, each worker has the operations of its lanes in order.

mod dependency_graph;
mod fidelity_counter;
mod handles;
mod op_scheduler;
mod options;
#[cfg(test)]
mod tests;
mod training_loops;
mod worker;
mod worker_pool;
mod write_body;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dlio_comm::Activity;
use dlio_event::Nanos;
use dlio_plan::replay::{Error as TraceError, Fidelity, Late, ReplayOp, Timing};
use tokio::sync::watch;

use crate::clock::nanos;
use crate::watchdog::Watchdog;
use crate::{Error, Rig, Waiting};
use fidelity_counter::FidelityCounter;
use handles::Handles;
pub use options::ReplayOptions;
use options::{AT, TOLERANCE, WINDOW};
use training_loops::TrainingLoops;
use worker_pool::{PoolEvent, WorkerPool};

/// Of this many operations that are late when they are read, one is passed to the workers.
const MISSED: u64 = 256;

/// Replays this rank's operations, in step with all other ranks. A failed operation is counted and does not end the replay.
///
/// # Errors
/// When the trace cannot be read, a worker cannot be started, or the replay is cancelled.
pub async fn replay(
    mut operations: impl Iterator<Item = Result<ReplayOp, TraceError>>,
    rig: &Rig,
    options: &ReplayOptions,
) -> Result<Fidelity, Error> {
    let mut watchdog = Watchdog::new(rig, options.cancel.clone(), options.stall_after);
    watchdog.check_cancelled(AT)?;
    // Read before the ranks agree on the start, because sorting the rows of a long trace takes time and would make the first operations late.
    let first: Vec<_> = operations.by_ref().take(WINDOW).collect();
    let operations = first.into_iter().chain(operations);
    let (alive, released) = watch::channel(());
    // Threads take time to start, so the ranks agree on the start after the first threads exist and before operations are handed out.
    let (pool, shared) = WorkerPool::start(rig, options, &released)?;
    let start = agree_on_start(rig, &mut watchdog, options.lead).await?;
    shared.start.store(start, Ordering::Release);
    let loops = Arc::clone(&shared.loops);
    let skips = options.late == Late::Skip && options.timing == Timing::Open;
    let schedule = Schedule { start, skips, handles: Arc::clone(&shared.handles) };
    drop(shared);
    let mut counter = FidelityCounter::default();
    let fed = feed(operations, pool, (&mut watchdog, rig, &loops), (&mut counter, &schedule)).await;
    drop(alive);
    fed?;
    watchdog.collective(AT, rig.comm.barrier()).await?;
    Ok(counter.finish())
}

/// Returns the start of the replay: the same time on all ranks of one node, or on several nodes, whose clocks differ, a time after a
/// barrier.
async fn agree_on_start(rig: &Rig, watchdog: &mut Watchdog<'_>, lead: Duration) -> Result<Nanos, Error> {
    let now = rig.clock.now().to_le_bytes();
    let all = watchdog.collective(AT, rig.comm.all_gather(&now)).await?;
    if rig.comm.place().nodes > 1 {
        watchdog.collective(AT, rig.comm.barrier()).await?;
        return Ok(rig.clock.now().saturating_add(nanos(lead)));
    }
    let readings = all.iter().filter_map(|bytes| <[u8; 8]>::try_from(bytes.as_slice()).ok()).map(Nanos::from_le_bytes);
    Ok(readings.max().unwrap_or(0).saturating_add(nanos(lead)))
}

/// The schedule, by which operations may be late before a worker has them.
struct Schedule {
    start: Nanos,
    /// Whether late operations are skipped (`--late skip`).
    skips: bool,
    handles: Arc<Handles>,
}

impl Schedule {
    fn is_missed(&self, op: &ReplayOp, now: Nanos) -> bool {
        self.skips && now.saturating_sub(self.start.saturating_add(op.due)) > TOLERANCE
    }
}

enum Turn {
    Pool(PoolEvent),
    Barrier(Result<(), dlio_comm::Error>),
}

/// Hands operations to the workers while there is room, counts their reports, and enters the barriers of the trace.
async fn feed(
    mut operations: impl Iterator<Item = Result<ReplayOp, TraceError>>,
    mut pool: WorkerPool,
    (watchdog, rig, loops): (&mut Watchdog<'_>, &Rig, &TrainingLoops),
    (counter, schedule): (&mut FidelityCounter, &Schedule),
) -> Result<(), Error> {
    let place = watchdog.place(AT);
    watchdog.announce(AT, Activity::Replaying);
    let (mut next, mut more, mut missed) = (None, true, 0u64);
    let mut barrier = std::pin::pin!(next_barrier(rig, loops));
    loop {
        if more && next.is_none() {
            next = operations.next().transpose().map_err(|source| Error::Trace { place, source })?;
            if let Some(op) = &next {
                counter.planned(op);
                // If the schedule is denser than the trace can be read, late operations are skipped while reading. Occasionally one is passed
                // to the workers, who skip it, so that their reports are still received.
                let is_missed = schedule.is_missed(op, rig.clock.now());
                missed += u64::from(is_missed);
                if is_missed && !missed.is_multiple_of(MISSED) {
                    schedule.handles.pass(op.handle, (op.kind, op.closes));
                    counter.unread();
                    next = None;
                    continue;
                }
            } else {
                more = false;
                pool.close();
            }
        }
        let turn = async {
            tokio::select! {
                biased;
                met = &mut barrier => Turn::Barrier(met),
                event = pool.next_event(next.as_ref()) => Turn::Pool(event),
            }
        };
        match watchdog.wait_for(AT, waiting, turn).await? {
            Turn::Barrier(met) => {
                met.map_err(|source| Error::Comm { place, source })?;
                loops.release();
                barrier.set(next_barrier(rig, loops));
            }
            Turn::Pool(PoolEvent::Done(done)) => {
                for report in done {
                    counter.take(report);
                }
                let (operations, bytes) = counter.over();
                rig.observer.operations_done(operations, bytes);
            }
            Turn::Pool(PoolEvent::Room) => next.take().map_or(Ok(()), |op| pool.send(op))?,
            Turn::Pool(PoolEvent::WorkerNeeded) => pool.spawn_worker()?,
            Turn::Pool(PoolEvent::NoMoreWorkers) => pool.stop_spawning(),
            // Cancelled workers end in the same way as workers that have completed all operations.
            Turn::Pool(PoolEvent::Ended) if !more => return watchdog.check_cancelled(AT),
            Turn::Pool(PoolEvent::Ended) => return Err(Error::Cancelled { place }),
        }
    }
}

/// Enters the next barrier of the training loops of all ranks, when all loops of this rank have arrived.
async fn next_barrier(rig: &Rig, loops: &TrainingLoops) -> Result<(), dlio_comm::Error> {
    loops.all_arrived().await;
    rig.comm.barrier().await
}

fn waiting() -> Waiting {
    Waiting::Work { what: "the operations that are under way" }
}
