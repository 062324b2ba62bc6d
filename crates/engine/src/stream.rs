//! A lane of an iterable data set: keeps a window of pieces in flight and makes its batches of whatever has arrived.
//!
//! Invariant: never more than `in_flight` pieces are being fetched, and never more than `begun` are fetched or have arrived
//! without being part of a batch; fetching goes on while the training loop leaves the queue of batches full. What has
//! arrived is a number of bytes, not the bytes.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use dlio_event::{Event, OpKind, Position};
use dlio_plan::{LaneBatch, Piece, Pipeline};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::Error;
use crate::clock::nanos;
use crate::lanes::Handed;
use crate::reader::ReadKit;

/// What an iterable lane has to read in one epoch or evaluation.
pub(crate) struct StreamOrder {
    /// Tells batches of this pass from leftovers of an earlier one.
    pub(crate) pass: u32,
    /// Phase, epoch and block.
    pub(crate) at: Position,
    pub(crate) pipeline: Pipeline,
    pub(crate) pieces: Box<dyn Iterator<Item = Piece> + Send>,
    pub(crate) batches: Box<dyn Iterator<Item = LaneBatch> + Send>,
    /// How long the lane waits before its first piece.
    pub(crate) stagger: Duration,
}

/// Reads the pieces of an order and hands its batches over. `false`: nobody takes them any more.
pub(crate) async fn serve(kit: &ReadKit, order: StreamOrder, queue: &mpsc::Sender<Handed>) -> Result<bool, Error> {
    let StreamOrder { pass, at, pipeline, pieces, batches, stagger } = order;
    if !stagger.is_zero() {
        kit.clock.sleep_until(kit.clock.now().saturating_add(nanos(stagger))).await;
    }
    let fetch = |number: u64, piece: Piece| async move {
        let bytes = kit.read_piece(&piece, at).await?;
        Ok((number, Arrived { samples: piece.samples, bytes }))
    };
    let mut window = Window::new(pipeline, pieces, fetch);
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
    kit.status.clear();
    Ok(true)
}

/// A piece that was read.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    samples: u64,
    bytes: u64,
}

/// The pieces in flight, and those that wait to become batches.
struct Window<P, F, R> {
    pipeline: Pipeline,
    pieces: P,
    fetch: F,
    flight: FuturesUnordered<R>,
    /// By the number under which a piece is taken: that of the plan, or that of its arrival.
    arrived: BTreeMap<u64, Arrived>,
    begun: u64,
    arrivals: u64,
    taken: u64,
    /// Samples of taken pieces that belong to the next batch.
    left: u64,
}

impl<P, F, R> Window<P, F, R>
where
    P: Iterator<Item = Piece>,
    F: Fn(u64, Piece) -> R,
    R: Future<Output = Result<(u64, Arrived), Error>>,
{
    fn new(pipeline: Pipeline, pieces: P, fetch: F) -> Self {
        let flight = FuturesUnordered::new();
        let (arrived, begun, arrivals, taken, left) = (BTreeMap::new(), 0, 0, 0, 0);
        let mut window = Self { pipeline, pieces, fetch, flight, arrived, begun, arrivals, taken, left };
        window.fill();
        window
    }

    /// Begins as many pieces as the window holds.
    fn fill(&mut self) {
        let Pipeline { in_flight, begun, .. } = self.pipeline;
        while self.flight.len() < in_flight as usize && self.flight.len() + self.arrived.len() < begun as usize {
            let Some(piece) = self.pieces.next() else { return };
            self.flight.push((self.fetch)(self.begun, piece));
            self.begun += 1;
        }
    }

    fn is_busy(&self) -> bool {
        !self.flight.is_empty()
    }

    /// Waits for a piece to arrive; at once where none is in flight.
    async fn advance(&mut self) -> Result<(), Error> {
        if let Some(outcome) = self.flight.next().await {
            let (number, arrived) = outcome?;
            let number = if self.pipeline.ordered { number } else { self.arrivals };
            self.arrived.insert(number, arrived);
            self.arrivals += 1;
            self.fill();
        }
        Ok(())
    }

    /// Takes pieces until they make `samples`; returns the bytes of those that were taken for it, `None` when there are
    /// no more.
    async fn take(&mut self, samples: u64) -> Result<Option<u64>, Error> {
        let mut bytes = 0;
        while self.left < samples {
            if let Some(piece) = self.arrived.remove(&self.taken) {
                self.taken += 1;
                self.left += piece.samples;
                bytes += piece.bytes;
                self.fill();
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
