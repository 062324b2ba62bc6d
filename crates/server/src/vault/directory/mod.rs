//! Objects as files of a directory: `<data>/<bucket>/<escaped key>`, so that an ordinary tree of files is a bucket and
//! an object is a file that any tool reads. Module [`escape`] says how keys become paths.
//!
//! Invariant: the directory is the only truth (several processes share it), and a file under a bucket is a complete
//! object. What is being written lives below `<data>/.dlio-rs/` until it is renamed into place:
//!
//! - `.dlio-rs/drafts/<process>/`: one directory per serving process, locked while it lives. Whoever opens the store
//!   removes those whose owner is gone.
//! - `.dlio-rs/uploads/<bucket>/<upload id>/`: `upload.json` and one `part-NNNNN` per part.
//!
//! Module [`tags`] says where entity tags come from; they are the same for every process. Module [`attributes`] says
//! where content type, user metadata and the like are kept; a file system without extended attributes does not keep
//! them.

mod attributes;
mod draft;
mod escape;
mod level;
mod list;
mod place;
mod read;
mod tags;
mod upload;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::{BucketSettings, Deletion, EntityTags, Fault, Opened, Page, Query, Stat};
use crate::Error;
use dlio_storage::random::random_hex;
pub(crate) use draft::Draft;
use escape::{Escaped, aside};
use level::Levels;
use read::Buffers;
pub(crate) use read::{Content, Reader};

/// Holds what is not an object. No bucket name begins with a dot.
const PRIVATE: &str = ".dlio-rs";

pub(crate) struct Directory {
    root: PathBuf,
    durable: bool,
    tags: EntityTags,
    /// This process's drafts.
    drafts: PathBuf,
    /// Kept locked while this process lives, so that nobody takes its drafts for left behind.
    _alive: File,
    next_draft: AtomicU64,
    levels: Levels,
    buffers: Arc<Buffers>,
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
        // Processes that start together take turns: nobody sees another's directory before it is locked.
        let turn = File::create(root.join(PRIVATE).join("lock")).map_err(failed("creating lock file in", root))?;
        // On a file system without locks nobody can tell who lives: then everything stays.
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
            levels: Levels::default(),
            buffers: Arc::default(),
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn bucket(&self, bucket: &str) -> PathBuf {
        self.root.join(bucket)
    }

    fn uploads_of(&self, bucket: &str) -> PathBuf {
        self.root.join(PRIVATE).join("uploads").join(bucket)
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join(PRIVATE).join("lock")
    }

    fn draft_path(&self) -> PathBuf {
        self.drafts.join(self.next_draft.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Makes a directory entry durable, where that is asked for.
    fn sync(&self, folder: &Path) -> io::Result<()> {
        if self.durable { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    pub(crate) async fn create_bucket(self: &Arc<Self>, bucket: &str, settings: BucketSettings) -> Result<(), Fault> {
        let (path, bucket) = (self.bucket(bucket), bucket.to_owned());
        self.blocking(move |store| match fs::create_dir(&path) {
            Ok(()) => {
                store.write_settings(&bucket, &settings)?;
                store.sync(&store.root).map_err(Fault::io("creating a bucket"))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Fault::BucketExists),
            Err(error) => Err(Fault::io("creating a bucket")(error)),
        })
        .await
    }

    pub(crate) async fn head_bucket(self: &Arc<Self>, bucket: &str) -> Result<(), Fault> {
        let path = self.bucket(bucket);
        if open_cached(&path, OFlags::PATH | OFlags::DIRECTORY).is_some() {
            return Ok(());
        }
        self.blocking(move |_| require_bucket(&path)).await
    }

    pub(crate) async fn delete_bucket(self: &Arc<Self>, bucket: &str) -> Result<(), Fault> {
        let (path, uploads, bucket) = (self.bucket(bucket), self.uploads_of(bucket), bucket.to_owned());
        self.blocking(move |store| {
            require_bucket(&path)?;
            remove_empty_tree(&path)?;
            store.remove_settings(&bucket)?;
            match fs::remove_dir_all(uploads) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::io("removing uploads")(error)),
                _ => Ok(()),
            }
        })
        .await
    }

    pub(crate) async fn buckets(self: &Arc<Self>) -> Result<Vec<(String, SystemTime)>, Fault> {
        self.blocking(|store| {
            let mut found = Vec::new();
            for entry in fs::read_dir(&store.root).map_err(Fault::io("listing buckets"))? {
                let entry = entry.map_err(Fault::io("listing buckets"))?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                if metadata.is_dir() && crate::protocol::is_bucket_name(&name) {
                    found.push((name, metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
                }
            }
            found.sort();
            Ok(found)
        })
        .await
    }

    pub(crate) async fn open(self: &Arc<Self>, bucket: &str, key: &str) -> Result<Opened, Fault> {
        let escaped = Escaped::new(key);
        let folder = self.bucket(bucket);
        // Most objects are known to the kernel already: no other thread need be asked then.
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

    /// The stat of an object without opening it.
    fn stat(&self, bucket: &Path, key: &Escaped) -> Option<Stat> {
        let plain = bucket.join(key.path());
        self.stat_at(&plain).or_else(|| self.stat_at(&aside(&plain)))
    }

    /// The stat of the file at a path; `None` when there is none.
    fn stat_at(&self, path: &Path) -> Option<Stat> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let tag = self.tag_at(path, &metadata);
        Some(Stat { size: metadata.size(), modified: modified(&metadata), tag })
    }

    /// The stat of an open file.
    fn stat_of(&self, file: &File, metadata: &fs::Metadata) -> Stat {
        Stat { size: metadata.size(), modified: modified(metadata), tag: self.tag_of(file, metadata) }
    }

    fn opened(&self, bucket: &str, file: File, stat: Stat) -> Result<Opened, Fault> {
        let attributes = self.read_attributes(bucket, &file)?;
        let content = Content::new(file, Arc::clone(&self.buffers));
        Ok(Opened { stat, attributes, content: super::Content::Directory(content) })
    }

    pub(crate) async fn delete(
        self: &Arc<Self>,
        bucket: &str,
        deletions: Vec<Deletion>,
    ) -> Result<Vec<Result<(), Fault>>, Fault> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| {
            require_bucket(&store.bucket(&bucket))?;
            Ok(deletions.into_iter().map(|deletion| store.remove(&bucket, &deletion)).collect())
        })
        .await
    }

    pub(crate) async fn list(self: &Arc<Self>, bucket: &str, query: Query) -> Result<Page, Fault> {
        let bucket = self.bucket(bucket);
        self.blocking(move |store| {
            require_bucket(&bucket)?;
            list::page(store, &bucket, query)
        })
        .await
    }

    /// Runs what may wait for the disk on a thread that may.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = Arc::clone(self);
        let joined = tokio::task::spawn_blocking(move || work(&store)).await;
        joined.unwrap_or_else(|error| Err(Fault::io("running a file operation")(io::Error::other(error))))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Best effort: what stays is removed by whoever opens the store next.
        let _ = fs::remove_dir_all(&self.drafts);
    }
}

/// Removes the drafts of processes that are gone.
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

fn require_bucket(path: &Path) -> Result<(), Fault> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Fault::NoSuchBucket),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fault::NoSuchBucket),
        Err(error) => Err(Fault::io("looking up the bucket")(error)),
    }
}

/// Removes a tree of folders without files; one file anywhere keeps it.
fn remove_empty_tree(path: &Path) -> Result<(), Fault> {
    for entry in fs::read_dir(path).map_err(Fault::io("removing a bucket"))? {
        let entry = entry.map_err(Fault::io("removing a bucket"))?;
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            return Err(Fault::BucketNotEmpty);
        }
        remove_empty_tree(&entry.path())?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Err(Fault::BucketNotEmpty),
        other => other.map_err(Fault::io("removing a bucket")),
    }
}

/// Opens the file of an object: under its plain name, or aside where a folder has that name.
fn find(bucket: &Path, key: &Escaped) -> Result<(File, fs::Metadata), Fault> {
    let plain = bucket.join(key.path());
    let aside = aside(&plain);
    for path in [&plain, &aside] {
        let opened = fs::OpenOptions::new().read(true).custom_flags(OPEN_FLAGS.bits().cast_signed()).open(path);
        match opened.and_then(|file| file.metadata().map(|metadata| (file, metadata))) {
            Ok((file, metadata)) if metadata.is_file() => return Ok((file, metadata)),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(Fault::io("opening the object's file")(error)),
        }
    }
    require_bucket(bucket)?;
    Err(Fault::NoSuchKey)
}

/// A pipe that somebody put into the directory must not hang the server.
const OPEN_FLAGS: OFlags = OFlags::NONBLOCK;

/// Opens what the kernel can open without waiting for the disk; `None` in every other case.
fn open_cached(path: &Path, flags: OFlags) -> Option<(File, fs::Metadata)> {
    let flags = flags | OFlags::CLOEXEC;
    let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
    let file = File::from(opened);
    let metadata = file.metadata().ok()?;
    Some((file, metadata))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
        || error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error())
}

fn modified(metadata: &fs::Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}
