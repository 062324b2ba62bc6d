//! The work of a reader lane in one epoch or evaluation: the steps of a map-style loader, or the stream of an iterable
//! loader.

use std::time::Duration;

use crate::{LaneBatch, LaneStep, Lookups, Pieces, Pipeline, Split, TrainingPlan};

/// The work of a reader lane in one epoch or evaluation.
pub enum LaneWork {
    /// Batches with planned samples, step by step.
    Steps(StepWork),
    /// Batches of the samples that arrive first in a stream of pieces.
    Stream(StreamWork),
}

/// The work of a lane that reads step by step.
pub struct StepWork {
    /// The samples of each step.
    pub steps: Box<dyn Iterator<Item = LaneStep> + Send>,
    /// Emulated preprocessing time of each sample, in order; zero after the end.
    pub preprocess: Box<dyn Iterator<Item = Duration> + Send>,
    /// Files whose indexes the reader of the lane looks up before the first sample.
    pub lookups: Option<Lookups>,
}

/// The work of a lane that reads a stream of pieces.
pub struct StreamWork {
    /// Depth of the lane's read-ahead.
    pub pipeline: Pipeline,
    /// Pieces that the lane fetches, in order.
    pub pieces: Pieces,
    /// Batches that the lane forms from the pieces.
    pub batches: Box<dyn Iterator<Item = LaneBatch> + Send>,
    /// Time that the lane waits before its first piece.
    pub stagger: Duration,
    /// The pass is repeated later, so the lane keeps the footers that it has read.
    pub warms: bool,
}

impl TrainingPlan {
    /// Returns the work of a lane in an epoch, counted from 1.
    #[must_use]
    pub fn lane_work(&self, rank: u32, split: Split, epoch: u32, lane: u32) -> LaneWork {
        match self.pipeline() {
            Some(pipeline) => LaneWork::Stream(StreamWork {
                pipeline,
                pieces: self.pieces(rank, split, epoch, lane),
                batches: self.lane_batches(split, lane),
                stagger: self.stagger(lane),
                warms: false,
            }),
            None => LaneWork::Steps(StepWork {
                steps: self.lane_steps(rank, split, epoch, lane),
                preprocess: Box::new(self.preprocess_times(rank, split, epoch, lane)),
                lookups: Some(self.lookups(rank, split, epoch, lane)),
            }),
        }
    }

    /// Returns the work of a lane that warms up for an epoch: its part of the first batch, without preprocessing.
    #[must_use]
    pub fn prewarm_work(&self, rank: u32, epoch: u32, lane: u32) -> LaneWork {
        match self.pipeline() {
            Some(pipeline) => LaneWork::Stream(StreamWork {
                pipeline,
                pieces: self.prewarm_pieces(rank, epoch, lane),
                batches: Box::new(self.prewarm_batch(lane).into_iter()),
                stagger: Duration::ZERO,
                warms: true,
            }),
            None => LaneWork::Steps(StepWork {
                steps: Box::new(self.prewarm(rank, epoch, lane).into_iter()),
                preprocess: Box::new(std::iter::empty()),
                lookups: None,
            }),
        }
    }
}
