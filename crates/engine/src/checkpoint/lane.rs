//! A checkpoint lane: it stores files, reads blocks of them, and publishes stored ones.

use std::sync::Arc;

use dlio_event::{EventSink, Lane, ObjectId, Position};
use dlio_format::Encoder;
use dlio_plan::CheckpointFile;
use dlio_storage::{Attempts, ErrorKind, Staged, record_attempts};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

use super::job::{Job, JobDone, Status};
use super::objects::{key, objects};
use super::options::Checkpoints;
use crate::lane_status::Halt;
use crate::writer::Source;
use crate::{Clock, Error, Place};

/// Number of staged files that are published at the same time.
const PUBLISHED_AT_ONCE: usize = 8;

/// A checkpoint lane.
pub(super) struct CheckpointLane {
    pub(super) checkpoints: Checkpoints,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn EventSink>,
    pub(super) rank: u32,
    pub(super) lane: Lane,
    pub(super) halt: Halt,
    pub(super) status: Status,
}

impl CheckpointLane {
    /// Executes jobs until the main task stops the lane.
    pub(super) async fn run(
        self,
        mut jobs: mpsc::UnboundedReceiver<Job>,
        report: mpsc::UnboundedSender<Result<JobDone, Error>>,
    ) {
        let work = async {
            while let Some(job) = jobs.recv().await {
                let done = self.work(job, &report).await;
                self.status.set(None);
                // Sending fails only when the run has ended for another reason.
                drop(report.send(done));
            }
        };
        tokio::select! {
            biased;
            () = self.halt.released() => {}
            () = work => {}
        }
    }

    async fn work(&self, job: Job, report: &mpsc::UnboundedSender<Result<JobDone, Error>>) -> Result<JobDone, Error> {
        match job {
            Job::Create => self.create().await,
            Job::List => self.list_names().await.map(JobDone::Listed),
            Job::Clear { at, folder, files } => self.clear(at, &folder, &files).await,
            Job::Save { at, folder, files } => {
                for file in &files {
                    self.store(at, &folder, file, report).await?;
                }
                Ok(JobDone::Finished)
            }
            Job::Publish { at, staged } => self.publish(at, &staged).await,
            Job::Size(block) => self.size(&block).await,
            Job::Read(block) => self.read(block).await,
        }
    }

    async fn create(&self) -> Result<JobDone, Error> {
        let at = Position::default();
        // The root may be a prefix in a bucket; the event names the bucket.
        let object = self.events.object(&self.checkpoints.storage.root_uri());
        match self.checkpoints.storage.create_root().await {
            Ok(receipt) => record_attempts(&*self.events, &receipt.attempts, object, self.lane, at),
            Err(mut error) => {
                record_attempts(&*self.events, &std::mem::take(&mut error.attempts), object, self.lane, at);
                return Err(self.failed(error, "", at));
            }
        }
        Ok(JobDone::Finished)
    }

    /// Lists the names of the folders below the root; returns none if the root does not exist.
    async fn list_names(&self) -> Result<Vec<String>, Error> {
        let at = Position::default();
        let mut names: Vec<String> = Vec::new();
        let storage = &self.checkpoints.storage;
        self.status.set(Some(storage.uri("")));
        let mut page = |found: &[dlio_storage::ListEntry]| {
            for found in found {
                // A checkpoint is a folder that is not empty.
                if let Some((name, _)) = found.key.split_once('/')
                    && names.last().is_none_or(|last| last != name)
                {
                    names.push(name.to_owned());
                }
            }
        };
        match storage.list("", &mut page).await {
            Ok(receipt) => self.record(&receipt.attempts, "", at),
            Err(error) if error.kind == ErrorKind::NotFound => self.record(&error.attempts, "", at),
            Err(error) => return Err(self.failed(error, "", at)),
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn clear(&self, at: Position, folder: &str, files: &[CheckpointFile]) -> Result<JobDone, Error> {
        for file in files {
            for (object, _) in self.objects(at, folder, file)? {
                match self.checkpoints.storage.delete(&object).await {
                    Ok(receipt) => self.record(&receipt.attempts, &object, at),
                    Err(error) => return Err(self.failed(error, &object, at)),
                }
            }
        }
        Ok(JobDone::Finished)
    }

    async fn store(
        &self,
        at: Position,
        folder: &str,
        file: &CheckpointFile,
        report: &mpsc::UnboundedSender<Result<JobDone, Error>>,
    ) -> Result<(), Error> {
        for (key, encoder) in self.objects(at, folder, file)? {
            if self.halt.is_set() {
                return Err(Error::Cancelled { place: self.place(at) });
            }
            self.status.set(Some(self.checkpoints.storage.uri(&key)));
            let start = self.clock.now();
            let mut source = Source { encoder, halt: &self.halt };
            match self.checkpoints.storage.stage(&key, &mut source).await {
                Ok(staged) => {
                    self.record(&staged.attempts, &key, at);
                    let span = (start, self.clock.now());
                    let part = file.part;
                    drop(report.send(Ok(JobDone::Stored { part, span, staged: Box::new(staged) })));
                }
                Err(error) => return Err(self.failed(error, &key, at)),
            }
        }
        Ok(())
    }

    async fn publish(&self, at: Position, staged: &[Staged]) -> Result<JobDone, Error> {
        let publish = |staged| async move { self.publish_one(at, staged).await };
        futures::stream::iter(staged).map(publish).buffer_unordered(PUBLISHED_AT_ONCE).try_collect::<()>().await?;
        Ok(JobDone::Finished)
    }

    async fn publish_one(&self, at: Position, staged: &Staged) -> Result<(), Error> {
        self.status.set(Some(self.checkpoints.storage.uri(&staged.key)));
        match self.checkpoints.storage.publish(staged).await {
            Ok(receipt) => self.record(&receipt.attempts, &staged.key, at),
            Err(error) => return Err(self.failed(error, &staged.key, at)),
        }
        Ok(())
    }

    /// Returns keys and encoders of the objects of a file, in the order in which they are written.
    pub(super) fn objects(
        &self,
        at: Position,
        folder: &str,
        file: &CheckpointFile,
    ) -> Result<Vec<(String, Encoder)>, Error> {
        objects(&self.checkpoints, folder, file).map_err(|source| {
            let object = self.checkpoints.storage.uri(&key(folder, &file.name));
            Error::Checkpoint { place: self.place(at), object, source }
        })
    }

    pub(super) fn place(&self, at: Position) -> Place {
        Place { rank: self.rank, at }
    }

    pub(super) fn record(&self, attempts: &Attempts, key: &str, at: Position) {
        record_attempts(&*self.events, attempts, self.name(key), self.lane, at);
    }

    pub(super) fn name(&self, key: &str) -> ObjectId {
        self.events.object(&self.checkpoints.storage.uri(key))
    }

    /// Records the attempts of a failed operation and adds the place in the run to its error.
    pub(super) fn failed(&self, error: dlio_storage::Error, key: &str, at: Position) -> Error {
        self.record(&error.attempts, key, at);
        let place = self.place(at);
        if self.halt.is_set() {
            return Error::Cancelled { place };
        }
        Error::Storage { place, source: Box::new(error) }
    }
}
