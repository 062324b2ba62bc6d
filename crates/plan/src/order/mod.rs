//! The order in which the lanes of one rank read the samples of one split in one epoch.
//!
//! Invariant: batches are numbered from 0 in the order in which the training loop receives them, and the numbers of a
//! lane's batches increase. A batch belongs to one lane, with two exceptions: in [`Streams`], every lane adds its
//! records to each batch, and the last batch of [`Iterable`] consists of the leftovers of all lanes.

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

/// Reading order of one rank in one split and epoch.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Whole batches; batch b belongs to lane b mod W for W lanes.
    Batches(Batches),
    /// The iterative sampler of the reference.
    Threads(Threads),
    /// Sequential streams; every batch has records of all lanes in turn.
    Streams(Streams),
    /// Files that are assigned to lanes; batches consist of the samples that a lane has read.
    Iterable(Iterable),
}

impl Order {
    /// Returns the number of batches that the loader would deliver without a limit.
    pub(crate) fn available(&self) -> u64 {
        match self {
            Order::Batches(batches) => batches.available(),
            Order::Threads(threads) => threads.available(),
            Order::Streams(streams) => streams.available(),
            Order::Iterable(iterable) => iterable.available(),
        }
    }

    /// Returns the lanes that read a part of batch `batch`.
    pub(crate) fn contributors(&self, batch: u64) -> Vec<u32> {
        match self {
            Order::Batches(batches) => vec![batches.lane(batch)],
            Order::Threads(threads) => threads.owner(batch).into_iter().collect(),
            Order::Streams(streams) => streams.contributors(batch),
            Order::Iterable(iterable) => iterable.contributors(batch),
        }
    }

    /// Returns what a lane reads for the first `steps` batches and for the `ahead` batches after them.
    pub(crate) fn lane_steps(self, lane: u32, steps: u64, ahead: u64) -> impl Iterator<Item = LaneStep> + Send {
        let end = steps.saturating_add(ahead);
        // A lane whose stream contributes nothing to a batch has nothing to hand over.
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
