//! The lanes that save and load, as the main task sees them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dlio_comm::Activity;
use dlio_event::{Lane, Position};
use dlio_storage::Staged;
use tokio::sync::{mpsc, watch};

use super::Checkpoints;
use super::lane::{Done, Job, Worker};
use crate::reader::Halt;
use crate::watch::Watch;
use crate::{CancelFlag, Error, Place, Rig, Waiting};

/// What a lane works on, for whoever waits for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Status(Arc<Mutex<Option<String>>>);

impl Status {
    pub(super) fn set(&self, object: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = object;
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The lanes; dropping it stops them.
pub(super) struct Team<'r> {
    rig: &'r Rig,
    lanes: Vec<mpsc::UnboundedSender<Job>>,
    reports: mpsc::UnboundedReceiver<Result<Done, Error>>,
    statuses: Vec<Status>,
    alive: watch::Sender<()>,
}

impl<'r> Team<'r> {
    pub(super) fn start(checkpoints: &Checkpoints, rig: &'r Rig, cancel: &CancelFlag) -> Result<Self, Error> {
        let (alive, released) = watch::channel(());
        let (report, reports) = mpsc::unbounded_channel();
        let mut team = Self { rig, lanes: Vec::new(), reports, statuses: Vec::new(), alive };
        let rank = rig.comm.place().rank;
        for number in 0..checkpoints.loading.blocks.max(1) {
            let (jobs, inbox) = mpsc::unbounded_channel();
            let status = Status::default();
            let worker = Worker {
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
            let started = rig.lanes.start(format!("checkpoint-{number}"), move || worker.live(inbox, report));
            started.map_err(|source| Error::LaneStart { place, lane: number, source })?;
            team.lanes.push(jobs);
            team.statuses.push(status);
        }
        Ok(team)
    }

    /// Number of lanes.
    pub(super) fn size(&self) -> usize {
        self.lanes.len()
    }

    /// Gives a lane something to do.
    pub(super) fn give(&self, lane: usize, job: Job) {
        if let Some(jobs) = self.lanes.get(lane) {
            // A lane that is gone has reported its error, which the next wait returns.
            drop(jobs.send(job));
        }
    }

    /// The next report of any lane.
    pub(super) async fn next(&mut self, watch: &mut Watch<'_>, at: Position) -> Result<Done, Error> {
        let statuses = &self.statuses;
        let waiting = || Waiting::Checkpoint { objects: statuses.iter().filter_map(Status::get).collect() };
        watch.begin(at, Activity::Checkpointing);
        match watch.attend(at, waiting, self.reports.recv()).await? {
            Some(report) => report,
            None => Err(Error::Defect { place: watch.place(at), what: "the checkpoint lanes are gone".to_owned() }),
        }
    }

    /// Gives the first lane something to do and waits until it is done.
    pub(super) async fn ask(&mut self, watch: &mut Watch<'_>, at: Position, job: Job) -> Result<Done, Error> {
        self.give(0, job);
        self.next(watch, at).await
    }

    /// A report that nobody asked for.
    pub(super) fn defect(&self, at: Position, done: &Done) -> Error {
        let place = Place { rank: self.rig.comm.place().rank, at };
        Error::Defect { place, what: format!("a checkpoint lane reported {done:?} out of turn") }
    }

    /// Stops the lanes and waits for them, but not for ever: an operation may hang in the kernel. Returns what they had
    /// stored and nobody had heard of.
    pub(super) async fn end(self) -> Vec<Staged> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let Self { lanes, mut reports, alive, .. } = self;
        drop((lanes, alive));
        let mut staged = Vec::new();
        let ended = async {
            while let Some(report) = reports.recv().await {
                if let Ok(Done::Stored { staged: unheard, .. }) = report {
                    staged.push(*unheard);
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, ended).await;
        staged
    }
}
