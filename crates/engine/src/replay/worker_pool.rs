//! The workers of a replay, which are started on demand, and the queues of their operations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dlio_plan::replay::{Edges, Late, ReplayOp, Timing};
use tokio::sync::{mpsc, watch};

use super::handles::Handles;
use super::op_scheduler::{OpScheduler, PoolSize};
use super::options::{AT, ReplayOptions, TOLERANCE, WINDOW};
use super::training_loops::TrainingLoops;
use super::worker::{Report, Shared, Source, Worker};
use super::write_body::PrefillBudget;
use crate::lane_status::Halt;
use crate::{Error, LaneHost, Place, Rig};

/// Minimum and maximum number of workers at the start of a schedule: a leader, an issuing worker, and one more for each operation in
/// flight at the recorded peak.
const FEWEST: usize = 3;
const AT_FIRST: usize = 64;

/// The main task's end of the workers.
pub(super) struct WorkerPool {
    inboxes: Inboxes,
    reports: mpsc::UnboundedReceiver<Vec<Report>>,
    /// `None` when no more workers can be needed; the reports end when the last sender, this one included, is dropped.
    spawner: Option<WorkerSpawner>,
}

/// Queues of the operations.
enum Inboxes {
    OpScheduler(Arc<OpScheduler>),
    /// Queues of workers, each of which is started with its first operation. The given number of queues at the front is shared by all lanes
    /// except training loops; each training loop has its own queue, because it waits for others.
    Lanes(Vec<Option<mpsc::Sender<ReplayOp>>>, usize),
    /// Whether all operations of the trace have been handed out.
    Closed,
}

/// Starts workers with what they share.
struct WorkerSpawner {
    shared: Shared,
    options: ReplayOptions,
    host: LaneHost,
    rank: u32,
}

impl WorkerSpawner {
    fn start(&self, number: usize, source: Source) -> Result<(), Error> {
        let (ended, unsent) = (BTreeMap::new(), Vec::new());
        let worker = Worker { shared: self.shared.clone(), options: self.options.clone(), ended, unsent };
        self.host.start(format!("replay-{number}"), move || worker.run(source)).map_err(|source| Error::LaneStart {
            place: Place { rank: self.rank, at: AT },
            lane: u32::try_from(number).unwrap_or(u32::MAX),
            source,
        })
    }
}

/// An event of the pool for the main task.
pub(super) enum PoolEvent {
    Done(Vec<Report>),
    /// There is room for another operation.
    Room,
    /// Another worker is needed.
    WorkerNeeded,
    /// No more workers will be needed.
    NoMoreWorkers,
    /// All workers have ended.
    Ended,
}

impl WorkerPool {
    /// Starts the first workers; others are started on demand.
    pub(super) fn start(
        rig: &Rig,
        options: &ReplayOptions,
        released: &watch::Receiver<()>,
    ) -> Result<(Self, Shared), Error> {
        let open = options.timing == Timing::Open;
        let most = options.inflight.min(if open { u32::MAX } else { options.lanes }).max(1) as usize;
        let (report, reports) = mpsc::unbounded_channel();
        let mut storages = vec![rig.storage.clone()];
        storages.extend(options.routes.iter().cloned());
        let shared = Shared {
            storages: storages.into(),
            clock: rig.clock.clone(),
            events: rig.events.clone(),
            start: Arc::new(AtomicU64::new(0)),
            handles: Arc::new(Handles::default()),
            loops: Arc::new(TrainingLoops::new(options.loops)),
            halt: Halt { cancel: options.cancel.clone(), released: Some(released.clone()) },
            reports: report,
            running: Arc::new(AtomicU64::new(0)),
            tickets: Arc::new(AtomicU64::new(0)),
            ready: Arc::new(PrefillBudget::default()),
        };
        let rank = rig.comm.place().rank;
        let spawner = WorkerSpawner { shared: shared.clone(), options: options.clone(), host: rig.lanes, rank };
        let inboxes = if open {
            let first =
                usize::try_from(options.peak).unwrap_or(AT_FIRST).saturating_add(1).clamp(FEWEST, AT_FIRST).min(most);
            let tolerance = (options.late == Late::Skip).then_some(TOLERANCE);
            let scheduler = Arc::new(OpScheduler::new((first, most), WINDOW, tolerance));
            for number in 0..first {
                spawner.start(number, Source::OpScheduler(Arc::clone(&scheduler), number))?;
            }
            Inboxes::OpScheduler(scheduler)
        } else {
            // Only program order has training loops.
            Inboxes::Lanes((0..most + options.loops.0 as usize).map(|_| None).collect(), most)
        };
        Ok((Self { inboxes, reports, spawner: Some(spawner) }, shared))
    }

    /// Sends an operation for which there is room.
    pub(super) fn send(&mut self, op: ReplayOp) -> Result<(), Error> {
        match &mut self.inboxes {
            Inboxes::OpScheduler(scheduler) => scheduler.push(op),
            Inboxes::Lanes(queues, shared) => {
                let number = queue_of(&op, (queues.len(), *shared));
                if let (None, Some(spawner)) = (&queues[number], &self.spawner) {
                    let (queue, inbox) = mpsc::channel((WINDOW / *shared).max(16));
                    spawner.start(number, Source::Lanes(inbox))?;
                    queues[number] = Some(queue);
                }
                if let Some(queue) = &queues[number] {
                    // Sending fails only if the worker ended early, which the next operation reports.
                    drop(queue.try_send(op));
                }
            }
            Inboxes::Closed => {}
        }
        Ok(())
    }

    /// Closes the queues: workers end when they have completed their operations, and the reports end with them.
    pub(super) fn close(&mut self) {
        match &self.inboxes {
            Inboxes::OpScheduler(scheduler) => scheduler.close(),
            Inboxes::Lanes(..) | Inboxes::Closed => {
                (self.inboxes, self.spawner) = (Inboxes::Closed, None);
            }
        }
    }

    /// Waits for the next event; `op` is the next operation to be sent.
    pub(super) async fn next_event(&mut self, op: Option<&ReplayOp>) -> PoolEvent {
        let (inboxes, can_spawn) = (&self.inboxes, self.spawner.is_some());
        let room = async {
            match (inboxes, op) {
                (Inboxes::OpScheduler(scheduler), Some(_)) => scheduler.has_room().await,
                (Inboxes::Lanes(queues, shared), Some(op)) => {
                    // A queue that does not exist yet has room.
                    if let Some(queue) = &queues[queue_of(op, (queues.len(), *shared))] {
                        // Workers end early only if the replay was cancelled.
                        return queue.reserve().await.is_ok();
                    }
                }
                _ => std::future::pending().await,
            }
            true
        };
        let pool_size = async {
            match inboxes {
                Inboxes::OpScheduler(scheduler) if can_spawn => scheduler.pool_size().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            report = self.reports.recv() => report.map_or(PoolEvent::Ended, PoolEvent::Done),
            pool_size = pool_size => match pool_size {
                PoolSize::TooSmall => PoolEvent::WorkerNeeded,
                PoolSize::Final => PoolEvent::NoMoreWorkers,
            },
            room = room => if room { PoolEvent::Room } else { PoolEvent::Ended },
        }
    }

    /// Starts another worker of the schedule, unless the maximum is reached.
    pub(super) fn spawn_worker(&self) -> Result<(), Error> {
        if let (Inboxes::OpScheduler(scheduler), Some(spawner)) = (&self.inboxes, &self.spawner) {
            let Some(number) = scheduler.reserve_worker() else { return Ok(()) };
            spawner.start(number, Source::OpScheduler(Arc::clone(scheduler), number))?;
        }
        Ok(())
    }

    /// Stops starting workers.
    pub(super) fn stop_spawning(&mut self) {
        self.spawner = None;
    }
}

/// Returns the number of the queue of an operation; all lanes share the first `shared` of `all` queues.
fn queue_of(op: &ReplayOp, (all, shared): (usize, usize)) -> usize {
    let queue = match op.edges {
        Edges { own: true, group, .. } => shared + group as usize % (all - shared).max(1),
        _ => op.lane as usize % shared.max(1),
    };
    queue % all.max(1)
}
