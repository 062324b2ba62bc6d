//! The reader lanes of one rank: they live as long as the run and read ahead within their windows.
//!
//! Invariant: a lane holds a place in its queue before it begins a step, and the place is free again when the training
//! loop takes the batch; so at most `window` steps of a lane are begun and not handed over. The queue holds numbers.

use dlio_event::{Lane, Position};
use tokio::sync::{mpsc, watch};

use crate::helpers::Helpers;
use crate::reader::{Order, ReadKit, Reader};
use crate::stream::{self, StreamOrder};
use crate::{Error, LaneHost, Place};

/// A batch (or a lane's part of one) that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) pass: u32,
    pub(crate) step: u64,
    pub(crate) bytes: u64,
}

/// What a lane does in one epoch or evaluation.
pub(crate) enum LaneOrder {
    /// Step by step, sample by sample.
    Steps(Order),
    /// A stream of pieces, many in flight.
    Stream(StreamOrder),
}

/// The lanes as the training loop sees them; dropping it stops them.
pub(crate) struct Lanes {
    lanes: Vec<LaneEnd>,
    _alive: watch::Sender<()>,
}

struct LaneEnd {
    orders: mpsc::UnboundedSender<LaneOrder>,
    batches: mpsc::Receiver<Handed>,
}

impl Lanes {
    /// Starts `count` lanes; `kit` makes what a lane needs. Also returns where their errors arrive.
    pub(crate) fn start(
        host: LaneHost,
        (count, window): (u32, u32),
        rank: u32,
        mut kit: impl FnMut(Lane, watch::Receiver<()>) -> ReadKit,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Error>), Error> {
        let (alive, released) = watch::channel(());
        let (failed, failures) = mpsc::unbounded_channel();
        let mut lanes = Vec::new();
        for number in 0..count {
            let (orders, inbox) = mpsc::unbounded_channel();
            let (outbox, batches) = mpsc::channel(window.max(1) as usize);
            let kit = kit(Lane(u16::try_from(number).unwrap_or(u16::MAX - 1)), released.clone());
            let failed = failed.clone();
            host.start(format!("lane-{number}"), move || async move {
                let halt = kit.halt.clone();
                tokio::select! {
                    biased;
                    () = halt.released() => {}
                    // The outbox outlives the telling: whoever finds it closed finds the error told.
                    outcome = serve(kit, inbox, &outbox) => if let Err(error) = outcome {
                        // Nobody listens any more when the run has ended for another reason.
                        drop(failed.send(error));
                    },
                }
            })
            .map_err(|source| Error::LaneStart {
                place: Place { rank, at: Position::default() },
                lane: number,
                source,
            })?;
            lanes.push(LaneEnd { orders, batches });
        }
        Ok((Self { lanes, _alive: alive }, failures))
    }

    /// Gives a lane its work for one epoch or evaluation.
    pub(crate) fn order(&self, lane: u32, order: LaneOrder) {
        if let Some(end) = self.lanes.get(lane as usize) {
            // A lane that is gone has told its error, which the next wait returns.
            drop(end.orders.send(order));
        }
    }

    /// The next batch of a lane in a pass; leftovers of earlier passes are dropped. `None`: there is no such lane, or
    /// it has ended.
    pub(crate) async fn next(&mut self, lane: u32, pass: u32) -> Option<Handed> {
        let end = self.lanes.get_mut(lane as usize)?;
        loop {
            let handed = end.batches.recv().await?;
            if handed.pass == pass {
                return Some(handed);
            }
        }
    }
}

/// The life of a lane.
async fn serve(
    kit: ReadKit,
    mut orders: mpsc::UnboundedReceiver<LaneOrder>,
    batches: &mpsc::Sender<Handed>,
) -> Result<(), Error> {
    let mut current: Option<Order> = None;
    let helpers = Helpers::new(&kit);
    let mut reader = Reader::new(&kit);
    loop {
        let Some(order) = &mut current else {
            match orders.recv().await {
                Some(LaneOrder::Steps(order)) => current = Some(order),
                Some(LaneOrder::Stream(order)) => {
                    if !stream::serve((&kit, &helpers), order, batches).await? {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
            continue;
        };
        let Some(step) = order.steps.next() else {
            reader.pass_over();
            current = None;
            continue;
        };
        let Ok(place) = batches.reserve().await else { return Ok(()) };
        let bytes = reader.read(order, &step).await?;
        place.send(Handed { pass: order.pass, step: step.step, bytes });
    }
}
