//! The reader lanes of one rank, which live as long as the run and read ahead within their windows.
//!
//! Invariant: a lane reserves a place in its queue before it starts a step, and the training loop frees the place when it takes the
//! batch. At most `window` steps of a lane are therefore started and not taken. The queue holds numbers, not data.

use dlio_event::{Lane, Position};
use dlio_plan::LaneWork;
use tokio::sync::{mpsc, watch};

use crate::blocking_pool::BlockingPool;
use crate::lane_context::LaneContext;
use crate::orders::{BatchDone, LaneOrder};
use crate::reader::Reader;
use crate::stream;
use crate::{Error, LaneHost, Place};

/// The training loop's ends of the lanes; dropping this value stops the lanes.
pub(crate) struct Lanes {
    lanes: Vec<LaneEnd>,
    _alive: watch::Sender<()>,
}

struct LaneEnd {
    orders: mpsc::UnboundedSender<LaneOrder>,
    batches: mpsc::Receiver<BatchDone>,
}

impl Lanes {
    /// Starts `count` lanes with the contexts that `context` creates. Also returns the receiver of their errors.
    pub(crate) fn start(
        host: LaneHost,
        (count, window): (u32, u32),
        rank: u32,
        mut context: impl FnMut(Lane, watch::Receiver<()>) -> LaneContext,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Error>), Error> {
        let (alive, released) = watch::channel(());
        let (failed, failures) = mpsc::unbounded_channel();
        let mut lanes = Vec::new();
        for number in 0..count {
            let (orders, inbox) = mpsc::unbounded_channel();
            let (outbox, batches) = mpsc::channel(window.max(1) as usize);
            let context = context(Lane(u16::try_from(number).unwrap_or(u16::MAX - 1)), released.clone());
            let failed = failed.clone();
            host.start(format!("lane-{number}"), move || async move {
                let halt = context.halt.clone();
                tokio::select! {
                    biased;
                    () = halt.released() => {}
                    // The outbox outlives this block, so a receiver that finds it closed finds the error already sent.
                    outcome = serve(context, inbox, &outbox) => if let Err(error) = outcome {
                        // Sending fails only when the run has ended for another reason.
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

    /// Sends a lane its work for one epoch or evaluation.
    pub(crate) fn order(&self, lane: u32, order: LaneOrder) {
        if let Some(end) = self.lanes.get(lane as usize) {
            // A lane that has ended has reported its error, which the next wait returns.
            drop(end.orders.send(order));
        }
    }

    /// Waits for the next batch of a lane in a pass and drops leftovers of earlier passes. Returns `None` if the lane does not exist or has
    /// ended.
    pub(crate) async fn next(&mut self, lane: u32, pass: u32) -> Option<BatchDone> {
        let end = self.lanes.get_mut(lane as usize)?;
        loop {
            let handed = end.batches.recv().await?;
            if handed.pass == pass {
                return Some(handed);
            }
        }
    }
}

/// Serves the orders of a lane until the training loop stops it.
async fn serve(
    context: LaneContext,
    mut orders: mpsc::UnboundedReceiver<LaneOrder>,
    batches: &mpsc::Sender<BatchDone>,
) -> Result<(), Error> {
    let pool = BlockingPool::new(&context);
    let mut reader = Reader::new(&context);
    while let Some(LaneOrder { pass, work }) = orders.recv().await {
        match work {
            LaneWork::Stream(work) => {
                if !stream::serve((&context, &pool), pass, work, batches).await? {
                    return Ok(());
                }
            }
            LaneWork::Steps(mut work) => {
                while let Some(step) = work.steps.next() {
                    let Ok(place) = batches.reserve().await else { return Ok(()) };
                    let bytes = reader.read(pass, &mut work, &step).await?;
                    place.send(BatchDone { pass: pass.number, step: step.step, bytes });
                }
                reader.end_pass();
            }
        }
    }
    Ok(())
}
