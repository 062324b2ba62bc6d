//! Threads beside a lane, where reading blocks the thread that reads: as many requests of the lane are in flight as it
//! wants, each on a thread of its own that keeps nothing but its buffer.
//!
//! Invariant: a request is answered by one thread from opening to closing, so that bytes never cross threads; only what
//! came of it does. Threads are started as requests wait for one, never more than the window holds, and live as long as
//! the lane. The lane does not end before they have.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use dlio_event::Position;
use dlio_format::{Footer, SampleIndex};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::Error;
use crate::reader::ReadKit;
use crate::rig::LaneRuntime;
use crate::row_groups::Request;

/// What answers the requests of one lane: the lane itself, or threads beside it.
pub(crate) struct Helpers<'k> {
    kit: &'k ReadKit,
    desk: Arc<Desk>,
    threads: RefCell<Vec<JoinHandle<()>>>,
    /// Threads that there may be; one: the lane reads by itself.
    limit: Cell<usize>,
}

/// Where requests wait for a thread.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

/// A request and who waits for its answer.
struct Job {
    request: Request,
    at: Position,
    footer: Option<Arc<Footer>>,
    /// What the lane has looked up of the file.
    index: Option<Arc<SampleIndex>>,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// What came of a request.
struct Answer {
    bytes: u64,
    /// The footer that was asked for.
    footer: Option<Arc<Footer>>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request; `None`: the lane has ended.
    fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        state.idle += 1;
        while state.waiting.is_empty() && !state.closed {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle -= 1;
        state.waiting.pop_front()
    }
}

impl<'k> Helpers<'k> {
    pub(crate) fn new(kit: &'k ReadKit) -> Self {
        Self { kit, desk: Arc::default(), threads: RefCell::default(), limit: Cell::new(1) }
    }

    /// So many requests will be in flight at a time.
    pub(crate) fn expect(&self, in_flight: u32) {
        self.limit.set(in_flight as usize);
    }

    /// Answers a request; returns the bytes that were read for it.
    pub(crate) async fn fetch(&self, request: Request, at: Position) -> Result<u64, Error> {
        let file = request.file();
        let answer = if self.kit.blocks && self.limit.get() > 1 {
            let (answer, answered) = oneshot::channel();
            self.hand_in(Job { request, at, footer: self.kit.footer(file), index: self.kit.index(file), answer })?;
            answered.await.map_err(|_| self.kit.defect(at, "a thread that reads for a lane has died"))??
        } else {
            answer(self.kit, request, at).await?
        };
        if let Some(footer) = answer.footer {
            self.kit.keep_footer(file, footer);
        }
        Ok(answer.bytes)
    }

    /// Gives a request to the threads, one more of which is started where none is free.
    fn hand_in(&self, job: Job) -> Result<(), Error> {
        let at = job.at;
        let busy = {
            let mut state = self.desk.lock();
            state.waiting.push_back(job);
            state.waiting.len() > state.idle
        };
        self.desk.filled.notify_one();
        let mut threads = self.threads.borrow_mut();
        // One that has answered may not have come back to the desk yet.
        if busy && threads.len() < self.limit.get() {
            let lane = u32::from(self.kit.lane.0);
            let thread = self.start(format!("lane-{lane}-{}", threads.len()));
            threads.push(thread.map_err(|source| Error::LaneStart { place: self.kit.place(at), lane, source })?);
        }
        Ok(())
    }

    fn start(&self, name: String) -> std::io::Result<JoinHandle<()>> {
        // Nothing but reads that block: no timers, no sockets, hence no descriptors.
        let runtime = LaneRuntime::new(&mut tokio::runtime::Builder::new_current_thread())?;
        let (twin, desk) = (self.kit.twin(), self.desk.clone());
        std::thread::Builder::new().name(name).spawn(move || {
            if let Some(runtime) = runtime.get() {
                help(runtime, &twin, &desk);
            }
        })
    }
}

impl Drop for Helpers<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.desk.lock();
            state.closed = true;
            state.waiting.clear();
        }
        self.desk.filled.notify_all();
        for thread in self.threads.take() {
            // A thread that has panicked has told so on standard error, and its request is missed.
            drop(thread.join());
        }
    }
}

/// The life of a thread.
fn help(runtime: &Runtime, kit: &ReadKit, desk: &Desk) {
    while let Some(Job { request, at, footer, index, answer: outbox }) = desk.take() {
        if let Some(index) = index {
            kit.keep_index(request.file(), index);
        }
        if let Some(footer) = footer {
            kit.keep_footer(request.file(), footer);
        }
        let outcome = runtime.block_on(answer(kit, request, at));
        kit.forget_files();
        // Nobody waits any more when the lane has ended.
        drop(outbox.send(outcome));
    }
}

async fn answer(kit: &ReadKit, request: Request, at: Position) -> Result<Answer, Error> {
    match request {
        Request::Footer(file) => {
            let (footer, bytes) = kit.read_footer(file, at).await?;
            Ok(Answer { bytes, footer: Some(footer) })
        }
        Request::Piece(piece) => Ok(Answer { bytes: kit.read_piece(&piece, at).await?, footer: None }),
    }
}
