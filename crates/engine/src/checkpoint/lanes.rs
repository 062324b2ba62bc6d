//! The main task's end of the checkpoint lanes.

use std::time::Duration;

use dlio_comm::Activity;
use dlio_event::{Lane, Position};
use dlio_storage::Staged;
use tokio::sync::{mpsc, watch};

use super::job::{Job, JobDone, Status};
use super::lane::CheckpointLane;
use super::options::Checkpoints;
use crate::lane_status::Halt;
use crate::watchdog::Watchdog;
use crate::{CancelFlag, Error, Place, Rig, Waiting};

/// The checkpoint lanes; dropping this value stops them.
pub(super) struct CheckpointLanes<'r> {
    rig: &'r Rig,
    lanes: Vec<mpsc::UnboundedSender<Job>>,
    reports: mpsc::UnboundedReceiver<Result<JobDone, Error>>,
    statuses: Vec<Status>,
    alive: watch::Sender<()>,
}

impl<'r> CheckpointLanes<'r> {
    pub(super) fn start(checkpoints: &Checkpoints, rig: &'r Rig, cancel: &CancelFlag) -> Result<Self, Error> {
        let (alive, released) = watch::channel(());
        let (report, reports) = mpsc::unbounded_channel();
        let mut all = Self { rig, lanes: Vec::new(), reports, statuses: Vec::new(), alive };
        let rank = rig.comm.place().rank;
        for number in 0..checkpoints.loading.blocks.max(1) {
            let (jobs, inbox) = mpsc::unbounded_channel();
            let status = Status::default();
            let worker = CheckpointLane {
                checkpoints: checkpoints.clone(),
                clock: rig.clock.clone(),
                events: rig.events.clone(),
                rank,
                lane: Lane(u16::try_from(number).unwrap_or(u16::MAX - 1)),
                halt: Halt { cancel: cancel.clone(), released: Some(released.clone()) },
                status: status.clone(),
            };
            let report = report.clone();
            let place = Place { rank, at: Position::default() };
            let started = rig.lanes.start(format!("checkpoint-{number}"), move || worker.run(inbox, report));
            started.map_err(|source| Error::LaneStart { place, lane: number, source })?;
            all.lanes.push(jobs);
            all.statuses.push(status);
        }
        Ok(all)
    }

    /// Returns the number of lanes.
    pub(super) fn size(&self) -> usize {
        self.lanes.len()
    }

    /// Sends a job to a lane.
    pub(super) fn send(&self, lane: usize, job: Job) {
        if let Some(jobs) = self.lanes.get(lane) {
            // A lane that has ended has reported its error, which the next wait returns.
            drop(jobs.send(job));
        }
    }

    /// Waits for the next result of any lane.
    pub(super) async fn next(&mut self, watchdog: &mut Watchdog<'_>, at: Position) -> Result<JobDone, Error> {
        let statuses = &self.statuses;
        let waiting = || Waiting::Checkpoint { objects: statuses.iter().filter_map(Status::get).collect() };
        watchdog.announce(at, Activity::Checkpointing);
        match watchdog.wait_for(at, waiting, self.reports.recv()).await? {
            Some(report) => report,
            None => Err(Error::Defect { place: watchdog.place(at), what: "the checkpoint lanes are gone".to_owned() }),
        }
    }

    /// Sends a job to the first lane and waits for its result.
    pub(super) async fn request(
        &mut self,
        watchdog: &mut Watchdog<'_>,
        at: Position,
        job: Job,
    ) -> Result<JobDone, Error> {
        self.send(0, job);
        self.next(watchdog, at).await
    }

    /// Returns the error for an unexpected result.
    pub(super) fn defect(&self, at: Position, done: &JobDone) -> Error {
        let place = Place { rank: self.rig.comm.place().rank, at };
        Error::Defect { place, what: format!("a checkpoint lane reported an unexpected {done:?}") }
    }

    /// Stops the lanes and waits for them for a limited time, because an operation may hang in the kernel. Returns stored files whose results
    /// were not received.
    pub(super) async fn end(self) -> Vec<Staged> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let Self { lanes, mut reports, alive, .. } = self;
        drop((lanes, alive));
        let mut staged = Vec::new();
        let ended = async {
            while let Some(report) = reports.recv().await {
                if let Ok(JobDone::Stored { staged: unreported, .. }) = report {
                    staged.push(*unreported);
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, ended).await;
        staged
    }
}
