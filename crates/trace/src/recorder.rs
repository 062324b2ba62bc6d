//! The event sink of a run: one buffer per recording thread, and one writer thread for all of them.
//!
//! Recording takes an uncontended lock and appends to memory. Full buffers go to the writer thread through an unbounded queue.
//! Losing events or stalling a lane would both falsify the measurement, so memory grows instead, and its peak is reported.

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dlio_event::{Ending, EndpointId, Event, EventSink, Nanos, ObjectId, TagId};

use crate::error::Error;
use crate::file::{Summary, TraceFile};
use crate::header::Header;
use crate::names::{NameTables, lock};
use crate::packed_events::PackedEvents;

/// Number of buffers; if there are more threads than this, they share buffers.
const SHARDS: usize = 64;
/// Number of emptied buffers that are kept for reuse, so that recording does not fault in new pages.
const SPARE: usize = 64;
/// Number of buffers allocated before the first event, 1 MiB in all.
const READY: usize = 8;
/// Nice value of the writer thread: with too few cores it gets a third of a lane's share.
const NICE: i32 = 5;
/// Memory in the writer thread's queue from which on a warning is logged.
const QUEUE_WARNING_BYTES: u64 = 256 << 20;
/// Timeout of the writer thread's wait for work.
const TICK: Duration = Duration::from_secs(1);
/// Longest time between footers, in ticks.
const MAX_INTERVAL: u64 = 30;

/// Records the events of one rank in one Parquet file.
#[derive(Debug)]
pub struct TraceWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<Summary, Error>>>>,
    path: PathBuf,
}

/// State of the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Rows covered by a footer on disk.
    pub rows_written: u64,
    /// Events that were recorded and cannot be stored, after a failed write or after `finish`.
    pub rows_lost: u64,
    /// Memory in the writer thread's queue, bytes.
    pub queued_bytes: u64,
    /// Message of the first write error.
    pub error: Option<String>,
}

#[derive(Debug)]
struct Shared {
    names: NameTables,
    shards: Vec<Shard>,
    queue: Mutex<Queue>,
    wake: Condvar,
    closed: AtomicBool,
    rows_written: AtomicU64,
    rows_lost: AtomicU64,
    error: Mutex<Option<String>>,
    /// Header of the final footer.
    header: Mutex<Header>,
    on_failure: Mutex<Option<OnFailure>>,
}

/// Callback for a failed write.
struct OnFailure(Box<dyn FnOnce(&Error) + Send>);

impl std::fmt::Debug for OnFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnFailure")
    }
}

/// Two cache lines apart, so that threads do not slow each other down by false sharing.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    events: Mutex<PackedEvents>,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<PackedEvents>,
    spare: Vec<PackedEvents>,
    queued_bytes: u64,
    queued_bytes_max: u64,
    finishing: Option<FinalFooter>,
}

/// What the last footer states.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FinalFooter {
    Ended(Ending),
    /// The writer was dropped before the ending of the rank was known.
    Dropped,
}

impl TraceWriter {
    /// Creates the file (and its folder) and starts the writer thread.
    ///
    /// # Errors
    /// [`Error::Create`] or [`Error::Thread`].
    pub fn create(path: &Path, header: &Header) -> Result<Self, Error> {
        let file = TraceFile::create(path, header).map_err(|source| Error::Create { path: path.to_owned(), source })?;
        let shared = Arc::new(Shared {
            names: NameTables::new(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            queue: Mutex::new(Queue { spare: (0..READY).map(|_| PackedEvents::ready()).collect(), ..Queue::default() }),
            wake: Condvar::new(),
            closed: AtomicBool::new(false),
            rows_written: AtomicU64::new(0),
            rows_lost: AtomicU64::new(0),
            error: Mutex::default(),
            header: Mutex::new(header.clone()),
            on_failure: Mutex::new(None),
        });
        let writer =
            Writer { shared: Arc::clone(&shared), file, path: path.to_owned(), failed: None, events: Vec::new() };
        let thread = std::thread::Builder::new()
            .name("trace-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| Error::Thread { path: path.to_owned(), source })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), path: path.to_owned() })
    }

    /// Changes the header of the final footer, for values that are known only at the end, such as the second clock measurement.
    /// The rank and the first clock measurement must not change.
    pub fn header_at_end(&self, change: impl FnOnce(&mut Header)) {
        change(&mut lock(&self.shared.header));
    }

    /// Writes all recorded events and the final footer of a completed run, and waits for the writer thread.
    ///
    /// # Errors
    /// [`Error::Write`] if any write has failed since the start; [`Error::Finished`] for the second call.
    pub fn finish(&self) -> Result<Summary, Error> {
        self.finish_as(Ending::Completed)
    }

    /// Writes all recorded events and the final footer of a rank with this ending, and waits for the writer thread.
    ///
    /// # Errors
    /// As [`TraceWriter::finish`].
    pub fn finish_as(&self, ending: Ending) -> Result<Summary, Error> {
        self.end(FinalFooter::Ended(ending)).unwrap_or_else(|| Err(Error::Finished { path: self.path.clone() }))
    }

    /// Sets the callback for a failed write. It is called once, on the writer thread; nothing is recorded after that.
    pub fn on_failure(&self, work: impl FnOnce(&Error) + Send + 'static) {
        *lock(&self.shared.on_failure) = Some(OnFailure(Box::new(work)));
    }

    /// Writes all recorded events with a footer that marks the trace as incomplete. Errors are ignored.
    pub fn give_up(&self) {
        drop(self.end(FinalFooter::Dropped));
    }

    /// Returns the state of the writer; cheap enough for a progress display.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            rows_written: self.shared.rows_written.load(Ordering::Relaxed),
            rows_lost: self.shared.rows_lost.load(Ordering::Relaxed),
            queued_bytes: lock(&self.shared.queue).queued_bytes,
            error: lock(&self.shared.error).clone(),
        }
    }

    fn end(&self, last: FinalFooter) -> Option<Result<Summary, Error>> {
        let thread = lock(&self.thread).take()?;
        self.shared.closed.store(true, Ordering::SeqCst);
        lock(&self.shared.queue).finishing = Some(last);
        self.shared.wake.notify_one();
        Some(thread.join().unwrap_or_else(|_| {
            Err(Error::Write {
                path: self.path.clone(),
                rows_written: self.shared.rows_written.load(Ordering::Relaxed),
                rows_lost: self.shared.rows_lost.load(Ordering::Relaxed),
                source: std::io::Error::other("the writer thread ended early"),
            })
        }))
    }
}

/// A run that ends with an error still stores its events, with a footer that marks the trace as incomplete.
impl Drop for TraceWriter {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.end(FinalFooter::Dropped) {
            tracing::error!("{error}");
        }
    }
}

impl EventSink for TraceWriter {
    fn object(&self, name: &str) -> ObjectId {
        self.shared.names.objects.intern(name)
    }

    fn endpoint(&self, name: &str) -> EndpointId {
        EndpointId(self.shared.names.endpoints.intern(name))
    }

    fn tag(&self, name: &str) -> TagId {
        TagId(self.shared.names.tags.intern(name))
    }

    fn record(&self, event: Event) {
        if self.shared.closed.load(Ordering::Relaxed) {
            self.shared.rows_lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut events = lock(&self.shared.shards[shard_of_thread()].events);
        if events.is_full() {
            self.shared.hand_over(&mut events);
        }
        events.push(&event);
    }
}

/// Returns the index of the current thread's buffer. Threads share buffers only if there are more threads than buffers.
fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        shard.get()
    })
}

impl Shared {
    /// Moves the events of a full buffer to the queue and leaves an empty buffer. The buffer of a new thread counts as full and
    /// has no events.
    fn hand_over(&self, events: &mut PackedEvents) {
        let mut queue = lock(&self.queue);
        let empty = queue.spare.pop().unwrap_or_else(PackedEvents::with_room);
        let chunk = std::mem::replace(events, empty);
        if chunk.len() == 0 {
            return;
        }
        queue.push(chunk);
        drop(queue);
        self.wake.notify_one();
    }

    /// Moves the events that are still in buffers to the queue.
    fn collect(&self) {
        for shard in &self.shards {
            let mut events = lock(&shard.events);
            if events.len() > 0 {
                let chunk = std::mem::take(&mut *events);
                lock(&self.queue).push(chunk);
            }
        }
    }
}

impl Queue {
    fn push(&mut self, chunk: PackedEvents) {
        let before = self.queued_bytes_max;
        self.queued_bytes += chunk.bytes();
        self.queued_bytes_max = before.max(self.queued_bytes);
        self.chunks.push_back(chunk);
        let limit = QUEUE_WARNING_BYTES;
        if before <= limit && self.queued_bytes_max > limit {
            tracing::warn!(
                "the trace writer is behind: more than {} MiB of events wait in memory; \
                 the trace folder is too slow for this rate of operations",
                limit >> 20
            );
        }
    }
}

/// State of the writer thread.
struct Writer {
    shared: Arc<Shared>,
    file: TraceFile,
    path: PathBuf,
    failed: Option<std::io::Error>,
    /// Events of one buffer.
    events: Vec<Event>,
}

/// Times at which footers are due. The clock is the newest event time, or the number of ticks while no events arrive.
#[derive(Default)]
struct Schedule {
    interval: u64,
    idle_ticks: u64,
    newest: Nanos,
    newest_at_flush: Nanos,
}

impl Schedule {
    fn saw(&mut self, events: &[Event]) {
        if self.newest == 0 {
            self.newest_at_flush = events.first().map_or(0, |event| event.end);
        }
        self.newest = events.iter().map(|event| event.end).fold(self.newest, u64::max);
    }

    fn due(&self) -> bool {
        let seconds = self.newest.saturating_sub(self.newest_at_flush) / 1_000_000_000;
        seconds.max(self.idle_ticks) >= self.interval.max(1)
    }

    fn flushed(&mut self) {
        self.interval = (self.interval.max(1) * 2).min(MAX_INTERVAL);
        self.idle_ticks = 0;
        self.newest_at_flush = self.newest;
    }
}

impl Writer {
    fn run(mut self) -> Result<Summary, Error> {
        let mut schedule = Schedule::default();
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::debug!("the trace writer keeps the priority of the lanes: {error}");
        }
        loop {
            let (idle, ending) = self.wait();
            schedule.idle_ticks += u64::from(idle);
            if idle || ending.is_some() || schedule.due() {
                self.shared.collect();
            }
            self.drain(&mut schedule);
            if let Some(ending) = ending {
                return self.end(&ending);
            }
            if schedule.due() {
                if self.file.uncovered() > 0 && self.failed.is_none() {
                    let result = self.file.flush(&self.shared.names, None);
                    self.note_result(result, 0);
                }
                schedule.flushed();
            }
        }
    }

    /// Sleeps until there is work. Returns whether the wait timed out, and the last footer if the writer is finishing.
    fn wait(&self) -> (bool, Option<FinalFooter>) {
        let queue = lock(&self.shared.queue);
        if !queue.chunks.is_empty() || queue.finishing.is_some() {
            return (false, queue.finishing.clone());
        }
        let (queue, timeout) = self.shared.wake.wait_timeout(queue, TICK).unwrap_or_else(PoisonError::into_inner);
        (timeout.timed_out(), queue.finishing.clone())
    }

    fn drain(&mut self, schedule: &mut Schedule) {
        loop {
            let Some(mut chunk) = lock(&self.shared.queue).chunks.pop_front() else { return };
            self.events.clear();
            self.events.extend(chunk.iter());
            schedule.saw(&self.events);
            let result = match self.failed {
                None => self.file.append(&self.events, &self.shared.names),
                Some(_) => Ok(()),
            };
            self.note_result(result, chunk.len());
            let bytes = chunk.bytes();
            chunk.clear();
            let mut queue = lock(&self.shared.queue);
            queue.queued_bytes -= bytes;
            if queue.spare.len() < SPARE {
                queue.spare.push(chunk);
            }
        }
    }

    /// Keeps the first error. Later events are only counted, so that memory does not grow.
    fn note_result(&mut self, result: std::io::Result<()>, events: u64) {
        self.shared.rows_written.store(self.file.rows_written(), Ordering::Relaxed);
        match (result, &self.failed) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some(_)) => {
                self.shared.rows_lost.fetch_add(events, Ordering::Relaxed);
            }
            (Err(error), None) => {
                let lost = self.file.unwritten();
                self.shared.rows_lost.fetch_add(lost, Ordering::Relaxed);
                *lock(&self.shared.error) = Some(error.to_string());
                let callback = lock(&self.shared.on_failure).take();
                if let Some(OnFailure(callback)) = callback {
                    callback(&self.write_error(clone_error(&error)));
                } else {
                    tracing::error!("writing the trace {} failed: {error}", self.path.display());
                }
                self.failed = Some(error);
            }
        }
    }

    fn write_error(&self, source: std::io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            rows_written: self.file.rows_written(),
            rows_lost: self.shared.rows_lost.load(Ordering::Relaxed),
            source,
        }
    }

    fn end(mut self, last: &FinalFooter) -> Result<Summary, Error> {
        self.file.header_at_end(&lock(&self.shared.header));
        let ending = match last {
            FinalFooter::Ended(ending) => Some(ending),
            FinalFooter::Dropped => None,
        };
        if self.failed.is_none() {
            let result = self.file.flush(&self.shared.names, ending);
            self.note_result(result, 0);
        }
        let Some(source) = self.failed.take() else {
            return Ok(self.file.summary(lock(&self.shared.queue).queued_bytes_max));
        };
        // A rank that lost part of its trace did not complete.
        let broken = Ending::failed(&format!("writing the trace {}: {source}", self.path.display()));
        let ending = ending.filter(|ending| !ending.is_completed()).unwrap_or(&broken);
        if let Err(error) = self.file.seal(ending) {
            tracing::debug!("no footer says how the rank ended: {error}");
        }
        Err(self.write_error(source))
    }
}

/// Clones an I/O error.
fn clone_error(error: &std::io::Error) -> std::io::Error {
    error
        .raw_os_error()
        .map_or_else(|| std::io::Error::new(error.kind(), error.to_string()), std::io::Error::from_raw_os_error)
}
