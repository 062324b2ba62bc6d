//! A run that only saves and loads checkpoints.

use std::time::Duration;

use dlio_event::{CheckpointTimings, EpochTimings, Event, Lane, Nanos, OpKind, Phase, Position, RankTimings};
use dlio_plan::World;

use super::{Checkpoints, Keeper, Moment};
use crate::clock::nanos;
use crate::cost::CpuMeter;
use crate::watch::Watch;
use crate::{Cost, Error, Rig, TrainOptions, Trained, agree};

/// The reference counts everything to its first epoch.
const EPOCH: Position = Position { phase: Phase::Checkpoint, epoch: 1, block: 0, step: 0, sample: None };

/// Saves and loads checkpoints as the plan says, in step with all other ranks; nothing is trained.
///
/// Call it inside a `LocalSet` of a current-thread runtime with time enabled.
///
/// # Errors
/// The first error of this rank; the caller then aborts the communicator, so that no rank waits for this one.
pub async fn checkpoint(checkpoints: &Checkpoints, rig: &Rig, options: TrainOptions) -> Result<Trained, Error> {
    let mut watch = Watch::new(rig, options.cancel.clone(), options.stall_after);
    let World { size: planned } = checkpoints.plan.world();
    let started = rig.comm.place().size;
    if planned != started {
        return Err(Error::World { planned, started });
    }
    agree::plans_agree(&*rig.comm, &mut watch, &checkpoints.plan.fingerprint().to_string()).await?;
    let mut keeper = Keeper::start(checkpoints, rig, &mut watch, &options.cancel).await?;
    let outcome = Run { rig, watch: &mut watch, keeper: &mut keeper }.all().await;
    keeper.end().await;
    outcome
}

/// The state of the run.
struct Run<'a, 'r> {
    rig: &'r Rig,
    watch: &'a mut Watch<'r>,
    keeper: &'a mut Keeper<'r>,
}

impl Run<'_, '_> {
    async fn all(&mut self) -> Result<Trained, Error> {
        let rank = self.rig.comm.place().rank;
        let (cpu, start) = (CpuMeter::start(), self.now());
        let mut epoch = EpochTimings { epoch: 1, start, ..EpochTimings::default() };
        let Some(alone) = self.keeper.plan().alone() else {
            let what = "the plan is one for checkpoints during training".to_owned();
            return Err(Error::Defect { place: self.watch.place(EPOCH), what });
        };
        let mut pauses = alone.pauses(rank);
        if alone.writes > 0 {
            self.rig.observer.checkpointing(false, true);
            for number in 1..=alone.writes {
                let pause = pauses.next().unwrap_or_default();
                epoch.checkpoints.push(self.save(moment(number), pause, alone.rank_sync).await?);
            }
            self.rig.observer.checkpointing(false, false);
        }
        let mut bytes = 0;
        if alone.reads > 0 {
            self.enough(alone.reads).await?;
            self.rig.observer.checkpointing(true, true);
            for number in 1..=alone.reads {
                let pause = pauses.next().unwrap_or_default();
                let (timings, read) = self.load(moment(number), pause, alone.rank_sync).await?;
                epoch.checkpoints.push(timings);
                bytes += read;
            }
            self.rig.observer.checkpointing(true, false);
        }
        self.barrier().await?;
        (epoch.train_end, epoch.end) = (self.now(), self.now());
        self.rig.events.record(Event::span(OpKind::Epoch, Lane::MAIN, EPOCH, epoch.start, epoch.end));
        let wall = Duration::from_nanos(self.now().saturating_sub(start));
        let cost = Cost { wall, cpu: cpu.read(), bytes };
        self.rig.observer.run_ended(&cost);
        Ok(Trained { timings: RankTimings { rank, epochs: vec![epoch] }, cost })
    }

    async fn save(&mut self, moment: Moment, pause: Duration, sync: bool) -> Result<CheckpointTimings, Error> {
        self.pause(pause).await?;
        let mut timings = self.keeper.save(self.watch, moment).await?;
        // Nothing may appear before every rank has stored its part; the wait counts only where it is asked for.
        let met = self.barrier().await?;
        if sync {
            timings.end = met;
        }
        timings.end += self.keeper.publish(self.watch).await?;
        self.keeper.finish(moment, &timings, self.keeper.rank_bytes());
        Ok(timings)
    }

    async fn load(&mut self, moment: Moment, pause: Duration, sync: bool) -> Result<(CheckpointTimings, u64), Error> {
        self.pause(pause).await?;
        let (mut timings, bytes) = self.keeper.load(self.watch, moment).await?;
        if sync {
            timings.end = self.barrier().await?;
        }
        self.keeper.finish(moment, &timings, bytes);
        Ok((timings, bytes))
    }

    /// Waits as long as the workload says, and for all ranks.
    async fn pause(&mut self, pause: Duration) -> Result<(), Error> {
        self.watch.check_cancelled(EPOCH)?;
        if !pause.is_zero() {
            let until = self.now().saturating_add(nanos(pause));
            self.watch.sleep_until(EPOCH, until).await?;
        }
        self.barrier().await.map(drop)
    }

    /// An error when the folder holds fewer checkpoints than are to be read.
    async fn enough(&mut self, wanted: u64) -> Result<(), Error> {
        // Those of the last save appear before rank 0 counts.
        self.barrier().await?;
        let found = self.keeper.count(self.watch).await?;
        if found < wanted && self.rig.comm.place().rank > 0 {
            // All ranks know it; rank 0 says it and ends the run for those that wait here.
            self.barrier().await?;
        }
        if found < wanted {
            return Err(Error::TooFewCheckpoints { wanted, found, folder: self.keeper.folder_uri() });
        }
        Ok(())
    }

    async fn barrier(&mut self) -> Result<Nanos, Error> {
        let start = self.now();
        self.watch.meet(EPOCH, self.rig.comm.barrier()).await?;
        let end = self.now();
        self.rig.events.record(Event::span(OpKind::Barrier, Lane::MAIN, EPOCH, start, end));
        Ok(end)
    }

    fn now(&self) -> Nanos {
        self.rig.clock.now()
    }
}

/// Checkpoints of a run that does nothing else are numbered from 1, in their keys and in their folders.
fn moment(number: u64) -> Moment {
    Moment { epoch: 1, number: u32::try_from(number).unwrap_or(u32::MAX), steps: number, step: number }
}
