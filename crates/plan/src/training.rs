//! The plan of a training run.

use std::sync::Arc;
use std::time::Duration;

use dlio_config::{Notice, Workload};

use crate::counts::SplitSteps;
use crate::mlperf::Pipeline;
use crate::order::{Iterable, LaneBatch, Pieces};
use crate::reading::Reading;
use crate::times::Times;
use crate::{
    Error, FileSet, Fingerprint, Handles, LaneStep, PermutationKey, PermutationStore, Split, World, fingerprint,
    notices,
};

/// The plan of a training run: what every rank reads and computes, epoch by epoch and step by step.
///
/// # Reproduced reads of the reference
///
/// The plan has every read that the reference needs for its steps, per lane and in order. It also has one surplus batch
/// if the loop of the reference fetches a batch before it notices its limit, and the padded last batches of its
/// generators ([`LaneStep::surplus`]). Further prefetching by the loaders depends on timing and is not planned: workers
/// are stopped in the middle of their queue, and TensorFlow's threads run ahead by the size of their buffers.
/// [`TrainingPlan::window`] limits how far a lane may run ahead of the training loop. A TFRecord shuffle buffer only
/// decides which record is in which batch. Reading stays sequential, so the plan assigns records to batches in the
/// order of the stream.
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

/// The epochs that are followed by an evaluation.
#[derive(Debug, Clone, Copy)]
struct Evaluations {
    after: u32,
    between: u32,
}

/// Plans the training run of a workload on a dataset that was generated with the counts of the workload.
///
/// # Errors
///
/// If the workload has no plan; the error says what to change.
pub fn training(workload: &Workload, world: World) -> Result<TrainingPlan, Error> {
    training_on(FileSet::new(workload)?, workload, world)
}

/// Plans the training run of a workload on these files, for datasets that are larger than the part that is used
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

/// Returns whether an evaluation follows an epoch, counted from 1. The reference keeps a threshold that begins at
/// `after`: an epoch that reaches it is followed by an evaluation and increases it by `between`.
fn follows(epoch: u32, after: u32, between: u32) -> bool {
    match (after, between) {
        (_, 0) => epoch >= after,
        // A threshold of 0 lags behind by one epoch because the first epoch exceeds it.
        (0, _) => epoch == 1 || between == 1 || epoch.is_multiple_of(between),
        _ => epoch >= after && (epoch - after).is_multiple_of(between),
    }
}

impl TrainingPlan {
    /// Returns the files of the dataset.
    #[must_use]
    pub fn files(&self) -> &FileSet {
        &self.files
    }

    /// Returns the ranks.
    #[must_use]
    pub fn world(&self) -> World {
        self.world
    }

    /// Returns notices for the user: copied quirks that change what is read, and samples that are left out.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Returns the number of epochs; epochs are counted from 1.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// Returns the steps per epoch or evaluation that are run, after trimming and `total_training_steps`.
    #[must_use]
    pub fn steps(&self, split: Split) -> u64 {
        self.split(split).run
    }

    /// Returns the steps that follow from the configured, untrimmed counts: `floor(N · files / batch / size)`. The
    /// window of the metrics uses them (quirk 18).
    #[must_use]
    pub fn configured_steps(&self, split: Split) -> u64 {
        self.split(split).configured
    }

    /// Returns the number of samples per step and rank.
    #[must_use]
    pub fn batch_size(&self, split: Split) -> u64 {
        self.reading.batch_size(split)
    }

    /// Returns whether an evaluation follows this epoch.
    #[must_use]
    pub fn evaluates(&self, epoch: u32) -> bool {
        let Some(Evaluations { after, between }) = self.evaluation else { return false };
        (1..=self.epochs).contains(&epoch) && follows(epoch, after, between)
    }

    /// Returns the number of evaluations of the whole run.
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

    /// Returns the number of reader lanes (`read_threads`). With 0, the training loop itself reads, as lane number 0.
    #[must_use]
    pub fn lanes(&self) -> u32 {
        self.reading.lanes()
    }

    /// Returns the number of steps that a lane may have begun without having handed them over to the training loop.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.reading.window()
    }

    /// Returns how long a lane keeps its files open.
    #[must_use]
    pub fn handles(&self) -> Handles {
        self.reading.handles()
    }

    /// Returns the lists of numbers that reading a split requires, which are permuted by shuffles. There are none
    /// without shuffles and in the native dialect.
    #[must_use]
    pub fn lists(&self, split: Split) -> Vec<PermutationKey> {
        self.reading.lists(split)
    }

    /// Returns the same plan with its lists stored in `lists`; by default, a plan stores its own.
    #[must_use]
    pub fn with_lists(self, lists: &Arc<dyn PermutationStore>) -> Self {
        let reading = Arc::unwrap_or_clone(self.reading).with_lists(lists);
        Self { reading: Arc::new(reading), ..self }
    }

    /// Computes one of the [`lists`](Self::lists) for an epoch if it is not stored. Otherwise, the first caller that
    /// needs a step of the epoch computes it. Several threads may compute different lists at the same time.
    pub fn make_list(&self, list: PermutationKey, epoch: u32) {
        self.reading.make_list(list, epoch);
    }

    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Returns the steps that a lane reads for, in order.
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

    /// Returns how the lanes read ahead if they stream whole files or row groups; [`pieces`](Self::pieces) and
    /// [`lane_batches`](Self::lane_batches) then return the work. `None` if lanes read step by step.
    #[must_use]
    pub fn pipeline(&self) -> Option<Pipeline> {
        self.reading.mlperf.as_ref().and_then(|mlperf| mlperf.pipeline)
    }

    /// Returns whether files are read as a whole, without being parsed.
    #[must_use]
    pub fn whole_files(&self) -> bool {
        self.reading.mlperf.as_ref().is_some_and(|mlperf| mlperf.whole)
    }

    /// Returns how long a lane waits before it begins an epoch.
    #[must_use]
    pub fn stagger(&self, lane: u32) -> Duration {
        self.reading.mlperf.as_ref().map_or(Duration::ZERO, |mlperf| mlperf.stagger.saturating_mul(lane))
    }

    /// Returns what a lane of a [`pipeline`](Self::pipeline) fetches, in order.
    #[must_use]
    pub fn pieces(&self, rank: u32, split: Split, epoch: u32, lane: u32) -> Pieces {
        let SplitSteps { run, ahead, .. } = self.split(split);
        self.pieces_until((rank, split, epoch), lane, run.saturating_add(ahead))
    }

    fn pieces_until(&self, (rank, split, epoch): (u32, Split, u32), lane: u32, end: u64) -> Pieces {
        match &self.reading.mlperf {
            Some(mlperf) if mlperf.pipeline.is_some() && rank < self.world.size && lane < self.lanes() => {
                self.reading.iterable(mlperf, rank, split, epoch).pieces(lane, end)
            }
            _ => Pieces::default(),
        }
    }

    /// Returns the number of row group requests of every rank in an epoch or evaluation, if files have the configured
    /// row groups, and the number of files whose footers are read for them. `None` if no row groups are requested.
    #[must_use]
    pub fn row_group_requests(&self, split: Split) -> Option<(u64, u64)> {
        self.pipeline()?.footers?;
        let lanes = (0..self.lanes()).map(|lane| self.pieces(0, split, 1, lane));
        Some(lanes.fold((0, 0), |(requests, files), pieces| {
            (requests + pieces.left(), files + pieces.files().count() as u64)
        }))
    }

    /// Returns the batches that a lane of a [`pipeline`](Self::pipeline) forms from its pieces, in order.
    #[must_use]
    pub fn lane_batches(&self, split: Split, lane: u32) -> Box<dyn Iterator<Item = LaneBatch> + Send + 'static> {
        let SplitSteps { run, ahead, .. } = self.split(split);
        let Some(shape) = self.shape(split).filter(|_| lane < self.lanes()) else {
            return Box::new(std::iter::empty());
        };
        Box::new(shape.lane_totals(lane, run, run.saturating_add(ahead)))
    }

    fn shape(&self, split: Split) -> Option<Iterable> {
        let mlperf = self.reading.mlperf.as_ref().filter(|mlperf| mlperf.pipeline.is_some())?;
        Some(self.reading.shape(mlperf, split))
    }

    /// Returns whether the first batch of each epoch is also read before that epoch, and once more after the last
    /// epoch, outside of all measured times. The MLPerf fork starts its workers in this way.
    #[must_use]
    pub fn prewarms(&self) -> bool {
        self.reading.mlperf.is_some() && self.train.run > 0
    }

    /// Returns what a lane reads to warm up for an epoch, up to one epoch beyond the last: its part of step 1, as
    /// surplus.
    #[must_use]
    pub fn prewarm(&self, rank: u32, epoch: u32, lane: u32) -> Option<LaneStep> {
        let order = || self.reading.order(rank, Split::Train, epoch);
        let planned = self.prewarms() && rank < self.world.size && lane < self.lanes().max(1);
        planned.then(|| order().lane_steps(lane, 0, 1).next()).flatten()
    }

    /// Returns the pieces of [`prewarm`](Self::prewarm) in a [`pipeline`](Self::pipeline).
    #[must_use]
    pub fn prewarm_pieces(&self, rank: u32, epoch: u32, lane: u32) -> Pieces {
        self.pieces_until((rank, Split::Train, epoch), lane, u64::from(self.prewarms()))
    }

    /// Returns the batch of [`prewarm`](Self::prewarm) in a [`pipeline`](Self::pipeline).
    #[must_use]
    pub fn prewarm_batch(&self, lane: u32) -> Option<LaneBatch> {
        let shape = self.shape(Split::Train).filter(|_| lane < self.lanes() && self.prewarms())?;
        shape.lane_totals(lane, 0, 1).next()
    }

    /// Returns the lanes that deliver a part of a step (counted from 1), in ascending order.
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

    /// Returns the emulated computation time of each step. If the draws of the reference's main process are
    /// deterministic, they are reproduced.
    pub fn compute_times(&self, rank: u32, split: Split, epoch: u32) -> impl Iterator<Item = Duration> + Send + use<> {
        self.times.compute(&self.reading, (rank, split, epoch), self.train)
    }

    /// Returns the emulated preprocessing time of each sample of a lane, in the order in which the lane reads its
    /// samples.
    pub fn preprocess_times(
        &self,
        rank: u32,
        split: Split,
        epoch: u32,
        lane: u32,
    ) -> impl Iterator<Item = Duration> + Send + use<> {
        self.times.preprocess(&self.reading, (rank, split, epoch), lane, self.train)
    }

    /// Returns the hash of everything that determines the plan. It is equal on all ranks that run the same plan.
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
