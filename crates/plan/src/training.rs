//! The plan of a training run.

use std::sync::Arc;
use std::time::Duration;

use dlio_config::{Notice, Workload};

use crate::counts::SplitSteps;
use crate::mlperf::Pipeline;
use crate::order::{Iterable, LaneBatch, Pieces};
use crate::reading::Reading;
use crate::times::Times;
use crate::{Error, FileSet, Fingerprint, Handles, LaneStep, List, Lists, Split, World, fingerprint, notices};

/// What every rank reads and computes, epoch by epoch and step by step.
///
/// # What of the reference's reading is reproduced
///
/// Every read that the reference needs for its steps, per lane in its order, plus one surplus batch where its loop
/// fetches one before it notices the limit, and the padded last batches of its generators ([`LaneStep::surplus`]). What its
/// loaders prefetch beyond that depends on
/// timing (workers are stopped in the middle of their queue, TensorFlow's threads run ahead by the size of their
/// buffers) and is not planned; [`TrainingPlan::window`] says how far a lane may run ahead of the training loop.
/// A TFRecord shuffle buffer decides only which record lands in which batch: reading stays sequential, so the plan
/// hands records to batches in stream order.
#[derive(Debug, Clone)]
pub struct TrainingPlan {
    files: FileSet,
    world: World,
    epochs: u32,
    evaluation: Option<Evaluations>,
    train: SplitSteps,
    eval: SplitSteps,
    reading: Arc<Reading>,
    times: Arc<Times>,
    notices: Arc<[Notice]>,
    fingerprint: Fingerprint,
}

/// Which epochs are followed by an evaluation.
#[derive(Debug, Clone, Copy)]
struct Evaluations {
    after: u32,
    between: u32,
}

/// Plans the training run of a workload on a data set that was generated with the workload's counts.
///
/// # Errors
///
/// If the workload has no plan; the error says what to change.
pub fn training(workload: &Workload, world: World) -> Result<TrainingPlan, Error> {
    training_on(FileSet::new(workload)?, workload, world)
}

/// Plans the training run of a workload on these files, for data sets larger than what is used
/// ([`FileSet::generated_as`]).
///
/// # Errors
///
/// If the workload has no plan; the error says what to change.
pub fn training_on(files: FileSet, workload: &Workload, world: World) -> Result<TrainingPlan, Error> {
    let reading = Reading::new(workload, &files, world)?;
    let train = reading.steps(workload, Split::Train)?;
    let eval = reading.steps(workload, Split::Eval)?;
    let evaluation = workload.workflow.evaluation.then_some(Evaluations {
        after: workload.evaluation.eval_after_epoch,
        between: workload.evaluation.epochs_between_evals,
    });
    Ok(TrainingPlan {
        world,
        epochs: workload.train.epochs,
        evaluation,
        train,
        eval,
        times: Arc::new(Times::new(workload, &reading)),
        notices: notices::of(workload, &reading, train, eval).into(),
        fingerprint: fingerprint::of(workload, &files, world),
        reading: Arc::new(reading),
        files,
    })
}

/// Whether an evaluation follows an epoch, from 1 on. The reference moves a threshold along, from `after` on: an epoch that reaches it is
/// followed by an evaluation and moves it by `between`.
fn follows(epoch: u32, after: u32, between: u32) -> bool {
    match (after, between) {
        (_, 0) => epoch >= after,
        // A threshold of 0 lags behind by one epoch: the first is reached at once.
        (0, _) => epoch == 1 || between == 1 || epoch.is_multiple_of(between),
        _ => epoch >= after && (epoch - after).is_multiple_of(between),
    }
}

impl TrainingPlan {
    /// The data set.
    #[must_use]
    pub fn files(&self) -> &FileSet {
        &self.files
    }

    /// The ranks.
    #[must_use]
    pub fn world(&self) -> World {
        self.world
    }

    /// What a user should know about this plan: copied quirks that change what it reads, samples left out.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Number of epochs; epochs count from 1.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// Steps per epoch (or evaluation) that are run, after trimming and `total_training_steps`.
    #[must_use]
    pub fn steps(&self, split: Split) -> u64 {
        self.split(split).run
    }

    /// Steps that the configured, untrimmed counts amount to: `floor(N · files / batch / size)`. The metrics' window
    /// uses them (quirk 18).
    #[must_use]
    pub fn configured_steps(&self, split: Split) -> u64 {
        self.split(split).configured
    }

    /// Samples of one step on one rank.
    #[must_use]
    pub fn batch_size(&self, split: Split) -> u64 {
        self.reading.batch_size(split)
    }

    /// Whether an evaluation follows this epoch.
    #[must_use]
    pub fn evaluates(&self, epoch: u32) -> bool {
        let Some(Evaluations { after, between }) = self.evaluation else { return false };
        (1..=self.epochs).contains(&epoch) && follows(epoch, after, between)
    }

    /// Evaluations of the whole run.
    #[must_use]
    pub fn evaluations(&self) -> u64 {
        let Some(Evaluations { after, between }) = self.evaluation else { return 0 };
        let (epochs, after, between) = (u64::from(self.epochs), u64::from(after), u64::from(between));
        match (after, between) {
            _ if epochs < after.max(1) => 0,
            (_, 0) => epochs - after.max(1) + 1,
            (0, 1) => epochs,
            (0, _) => 1 + epochs / between,
            _ => (epochs - after) / between + 1,
        }
    }

    /// Reader lanes (`read_threads`); 0: the training loop reads by itself, inline, as its one lane number 0.
    #[must_use]
    pub fn lanes(&self) -> u32 {
        self.reading.lanes()
    }

    /// Steps that a lane may have begun but not yet handed over to the training loop.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.reading.window()
    }

    /// How long a lane keeps its files open.
    #[must_use]
    pub fn handles(&self) -> Handles {
        self.reading.handles()
    }

    /// The lists of numbers that reading a split takes: what the shuffles permute. Without shuffles there are none, nor
    /// with those of the native dialect.
    #[must_use]
    pub fn lists(&self, split: Split) -> Vec<List> {
        self.reading.lists(split)
    }

    /// The same plan with its lists kept by `lists`; a plan keeps its own otherwise.
    #[must_use]
    pub fn with_lists(self, lists: &Arc<dyn Lists>) -> Self {
        let reading = Arc::unwrap_or_clone(self.reading).with_lists(lists);
        Self { reading: Arc::new(reading), ..self }
    }

    /// Makes one of the [`lists`](Self::lists) for an epoch if it is not there; otherwise who asks for the first step
    /// that needs it makes it. Several threads may make different lists at the same time.
    pub fn make_list(&self, list: List, epoch: u32) {
        self.reading.make_list(list, epoch);
    }

    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The steps that a lane reads for, in its order.
    #[must_use]
    pub fn lane_steps(
        &self,
        rank: u32,
        split: Split,
        epoch: u32,
        lane: u32,
    ) -> Box<dyn Iterator<Item = LaneStep> + Send + 'static> {
        if rank >= self.world.size || lane >= self.lanes().max(1) {
            return Box::new(std::iter::empty());
        }
        let SplitSteps { run, ahead, .. } = self.split(split);
        Box::new(self.reading.order(rank, split, epoch).lane_steps(lane, run, ahead))
    }

    /// How the lanes read ahead where they stream whole files or row groups, and [`pieces`](Self::pieces) and
    /// [`lane_batches`](Self::lane_batches) say what; `None`: they read step by step.
    #[must_use]
    pub fn pipeline(&self) -> Option<Pipeline> {
        self.reading.fork.as_ref().and_then(|fork| fork.pipeline)
    }

    /// Whether files are read whole without being looked into.
    #[must_use]
    pub fn whole_files(&self) -> bool {
        self.reading.fork.as_ref().is_some_and(|fork| fork.whole)
    }

    /// How long a lane waits before it begins an epoch.
    #[must_use]
    pub fn stagger(&self, lane: u32) -> Duration {
        self.reading.fork.as_ref().map_or(Duration::ZERO, |fork| fork.stagger.saturating_mul(lane))
    }

    /// What a lane of a [`pipeline`](Self::pipeline) fetches, in its order.
    #[must_use]
    pub fn pieces(&self, rank: u32, split: Split, epoch: u32, lane: u32) -> Pieces {
        let SplitSteps { run, ahead, .. } = self.split(split);
        self.pieces_until((rank, split, epoch), lane, run.saturating_add(ahead))
    }

    fn pieces_until(&self, (rank, split, epoch): (u32, Split, u32), lane: u32, end: u64) -> Pieces {
        match &self.reading.fork {
            Some(fork) if fork.pipeline.is_some() && rank < self.world.size && lane < self.lanes() => {
                self.reading.iterable(fork, rank, split, epoch).pieces(lane, end)
            }
            _ => Pieces::default(),
        }
    }

    /// Requests for row groups that every rank makes in an epoch (or an evaluation), where files have the row groups of the
    /// configuration, and the files whose footers it reads for that; `None`: no row groups are asked for.
    #[must_use]
    pub fn row_group_requests(&self, split: Split) -> Option<(u64, u64)> {
        self.pipeline()?.footers?;
        let lanes = (0..self.lanes()).map(|lane| self.pieces(0, split, 1, lane));
        Some(lanes.fold((0, 0), |(requests, files), pieces| {
            (requests + pieces.left(), files + pieces.files().count() as u64)
        }))
    }

    /// The batches that a lane of a [`pipeline`](Self::pipeline) makes of its pieces, in order.
    #[must_use]
    pub fn lane_batches(&self, split: Split, lane: u32) -> Box<dyn Iterator<Item = LaneBatch> + Send + 'static> {
        let SplitSteps { run, ahead, .. } = self.split(split);
        let Some(shape) = self.shape(split).filter(|_| lane < self.lanes()) else {
            return Box::new(std::iter::empty());
        };
        Box::new(shape.lane_totals(lane, run, run.saturating_add(ahead)))
    }

    fn shape(&self, split: Split) -> Option<Iterable> {
        let fork = self.reading.fork.as_ref().filter(|fork| fork.pipeline.is_some())?;
        Some(self.reading.shape(fork, split))
    }

    /// Whether the first batch of each epoch is read once before that epoch, and once more after the last, outside all
    /// times (the MLPerf fork's way of starting its workers).
    #[must_use]
    pub fn prewarms(&self) -> bool {
        self.reading.fork.is_some() && self.train.run > 0
    }

    /// What a lane reads to warm up for an epoch, up to one beyond the last: its part of step 1, as surplus.
    #[must_use]
    pub fn prewarm(&self, rank: u32, epoch: u32, lane: u32) -> Option<LaneStep> {
        let order = || self.reading.order(rank, Split::Train, epoch);
        let planned = self.prewarms() && rank < self.world.size && lane < self.lanes().max(1);
        planned.then(|| order().lane_steps(lane, 0, 1).next()).flatten()
    }

    /// The pieces of [`prewarm`](Self::prewarm) in a [`pipeline`](Self::pipeline).
    #[must_use]
    pub fn prewarm_pieces(&self, rank: u32, epoch: u32, lane: u32) -> Pieces {
        self.pieces_until((rank, Split::Train, epoch), lane, u64::from(self.prewarms()))
    }

    /// The batch of [`prewarm`](Self::prewarm) in a [`pipeline`](Self::pipeline).
    #[must_use]
    pub fn prewarm_batch(&self, lane: u32) -> Option<LaneBatch> {
        let shape = self.shape(Split::Train).filter(|_| lane < self.lanes() && self.prewarms())?;
        shape.lane_totals(lane, 0, 1).next()
    }

    /// The lanes that deliver a part of a step (counted from 1), in ascending order.
    pub fn contributors(
        &self,
        rank: u32,
        split: Split,
        epoch: u32,
        step: u64,
    ) -> impl Iterator<Item = u32> + Send + use<> {
        let SplitSteps { run, ahead, .. } = self.split(split);
        let planned = (1..=run.saturating_add(ahead)).contains(&step) && rank < self.world.size;
        let lanes = if planned { self.reading.contributors(rank, split, epoch, step - 1) } else { Vec::new() };
        lanes.into_iter()
    }

    /// Emulated computation per step, drawn as the reference's main process draws it where that is deterministic.
    pub fn compute_times(&self, rank: u32, split: Split, epoch: u32) -> impl Iterator<Item = Duration> + Send + use<> {
        self.times.compute(&self.reading, (rank, split, epoch), self.train)
    }

    /// Emulated preprocessing per sample of a lane, in the order in which the lane reads its samples.
    pub fn preprocess_times(
        &self,
        rank: u32,
        split: Split,
        epoch: u32,
        lane: u32,
    ) -> impl Iterator<Item = Duration> + Send + use<> {
        self.times.preprocess(&self.reading, (rank, split, epoch), lane, self.train)
    }

    /// Hash of everything that decides the plan; equal on all ranks of a run, or they do not run the same thing.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn split(&self, split: Split) -> SplitSteps {
        match split {
            Split::Train => self.train,
            Split::Eval => self.eval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_follow_the_epochs_that_the_moving_threshold_of_the_reference_picks() {
        for (after, between) in (0..6).flat_map(|after| (0..6).map(move |between| (after, between))) {
            let mut due = after;
            for epoch in 1..40 {
                let reached = epoch >= due;
                due += if reached { between } else { 0 };
                assert_eq!(follows(epoch, after, between), reached, "epoch {epoch}, after {after}, between {between}");
            }
        }
    }
}
