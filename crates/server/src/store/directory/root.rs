//! The data directory of a store, and the lock that shows other processes that this one lives.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_storage::random::random_hex;

use super::listing_cache::ListingCache;
use super::read::Buffers;
use crate::Error;
use crate::store::error::StoreError;
use crate::store::tag::EntityTags;

/// Folder for everything that is not an object. No bucket name begins with a dot.
pub(super) const PRIVATE: &str = ".dlio-rs";

pub(crate) struct Directory {
    pub(super) root: PathBuf,
    pub(super) durable: bool,
    pub(super) tags: EntityTags,
    /// Folder of this process's unfinished files.
    pub(super) drafts: PathBuf,
    /// Locked while this process lives, so that no other process removes its unfinished files.
    _alive: File,
    pub(super) next_draft: AtomicU64,
    pub(super) listings: ListingCache,
    pub(super) buffers: Arc<Buffers>,
}

impl Directory {
    pub(crate) fn at(root: &Path, durable: bool, tags: EntityTags) -> Result<Self, Error> {
        let failed = |doing, path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Data { doing, path, source }
        };
        let (drafts, uploads) = (root.join(PRIVATE).join("drafts"), root.join(PRIVATE).join("uploads"));
        for path in [&drafts, &uploads] {
            fs::create_dir_all(path).map_err(failed("creating data directory", path))?;
        }
        // Processes that start together take turns, so that none sees another's directory before it is locked.
        let turn = File::create(root.join(PRIVATE).join("lock")).map_err(failed("creating lock file in", root))?;
        // On a file system without locks it is unknown which processes live, so nothing is removed.
        if turn.lock().is_ok() {
            remove_left_behind(&drafts).map_err(failed("removing unfinished writes from", &drafts))?;
        }
        let drafts = drafts.join(random_hex::<8>().map_err(Error::Random)?);
        fs::create_dir(&drafts).map_err(failed("creating data directory", &drafts))?;
        let alive = File::create(drafts.join("alive")).map_err(failed("writing into data directory", &drafts))?;
        let _ = alive.lock();
        Ok(Self {
            root: root.to_path_buf(),
            durable,
            tags,
            drafts,
            _alive: alive,
            next_draft: AtomicU64::new(0),
            listings: ListingCache::default(),
            buffers: Arc::default(),
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn bucket(&self, bucket: &str) -> PathBuf {
        self.root.join(bucket)
    }

    pub(super) fn uploads_of(&self, bucket: &str) -> PathBuf {
        self.root.join(PRIVATE).join("uploads").join(bucket)
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.root.join(PRIVATE).join("lock")
    }

    pub(super) fn draft_path(&self) -> PathBuf {
        self.drafts.join(self.next_draft.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Makes a directory entry durable, if the store is durable.
    pub(super) fn sync(&self, folder: &Path) -> io::Result<()> {
        if self.durable { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    /// Runs work that may wait for the disk on a blocking thread.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(self);
        let joined = tokio::task::spawn_blocking(move || work(&store)).await;
        joined.unwrap_or_else(|error| Err(StoreError::io("running a file operation")(io::Error::other(error))))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Best effort: the next process that opens the store removes what is left.
        let _ = fs::remove_dir_all(&self.drafts);
    }
}

/// Removes the unfinished files of processes that have ended.
fn remove_left_behind(drafts: &Path) -> io::Result<()> {
    for entry in fs::read_dir(drafts)? {
        let path = entry?.path();
        let abandoned = match File::open(path.join("alive")) {
            Ok(alive) => alive.try_lock().is_ok(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if abandoned {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}
