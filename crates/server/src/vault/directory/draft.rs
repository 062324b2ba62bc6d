//! An object or part while it arrives: a file below `.dlio-rs/drafts`, written by threads that may wait for the disk
//! while the next bytes come in. Dropping it removes the file.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::attributes::{mark, write_checksum};
use super::escape::Escaped;
use super::{Directory, modified, require_bucket, tags};
use crate::clock;
use crate::vault::{Attributes, Fault, Stat, Tag, Target};

/// Bytes handed to the disk at a time.
const WRITE_BYTES: usize = 1 << 20;

pub(crate) struct Draft {
    store: Arc<Directory>,
    /// Arrived, not yet handed on.
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    state: State,
}

enum State {
    Fresh,
    Writing(JoinHandle<Result<DraftFile, Fault>>),
}

impl Directory {
    pub(crate) fn draft(self: &Arc<Self>) -> Draft {
        Draft { store: Arc::clone(self), waiting: Vec::new(), waiting_bytes: 0, state: State::Fresh }
    }

    pub(super) fn create_draft(&self) -> Result<DraftFile, Fault> {
        let path = self.draft_path();
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = opened.map_err(Fault::io("creating a file below .dlio-rs/drafts"))?;
        Ok(DraftFile { file, path, aside: None, placed: false })
    }

    /// Gives the finished file its time and its entity tag (`None`: an opaque one), makes it durable, and puts it where it belongs.
    pub(super) fn finish(&self, mut draft: DraftFile, target: &Target, tag: Option<Tag>) -> Result<Stat, Fault> {
        let failed = Fault::io("finishing a write");
        match target {
            Target::Object { bucket, attributes, .. } if **attributes != Attributes::default() => {
                draft.aside = self.write_attributes(bucket, &draft.file, attributes)?;
            }
            Target::Object { .. } => {}
            Target::Part { checksum, .. } => write_checksum(&draft.file, checksum.as_ref()).map_err(&failed)?,
        }
        // The file system's own time stamps are as coarse as its ticks; the entity tag wants every version different.
        draft.file.set_times(FileTimes::new().set_modified(clock::wall())).map_err(&failed)?;
        let metadata = draft.file.metadata().map_err(&failed)?;
        if let Target::Object { attributes, .. } = target {
            mark(&draft.file, &metadata, attributes).map_err(&failed)?;
        }
        let tag = tags::keep(&draft.file, &metadata, tag).map_err(Fault::io("writing the entity tag of an object"))?;
        match target {
            Target::Object { bucket, key, condition, .. } => {
                if self.durable {
                    draft.file.sync_all().map_err(Fault::io("syncing an object to disk"))?;
                }
                self.place(&draft.path, bucket, &Escaped::new(key), condition)?;
            }
            Target::Part { upload, number, .. } => {
                let folder = self.require_upload(upload)?;
                fs::rename(&draft.path, super::upload::part_path(&folder, *number)).map_err(&failed)?;
            }
        }
        draft.placed = true;
        Ok(Stat { size: metadata.len(), modified: modified(&metadata), tag })
    }
}

impl Draft {
    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), Fault> {
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_bytes < WRITE_BYTES {
            return Ok(());
        }
        let file = self.written().await?;
        let (store, bytes) = (Arc::clone(&self.store), std::mem::take(&mut self.waiting));
        self.waiting_bytes = 0;
        self.state = State::Writing(tokio::task::spawn_blocking(move || {
            let mut draft = file.map_or_else(|| store.create_draft(), Ok)?;
            write_all(&mut draft.file, &bytes)?;
            Ok(draft)
        }));
        Ok(())
    }

    pub(crate) async fn commit(mut self, target: Target, tag: Option<Tag>) -> Result<Stat, Fault> {
        let file = self.written().await?;
        let (store, bytes) = (Arc::clone(&self.store), std::mem::take(&mut self.waiting));
        let finished = tokio::task::spawn_blocking(move || {
            if let Target::Object { bucket, .. } = &target {
                require_bucket(&store.bucket(bucket))?;
            }
            let mut draft = file.map_or_else(|| store.create_draft(), Ok)?;
            write_all(&mut draft.file, &bytes)?;
            store.finish(draft, &target, tag)
        });
        finished.await.unwrap_or_else(|error| Err(join_failed(error)))
    }

    /// The file, once everything handed on is written; `None` when nothing was.
    async fn written(&mut self) -> Result<Option<DraftFile>, Fault> {
        match std::mem::replace(&mut self.state, State::Fresh) {
            State::Fresh => Ok(None),
            State::Writing(task) => task.await.unwrap_or_else(|error| Err(join_failed(error))).map(Some),
        }
    }
}

fn join_failed(error: tokio::task::JoinError) -> Fault {
    Fault::io("running a file operation")(io::Error::other(error))
}

fn write_all(file: &mut File, bytes: &[Bytes]) -> Result<(), Fault> {
    let mut slices: Vec<IoSlice<'_>> = bytes.iter().map(|bytes| IoSlice::new(bytes)).collect();
    let mut slices = slices.as_mut_slice();
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(Fault::io("writing an object")(io::ErrorKind::WriteZero.into())),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::io("writing an object")(error)),
        }
    }
    Ok(())
}

/// A file that nobody sees yet; removed on drop unless it was put into place.
pub(super) struct DraftFile {
    pub(super) file: File,
    path: PathBuf,
    /// The file beside it that its attributes are in.
    aside: Option<PathBuf>,
    placed: bool,
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.path);
            let _ = self.aside.as_ref().map(fs::remove_file);
        }
    }
}
