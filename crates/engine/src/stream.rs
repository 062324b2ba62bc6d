//! A lane of an iterable data set: keeps a window of requests in flight and makes its batches of whatever has arrived.
//!
//! Invariant: never more than `in_flight` requests are being answered, and never more than `begun` (and one while the lane
//! waits, where the pipeline is eager) are begun or have arrived without being part of a batch; fetching goes on while the
//! training loop leaves the queue of batches full. What has arrived is a number of bytes, not the bytes.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use dlio_event::{Event, OpKind, Position};
use dlio_plan::{LaneBatch, Pieces, Pipeline};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::Error;
use crate::clock::nanos;
use crate::helpers::Helpers;
use crate::lanes::Handed;
use crate::reader::ReadKit;
use crate::row_groups::{Request, Requests};

/// What an iterable lane has to read in one epoch or evaluation.
pub(crate) struct StreamOrder {
    /// Tells batches of this pass from leftovers of an earlier one.
    pub(crate) pass: u32,
    /// Phase, epoch and block.
    pub(crate) at: Position,
    pub(crate) pipeline: Pipeline,
    pub(crate) pieces: Pieces,
    pub(crate) batches: Box<dyn Iterator<Item = LaneBatch> + Send>,
    /// How long the lane waits before its first piece.
    pub(crate) stagger: Duration,
    /// The pass comes again, whole: what it has learnt is not forgotten.
    pub(crate) warms: bool,
}

/// Reads the pieces of an order and hands its batches over. `false`: nobody takes them any more.
pub(crate) async fn serve(
    (kit, helpers): (&ReadKit, &Helpers<'_>),
    order: StreamOrder,
    queue: &mpsc::Sender<Handed>,
) -> Result<bool, Error> {
    let StreamOrder { pass, at, pipeline, pieces, batches, stagger, warms } = order;
    if !stagger.is_zero() {
        kit.clock.sleep_until(kit.clock.now().saturating_add(nanos(stagger))).await;
    }
    helpers.expect(pipeline.in_flight);
    let mut requests = Requests::new(kit, pieces, pipeline.footers);
    let footers = requests.begin(helpers, at).await?;
    let fetch = |number: u64, request: Request| async move {
        let bytes = helpers.fetch(request, at).await?;
        Ok((number, Arrived { samples: request.samples(), bytes }))
    };
    let mut window = Window::new(pipeline, requests, at, fetch)?;
    // The bytes of footers belong to the first batch that there is.
    window.unclaimed = kit.unclaimed.take() + footers;
    for batch in batches {
        let place = loop {
            tokio::select! {
                biased;
                place = queue.reserve() => break place,
                arrived = window.advance(), if window.is_busy() => arrived?,
            }
        };
        let Ok(place) = place else { return Ok(false) };
        let start = kit.clock.now();
        let Some(bytes) = window.take(batch.samples).await? else {
            return Err(kit.defect(at, "a lane has fewer pieces than its batches need"));
        };
        let at = Position { step: u32::try_from(batch.step).unwrap_or(u32::MAX), ..at };
        let span = Event::span(OpKind::Batch, kit.lane, at, start, kit.clock.now());
        kit.events.record(Event { bytes, ..span });
        place.send(Handed { pass, step: batch.step, bytes });
    }
    kit.unclaimed.set(window.unclaimed);
    if !warms {
        window.requests.end();
    }
    kit.status.clear();
    Ok(true)
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    samples: u64,
    bytes: u64,
}

/// The requests in flight, and what waits to become batches.
struct Window<'k, F, R> {
    pipeline: Pipeline,
    requests: Requests<'k>,
    at: Position,
    fetch: F,
    flight: FuturesUnordered<R>,
    /// By the number under which it is taken: that of the plan, or that of its arrival.
    arrived: BTreeMap<u64, Arrived>,
    begun: u64,
    arrivals: u64,
    taken: u64,
    /// Samples of what was taken that belong to the next batch.
    left: u64,
    /// Bytes that no batch has counted.
    unclaimed: u64,
}

impl<'k, F, R> Window<'k, F, R>
where
    F: Fn(u64, Request) -> R,
    R: Future<Output = Result<(u64, Arrived), Error>>,
{
    fn new(pipeline: Pipeline, requests: Requests<'k>, at: Position, fetch: F) -> Result<Self, Error> {
        let (flight, arrived) = (FuturesUnordered::new(), BTreeMap::new());
        let (begun, arrivals, taken, left, unclaimed) = (0, 0, 0, 0, 0);
        let mut window =
            Self { pipeline, requests, at, fetch, flight, arrived, begun, arrivals, taken, left, unclaimed };
        window.fill(0)?;
        Ok(window)
    }

    /// Begins as many requests as the window holds, and `more`.
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

    /// Waits for an answer; at once where none is to come.
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

    /// Takes what has arrived until it makes `samples`; returns the bytes of what was taken for it, `None` when there is
    /// no more.
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
