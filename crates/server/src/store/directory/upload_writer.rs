//! An object or part that is being received: a file below `.dlio-rs/drafts`, written by blocking threads while the
//! next bytes arrive. Dropping the writer removes the file.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::attributes::{mark, write_checksum};
use super::files::{modified, require_bucket};
use super::key_path::EncodedKey;
use super::root::Directory;
use super::tags;
use super::upload::part_path;
use crate::clock;
use crate::store::attributes::Attributes;
use crate::store::error::StoreError;
use crate::store::object::Target;
use crate::store::stat::Stat;
use crate::store::tag::Tag;

/// Bytes written to the file at a time.
const WRITE_BYTES: usize = 1 << 20;

pub(crate) struct UploadWriter {
    store: Arc<Directory>,
    /// Bytes received but not yet passed to a blocking thread.
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    state: State,
}

enum State {
    Fresh,
    Writing(JoinHandle<Result<StagedFile, StoreError>>),
}

impl Directory {
    pub(crate) fn writer(self: &Arc<Self>) -> UploadWriter {
        UploadWriter { store: Arc::clone(self), waiting: Vec::new(), waiting_bytes: 0, state: State::Fresh }
    }

    pub(super) fn create_staged_file(&self) -> Result<StagedFile, StoreError> {
        let path = self.draft_path();
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = opened.map_err(StoreError::io("creating a file below .dlio-rs/drafts"))?;
        Ok(StagedFile { file, path, aside: None, placed: false })
    }

    /// Sets the time and the entity tag (`None`: an opaque one) of a finished file, makes it durable, and moves it to
    /// its place.
    pub(super) fn finish(&self, mut draft: StagedFile, target: &Target, tag: Option<Tag>) -> Result<Stat, StoreError> {
        let failed = StoreError::io("finishing a write");
        match target {
            Target::Object { bucket, attributes, .. } if **attributes != Attributes::default() => {
                draft.aside = self.write_attributes(bucket, &draft.file, attributes)?;
            }
            Target::Object { .. } => {}
            Target::Part { checksum, .. } => write_checksum(&draft.file, checksum.as_ref()).map_err(&failed)?,
        }
        // The file system's own time stamps are as coarse as its ticks, but every version needs a different entity
        // tag.
        draft.file.set_times(FileTimes::new().set_modified(clock::wall())).map_err(&failed)?;
        let metadata = draft.file.metadata().map_err(&failed)?;
        if let Target::Object { attributes, .. } = target {
            mark(&draft.file, &metadata, attributes).map_err(&failed)?;
        }
        let tag =
            tags::keep(&draft.file, &metadata, tag).map_err(StoreError::io("writing the entity tag of an object"))?;
        match target {
            Target::Object { bucket, key, condition, .. } => {
                if self.durable {
                    draft.file.sync_all().map_err(StoreError::io("syncing an object to disk"))?;
                }
                self.place(&draft.path, bucket, &EncodedKey::new(key), condition)?;
            }
            Target::Part { upload, number, .. } => {
                let folder = self.require_upload(upload)?;
                fs::rename(&draft.path, part_path(&folder, *number)).map_err(&failed)?;
            }
        }
        draft.placed = true;
        Ok(Stat { size: metadata.len(), modified: modified(&metadata), tag })
    }
}

impl UploadWriter {
    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_bytes < WRITE_BYTES {
            return Ok(());
        }
        let file = self.written().await?;
        let (store, bytes) = (Arc::clone(&self.store), std::mem::take(&mut self.waiting));
        self.waiting_bytes = 0;
        self.state = State::Writing(tokio::task::spawn_blocking(move || {
            let mut draft = file.map_or_else(|| store.create_staged_file(), Ok)?;
            write_all(&mut draft.file, &bytes)?;
            Ok(draft)
        }));
        Ok(())
    }

    pub(crate) async fn commit(mut self, target: Target, tag: Option<Tag>) -> Result<Stat, StoreError> {
        let file = self.written().await?;
        let (store, bytes) = (Arc::clone(&self.store), std::mem::take(&mut self.waiting));
        let finished = tokio::task::spawn_blocking(move || {
            if let Target::Object { bucket, .. } = &target {
                require_bucket(&store.bucket(bucket))?;
            }
            let mut draft = file.map_or_else(|| store.create_staged_file(), Ok)?;
            write_all(&mut draft.file, &bytes)?;
            store.finish(draft, &target, tag)
        });
        finished.await.unwrap_or_else(|error| Err(join_failed(error)))
    }

    /// Waits until all bytes passed on are written, and returns the file; `None` if there is none yet.
    async fn written(&mut self) -> Result<Option<StagedFile>, StoreError> {
        match std::mem::replace(&mut self.state, State::Fresh) {
            State::Fresh => Ok(None),
            State::Writing(task) => task.await.unwrap_or_else(|error| Err(join_failed(error))).map(Some),
        }
    }
}

fn join_failed(error: tokio::task::JoinError) -> StoreError {
    StoreError::io("running a file operation")(io::Error::other(error))
}

fn write_all(file: &mut File, bytes: &[Bytes]) -> Result<(), StoreError> {
    let mut slices: Vec<IoSlice<'_>> = bytes.iter().map(|bytes| IoSlice::new(bytes)).collect();
    let mut slices = slices.as_mut_slice();
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(StoreError::io("writing an object")(io::ErrorKind::WriteZero.into())),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreError::io("writing an object")(error)),
        }
    }
    Ok(())
}

/// A file that is not visible to readers; removed on drop unless it was moved to its place.
pub(super) struct StagedFile {
    pub(super) file: File,
    path: PathBuf,
    /// The separate file with its attributes.
    aside: Option<PathBuf>,
    placed: bool,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.path);
            let _ = self.aside.as_ref().map(fs::remove_file);
        }
    }
}
