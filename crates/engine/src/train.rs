//! The training loop of one rank, which follows DLIO's loop and timers step by step.
//!
//! Invariant: the load time of a step is the time that the loop waits for its batch, from the end of the previous step's barrier.
//! Computation follows without a gap, and neither time includes the barrier. The recorded spans have exactly the times of the timings,
//! so metrics computed from a trace equal the live ones.

use std::time::Duration;

use dlio_event::{
    BlockTimings, CheckpointTimings, EpochTimings, Event, Lane, Nanos, OpKind, Phase, Position, RankTimings,
};
use dlio_format::Layout;
use dlio_plan::checkpoint::DuringTraining;
use dlio_plan::{Split, TrainingPlan};

use crate::batches::{self, Batches};
use crate::checkpoint::{CheckpointAt, CheckpointSaver};
use crate::clock::nanos;
use crate::cost::CpuMeter;
use crate::orders::pass_at;
use crate::train_options::{BeforeEpoch, TrainOptions};
use crate::trained::Trained;
use crate::watchdog::Watchdog;
use crate::{Cost, Error, Rig, RunStarted, StepDone, Waiting, plan_agreement};

/// Runs all epochs of this rank, in step with all other ranks.
///
/// Call it inside a `LocalSet` of a current-thread runtime with time enabled.
///
/// # Errors
/// The first error of this rank. Its lanes have then stopped or hang in the kernel, and the caller must abort the communicator, so
/// that no rank waits for this one.
pub async fn train(plan: &TrainingPlan, layout: &Layout, rig: &Rig, options: TrainOptions) -> Result<Trained, Error> {
    let mut watchdog = Watchdog::new(rig, options.cancel.clone(), options.stall_after);
    let (planned, started) = (plan.world().size, rig.comm.place().size);
    if planned != started {
        return Err(Error::World { planned, started });
    }
    let mut fingerprint = plan.fingerprint().to_string();
    if let Some(checkpoints) = &options.checkpoints {
        fingerprint = format!("{fingerprint}+{}", checkpoints.plan.fingerprint());
    }
    plan_agreement::plans_agree(&*rig.comm, &mut watchdog, &fingerprint).await?;

    let context = batches::context_maker(plan, layout, rig, &options);
    let inline = context(Lane::MAIN, None);
    let batches = Batches::start(plan, rig, &mut watchdog, &inline, context)?;
    let saver = match &options.checkpoints {
        Some(checkpoints) => Some(CheckpointSaver::start(checkpoints, rig, &mut watchdog, &options.cancel).await?),
        None => None,
    };
    let mut run = Run { plan, rig, watchdog, batches, saver, read: 0, before_epoch: options.before_epoch };
    let outcome = run.epochs().await;
    let Run { mut watchdog, batches, saver, .. } = run;
    drop(batches);
    watchdog.lanes_ended().await;
    if let Some(saver) = saver {
        saver.end().await;
    }
    outcome
}

/// State of the training loop.
struct Run<'r> {
    plan: &'r TrainingPlan,
    rig: &'r Rig,
    watchdog: Watchdog<'r>,
    batches: Batches<'r>,
    saver: Option<CheckpointSaver<'r>>,
    read: u64,
    before_epoch: Option<BeforeEpoch>,
}

/// Progress of an epoch or evaluation.
struct StepProgress {
    split: Split,
    /// Next step, from 1.
    next: u64,
    /// Last step that was followed by a checkpoint.
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
                let waiting = || Waiting::Work { what: "the work before the epoch" };
                self.watchdog.wait_for(pass_at(Phase::Train, epoch), waiting, work(epoch)).await?;
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

    /// Reads the warm-up batch before an epoch, which no step's times include.
    async fn prewarm(&mut self, epoch: u32) -> Result<(), Error> {
        if self.plan.prewarms() {
            self.batches.begin_prewarm(epoch);
            self.read += self.batches.fetch(&mut self.watchdog, Position::default(), 1).await?;
        }
        Ok(())
    }

    /// Runs the training steps of an epoch in blocks that end with checkpoints. A checkpoint after the last step is followed by an empty
    /// block (quirk 21).
    async fn blocks(&mut self, at: Position, timings: &mut EpochTimings) -> Result<(), Error> {
        let mut progress = self.progress(Split::Train, at.epoch);
        self.batches.begin(&mut self.watchdog, Split::Train, Position { block: 1, ..at }).await?;
        for block in 1.. {
            let at = Position { block, ..at };
            let start = self.now();
            self.rig.observer.block_started(at.epoch, block);
            let mut measured = self.steps(&mut progress, at).await?;
            (measured.block, measured.start, measured.end) = (block, start, self.now());
            self.span(OpKind::Block, at, measured.start, measured.end);
            self.rig.observer.block_ended(at.epoch, &measured);
            timings.blocks.push(measured);
            let done = progress.next - 1;
            if !self.is_due(&progress) {
                return Ok(());
            }
            // The checkpoint belongs to the block that has ended; the same step must not end the next block too.
            progress.saved = done;
            let saved = self.save(CheckpointAt { epoch: at.epoch, number: block, steps: done, step: done }).await?;
            timings.checkpoints.extend(saved);
        }
        Ok(())
    }

    /// Returns the number of steps until the block ends.
    fn steps_ahead(&self, progress: &StepProgress) -> u64 {
        let left = (self.plan.steps(progress.split) + 1).saturating_sub(progress.next);
        match self.saver.as_ref().and_then(|saver| saver.plan().during_training()) {
            Some(DuringTraining::Steps { between }) if progress.split == Split::Train => left.min(between),
            _ => left,
        }
    }

    /// Returns whether a checkpoint is due after the steps so far.
    fn is_due(&self, progress: &StepProgress) -> bool {
        let done = progress.next - 1;
        let schedule = self.saver.as_ref().and_then(|saver| saver.plan().during_training());
        progress.split == Split::Train
            && done > progress.saved
            && schedule.is_some_and(|schedule| schedule.after_step(done))
    }

    /// Saves the checkpoint that follows an epoch outside of its blocks, if the schedule has one.
    async fn after_epoch(&mut self, timings: &mut EpochTimings) -> Result<(), Error> {
        let schedule = self.saver.as_ref().and_then(|saver| saver.plan().during_training());
        if schedule.is_some_and(|schedule| schedule.after_epoch(timings.epoch)) {
            let steps = self.plan.steps(Split::Train);
            let number = timings.blocks.last().map_or(1, |block| block.block);
            let step = DuringTraining::epoch_step(steps);
            timings.checkpoints.extend(self.save(CheckpointAt { epoch: timings.epoch, number, steps, step }).await?);
        }
        Ok(())
    }

    /// Saves a checkpoint, which becomes visible after the next barrier.
    async fn save(&mut self, moment: CheckpointAt) -> Result<Option<CheckpointTimings>, Error> {
        let Some(saver) = &mut self.saver else { return Ok(None) };
        let timings = saver.save(&mut self.watchdog, moment).await?;
        saver.finish(moment, &timings, saver.rank_bytes());
        Ok(Some(timings))
    }

    fn progress(&self, split: Split, epoch: u32) -> StepProgress {
        let compute_times = Box::new(self.plan.compute_times(self.rank(), split, epoch));
        StepProgress { split, next: 1, saved: 0, compute_times }
    }

    async fn eval(&mut self, epoch: u32) -> Result<BlockTimings, Error> {
        let at = pass_at(Phase::Eval, epoch);
        let start = self.now();
        self.rig.observer.eval_started(epoch);
        let mut progress = self.progress(Split::Eval, epoch);
        self.batches.begin(&mut self.watchdog, Split::Eval, at).await?;
        let mut timings = self.steps(&mut progress, at).await?;
        (timings.start, timings.end) = (start, self.now());
        self.span(OpKind::Eval, at, timings.start, timings.end);
        self.rig.observer.eval_ended(epoch, &timings);
        Ok(timings)
    }

    /// Runs the steps of one evaluation or of one training block: fetch, compute, barrier.
    async fn steps(&mut self, progress: &mut StepProgress, at: Position) -> Result<BlockTimings, Error> {
        let split = progress.split;
        let steps = self.plan.steps(split);
        let mut timings = BlockTimings::default();
        let reserve = usize::try_from(self.steps_ahead(progress)).unwrap_or(0).min(1 << 20);
        timings.load.reserve(reserve);
        timings.compute.reserve(reserve);
        timings.proc.reserve(reserve);

        let mut loading = self.now();
        while progress.next <= steps {
            let step = progress.next;
            let here = Position { step: u32::try_from(step).unwrap_or(u32::MAX), ..at };
            self.watchdog.check_cancelled(here)?;
            let bytes = self.batches.fetch(&mut self.watchdog, here, step).await?;
            let loaded = self.now();
            let compute = progress.compute_times.next().unwrap_or_default();
            if !compute.is_zero() {
                self.watchdog.sleep_until(here, loaded.saturating_add(nanos(compute))).await?;
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
            progress.next += 1;
            if self.is_due(progress) {
                return Ok(timings);
            }
        }
        // DLIO checks its limit only after it has fetched one more batch: the loop waits for it, but no step's times include it.
        self.read += self.batches.surplus(&mut self.watchdog, at, steps + 1).await?;
        Ok(timings)
    }

    /// Enters a barrier; returns the time at which it ended.
    async fn barrier(&mut self, at: Position) -> Result<Nanos, Error> {
        let start = self.now();
        self.watchdog.collective(at, self.rig.comm.barrier()).await?;
        let end = self.now();
        self.span(OpKind::Barrier, at, start, end);
        match &mut self.saver {
            // All ranks have passed a barrier since the save, so the whole checkpoint is stored.
            Some(saver) if saver.is_pending() => {
                saver.publish(&mut self.watchdog).await?;
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
