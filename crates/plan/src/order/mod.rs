//! The order in which one rank's lanes read the samples of one split in one epoch.
//!
//! Invariant: batches are numbered from 0 in the order in which the training loop receives them; a lane's batches come
//! in increasing order. A batch belongs to one lane, except in [`Streams`], where every lane adds its records to it, and for
//! the last one of [`Iterable`], which is what all lanes have left.

mod batches;
mod iterable;
mod list;
mod native;
mod shuffles;
mod streams;
mod threads;

pub(crate) use batches::{Batches, Layout};
pub(crate) use iterable::Iterable;
pub use iterable::{LaneBatch, Piece, Pieces};
pub(crate) use list::FileList;
pub(crate) use native::NativeOrder;
pub(crate) use shuffles::Shuffles;
pub(crate) use streams::{Share, StreamFiles, Streams};
pub(crate) use threads::Threads;

use crate::{LaneStep, SampleRead};

/// One rank's reading of one split in one epoch.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Whole batches, batch b from lane b mod W.
    Batches(Batches),
    /// The reference's iterative sampler.
    Threads(Threads),
    /// Sequential streams, every batch from all lanes in turn.
    Streams(Streams),
    /// Files dealt to the lanes, batches of whatever they have read.
    Iterable(Iterable),
}

impl Order {
    /// Number of batches that the loader would deliver if nobody stopped it.
    pub(crate) fn available(&self) -> u64 {
        match self {
            Order::Batches(batches) => batches.available(),
            Order::Threads(threads) => threads.available(),
            Order::Streams(streams) => streams.available(),
            Order::Iterable(iterable) => iterable.available(),
        }
    }

    /// The lanes that read a part of batch `batch`.
    pub(crate) fn contributors(&self, batch: u64) -> Vec<u32> {
        match self {
            Order::Batches(batches) => vec![batches.lane(batch)],
            Order::Threads(threads) => threads.owner(batch).into_iter().collect(),
            Order::Streams(streams) => streams.contributors(batch),
            Order::Iterable(iterable) => iterable.contributors(batch),
        }
    }

    /// What a lane reads for the first `steps` batches, and for the `ahead` batches after them.
    pub(crate) fn lane_steps(self, lane: u32, steps: u64, ahead: u64) -> impl Iterator<Item = LaneStep> + Send {
        let end = steps.saturating_add(ahead);
        // A lane whose stream adds nothing to a batch has nothing to hand over for it.
        let streams = matches!(self, Order::Streams(_));
        (0..)
            .map_while(move |turn| {
                let batch = match &self {
                    Order::Batches(batches) => Some(batches.batch(lane, turn)),
                    Order::Threads(threads) => threads.batch(lane, turn),
                    Order::Streams(_) => Some(turn),
                    Order::Iterable(iterable) => iterable.batch(lane, turn),
                }?;
                (batch < end).then(|| self.read(lane, turn, batch))
            })
            .map(move |(batch, samples)| LaneStep { step: batch + 1, samples, surplus: batch >= steps })
            .filter(move |step| !streams || !step.samples.is_empty())
    }

    fn read(&self, lane: u32, turn: u64, batch: u64) -> (u64, Vec<SampleRead>) {
        let samples = match self {
            Order::Batches(batches) => batches.samples(batch),
            Order::Threads(threads) => threads.samples(lane, turn),
            Order::Streams(streams) => streams.samples(lane, batch),
            Order::Iterable(iterable) => iterable.samples(lane, turn),
        };
        (batch, samples)
    }
}
