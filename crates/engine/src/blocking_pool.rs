//! Helper threads of a lane on storage whose reads block: each request in flight runs on a thread of its own, which keeps nothing
//! but its buffer.
//!
//! Invariant: one thread handles a request from opening to closing, so bytes never cross threads; only the result does. Threads are
//! started on demand, at most as many as the window has requests, and live as long as the lane. The lane ends after its threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use dlio_event::Position;
use dlio_format::{Footer, SampleIndex};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::Error;
use crate::lane_context::LaneContext;
use crate::request::Request;
use crate::rig::LaneRuntime;

/// Executes the requests of one lane, on the lane's own thread or on helper threads.
pub(crate) struct BlockingPool<'c> {
    context: &'c LaneContext,
    queue: Arc<RequestQueue>,
    threads: RefCell<Vec<JoinHandle<()>>>,
    /// Maximum number of threads; with 1, the lane reads on its own thread.
    limit: Cell<usize>,
}

/// Requests that wait for a thread.
#[derive(Default)]
struct RequestQueue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

/// A request, and the channel for its result.
struct Job {
    request: Request,
    at: Position,
    footer: Option<Arc<Footer>>,
    /// Index of the file, if it is known.
    index: Option<Arc<SampleIndex>>,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// Result of a request.
struct Answer {
    bytes: u64,
    /// The requested footer.
    footer: Option<Arc<Footer>>,
}

impl RequestQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next request; returns `None` when the lane has ended.
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

impl<'c> BlockingPool<'c> {
    pub(crate) fn new(context: &'c LaneContext) -> Self {
        Self { context, queue: Arc::default(), threads: RefCell::default(), limit: Cell::new(1) }
    }

    /// Sets the maximum number of requests in flight.
    pub(crate) fn set_limit(&self, in_flight: u32) {
        self.limit.set(in_flight as usize);
    }

    /// Executes a request; returns the number of bytes read.
    pub(crate) async fn fetch(&self, request: Request, at: Position) -> Result<u64, Error> {
        let file = request.file();
        let answer = if self.context.blocks && self.limit.get() > 1 {
            let (answer, answered) = oneshot::channel();
            self.enqueue(Job {
                request,
                at,
                footer: self.context.state.footer(file),
                index: self.context.state.index(file),
                answer,
            })?;
            answered.await.map_err(|_| self.context.defect(at, "a thread that reads for a lane has died"))??
        } else {
            answer(self.context, request, at).await?
        };
        if let Some(footer) = answer.footer {
            self.context.state.keep_footer(file, footer);
        }
        Ok(answer.bytes)
    }

    /// Queues a request, and starts another thread if none is idle.
    fn enqueue(&self, job: Job) -> Result<(), Error> {
        let at = job.at;
        let busy = {
            let mut state = self.queue.lock();
            state.waiting.push_back(job);
            state.waiting.len() > state.idle
        };
        self.queue.filled.notify_one();
        let mut threads = self.threads.borrow_mut();
        // A thread that has just sent a result may not be counted as idle yet.
        if busy && threads.len() < self.limit.get() {
            let lane = u32::from(self.context.lane.0);
            let thread = self.start(format!("lane-{lane}-{}", threads.len()));
            threads.push(thread.map_err(|source| Error::LaneStart { place: self.context.place(at), lane, source })?);
        }
        Ok(())
    }

    fn start(&self, name: String) -> std::io::Result<JoinHandle<()>> {
        // The runtime only runs blocking reads; without timers and sockets it needs no file descriptors.
        let runtime = LaneRuntime::new(&mut tokio::runtime::Builder::new_current_thread())?;
        let (twin, queue) = (self.context.twin(), self.queue.clone());
        std::thread::Builder::new().name(name).spawn(move || {
            if let Some(runtime) = runtime.get() {
                run_thread(runtime, &twin, &queue);
            }
        })
    }
}

impl Drop for BlockingPool<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.queue.lock();
            state.closed = true;
            state.waiting.clear();
        }
        self.queue.filled.notify_all();
        for thread in self.threads.take() {
            // A panic was printed on standard error, and the missing result is reported as an error.
            drop(thread.join());
        }
    }
}

/// Executes requests until the queue is closed.
fn run_thread(runtime: &Runtime, context: &LaneContext, queue: &RequestQueue) {
    while let Some(Job { request, at, footer, index, answer: outbox }) = queue.take() {
        if let Some(index) = index {
            context.state.keep_index(request.file(), index);
        }
        if let Some(footer) = footer {
            context.state.keep_footer(request.file(), footer);
        }
        let outcome = runtime.block_on(answer(context, request, at));
        context.state.forget_footers();
        context.state.forget_indexes();
        // Sending fails only when the lane has ended.
        drop(outbox.send(outcome));
    }
}

async fn answer(context: &LaneContext, request: Request, at: Position) -> Result<Answer, Error> {
    match request {
        Request::Footer(file) => {
            let (footer, bytes) = context.read_footer(file, at).await?;
            Ok(Answer { bytes, footer: Some(footer) })
        }
        Request::Piece(piece) => Ok(Answer { bytes: context.read_piece(&piece, at).await?, footer: None }),
    }
}
