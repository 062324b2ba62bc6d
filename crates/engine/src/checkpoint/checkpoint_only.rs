//! Runs that only save and load checkpoints.

use std::time::Duration;

use dlio_event::{CheckpointTimings, EpochTimings, Event, Lane, Nanos, OpKind, Phase, Position, RankTimings};
use dlio_plan::World;

use super::options::Checkpoints;
use super::saver::{CheckpointAt, CheckpointSaver};
use crate::clock::nanos;
use crate::cost::CpuMeter;
use crate::train_options::TrainOptions;
use crate::trained::Trained;
use crate::watchdog::Watchdog;
use crate::{Cost, Error, Rig, plan_agreement};

/// DLIO attributes everything to its first epoch.
const EPOCH: Position = Position { phase: Phase::Checkpoint, epoch: 1, block: 0, step: 0, sample: None };

/// Saves and loads checkpoints as planned, without training, in step with all other ranks.
///
/// Call it inside a `LocalSet` of a current-thread runtime with time enabled.
///
/// # Errors
/// The first error of this rank; the caller then aborts the communicator, so that no rank waits for this one.
pub async fn checkpoint(checkpoints: &Checkpoints, rig: &Rig, options: TrainOptions) -> Result<Trained, Error> {
    let mut watchdog = Watchdog::new(rig, options.cancel.clone(), options.stall_after);
    let World { size: planned } = checkpoints.plan.world();
    let started = rig.comm.place().size;
    if planned != started {
        return Err(Error::World { planned, started });
    }
    plan_agreement::plans_agree(&*rig.comm, &mut watchdog, &checkpoints.plan.fingerprint().to_string()).await?;
    let mut saver = CheckpointSaver::start(checkpoints, rig, &mut watchdog, &options.cancel).await?;
    let outcome = Run { rig, watchdog: &mut watchdog, saver: &mut saver }.all().await;
    saver.end().await;
    outcome
}

/// State of the run.
struct Run<'a, 'r> {
    rig: &'r Rig,
    watchdog: &'a mut Watchdog<'r>,
    saver: &'a mut CheckpointSaver<'r>,
}

impl Run<'_, '_> {
    async fn all(&mut self) -> Result<Trained, Error> {
        let rank = self.rig.comm.place().rank;
        let (cpu, start) = (CpuMeter::start(), self.now());
        let mut epoch = EpochTimings { epoch: 1, start, ..EpochTimings::default() };
        let Some(alone) = self.saver.plan().alone() else {
            let what = "the plan is one for checkpoints during training".to_owned();
            return Err(Error::Defect { place: self.watchdog.place(EPOCH), what });
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

    async fn save(&mut self, moment: CheckpointAt, pause: Duration, sync: bool) -> Result<CheckpointTimings, Error> {
        self.pause(pause).await?;
        let mut timings = self.saver.save(self.watchdog, moment).await?;
        // Files may become visible only after every rank has stored its part; the wait counts only if the workload requests it.
        let met = self.barrier().await?;
        if sync {
            timings.end = met;
        }
        timings.end += self.saver.publish(self.watchdog).await?;
        self.saver.finish(moment, &timings, self.saver.rank_bytes());
        Ok(timings)
    }

    async fn load(
        &mut self,
        moment: CheckpointAt,
        pause: Duration,
        sync: bool,
    ) -> Result<(CheckpointTimings, u64), Error> {
        self.pause(pause).await?;
        let (mut timings, bytes) = self.saver.load(self.watchdog, moment).await?;
        if sync {
            timings.end = self.barrier().await?;
        }
        self.saver.finish(moment, &timings, bytes);
        Ok((timings, bytes))
    }

    /// Waits for the configured pause, and then for all ranks.
    async fn pause(&mut self, pause: Duration) -> Result<(), Error> {
        self.watchdog.check_cancelled(EPOCH)?;
        if !pause.is_zero() {
            let until = self.now().saturating_add(nanos(pause));
            self.watchdog.sleep_until(EPOCH, until).await?;
        }
        self.barrier().await.map(drop)
    }

    /// Returns an error if the folder holds fewer checkpoints than the run reads.
    async fn enough(&mut self, wanted: u64) -> Result<(), Error> {
        // The files of the last save become visible before rank 0 counts.
        self.barrier().await?;
        let found = self.saver.count(self.watchdog).await?;
        if found < wanted && self.rig.comm.place().rank > 0 {
            // All ranks detect it; rank 0 reports it and ends the run while the others wait here.
            self.barrier().await?;
        }
        if found < wanted {
            return Err(Error::TooFewCheckpoints { wanted, found, folder: self.saver.folder_uri() });
        }
        Ok(())
    }

    async fn barrier(&mut self) -> Result<Nanos, Error> {
        let start = self.now();
        self.watchdog.collective(EPOCH, self.rig.comm.barrier()).await?;
        let end = self.now();
        self.rig.events.record(Event::span(OpKind::Barrier, Lane::MAIN, EPOCH, start, end));
        Ok(end)
    }

    fn now(&self) -> Nanos {
        self.rig.clock.now()
    }
}

/// Returns the position of a checkpoint in a run without training, where keys and folders are numbered from 1.
fn moment(number: u64) -> CheckpointAt {
    CheckpointAt { epoch: 1, number: u32::try_from(number).unwrap_or(u32::MAX), steps: number, step: number }
}
