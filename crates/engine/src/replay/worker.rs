//! One operation at a time: wait for its moment, issue it, report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::{EndpointId, Event, EventSink, Lane, Nanos, ObjectId, OpKind, Outcome, TagId};
use dlio_plan::replay::{Issue, Late, ReplayKind, ReplayOp, Timing};
use dlio_storage::{Attempts, ByteRange, Error as StorageError, ErrorKind, Object, Receipt, Storage, record_attempts};
use tokio::sync::mpsc;

use super::board::{AWAKE, Board, Lead, Turn};
use super::body::{Body, Budget};
use super::handles::{Handle, Handles};
use super::loops::Loops;
use super::order::ChainId;
use super::{AT, ReplayOptions, TOLERANCE};
use crate::Clock;
use crate::reader::Halt;

/// The longest wait without a look at whether the replay goes on.
const SLICE: Nanos = 100_000_000;
/// Reports that are kept back: each waking of the main task takes a processor from the operations.
const REPORTS: usize = 64;

/// Where a worker's operations come from.
pub(super) enum Source {
    /// From the schedule that all workers share.
    Board(Arc<Board>, usize),
    /// From its lanes.
    Lanes(mpsc::Receiver<ReplayOp>),
}

/// What became of an operation.
pub(super) enum Report {
    Skipped,
    Done(Done),
}

pub(super) struct Done {
    /// Number in the order of issue.
    pub(super) ticket: u64,
    pub(super) issue: Issue,
    pub(super) think: bool,
    pub(super) end: Nanos,
    pub(super) bytes: u64,
    /// Operations under way at the issue, this one included.
    pub(super) running: u64,
    pub(super) shift: Nanos,
    /// Files that were opened for reading.
    pub(super) opens: u64,
    /// The object is larger than recorded, and its end was asked for.
    pub(super) larger: bool,
    pub(super) failure: Option<String>,
    /// It failed, as it did when it was recorded.
    pub(super) failed_again: bool,
}

/// What all workers share.
#[derive(Clone)]
pub(super) struct Shared {
    /// The storage of the configuration, then one per endpoint rule.
    pub(super) storages: Arc<[Arc<dyn Storage>]>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn EventSink>,
    /// Start of the replay: known before the first operation comes.
    pub(super) start: Arc<AtomicU64>,
    pub(super) handles: Arc<Handles>,
    pub(super) loops: Arc<Loops>,
    pub(super) halt: Halt,
    pub(super) reports: mpsc::UnboundedSender<Vec<Report>>,
    pub(super) running: Arc<AtomicU64>,
    pub(super) tickets: Arc<AtomicU64>,
    pub(super) ready: Arc<Budget>,
}

pub(super) struct Worker {
    pub(super) shared: Shared,
    pub(super) options: ReplayOptions,
    /// End of the operation before, by lane.
    pub(super) ended: BTreeMap<u32, Nanos>,
    pub(super) told: Vec<Report>,
}

/// An operation whose moment has come.
struct Ready {
    op: ReplayOp,
    due: Option<Nanos>,
    shift: Nanos,
    body: Body,
}

impl Worker {
    pub(super) async fn live(mut self, source: Source) {
        let halt = self.shared.halt.clone();
        let work = async {
            let whole = match source {
                Source::Board(board, me) => self.follow_schedule(&board, me).await,
                Source::Lanes(operations) => self.follow_lanes(operations).await,
            };
            self.tell();
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
        self.told.push(report);
        if self.told.len() >= REPORTS {
            self.tell();
        }
    }

    fn tell(&mut self) {
        if !self.told.is_empty() {
            // Nobody listens any more when the replay has ended for another reason.
            drop(self.shared.reports.send(std::mem::take(&mut self.told)));
        }
    }

    /// Issues operations at their recorded moments, together with the other workers; `None`: the replay ended early.
    async fn follow_schedule(&mut self, board: &Board, me: usize) -> Option<()> {
        loop {
            let op = match board.turn(me, self.now(), self.start()) {
                Turn::Own(op) => op,
                Turn::Lead => self.lead(board, me).await?,
                Turn::Rest => {
                    self.tell();
                    board.woken(me).await;
                    continue;
                }
                Turn::End => return Some(()),
            };
            let (kind, link) = (op.kind, (ChainId::of(&op), op.number));
            let Some((mut due, mut shift)) = self.scheduled(board, &op) else {
                board.done(me, link, (self.now(), self.start()));
                continue;
            };
            let body = self.body(&op);
            loop {
                if board.may_spin(self.now(), due) {
                    self.shared.clock.spin_until(due).await;
                } else {
                    self.shared.clock.sleep_until(due).await;
                }
                // The schedule may have moved on meanwhile.
                let moved = board.shift().saturating_sub(shift);
                if moved == 0 {
                    break;
                }
                (due, shift) = (due + moved, shift + moved);
            }
            let took = self.issue(Ready { op, due: Some(due), shift, body }).await;
            board.took(kind, took);
            board.done(me, link, (self.now(), self.start()));
        }
    }

    /// Waits for the next operation that nobody else does in time; `None`: there is none, or the replay ended early.
    async fn lead(&mut self, board: &Board, me: usize) -> Option<ReplayOp> {
        loop {
            if self.shared.halt.is_set() {
                return None;
            }
            let now = self.now();
            match board.lead(me, now, self.start()) {
                Lead::Doze(until, rung) => {
                    if until > now.saturating_add(10 * AWAKE) {
                        self.tell();
                    }
                    let until = until.min(now.saturating_add(SLICE));
                    self.shared.clock.doze_until(until, (board.alarm(), rung)).await;
                    board.woke(self.now().saturating_sub(until));
                }
                Lead::Starve => {
                    self.tell();
                    board.woken(me).await;
                }
                Lead::Late(ops) => ops.iter().for_each(|op| self.pass(op)),
                Lead::Issue(op) => return Some(op),
                Lead::End => return None,
            }
        }
    }

    /// Leaves an operation out that is late.
    fn pass(&mut self, op: &ReplayOp) {
        self.shared.handles.pass(op.handle, (op.kind, op.closes));
        self.report(Report::Skipped);
    }

    /// When an operation of the schedule is due, and how far the schedule has been moved; `None`: it is left out.
    fn scheduled(&mut self, board: &Board, op: &ReplayOp) -> Option<(Nanos, Nanos)> {
        let shift = board.shift();
        let due = self.start().saturating_add(op.due).saturating_add(shift);
        let now = self.now();
        let late = now.saturating_sub(due);
        match self.options.late {
            Late::Stretch if late > TOLERANCE => {
                board.stretch(late);
                Some((now, shift + late))
            }
            Late::Skip if late > TOLERANCE => {
                self.pass(op);
                None
            }
            _ => Some((due, shift)),
        }
    }

    /// Issues operations in the order of their lanes; `None`: the replay ended early.
    async fn follow_lanes(&mut self, mut operations: mpsc::Receiver<ReplayOp>) -> Option<()> {
        loop {
            let op = if let Ok(op) = operations.try_recv() {
                op
            } else {
                self.tell();
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

    /// What the training loop did: it waits for its step, computes, or meets the other ranks.
    async fn turn_loop(&mut self, op: &ReplayOp) -> Option<()> {
        let loops = Arc::clone(&self.shared.loops);
        match op.kind {
            ReplayKind::Fetch => loops.fetched(op.edges).await,
            ReplayKind::Barrier => loops.meet(op.edges.group).await,
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
                self.tell();
            }
            let slice = now.saturating_add(SLICE);
            self.shared.clock.sleep_until(until.min(slice)).await;
            if until <= slice {
                return Some(());
            }
        }
    }

    /// What a write writes.
    fn body(&self, op: &ReplayOp) -> Body {
        let len = if op.kind == ReplayKind::Write { op.bytes } else { 0 };
        Body::new(self.options.seed, (&op.key, op.offset, len), self.shared.halt.clone(), &self.shared.ready)
    }

    /// Returns how long it took.
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

    /// Does it; returns all attempts and the bytes that moved.
    async fn act(&self, op: &ReplayOp, body: &mut Body) -> Result<(Attempts, u64), StorageError> {
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
            // Openings and closings have numbers, and the training loop is no storage.
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

/// Reads a range of an open object; adds to the attempts that opened it. Where all was read of what may be larger now, as much is read as
/// then.
async fn read(object: &dyn Object, op: &ReplayOp, attempts: Attempts) -> Result<(Attempts, u64), StorageError> {
    let mut discard = |_: &[u8]| Ok(());
    let range = ByteRange { offset: op.offset, len: op.len };
    let done = match op.len {
        // No number of bytes is expected of what failed.
        _ if op.failed => object.read(range, &mut discard).await,
        None if op.offset == 0 => object.read_first(op.bytes, &mut discard).await,
        None if op.bytes > 0 => object.read(ByteRange::new(op.offset, op.bytes), &mut discard).await,
        _ => object.read(range, &mut discard).await,
    };
    with(attempts, done)
}

/// Looks up an object or a folder. In a bucket there are no folders, so asking for one finds none.
async fn look_up(storage: &Arc<dyn Storage>, op: &ReplayOp) -> Result<Attempts, StorageError> {
    match storage.look_up(&op.key).await {
        Ok((_, receipt)) => Ok(receipt.attempts),
        Err(error) if op.folder && error.kind == ErrorKind::NotFound && !storage.blocks() => Ok(error.attempts),
        Err(error) => Err(error),
    }
}

/// Whether a read asked for the end of an object that is farther than it was.
fn is_larger(op: &ReplayOp, bytes: u64, attempts: &Attempts) -> bool {
    if op.kind != ReplayKind::Read || op.failed || op.len.is_some_and(|len| len <= op.bytes) {
        return false;
    }
    let size = attempts.iter().rev().find_map(|attempt| attempt.object_size);
    bytes > op.bytes || size.is_some_and(|size| size > op.offset.saturating_add(op.bytes))
}

/// Writes to an open file, or makes that durable.
async fn update(
    open: &Handle,
    op: &ReplayOp,
    (storage, body): (&Arc<dyn Storage>, &mut Body),
) -> Result<Receipt, StorageError> {
    let object = open.updatable(|| storage.uri(&op.key))?;
    if op.kind == ReplayKind::Write { object.write(op.offset, body).await } else { object.sync().await }
}

/// What was done, with the attempts before it.
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

/// Says so when fewer or more bytes moved than were recorded, unless that is because the object is larger.
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

/// Adds the schedule to events.
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
