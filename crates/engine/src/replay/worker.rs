//! One operation at a time: wait for its moment, issue it, report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::{EndpointId, Event, EventSink, Lane, Nanos, ObjectId, TagId};
use dlio_format::payload::{Element, Payload, Stream};
use dlio_plan::replay::{Issue, Late, ReplayKind, ReplayOp, Timing};
use dlio_storage::{Attempts, ByteRange, ChunkSource, Error as StorageError, Storage, record_attempts};
use tokio::sync::{Mutex, mpsc};

use super::{AT, ReplayOptions};
use crate::Clock;
use crate::reader::Halt;

/// An operation that is later than this is late for `--late stretch` and `--late skip`.
const TOLERANCE: Nanos = 10_000_000;
/// The longest wait without a look at whether the replay goes on.
const SLICE: Nanos = 100_000_000;
/// What of an object is made before its moment; the rest while it is written.
const READY: u64 = 1 << 20;

/// The operations that no worker has taken yet.
pub(super) struct Queue {
    pub(super) operations: mpsc::Receiver<ReplayOp>,
    /// How far the schedule has been moved.
    pub(super) shift: Nanos,
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
    pub(super) failure: Option<String>,
}

pub(super) struct Worker {
    pub(super) queue: Arc<Mutex<Queue>>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn EventSink>,
    pub(super) options: ReplayOptions,
    /// Start of the replay: known before the first operation comes.
    pub(super) start: Arc<AtomicU64>,
    /// End of the operation before, by lane.
    pub(super) ended: BTreeMap<u32, Nanos>,
    pub(super) halt: Halt,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) running: Arc<AtomicU64>,
    pub(super) tickets: Arc<AtomicU64>,
}

/// An operation whose moment has come.
struct Ready {
    op: ReplayOp,
    due: Option<Nanos>,
    shift: Nanos,
    body: Body,
}

impl Worker {
    pub(super) async fn live(mut self) {
        let halt = self.halt.clone();
        let work = async {
            while let Some(ready) = self.take().await {
                self.issue(ready).await;
            }
        };
        tokio::select! {
            biased;
            () = halt.released() => {}
            () = work => {}
        }
    }

    fn start(&self) -> Nanos {
        self.start.load(Ordering::Acquire)
    }

    /// The next operation, at its moment; `None`: there is none, or the replay ends.
    async fn take(&mut self) -> Option<Ready> {
        let queue = Arc::clone(&self.queue);
        // Whoever holds the queue waits for the next moment; then another takes over.
        let mut queue = queue.lock().await;
        loop {
            let op = queue.operations.recv().await?;
            let body = self.body(&op);
            let mut due = match self.options.timing {
                Timing::Open => Some(self.start().saturating_add(op.due).saturating_add(queue.shift)),
                Timing::Closed => {
                    let before = self.ended.get(&op.lane).copied().unwrap_or(self.start());
                    Some(before.saturating_add(op.think))
                }
                Timing::Asap => None,
            };
            let now = self.clock.now();
            let late = due.map_or(0, |due| now.saturating_sub(due));
            if self.options.timing == Timing::Open && late > TOLERANCE {
                match self.options.late {
                    Late::CatchUp => {}
                    Late::Stretch => {
                        queue.shift = queue.shift.saturating_add(late);
                        due = Some(now);
                    }
                    Late::Skip => {
                        // Nobody listens any more when the replay has ended for another reason.
                        drop(self.reports.send(Report::Skipped));
                        continue;
                    }
                }
            }
            self.wait(due.unwrap_or(self.start())).await?;
            return Some(Ready { op, due, shift: queue.shift, body });
        }
    }

    async fn wait(&self, until: Nanos) -> Option<()> {
        loop {
            if self.halt.is_set() {
                return None;
            }
            let slice = self.clock.now().saturating_add(SLICE);
            self.clock.sleep_until(until.min(slice)).await;
            if until <= slice {
                return Some(());
            }
        }
    }

    /// What a write writes: it depends on the seed and the key alone.
    fn body(&self, op: &ReplayOp) -> Body {
        let len = if op.kind == ReplayKind::Write { op.bytes } else { 0 };
        let stream = Payload::new(self.options.seed).stream(number_of(&op.key), Element::Raw, len);
        Body::new(stream, len, self.halt.clone())
    }

    async fn issue(&mut self, ready: Ready) {
        let Ready { op, due, shift, mut body } = ready;
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let at = self.clock.now();
        let outcome = self.act(&op, &mut body).await;
        let end = self.clock.now();
        self.running.fetch_sub(1, Ordering::Relaxed);
        let (attempts, bytes, failure) = match outcome {
            Ok((attempts, bytes)) => (attempts, bytes, None),
            Err(error) => {
                let text = error.to_string();
                (error.attempts, 0, Some(text))
            }
        };
        self.record(&op, due, &attempts);
        self.ended.insert(op.lane, end);
        let recorded = self.start().saturating_add(op.due);
        let issue = Issue { number: op.number, recorded, due, at };
        let think = self.options.timing == Timing::Closed;
        let failure = failure.or_else(|| short(&op, bytes, &self.storage.uri(&op.key)));
        drop(self.reports.send(Report::Done(Done { ticket, issue, think, end, bytes, running, shift, failure })));
    }

    /// Does it; returns all attempts and the bytes that moved.
    async fn act(&self, op: &ReplayOp, body: &mut Body) -> Result<(Attempts, u64), StorageError> {
        let key = op.key.as_str();
        match op.kind {
            ReplayKind::Read => {
                let object = self.storage.open(key).await?;
                let mut discard = |_: &[u8]| Ok(());
                let range = ByteRange { offset: op.offset, len: op.len };
                let mut attempts = object.opened().clone();
                let receipt = match object.read(range, &mut discard).await {
                    Ok(receipt) => receipt,
                    Err(mut error) => {
                        attempts.extend(std::mem::take(&mut error.attempts));
                        error.attempts = attempts;
                        return Err(error);
                    }
                };
                attempts.extend(receipt.attempts);
                Ok((attempts, receipt.bytes))
            }
            ReplayKind::Write => self.storage.write(key, body).await.map(|receipt| (receipt.attempts, receipt.bytes)),
            ReplayKind::Stat => self.storage.stat(key).await.map(|(_, receipt)| (receipt.attempts, 0)),
            ReplayKind::List => self.storage.list(key, &mut |_| {}).await.map(|receipt| (receipt.attempts, 0)),
            ReplayKind::Delete => self.storage.delete(key).await.map(|receipt| (receipt.attempts, 0)),
        }
    }

    fn record(&self, op: &ReplayOp, due: Option<Nanos>, attempts: &Attempts) {
        let scheduled = Scheduled { events: &*self.events, due };
        let object = self.events.object(&self.storage.uri(&op.key));
        let lane = Lane(u16::try_from(op.lane).unwrap_or(u16::MAX - 1));
        record_attempts(&scheduled, attempts, object, lane, AT);
    }
}

/// Says so when fewer or more bytes moved than were recorded.
fn short(op: &ReplayOp, bytes: u64, object: &str) -> Option<String> {
    let moves = matches!(op.kind, ReplayKind::Read | ReplayKind::Write);
    (moves && bytes != op.bytes).then(|| {
        format!(
            "{} of {object} at byte {} moved {bytes} bytes instead of {}; `--prepare` makes objects of the recorded sizes",
            op.kind.name(),
            op.offset,
            op.bytes
        )
    })
}

/// The number of an object's payload: FNV-1a of its key.
fn number_of(key: &str) -> u64 {
    key.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// The content of a write; its beginning is made when it is created.
pub(super) struct Body {
    ready: Vec<u8>,
    taken: usize,
    rest: Stream,
    len: u64,
    halt: Halt,
}

impl Body {
    fn new(mut stream: Stream, len: u64, halt: Halt) -> Self {
        let mut ready = vec![0; usize::try_from(len.min(READY)).unwrap_or(0)];
        let made = stream.fill(&mut ready);
        ready.truncate(made);
        Self { ready, taken: 0, rest: stream, len, halt }
    }
}

impl ChunkSource for Body {
    fn len(&self) -> u64 {
        self.len
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        if self.halt.is_set() {
            return 0;
        }
        let left = &self.ready[self.taken..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        count + self.rest.fill(&mut buffer[count..])
    }
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
