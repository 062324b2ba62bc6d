//! A worker of a replay: it waits until an operation is due, issues it and reports it, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::{EndpointId, Event, EventSink, Lane, Nanos, ObjectId, OpKind, Outcome, TagId};
use dlio_plan::replay::{Issue, Late, ReplayKind, ReplayOp, Timing};
use dlio_storage::{Attempts, ByteRange, Error as StorageError, ErrorKind, Object, Receipt, Storage, record_attempts};
use tokio::sync::mpsc;

use super::dependency_graph::GraphId;
use super::handles::{Handle, Handles};
use super::op_scheduler::{AWAKE, LeaderTurn, OpScheduler, WorkerTurn};
use super::options::{AT, ReplayOptions, TOLERANCE};
use super::training_loops::TrainingLoops;
use super::write_body::{PrefillBudget, WriteBody};
use crate::Clock;
use crate::lane_status::Halt;

/// Longest wait in nanoseconds without a check for cancellation.
const SLICE: Nanos = 100_000_000;
/// Number of reports that are sent together, because each wake-up of the main task takes processor time from the operations.
const REPORTS: usize = 64;

/// Source of a worker's operations.
pub(super) enum Source {
    /// The schedule that all workers share, and the number of this worker.
    OpScheduler(Arc<OpScheduler>, usize),
    /// A queue of the operations of the worker's lanes.
    Lanes(mpsc::Receiver<ReplayOp>),
}

/// Result of an operation.
pub(super) enum Report {
    Skipped,
    Done(Done),
}

pub(super) struct Done {
    /// Number of the operation in the order of issue.
    pub(super) ticket: u64,
    pub(super) issue: Issue,
    pub(super) think: bool,
    pub(super) end: Nanos,
    pub(super) bytes: u64,
    /// Number of operations in flight at the issue, including this one.
    pub(super) running: u64,
    pub(super) shift: Nanos,
    /// Number of files that were opened for reading.
    pub(super) opens: u64,
    /// Whether the object is larger than recorded and its end was requested.
    pub(super) larger: bool,
    pub(super) failure: Option<String>,
    /// Whether the operation failed, as it did in the recording.
    pub(super) failed_again: bool,
}

/// State that all workers share.
#[derive(Clone)]
pub(super) struct Shared {
    /// The storage of the configuration, followed by one per endpoint rule.
    pub(super) storages: Arc<[Arc<dyn Storage>]>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn EventSink>,
    /// Start of the replay, which is set before the first operation is handed out.
    pub(super) start: Arc<AtomicU64>,
    pub(super) handles: Arc<Handles>,
    pub(super) loops: Arc<TrainingLoops>,
    pub(super) halt: Halt,
    pub(super) reports: mpsc::UnboundedSender<Vec<Report>>,
    pub(super) running: Arc<AtomicU64>,
    pub(super) tickets: Arc<AtomicU64>,
    pub(super) ready: Arc<PrefillBudget>,
}

pub(super) struct Worker {
    pub(super) shared: Shared,
    pub(super) options: ReplayOptions,
    /// End time of the previous operation, by lane.
    pub(super) ended: BTreeMap<u32, Nanos>,
    pub(super) unsent: Vec<Report>,
}

/// An operation that is ready to be issued.
struct Ready {
    op: ReplayOp,
    due: Option<Nanos>,
    shift: Nanos,
    body: WriteBody,
}

impl Worker {
    pub(super) async fn run(mut self, source: Source) {
        let halt = self.shared.halt.clone();
        let work = async {
            let whole = match source {
                Source::OpScheduler(scheduler, me) => self.follow_schedule(&scheduler, me).await,
                Source::Lanes(operations) => self.follow_lanes(operations).await,
            };
            self.send_reports();
            whole
        };
        tokio::select! {
            biased;
            () = halt.released() => {}
            _ = work => {}
        }
    }

    fn start(&self) -> Nanos {
        self.shared.start.load(Ordering::Acquire)
    }

    fn now(&self) -> Nanos {
        self.shared.clock.now()
    }

    fn report(&mut self, report: Report) {
        self.unsent.push(report);
        if self.unsent.len() >= REPORTS {
            self.send_reports();
        }
    }

    fn send_reports(&mut self) {
        if !self.unsent.is_empty() {
            // Nobody listens any more when the replay has ended for another reason.
            drop(self.shared.reports.send(std::mem::take(&mut self.unsent)));
        }
    }

    /// Issues operations at their recorded times, together with the other workers. Returns `None` if the replay ended early.
    async fn follow_schedule(&mut self, scheduler: &OpScheduler, me: usize) -> Option<()> {
        loop {
            let op = match scheduler.worker_turn(me, self.now(), self.start()) {
                WorkerTurn::Own(op) => op,
                WorkerTurn::Lead => self.lead(scheduler, me).await?,
                WorkerTurn::Rest => {
                    self.send_reports();
                    scheduler.wait_for_wakeup(me).await;
                    continue;
                }
                WorkerTurn::End => return Some(()),
            };
            let (kind, link) = (op.kind, (GraphId::of(&op), op.number));
            let Some((mut due, mut shift)) = self.scheduled(scheduler, &op) else {
                scheduler.done(me, link, (self.now(), self.start()));
                continue;
            };
            let body = self.body(&op);
            loop {
                if scheduler.may_spin(self.now(), due) {
                    self.shared.clock.spin_until(due).await;
                } else {
                    self.shared.clock.sleep_until(due).await;
                }
                // The schedule may have been delayed during the wait.
                let moved = scheduler.shift().saturating_sub(shift);
                if moved == 0 {
                    break;
                }
                (due, shift) = (due + moved, shift + moved);
            }
            let took = self.issue(Ready { op, due: Some(due), shift, body }).await;
            scheduler.record_duration(kind, took);
            scheduler.done(me, link, (self.now(), self.start()));
        }
    }

    /// Waits as leader for the next operation that no other worker issues in time. Returns `None` if there is none, or if the replay ended
    /// early.
    async fn lead(&mut self, scheduler: &OpScheduler, me: usize) -> Option<ReplayOp> {
        loop {
            if self.shared.halt.is_set() {
                return None;
            }
            let now = self.now();
            match scheduler.leader_turn(me, now, self.start()) {
                LeaderTurn::Doze(until, rung) => {
                    if until > now.saturating_add(10 * AWAKE) {
                        self.send_reports();
                    }
                    let until = until.min(now.saturating_add(SLICE));
                    self.shared.clock.doze_until(until, (scheduler.alarm(), rung)).await;
                    scheduler.record_wake_delay(self.now().saturating_sub(until));
                }
                LeaderTurn::Starve => {
                    self.send_reports();
                    scheduler.wait_for_wakeup(me).await;
                }
                LeaderTurn::Late(ops) => ops.iter().for_each(|op| self.pass(op)),
                LeaderTurn::Issue(op) => return Some(op),
                LeaderTurn::End => return None,
            }
        }
    }

    /// Skips a late operation.
    fn pass(&mut self, op: &ReplayOp) {
        self.shared.handles.pass(op.handle, (op.kind, op.closes));
        self.report(Report::Skipped);
    }

    /// Returns the due time of an operation and the delay of the schedule, both in nanoseconds; `None` if the operation is skipped.
    fn scheduled(&mut self, scheduler: &OpScheduler, op: &ReplayOp) -> Option<(Nanos, Nanos)> {
        let shift = scheduler.shift();
        let due = self.start().saturating_add(op.due).saturating_add(shift);
        let now = self.now();
        let late = now.saturating_sub(due);
        match self.options.late {
            Late::Stretch if late > TOLERANCE => {
                scheduler.stretch(late);
                Some((now, shift + late))
            }
            Late::Skip if late > TOLERANCE => {
                self.pass(op);
                None
            }
            _ => Some((due, shift)),
        }
    }

    /// Issues operations in the order of their lanes. Returns `None` if the replay ended early.
    async fn follow_lanes(&mut self, mut operations: mpsc::Receiver<ReplayOp>) -> Option<()> {
        loop {
            let op = if let Ok(op) = operations.try_recv() {
                op
            } else {
                self.send_reports();
                let Some(op) = operations.recv().await else { return Some(()) };
                op
            };
            let body = self.body(&op);
            let due = match self.options.timing {
                Timing::Closed | Timing::Dependent => {
                    let before = self.ended.get(&op.lane).copied();
                    let after = match self.options.timing {
                        Timing::Dependent => self.shared.loops.after(op.edges).await,
                        _ => None,
                    };
                    Some(before.max(after).unwrap_or(self.start()).saturating_add(op.think))
                }
                Timing::Open | Timing::Asap => None,
            };
            self.wait(due.unwrap_or(self.start())).await?;
            if op.kind.is_loop() {
                self.turn_loop(&op).await?;
                continue;
            }
            self.issue(Ready { op, due, shift: 0, body }).await;
        }
    }

    /// Executes an operation of a training loop: a fetch, a computation or a barrier.
    async fn turn_loop(&mut self, op: &ReplayOp) -> Option<()> {
        let loops = Arc::clone(&self.shared.loops);
        match op.kind {
            ReplayKind::Fetch => loops.fetched(op.edges).await,
            ReplayKind::Barrier => loops.barrier(op.edges.group).await,
            _ => self.wait(self.now().saturating_add(op.took)).await?,
        }
        let end = self.now();
        self.ended.insert(op.lane, end);
        loops.ended(op.edges, end);
        Some(())
    }

    async fn wait(&mut self, until: Nanos) -> Option<()> {
        loop {
            if self.shared.halt.is_set() {
                return None;
            }
            let now = self.now();
            if until > now.saturating_add(10 * AWAKE) {
                self.send_reports();
            }
            let slice = now.saturating_add(SLICE);
            self.shared.clock.sleep_until(until.min(slice)).await;
            if until <= slice {
                return Some(());
            }
        }
    }

    /// Returns the content that an operation writes; it is empty for other operations than writes.
    fn body(&self, op: &ReplayOp) -> WriteBody {
        let len = if op.kind == ReplayKind::Write { op.bytes } else { 0 };
        WriteBody::new(self.options.seed, (&op.key, op.offset, len), self.shared.halt.clone(), &self.shared.ready)
    }

    /// Issues an operation and reports it; returns its duration in nanoseconds.
    async fn issue(&mut self, ready: Ready) -> Nanos {
        let Ready { op, due, shift, mut body } = ready;
        let running = self.shared.running.fetch_add(1, Ordering::Relaxed) + 1;
        let ticket = self.shared.tickets.fetch_add(1, Ordering::Relaxed);
        let at = self.now();
        let outcome = self.act(&op, &mut body).await;
        let end = self.now();
        self.shared.running.fetch_sub(1, Ordering::Relaxed);
        let (attempts, bytes, failure) = match outcome {
            Ok((attempts, bytes)) => (attempts, bytes, None),
            Err(error) => {
                let text = error.to_string();
                (error.attempts, 0, Some(text))
            }
        };
        self.record(&op, due, &attempts);
        self.ended.insert(op.lane, end);
        self.shared.loops.done(op.edges);
        let recorded = self.start().saturating_add(op.due);
        let issue = Issue { number: op.number, recorded, due, at };
        let think = matches!(self.options.timing, Timing::Closed | Timing::Dependent);
        let larger = failure.is_none() && is_larger(&op, bytes, &attempts);
        let failure = failure.or_else(|| short(&op, (bytes, larger), &self.storage(&op).uri(&op.key)));
        let failed_again = op.failed && failure.is_some();
        let failure = failure.filter(|_| !op.failed);
        let opened = |attempt: &&dlio_storage::Attempt| {
            attempt.kind == OpKind::Open && attempt.outcome == Outcome::Ok && op.kind != ReplayKind::Write
        };
        let opens = attempts.iter().filter(opened).count() as u64;
        self.report(Report::Done(Done {
            ticket,
            issue,
            think,
            end,
            bytes,
            running,
            shift,
            opens,
            larger,
            failure,
            failed_again,
        }));
        end.saturating_sub(at)
    }

    fn storage(&self, op: &ReplayOp) -> &Arc<dyn Storage> {
        self.shared.storages.get(usize::from(op.via)).unwrap_or(&self.shared.storages[0])
    }

    /// Executes an operation on storage; returns all attempts and the number of bytes transferred.
    async fn act(&self, op: &ReplayOp, body: &mut WriteBody) -> Result<(Attempts, u64), StorageError> {
        let (key, storage) = (op.key.as_str(), self.storage(op));
        match (op.kind, op.handle) {
            (ReplayKind::Open, Some(handle)) => {
                let opened = self.shared.handles.get(handle, storage, (key, op.access)).await;
                self.shared.handles.used(handle, op.closes);
                opened.map(|(_, attempts)| (attempts, 0))
            }
            (ReplayKind::Close, Some(handle)) => {
                self.shared.handles.close(handle, op.closes);
                Ok((Attempts::new(), 0))
            }
            (ReplayKind::Read, Some(handle)) => {
                let read = match self.shared.handles.get(handle, storage, (key, op.access)).await {
                    Ok((open, attempts)) => read(open.object(), op, attempts).await,
                    Err(error) => Err(error),
                };
                self.shared.handles.used(handle, op.closes);
                read
            }
            (ReplayKind::Write | ReplayKind::Sync, Some(handle)) => {
                let written = match self.shared.handles.get(handle, storage, (key, op.access)).await {
                    Ok((open, attempts)) => with(attempts, update(&open, op, (storage, body)).await),
                    Err(error) => Err(error),
                };
                self.shared.handles.used(handle, op.closes);
                written
            }
            (ReplayKind::Read, None) => {
                let object = storage.open(key).await?;
                let attempts = object.opened().clone();
                read(&*object, op, attempts).await
            }
            (ReplayKind::Write, _) => storage.write(key, body).await.map(|receipt| (receipt.attempts, receipt.bytes)),
            (ReplayKind::Stat, _) => look_up(storage, op).await.map(|attempts| (attempts, 0)),
            (ReplayKind::List, _) => storage.list(key, &mut |_| {}).await.map(|receipt| (receipt.attempts, 0)),
            (ReplayKind::Delete, _) => storage.delete(key).await.map(|receipt| (receipt.attempts, 0)),
            // Openings, closings and syncs always have handles, and training loop operations do not use storage.
            (
                ReplayKind::Open
                | ReplayKind::Close
                | ReplayKind::Sync
                | ReplayKind::Fetch
                | ReplayKind::Compute
                | ReplayKind::Barrier,
                _,
            ) => Ok((Attempts::new(), 0)),
        }
    }

    fn record(&self, op: &ReplayOp, due: Option<Nanos>, attempts: &Attempts) {
        let scheduled = Scheduled { events: &*self.shared.events, due };
        let object = self.shared.events.object(&self.storage(op).uri(&op.key));
        let lane = Lane(u16::try_from(op.lane).unwrap_or(u16::MAX - 1));
        record_attempts(&scheduled, attempts, object, lane, AT);
    }
}

/// Reads a range of an open object; returns the attempts of opening and reading it, and the number of bytes. If the recording read to the
/// end of an object that may be larger now, the recorded number of bytes is read.
async fn read(object: &dyn Object, op: &ReplayOp, attempts: Attempts) -> Result<(Attempts, u64), StorageError> {
    let mut discard = |_: &[u8]| Ok(());
    let range = ByteRange { offset: op.offset, len: op.len };
    let done = match op.len {
        // The recorded number of bytes of a failed operation is meaningless.
        _ if op.failed => object.read(range, &mut discard).await,
        None if op.offset == 0 => object.read_first(op.bytes, &mut discard).await,
        None if op.bytes > 0 => object.read(ByteRange::new(op.offset, op.bytes), &mut discard).await,
        _ => object.read(range, &mut discard).await,
    };
    with(attempts, done)
}

/// Looks up an object or a folder. Buckets have no folders, so a missing folder there is not an error.
async fn look_up(storage: &Arc<dyn Storage>, op: &ReplayOp) -> Result<Attempts, StorageError> {
    match storage.look_up(&op.key).await {
        Ok((_, receipt)) => Ok(receipt.attempts),
        Err(error) if op.folder && error.kind == ErrorKind::NotFound && !storage.blocks() => Ok(error.attempts),
        Err(error) => Err(error),
    }
}

/// Returns whether a read requested the end of an object that is now larger than recorded.
fn is_larger(op: &ReplayOp, bytes: u64, attempts: &Attempts) -> bool {
    if op.kind != ReplayKind::Read || op.failed || op.len.is_some_and(|len| len <= op.bytes) {
        return false;
    }
    let size = attempts.iter().rev().find_map(|attempt| attempt.object_size);
    bytes > op.bytes || size.is_some_and(|size| size > op.offset.saturating_add(op.bytes))
}

/// Writes to an open file, or syncs it.
async fn update(
    open: &Handle,
    op: &ReplayOp,
    (storage, body): (&Arc<dyn Storage>, &mut WriteBody),
) -> Result<Receipt, StorageError> {
    let object = open.updatable(|| storage.uri(&op.key))?;
    if op.kind == ReplayKind::Write { object.write(op.offset, body).await } else { object.sync().await }
}

/// Prepends earlier attempts to the result of an operation.
fn with(mut attempts: Attempts, done: Result<Receipt, StorageError>) -> Result<(Attempts, u64), StorageError> {
    match done {
        Ok(receipt) => {
            attempts.extend(receipt.attempts);
            Ok((attempts, receipt.bytes))
        }
        Err(mut error) => {
            attempts.extend(std::mem::take(&mut error.attempts));
            error.attempts = attempts;
            Err(error)
        }
    }
}

/// Returns a message if the number of bytes transferred differs from the recording, unless the object is larger than recorded.
fn short(op: &ReplayOp, (bytes, larger): (u64, bool), object: &str) -> Option<String> {
    let moves = matches!(op.kind, ReplayKind::Read | ReplayKind::Write) && !op.failed && !larger;
    (moves && bytes != op.bytes).then(|| {
        format!(
            "{} of {object} at byte {} moved {bytes} bytes instead of {}; `--prepare` makes objects of the recorded sizes",
            op.kind.name(),
            op.offset,
            op.bytes
        )
    })
}

/// An event sink that adds the due time to events.
struct Scheduled<'s> {
    events: &'s dyn EventSink,
    due: Option<Nanos>,
}

impl EventSink for Scheduled<'_> {
    fn object(&self, name: &str) -> ObjectId {
        self.events.object(name)
    }

    fn endpoint(&self, name: &str) -> EndpointId {
        self.events.endpoint(name)
    }

    fn tag(&self, name: &str) -> TagId {
        self.events.tag(name)
    }

    fn record(&self, event: Event) {
        self.events.record(Event { due: self.due, ..event });
    }
}
