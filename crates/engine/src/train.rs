//! The training loop of one rank: the reference's loop, step by step, with its timers.
//!
//! Invariant: the load time of a step is the wait of the loop for its batch, from the end of the previous step's
//! barrier; compute follows without a gap; the barrier is in neither. The spans recorded carry exactly the moments that
//! the timings are made of, so metrics recomputed from a trace equal the live ones.

use std::rc::Rc;
use std::time::Duration;

use dlio_event::{
    BlockTimings, CheckpointTimings, EpochTimings, Event, Lane, Nanos, OpKind, Phase, Position, RankTimings,
};
use dlio_format::{Decode, Layout};
use dlio_plan::checkpoint::DuringTraining;
use dlio_plan::{Split, TrainingPlan};
use futures::future::LocalBoxFuture;

use crate::batches::{self, Batches};
use crate::checkpoint::{Keeper, Moment};
use crate::clock::nanos;
use crate::cost::CpuMeter;
use crate::reader::pass_at;
use crate::watch::Watch;
use crate::{CancelFlag, Checkpoints, Cost, Error, Rig, RunStarted, StallLimits, StepDone, Waiting, agree};

/// How to train.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// Samples of one batch that a lane reads at the same time; at least 1. More than one takes effect only where
    /// every sample is opened by itself.
    pub inflight: u32,
    /// What is done with samples besides reading them.
    pub decode: Decode,
    /// A wait of this length is reported to the observer, again after each further one; zero: never.
    pub stall_after: StallLimits,
    /// Ends the run early.
    pub cancel: CancelFlag,
    /// Take checkpoints, as their plan says.
    pub checkpoints: Option<Checkpoints>,
    /// What is done before each epoch. All ranks have it or none: they meet when it is done.
    pub before_epoch: Option<BeforeEpoch>,
}

/// Work of a rank before an epoch that its caller knows how to do, given the number of the epoch.
#[derive(Clone)]
pub struct BeforeEpoch(Rc<dyn Fn(u32) -> LocalBoxFuture<'static, ()>>);

impl BeforeEpoch {
    /// The work that `make` makes.
    pub fn new(make: impl Fn(u32) -> LocalBoxFuture<'static, ()> + 'static) -> Self {
        Self(Rc::new(make))
    }
}

impl std::fmt::Debug for BeforeEpoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BeforeEpoch")
    }
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            inflight: 1,
            decode: Decode::None,
            stall_after: StallLimits::reporting_after(Duration::from_mins(1)),
            cancel: CancelFlag::new(),
            before_epoch: None,
            checkpoints: None,
        }
    }
}

/// What a training run of one rank measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trained {
    /// Per epoch, block and step.
    pub timings: RankTimings,
    /// What the client itself needed.
    pub cost: Cost,
}

/// Runs all epochs of this rank, in step with all other ranks.
///
/// Call it inside a `LocalSet` of a current-thread runtime with time enabled.
///
/// # Errors
/// The first error of this rank; its lanes have stopped (or hang in the kernel), and the caller aborts the
/// communicator so that no rank waits for this one.
pub async fn train(plan: &TrainingPlan, layout: &Layout, rig: &Rig, options: TrainOptions) -> Result<Trained, Error> {
    let mut watch = Watch::new(rig, options.cancel.clone(), options.stall_after);
    let (planned, started) = (plan.world().size, rig.comm.place().size);
    if planned != started {
        return Err(Error::World { planned, started });
    }
    let mut fingerprint = plan.fingerprint().to_string();
    if let Some(checkpoints) = &options.checkpoints {
        fingerprint = format!("{fingerprint}+{}", checkpoints.plan.fingerprint());
    }
    agree::plans_agree(&*rig.comm, &mut watch, &fingerprint).await?;

    let kit = batches::kit_maker(plan, layout, rig, &options);
    let inline = kit(Lane::MAIN, None);
    let batches = Batches::start(plan, rig, &mut watch, &inline, kit)?;
    let keeper = match &options.checkpoints {
        Some(checkpoints) => Some(Keeper::start(checkpoints, rig, &mut watch, &options.cancel).await?),
        None => None,
    };
    let mut run = Run { plan, rig, watch, batches, keeper, read: 0, before_epoch: options.before_epoch };
    let outcome = run.epochs().await;
    let Run { mut watch, batches, keeper, .. } = run;
    drop(batches);
    watch.lanes_ended().await;
    if let Some(keeper) = keeper {
        keeper.end().await;
    }
    outcome
}

/// The state of the loop.
struct Run<'r> {
    plan: &'r TrainingPlan,
    rig: &'r Rig,
    watch: Watch<'r>,
    batches: Batches<'r>,
    keeper: Option<Keeper<'r>>,
    read: u64,
    before_epoch: Option<BeforeEpoch>,
}

/// How far an epoch or evaluation has come.
struct Pace {
    split: Split,
    /// The step that comes next, from 1.
    next: u64,
    /// The last step that a checkpoint followed.
    saved: u64,
    compute_times: Box<dyn Iterator<Item = Duration>>,
}

impl Run<'_> {
    async fn epochs(&mut self) -> Result<Trained, Error> {
        let (plan, rig) = (self.plan, self.rig);
        let (cpu, start) = (CpuMeter::start(), self.now());
        self.prewarm(1).await?;
        self.barrier(Position::default()).await?;
        rig.observer.run_started(&RunStarted {
            epochs: plan.epochs(),
            steps: plan.steps(Split::Train),
            eval_steps: plan.steps(Split::Eval),
        });
        let mut timings = RankTimings { rank: self.rank(), epochs: Vec::new() };
        for epoch in 1..=plan.epochs() {
            if let Some(BeforeEpoch(work)) = &self.before_epoch {
                let waiting = || Waiting::Work { what: "what is to be done before the epoch" };
                self.watch.attend(pass_at(Phase::Train, epoch), waiting, work(epoch)).await?;
                self.barrier(pass_at(Phase::Train, epoch)).await?;
            }
            timings.epochs.push(self.epoch(epoch).await?);
        }
        self.barrier(Position::default()).await?;
        let wall = Duration::from_nanos(self.now().saturating_sub(start));
        let cost = Cost { wall, cpu: cpu.read(), bytes: self.read };
        rig.observer.run_ended(&cost);
        Ok(Trained { timings, cost })
    }

    async fn epoch(&mut self, epoch: u32) -> Result<EpochTimings, Error> {
        let at = pass_at(Phase::Train, epoch);
        let mut timings = EpochTimings { epoch, start: self.now(), ..EpochTimings::default() };
        self.rig.observer.epoch_started(epoch);
        self.blocks(at, &mut timings).await?;
        self.barrier(at).await?;
        self.after_epoch(&mut timings).await?;
        timings.train_end = self.now();
        self.rig.observer.training_ended(&timings);
        if self.plan.evaluates(epoch) {
            timings.eval = Some(self.eval(epoch).await?);
        }
        self.prewarm(epoch + 1).await?;
        timings.end = self.now();
        self.span(OpKind::Epoch, Position { block: 0, ..at }, timings.start, timings.end);
        self.rig.observer.epoch_ended(&timings);
        Ok(timings)
    }

    /// Reads what the plan reads before an epoch, in no step's times.
    async fn prewarm(&mut self, epoch: u32) -> Result<(), Error> {
        if self.plan.prewarms() {
            self.batches.begin_prewarm(epoch);
            self.read += self.batches.fetch(&mut self.watch, Position::default(), 1).await?;
        }
        Ok(())
    }

    /// The training steps of an epoch, in blocks that checkpoints end. A checkpoint after the last step leaves an empty
    /// block behind it (quirk 21).
    async fn blocks(&mut self, at: Position, timings: &mut EpochTimings) -> Result<(), Error> {
        let mut pace = self.pace(Split::Train, at.epoch);
        self.batches.begin(&mut self.watch, Split::Train, Position { block: 1, ..at }).await?;
        for block in 1.. {
            let at = Position { block, ..at };
            let start = self.now();
            self.rig.observer.block_started(at.epoch, block);
            let mut measured = self.steps(&mut pace, at).await?;
            (measured.block, measured.start, measured.end) = (block, start, self.now());
            self.span(OpKind::Block, at, measured.start, measured.end);
            self.rig.observer.block_ended(at.epoch, &measured);
            timings.blocks.push(measured);
            let done = pace.next - 1;
            if !self.is_due(&pace) {
                return Ok(());
            }
            // The step is the first of the next block in name only: it must not end that one as well.
            pace.saved = done;
            let saved = self.save(Moment { epoch: at.epoch, number: block, steps: done, step: done }).await?;
            timings.checkpoints.extend(saved);
        }
        Ok(())
    }

    /// Steps until the block ends.
    fn steps_ahead(&self, pace: &Pace) -> u64 {
        let left = (self.plan.steps(pace.split) + 1).saturating_sub(pace.next);
        match self.keeper.as_ref().and_then(|keeper| keeper.plan().during_training()) {
            Some(DuringTraining::Steps { between }) if pace.split == Split::Train => left.min(between),
            _ => left,
        }
    }

    /// Whether the steps so far end with a checkpoint that was not taken yet.
    fn is_due(&self, pace: &Pace) -> bool {
        let done = pace.next - 1;
        let schedule = self.keeper.as_ref().and_then(|keeper| keeper.plan().during_training());
        pace.split == Split::Train && done > pace.saved && schedule.is_some_and(|schedule| schedule.after_step(done))
    }

    /// The checkpoint that follows an epoch, outside of its blocks.
    async fn after_epoch(&mut self, timings: &mut EpochTimings) -> Result<(), Error> {
        let schedule = self.keeper.as_ref().and_then(|keeper| keeper.plan().during_training());
        if schedule.is_some_and(|schedule| schedule.after_epoch(timings.epoch)) {
            let steps = self.plan.steps(Split::Train);
            let number = timings.blocks.last().map_or(1, |block| block.block);
            let step = DuringTraining::epoch_step(steps);
            timings.checkpoints.extend(self.save(Moment { epoch: timings.epoch, number, steps, step }).await?);
        }
        Ok(())
    }

    /// Saves a checkpoint; it appears after the next barrier.
    async fn save(&mut self, moment: Moment) -> Result<Option<CheckpointTimings>, Error> {
        let Some(keeper) = &mut self.keeper else { return Ok(None) };
        let timings = keeper.save(&mut self.watch, moment).await?;
        keeper.finish(moment, &timings, keeper.rank_bytes());
        Ok(Some(timings))
    }

    fn pace(&self, split: Split, epoch: u32) -> Pace {
        let compute_times = Box::new(self.plan.compute_times(self.rank(), split, epoch));
        Pace { split, next: 1, saved: 0, compute_times }
    }

    async fn eval(&mut self, epoch: u32) -> Result<BlockTimings, Error> {
        let at = pass_at(Phase::Eval, epoch);
        let start = self.now();
        self.rig.observer.eval_started(epoch);
        let mut pace = self.pace(Split::Eval, epoch);
        self.batches.begin(&mut self.watch, Split::Eval, at).await?;
        let mut timings = self.steps(&mut pace, at).await?;
        (timings.start, timings.end) = (start, self.now());
        self.span(OpKind::Eval, at, timings.start, timings.end);
        self.rig.observer.eval_ended(epoch, &timings);
        Ok(timings)
    }

    /// Fetch, compute, meet: the steps of one evaluation, or of one block of training.
    async fn steps(&mut self, pace: &mut Pace, at: Position) -> Result<BlockTimings, Error> {
        let split = pace.split;
        let steps = self.plan.steps(split);
        let mut timings = BlockTimings::default();
        let reserve = usize::try_from(self.steps_ahead(pace)).unwrap_or(0).min(1 << 20);
        timings.load.reserve(reserve);
        timings.compute.reserve(reserve);
        timings.proc.reserve(reserve);

        let mut loading = self.now();
        while pace.next <= steps {
            let step = pace.next;
            let here = Position { step: u32::try_from(step).unwrap_or(u32::MAX), ..at };
            self.watch.check_cancelled(here)?;
            let bytes = self.batches.fetch(&mut self.watch, here, step).await?;
            let loaded = self.now();
            let compute = pace.compute_times.next().unwrap_or_default();
            if !compute.is_zero() {
                self.watch.sleep_until(here, loaded.saturating_add(nanos(compute))).await?;
            }
            let computed = self.now();
            let fetch = Event::span(OpKind::Fetch, Lane::MAIN, here, loading, loaded);
            self.rig.events.record(Event { bytes, ..fetch });
            self.span(OpKind::Compute, here, loaded, computed);
            self.read += bytes;
            timings.load.push(loaded - loading);
            timings.compute.push(computed - loaded);
            timings.proc.push(computed - loading);
            let (load, compute) = (loaded - loading, computed - loaded);
            loading = if split == Split::Train { self.barrier(here).await? } else { computed };
            let eval = split == Split::Eval;
            self.rig.observer.step_ended(&StepDone { epoch: at.epoch, step, eval, load, compute, bytes });
            pace.next += 1;
            if self.is_due(pace) {
                return Ok(timings);
            }
        }
        // The reference notices its limit with one batch too many in its hands: read and waited for, in no step's times.
        self.read += self.batches.surplus(&mut self.watch, at, steps + 1).await?;
        Ok(timings)
    }

    /// Waits for all ranks; returns when that was over.
    async fn barrier(&mut self, at: Position) -> Result<Nanos, Error> {
        let start = self.now();
        self.watch.meet(at, self.rig.comm.barrier()).await?;
        let end = self.now();
        self.span(OpKind::Barrier, at, start, end);
        match &mut self.keeper {
            // All ranks have met since the save, so all of the checkpoint is stored.
            Some(keeper) if keeper.is_pending() => {
                keeper.publish(&mut self.watch).await?;
                Ok(self.now())
            }
            _ => Ok(end),
        }
    }

    fn span(&self, kind: OpKind, at: Position, start: Nanos, end: Nanos) {
        self.rig.events.record(Event::span(kind, Lane::MAIN, at, start, end));
    }

    fn now(&self) -> Nanos {
        self.rig.clock.now()
    }

    fn rank(&self) -> u32 {
        self.rig.comm.place().rank
    }
}
