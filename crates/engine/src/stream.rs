//! A lane of an iterable dataset: it keeps a window of requests in flight and assembles batches from the pieces that have arrived.
//!
//! Invariant: at most `in_flight` requests are in flight, and at most `begun` requests (one more while an eager pipeline waits) are in
//! flight or have arrived without being part of a batch. Reads continue while the queue of batches is full. A piece that has arrived
//! is a number of bytes, not the bytes themselves.

use std::collections::BTreeMap;
use std::future::Future;

use dlio_event::{Event, OpKind, Position};
use dlio_plan::{Pipeline, StreamWork};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::Error;
use crate::blocking_pool::BlockingPool;
use crate::clock::nanos;
use crate::lane_context::LaneContext;
use crate::orders::{BatchDone, Pass};
use crate::request::Request;
use crate::row_groups::Requests;

/// Reads the pieces of one pass and queues its batches. Returns `false` when the training loop no longer receives batches.
pub(crate) async fn serve(
    (context, pool): (&LaneContext, &BlockingPool<'_>),
    Pass { number: pass, at }: Pass,
    work: StreamWork,
    queue: &mpsc::Sender<BatchDone>,
) -> Result<bool, Error> {
    let StreamWork { pipeline, pieces, batches, stagger, warms } = work;
    if !stagger.is_zero() {
        context.clock.sleep_until(context.clock.now().saturating_add(nanos(stagger))).await;
    }
    pool.set_limit(pipeline.in_flight);
    let mut requests = Requests::new(context, pieces, pipeline.footers);
    let footers = requests.begin(pool, at).await?;
    let fetch = |number: u64, request: Request| async move {
        let bytes = pool.fetch(request, at).await?;
        Ok((number, Arrived { samples: request.samples(), bytes }))
    };
    let mut window = Window::new(pipeline, requests, at, fetch)?;
    // The first batch counts the bytes of the footers.
    window.unclaimed = context.unclaimed.take() + footers;
    for batch in batches {
        let place = loop {
            tokio::select! {
                biased;
                place = queue.reserve() => break place,
                arrived = window.advance(), if window.is_busy() => arrived?,
            }
        };
        let Ok(place) = place else { return Ok(false) };
        let start = context.clock.now();
        let Some(bytes) = window.take(batch.samples).await? else {
            return Err(context.defect(at, "a lane has fewer pieces than its batches need"));
        };
        let at = Position { step: u32::try_from(batch.step).unwrap_or(u32::MAX), ..at };
        let span = Event::span(OpKind::Batch, context.lane, at, start, context.clock.now());
        context.events.record(Event { bytes, ..span });
        place.send(BatchDone { pass, step: batch.step, bytes });
    }
    context.unclaimed.set(window.unclaimed);
    if !warms {
        window.requests.end();
    }
    context.status.clear();
    Ok(true)
}

/// A completed request.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    samples: u64,
    bytes: u64,
}

/// The requests in flight, and the pieces that have arrived for later batches.
struct Window<'c, F, R> {
    pipeline: Pipeline,
    requests: Requests<'c>,
    at: Position,
    fetch: F,
    flight: FuturesUnordered<R>,
    /// Completed requests by the number under which batches take them: the order of the plan, or the order of arrival.
    arrived: BTreeMap<u64, Arrived>,
    begun: u64,
    arrivals: u64,
    taken: u64,
    /// Number of samples of the taken pieces that belong to the next batch.
    left: u64,
    /// Number of bytes that no batch has counted yet.
    unclaimed: u64,
}

impl<'c, F, R> Window<'c, F, R>
where
    F: Fn(u64, Request) -> R,
    R: Future<Output = Result<(u64, Arrived), Error>>,
{
    fn new(pipeline: Pipeline, requests: Requests<'c>, at: Position, fetch: F) -> Result<Self, Error> {
        let (flight, arrived) = (FuturesUnordered::new(), BTreeMap::new());
        let (begun, arrivals, taken, left, unclaimed) = (0, 0, 0, 0, 0);
        let mut window =
            Self { pipeline, requests, at, fetch, flight, arrived, begun, arrivals, taken, left, unclaimed };
        window.fill(0)?;
        Ok(window)
    }

    /// Starts requests until the window is full, plus `more` requests.
    fn fill(&mut self, more: usize) -> Result<(), Error> {
        let Pipeline { in_flight, begun, .. } = self.pipeline;
        let begun = begun as usize + more;
        while self.flight.len() < in_flight as usize && self.flight.len() + self.arrived.len() < begun {
            let Some(request) = self.requests.next(self.at)? else { return Ok(()) };
            self.flight.push((self.fetch)(self.begun, request));
            self.begun += 1;
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        !self.flight.is_empty()
    }

    /// Waits until a request completes; returns immediately if none is in flight.
    async fn advance(&mut self) -> Result<(), Error> {
        if let Some(outcome) = self.flight.next().await {
            let (number, arrived) = outcome?;
            let number = if self.pipeline.ordered { number } else { self.arrivals };
            self.arrived.insert(number, arrived);
            self.arrivals += 1;
            self.fill(0)?;
        }
        Ok(())
    }

    /// Takes pieces until they have `samples` samples; returns the number of bytes taken, or `None` when the pieces are exhausted.
    async fn take(&mut self, samples: u64) -> Result<Option<u64>, Error> {
        let mut bytes = std::mem::take(&mut self.unclaimed);
        while self.left < samples {
            self.fill(usize::from(self.pipeline.eager))?;
            if let Some(piece) = self.arrived.remove(&self.taken) {
                self.taken += 1;
                self.left += piece.samples;
                bytes += piece.bytes;
                self.fill(0)?;
            } else if self.is_busy() {
                self.advance().await?;
            } else {
                return Ok(None);
            }
        }
        self.left -= samples;
        Ok(Some(bytes))
    }
}
