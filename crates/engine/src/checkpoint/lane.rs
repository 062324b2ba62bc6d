//! What a checkpoint lane does: it stores files, reads blocks of them, and lets stored ones appear.

use std::sync::Arc;

use dlio_event::{EventSink, Lane, Nanos, ObjectId, Position};
use dlio_format::Encoder;
use dlio_plan::{CheckpointFile, CheckpointPart};
use dlio_storage::{Attempts, ErrorKind, Staged, record_attempts};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

use super::load::Block;
use super::team::Status;
use super::{Checkpoints, objects};
use crate::reader::Halt;
use crate::writer::Source;
use crate::{Clock, Error, Place};

/// Uploads that are completed at the same time.
const PUBLISHED_AT_ONCE: usize = 8;

/// Something to do.
pub(super) enum Job {
    /// Make the folder exist.
    Create,
    /// List the checkpoints in the folder.
    Look,
    /// Remove this rank's files of a checkpoint that is to be written anew.
    Clear { at: Position, folder: String, files: Vec<CheckpointFile> },
    /// Store the files of a checkpoint, in order; none of them appears.
    Save { at: Position, folder: String, files: Vec<CheckpointFile> },
    /// Let stored files appear.
    Publish { at: Position, staged: Vec<Staged> },
    /// Ask for the size of a file.
    Size(Block),
    /// Read one block of a file.
    Read(Block),
}

/// Something that was done.
#[derive(Debug)]
pub(super) enum Done {
    /// The checkpoints that exist.
    Looked(Vec<String>),
    /// A file was stored.
    Stored { part: CheckpointPart, span: (Nanos, Nanos), staged: Box<Staged> },
    /// So long is the file.
    Size(u64),
    /// So many bytes of a block were read.
    Read(u64),
    /// The job is over.
    Finished,
}

/// A lane.
pub(super) struct Worker {
    pub(super) checkpoints: Checkpoints,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn EventSink>,
    pub(super) rank: u32,
    pub(super) lane: Lane,
    pub(super) halt: Halt,
    pub(super) status: Status,
}

impl Worker {
    /// Works until nobody has anything more to do.
    pub(super) async fn live(
        self,
        mut jobs: mpsc::UnboundedReceiver<Job>,
        report: mpsc::UnboundedSender<Result<Done, Error>>,
    ) {
        let work = async {
            while let Some(job) = jobs.recv().await {
                let done = self.work(job, &report).await;
                self.status.set(None);
                // Nobody listens any more when the run has ended for another reason.
                drop(report.send(done));
            }
        };
        tokio::select! {
            biased;
            () = self.halt.released() => {}
            () = work => {}
        }
    }

    async fn work(&self, job: Job, report: &mpsc::UnboundedSender<Result<Done, Error>>) -> Result<Done, Error> {
        match job {
            Job::Create => self.create().await,
            Job::Look => self.look().await.map(Done::Looked),
            Job::Clear { at, folder, files } => self.clear(at, &folder, &files).await,
            Job::Save { at, folder, files } => {
                for file in &files {
                    self.store(at, &folder, file, report).await?;
                }
                Ok(Done::Finished)
            }
            Job::Publish { at, staged } => self.publish(at, &staged).await,
            Job::Size(block) => self.size(&block).await,
            Job::Read(block) => self.read(block).await,
        }
    }

    async fn create(&self) -> Result<Done, Error> {
        let at = Position::default();
        // A bucket is more than the place of the checkpoints in it.
        let object = self.events.object(&self.checkpoints.storage.root_uri());
        match self.checkpoints.storage.create_root().await {
            Ok(receipt) => record_attempts(&*self.events, &receipt.attempts, object, self.lane, at),
            Err(mut error) => {
                record_attempts(&*self.events, &std::mem::take(&mut error.attempts), object, self.lane, at);
                return Err(self.failed(error, "", at));
            }
        }
        Ok(Done::Finished)
    }

    /// The names of the folders below the root; none if there is no root.
    async fn look(&self) -> Result<Vec<String>, Error> {
        let at = Position::default();
        let mut names: Vec<String> = Vec::new();
        let storage = &self.checkpoints.storage;
        self.status.set(Some(storage.uri("")));
        let mut page = |found: &[dlio_storage::Found]| {
            for found in found {
                // A checkpoint is a folder with something in it.
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

    async fn clear(&self, at: Position, folder: &str, files: &[CheckpointFile]) -> Result<Done, Error> {
        for file in files {
            for (key, _) in self.objects(at, folder, file)? {
                match self.checkpoints.storage.delete(&key).await {
                    Ok(receipt) => self.record(&receipt.attempts, &key, at),
                    Err(error) => return Err(self.failed(error, &key, at)),
                }
            }
        }
        Ok(Done::Finished)
    }

    async fn store(
        &self,
        at: Position,
        folder: &str,
        file: &CheckpointFile,
        report: &mpsc::UnboundedSender<Result<Done, Error>>,
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
                    drop(report.send(Ok(Done::Stored { part, span, staged: Box::new(staged) })));
                }
                Err(error) => return Err(self.failed(error, &key, at)),
            }
        }
        Ok(())
    }

    async fn publish(&self, at: Position, staged: &[Staged]) -> Result<Done, Error> {
        let publish = |staged| async move { self.publish_one(at, staged).await };
        futures::stream::iter(staged).map(publish).buffer_unordered(PUBLISHED_AT_ONCE).try_collect::<()>().await?;
        Ok(Done::Finished)
    }

    async fn publish_one(&self, at: Position, staged: &Staged) -> Result<(), Error> {
        self.status.set(Some(self.checkpoints.storage.uri(&staged.key)));
        match self.checkpoints.storage.publish(staged).await {
            Ok(receipt) => self.record(&receipt.attempts, &staged.key, at),
            Err(error) => return Err(self.failed(error, &staged.key, at)),
        }
        Ok(())
    }

    /// The objects of a file, in the order in which they are written.
    pub(super) fn objects(
        &self,
        at: Position,
        folder: &str,
        file: &CheckpointFile,
    ) -> Result<Vec<(String, Encoder)>, Error> {
        objects(&self.checkpoints, folder, file).map_err(|source| {
            let object = self.checkpoints.storage.uri(&super::key(folder, &file.name));
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

    /// Records what was tried in vain.
    pub(super) fn failed(&self, error: dlio_storage::Error, key: &str, at: Position) -> Error {
        self.record(&error.attempts, key, at);
        let place = self.place(at);
        if self.halt.is_set() {
            return Error::Cancelled { place };
        }
        Error::Storage { place, source: Box::new(error) }
    }
}
