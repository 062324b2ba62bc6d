//! Saves of checkpoints of one rank, whose files stay staged until all ranks are done.

use std::time::Duration;

use dlio_event::{CheckpointTimings, Event, Lane, Nanos, OpKind, Phase, Position};
use dlio_plan::checkpoint::DuringTraining;
use dlio_plan::{CheckpointPart, CheckpointPlan};
use dlio_storage::Staged;

use super::job::{Job, JobDone};
use super::lanes::CheckpointLanes;
use super::options::Checkpoints;
use crate::watchdog::Watchdog;
use crate::{CancelFlag, CheckpointStarted, Error, PartDone, Rig};

/// Position of a checkpoint in the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckpointAt {
    /// Epoch, from 1.
    pub(crate) epoch: u32,
    /// Number in the keys of the statistics, which is the number of the block that the checkpoint ends.
    pub(crate) number: u32,
    /// Number of completed steps, as DLIO's messages report it.
    pub(crate) steps: u64,
    /// Number in the name of the checkpoint's folder.
    pub(crate) step: u64,
}

impl CheckpointAt {
    pub(super) fn position(self) -> Position {
        let step = u32::try_from(self.step).unwrap_or(u32::MAX);
        Position { phase: Phase::Checkpoint, epoch: self.epoch, block: self.number, step, sample: None }
    }
}

/// Saves and loads the checkpoints of this rank.
pub(crate) struct CheckpointSaver<'r> {
    pub(super) checkpoints: &'r Checkpoints,
    pub(super) rig: &'r Rig,
    pub(super) lanes: CheckpointLanes<'r>,
    /// Folders that existed before the run, and folders that the run has written.
    present: Vec<String>,
    /// Staged files, which are published when all ranks are done.
    pending: Vec<Staged>,
    pending_at: Position,
}

impl<'r> CheckpointSaver<'r> {
    /// Starts the lanes and lists the existing checkpoints; every rank calls it.
    pub(crate) async fn start(
        checkpoints: &'r Checkpoints,
        rig: &'r Rig,
        watchdog: &mut Watchdog<'_>,
        cancel: &CancelFlag,
    ) -> Result<Self, Error> {
        let lanes = CheckpointLanes::start(checkpoints, rig, cancel)?;
        let mut saver =
            Self { checkpoints, rig, lanes, present: Vec::new(), pending: Vec::new(), pending_at: Position::default() };
        if saver.writes() && rig.comm.place().rank == 0 {
            saver.lanes.request(watchdog, Position::default(), Job::Create).await?;
        }
        saver.list_existing(watchdog).await?;
        Ok(saver)
    }

    pub(crate) fn plan(&self) -> &'r CheckpointPlan {
        &self.checkpoints.plan
    }

    /// Returns whether the run saves any checkpoint.
    fn writes(&self) -> bool {
        let plan = self.plan();
        let during = plan.during_training().is_some_and(|schedule| schedule != DuringTraining::Never);
        during || plan.alone().is_some_and(|alone| alone.writes > 0)
    }

    /// Lists the existing checkpoints on rank 0 and broadcasts their names.
    async fn list_existing(&mut self, watchdog: &mut Watchdog<'_>) -> Result<(), Error> {
        let at = Position::default();
        let mut names = Vec::new();
        if self.rig.comm.place().rank == 0 {
            let done = self.lanes.request(watchdog, at, Job::List).await?;
            if let JobDone::Listed(found) = done {
                names = found.join("\n").into_bytes();
            }
        }
        let names = watchdog.collective(at, self.rig.comm.broadcast(&names)).await?;
        self.present = String::from_utf8_lossy(&names).lines().map(str::to_owned).collect();
        Ok(())
    }

    /// Returns the number of existing checkpoints.
    pub(crate) async fn count(&mut self, watchdog: &mut Watchdog<'_>) -> Result<u64, Error> {
        self.list_existing(watchdog).await?;
        Ok(self.present.len() as u64)
    }

    /// Saves a checkpoint, which becomes visible with [`CheckpointSaver::publish`] after a barrier of all ranks.
    pub(crate) async fn save(
        &mut self,
        watchdog: &mut Watchdog<'_>,
        moment: CheckpointAt,
    ) -> Result<CheckpointTimings, Error> {
        let at = moment.position();
        let plan = self.plan();
        let folder = plan.folder(moment.epoch, moment.step);
        let files = plan.files(self.rig.comm.place().rank);
        if self.present.contains(&folder) {
            let job = Job::Clear { at, folder: folder.clone(), files: files.clone() };
            self.lanes.request(watchdog, at, job).await?;
        } else {
            self.present.push(folder.clone());
        }
        self.report_start(moment, false);
        let start = self.rig.clock.now();
        let mut parts = Parts::new(false);
        self.pending_at = at;
        if !files.is_empty() {
            self.lanes.send(0, Job::Save { at, folder, files });
            loop {
                match self.lanes.next(watchdog, at).await? {
                    JobDone::Stored { part, span, staged } => {
                        self.pending.push(*staged);
                        parts.add(part, span, self.rig);
                    }
                    JobDone::Finished => break,
                    other => return Err(self.lanes.defect(at, &other)),
                }
            }
        }
        parts.report(self.rig);
        let end = self.rig.clock.now();
        Ok(CheckpointTimings { number: moment.number, load: false, start, end })
    }

    /// Returns whether staged files wait for all ranks.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Publishes the staged files, after a barrier of all ranks; returns the time that this took, in nanoseconds.
    pub(crate) async fn publish(&mut self, watchdog: &mut Watchdog<'_>) -> Result<Nanos, Error> {
        if self.pending.is_empty() {
            return Ok(0);
        }
        let start = self.rig.clock.now();
        let staged = std::mem::take(&mut self.pending);
        let at = self.pending_at;
        // The list is kept until all files are published, because files that remain after a failure must be discarded.
        self.pending.clone_from(&staged);
        self.lanes.request(watchdog, at, Job::Publish { at, staged }).await?;
        self.pending.clear();
        Ok(self.rig.clock.now().saturating_sub(start))
    }

    /// Records a completed checkpoint and reports it to the observer.
    pub(crate) fn finish(&self, moment: CheckpointAt, timings: &CheckpointTimings, bytes: u64) {
        let kind = if timings.load { OpKind::CheckpointLoad } else { OpKind::CheckpointSave };
        let span = Event::span(kind, Lane::MAIN, moment.position(), timings.start, timings.end);
        self.rig.events.record(Event { bytes, ..span });
        self.rig.observer.checkpoint_ended(moment.epoch, timings);
    }

    /// Returns the number of bytes of tensors that this rank saves or loads with one checkpoint.
    pub(crate) fn rank_bytes(&self) -> u64 {
        self.plan().rank_bytes(self.rig.comm.place().rank)
    }

    /// Returns the full name of the folder of all checkpoints.
    pub(crate) fn folder_uri(&self) -> String {
        self.checkpoints.storage.uri("").trim_end_matches('/').to_owned()
    }

    pub(super) fn report_start(&self, moment: CheckpointAt, load: bool) {
        let CheckpointAt { epoch, number, steps, .. } = moment;
        self.rig.observer.checkpoint_started(&CheckpointStarted { epoch, number, steps, load });
    }

    /// Ends the lanes. After a failure, this discards staged files that will not be published.
    pub(crate) async fn end(mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let mut staged = std::mem::take(&mut self.pending);
        staged.extend(self.lanes.end().await);
        let discard = async {
            for staged in &staged {
                // A file that cannot be removed is invisible, so the error is ignored.
                let _ = self.checkpoints.storage.discard(staged).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, discard).await;
    }
}

/// Times of the parts of a checkpoint, as DLIO's messages report them.
pub(super) struct Parts {
    load: bool,
    /// Current part with its start and end; the files of a part are consecutive.
    current: Option<(CheckpointPart, Nanos, Nanos)>,
}

impl Parts {
    pub(super) fn new(load: bool) -> Self {
        Self { load, current: None }
    }

    pub(super) fn add(&mut self, part: CheckpointPart, (start, end): (Nanos, Nanos), rig: &Rig) {
        match &mut self.current {
            Some((known, _, last)) if *known == part => *last = end,
            _ => {
                self.report(rig);
                self.current = Some((part, start, end));
            }
        }
    }

    pub(super) fn report(&mut self, rig: &Rig) {
        if let Some((part, start, end)) = self.current.take() {
            let took = Duration::from_nanos(end.saturating_sub(start));
            rig.observer.checkpoint_part(&PartDone { part, load: self.load, took });
        }
    }
}
