//! Objects as files of a directory, `<data>/<bucket>/<encoded key>`: an ordinary tree of files is a bucket, and any
//! tool can read an object as a file. Module [`key_path`] maps keys to paths.
//!
//! Invariant: the directory is the only state (several processes share it), and a file below a bucket is a complete
//! object. Files that are being written are below `<data>/.dlio-rs/` until they are renamed into place:
//!
//! - `.dlio-rs/drafts/<process>/`: one directory per serving process, locked while the process lives. A process that
//!   opens the store removes the directories of processes that have ended.
//! - `.dlio-rs/uploads/<bucket>/<upload id>/`: `upload.json` and one `part-NNNNN` per part.
//!
//! Module [`tags`] describes the entity tags, which are the same for every process. Module [`attributes`] describes
//! where content type, user metadata and other attributes are stored; a file system without extended attributes does
//! not store them.

mod attributes;
mod commit;
mod files;
mod key_path;
mod list;
mod listing_cache;
pub(crate) mod read;
mod root;
mod tags;
mod upload;
mod upload_writer;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::OFlags;

use files::{OPEN_FLAGS, find, modified, open_cached, require_bucket};
use key_path::{EncodedKey, aside};
use read::Content;
pub(crate) use root::Directory;
pub(crate) use upload_writer::UploadWriter;

use super::attributes::BucketSettings;
use super::bucket_name::is_bucket_name;
use super::condition::Deletion;
use super::error::StoreError;
use super::opened::{self, OpenObject};
use super::query::{Page, Query};
use super::stat::Stat;

impl Directory {
    pub(crate) async fn create_bucket(
        self: &Arc<Self>,
        bucket: &str,
        settings: BucketSettings,
    ) -> Result<(), StoreError> {
        let (path, bucket) = (self.bucket(bucket), bucket.to_owned());
        self.blocking(move |store| match fs::create_dir(&path) {
            Ok(()) => {
                store.write_settings(&bucket, &settings)?;
                store.sync(&store.root).map_err(StoreError::io("creating a bucket"))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::BucketExists),
            Err(error) => Err(StoreError::io("creating a bucket")(error)),
        })
        .await
    }

    pub(crate) async fn head_bucket(self: &Arc<Self>, bucket: &str) -> Result<(), StoreError> {
        let path = self.bucket(bucket);
        if open_cached(&path, OFlags::PATH | OFlags::DIRECTORY).is_some() {
            return Ok(());
        }
        self.blocking(move |_| require_bucket(&path)).await
    }

    pub(crate) async fn delete_bucket(self: &Arc<Self>, bucket: &str) -> Result<(), StoreError> {
        let (path, uploads, bucket) = (self.bucket(bucket), self.uploads_of(bucket), bucket.to_owned());
        self.blocking(move |store| {
            require_bucket(&path)?;
            remove_empty_tree(&path)?;
            store.remove_settings(&bucket)?;
            match fs::remove_dir_all(uploads) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("removing uploads")(error)),
                _ => Ok(()),
            }
        })
        .await
    }

    pub(crate) async fn buckets(self: &Arc<Self>) -> Result<Vec<(String, SystemTime)>, StoreError> {
        self.blocking(|store| {
            let mut found = Vec::new();
            for entry in fs::read_dir(&store.root).map_err(StoreError::io("listing buckets"))? {
                let entry = entry.map_err(StoreError::io("listing buckets"))?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                if metadata.is_dir() && is_bucket_name(&name) {
                    found.push((name, metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
                }
            }
            found.sort();
            Ok(found)
        })
        .await
    }

    pub(crate) async fn open(self: &Arc<Self>, bucket: &str, key: &str) -> Result<OpenObject, StoreError> {
        let escaped = EncodedKey::new(key);
        let folder = self.bucket(bucket);
        // Most objects are in the kernel's caches and need no blocking thread.
        let cached = open_cached(&folder.join(escaped.path()), OPEN_FLAGS);
        if let Some((file, metadata)) = cached.filter(|(_, metadata)| metadata.is_file()) {
            let stat = self.stat_of(&file, &metadata);
            return self.opened(bucket, file, stat);
        }
        let bucket = bucket.to_owned();
        self.blocking(move |store| {
            let (file, metadata) = find(&folder, &escaped)?;
            let stat = store.stat_of(&file, &metadata);
            store.opened(&bucket, file, stat)
        })
        .await
    }

    /// Returns the stat of an object without opening it.
    pub(super) fn stat(&self, bucket: &Path, key: &EncodedKey) -> Option<Stat> {
        let plain = bucket.join(key.path());
        self.stat_at(&plain).or_else(|| self.stat_at(&aside(&plain)))
    }

    /// Returns the stat of the file at a path; `None` if there is none.
    pub(super) fn stat_at(&self, path: &Path) -> Option<Stat> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let tag = self.tag_at(path, &metadata);
        Some(Stat { size: metadata.size(), modified: modified(&metadata), tag })
    }

    /// Returns the stat of an open file.
    fn stat_of(&self, file: &File, metadata: &fs::Metadata) -> Stat {
        Stat { size: metadata.size(), modified: modified(metadata), tag: self.tag_of(file, metadata) }
    }

    fn opened(&self, bucket: &str, file: File, stat: Stat) -> Result<OpenObject, StoreError> {
        let attributes = self.read_attributes(bucket, &file)?;
        let content = Content::new(file, Arc::clone(&self.buffers));
        Ok(OpenObject { stat, attributes, content: opened::Content::Directory(content) })
    }

    pub(crate) async fn delete(
        self: &Arc<Self>,
        bucket: &str,
        deletions: Vec<Deletion>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| {
            require_bucket(&store.bucket(&bucket))?;
            Ok(deletions.into_iter().map(|deletion| store.remove(&bucket, &deletion)).collect())
        })
        .await
    }

    pub(crate) async fn list(self: &Arc<Self>, bucket: &str, query: Query) -> Result<Page, StoreError> {
        let bucket = self.bucket(bucket);
        self.blocking(move |store| {
            require_bucket(&bucket)?;
            list::page(store, &bucket, query)
        })
        .await
    }
}

/// Removes a tree of folders without files; any file keeps the tree.
fn remove_empty_tree(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(StoreError::io("removing a bucket"))? {
        let entry = entry.map_err(StoreError::io("removing a bucket"))?;
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            return Err(StoreError::BucketNotEmpty);
        }
        remove_empty_tree(&entry.path())?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Err(StoreError::BucketNotEmpty),
        other => other.map_err(StoreError::io("removing a bucket")),
    }
}
