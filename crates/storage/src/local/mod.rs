//! Files below a folder, read and written with plain system calls on the calling thread.
//!
//! Invariant: a file that is written whole is visible under its final name only when it is complete; a file that is updated changes
//! in place. Reads and writes go through the page cache, unless direct I/O is configured, which always bypasses it.

mod buffer;
mod list;
mod operation;
mod options;
mod read;
mod sys;
mod temporary;
mod update;
mod write;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dlio_event::{OpKind, TimeSource};

use self::list::Walk;
use self::operation::Operation;
pub use self::options::LocalOptions;
use self::read::OpenFile;
use self::sys::Direct;
use crate::key::check_key;
use crate::{
    Attempts, ChunkSource, Error, ErrorKind, Future, ListEntry, Metadata, Object, Receipt, Staged, Storage, Updatable,
    Update, regular_file,
};

/// A storage on a mounted file system, whose keys are paths below a root folder.
pub struct Local {
    root: PathBuf,
    time: Arc<dyn TimeSource>,
    options: Arc<LocalOptions>,
}

impl Local {
    /// Returns the storage below `root`, which need not exist yet (see [`Storage::create_root`]).
    #[must_use]
    pub fn new(root: PathBuf, time: Arc<dyn TimeSource>, options: LocalOptions) -> Self {
        Self { root, time, options: Arc::new(options) }
    }

    fn path(&self, doing: &'static str, key: &str) -> Result<PathBuf, Error> {
        match check_key(key) {
            Ok(()) => Ok(self.root.join(key)),
            Err(message) => {
                let operation = Operation::new(&*self.time, doing);
                Err(operation.refused(&self.root.join(key.trim_start_matches('/')), None, ErrorKind::Invalid, message))
            }
        }
    }

    fn open_now(&self, key: &str) -> Result<OpenFile, Error> {
        let path = self.path("opening", key)?;
        let mut operation = Operation::new(&*self.time, "opening");
        let mut options = OpenOptions::new();
        options.read(true);
        let flags = if self.options.odirect_read { libc::O_DIRECT } else { 0 };
        let opened = operation.step(OpKind::Open, || regular_file::open_with(&mut options, flags, &path));
        let (file, size) = match opened {
            Ok(opened) => opened,
            Err(error) if self.options.odirect_read && error.raw_os_error() == Some(libc::EINVAL) => {
                return Err(operation.refused(&path, None, ErrorKind::Invalid, no_direct("reader.odirect")));
            }
            Err(error) => return Err(operation.failed(&path, None, &error)),
        };
        let align = if self.options.odirect_read {
            match self.alignment(&file, "reader.odirect") {
                Ok(align) => align,
                Err(message) => return Err(operation.refused(&path, None, ErrorKind::Invalid, message)),
            }
        } else {
            1
        };
        let mut opened = operation.done();
        if let Some(open) = opened.last_mut() {
            open.object_size = Some(size);
        }
        Ok(self.opened(path, (file, size), opened, align))
    }

    /// Returns the open file with its own references to the clock and options of this storage.
    fn opened(&self, path: PathBuf, (file, size): (File, u64), opened: Attempts, align: u64) -> OpenFile {
        let (time, options) = (Arc::clone(&self.time), Arc::clone(&self.options));
        OpenFile { path, time, options, file, size: AtomicU64::new(size), opened, align }
    }

    /// Returns the alignment in bytes of offsets and lengths for direct I/O on this file.
    fn alignment(&self, file: &File, option: &str) -> Result<u64, String> {
        match sys::direct_alignment(file) {
            Ok(Direct::Aligned(align)) if self.options.chunk(true).is_multiple_of(align) => Ok(align as u64),
            Ok(Direct::Aligned(align)) => Err(format!(
                "direct I/O needs multiples of {align} bytes here, and the chunk size is {}; change the chunk size or \
                 switch {option} off",
                self.options.chunk(true)
            )),
            Ok(Direct::Unsupported) => Err(no_direct(option)),
            Ok(Direct::Unknown) | Err(_) => Ok(buffer::ALIGN as u64),
        }
    }

    fn stat_now(&self, key: &str) -> Result<(Metadata, Receipt), Error> {
        let path = self.path("looking up", key)?;
        let mut operation = Operation::new(&*self.time, "looking up");
        let result = operation.step(OpKind::Stat, || {
            let metadata = fs::metadata(&path)?;
            if metadata.is_file() { Ok(metadata.len()) } else { Err(regular_file::no_file(metadata.file_type())) }
        });
        match result {
            Ok(size) => Ok((Metadata { size }, Receipt { bytes: 0, attempts: operation.done() })),
            Err(error) => Err(operation.failed(&path, None, &error)),
        }
    }

    fn look_up_now(&self, key: &str) -> Result<(Option<Metadata>, Receipt), Error> {
        let path = self.path("looking up", key)?;
        let mut operation = Operation::new(&*self.time, "looking up");
        let result = operation.step(OpKind::Stat, || {
            let metadata = fs::metadata(&path)?;
            match (metadata.is_dir(), metadata.is_file()) {
                (true, _) => Ok(None),
                (_, true) => Ok(Some(Metadata { size: metadata.len() })),
                _ => Err(regular_file::no_file(metadata.file_type())),
            }
        });
        match result {
            Ok(found) => Ok((found, Receipt { bytes: 0, attempts: operation.done() })),
            Err(error) => Err(operation.failed(&path, None, &error)),
        }
    }

    fn delete_now(&self, key: &str) -> Result<Receipt, Error> {
        let path = self.path("deleting", key)?;
        self.quiet("deleting", OpKind::Delete, &path, || match fs::remove_file(&path) {
            Err(error) if operation::kind_of(&error) == ErrorKind::NotFound => Ok(()),
            result => result,
        })
    }

    fn quiet(
        &self,
        doing: &'static str,
        kind: OpKind,
        path: &Path,
        work: impl FnOnce() -> io::Result<()>,
    ) -> Result<Receipt, Error> {
        let mut operation = Operation::new(&*self.time, doing);
        match operation.step(kind, work) {
            Ok(()) => Ok(Receipt { bytes: 0, attempts: operation.done() }),
            Err(error) => Err(operation.failed(path, None, &error)),
        }
    }
}

fn no_direct(option: &str) -> String {
    format!(
        "this file system does not support direct I/O (O_DIRECT), which {option} asks for; choose another folder or \
         switch {option} off (reads would then come from the page cache)"
    )
}

impl Storage for Local {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move { self.open_now(key).map(|file| Box::new(file) as Box<dyn Object>) })
    }

    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>> {
        Box::pin(async move { self.update_now(key, how).map(|file| Box::new(file) as Box<dyn Updatable>) })
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(async move { self.write_now(key, source) })
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        Box::pin(async move { self.stage_now(key, source) })
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(async move { self.publish_now(staged) })
    }

    fn discard<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(async move { self.discard_now(staged) })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)> {
        Box::pin(async move { self.stat_now(key) })
    }

    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)> {
        Box::pin(async move { self.look_up_now(key) })
    }

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[ListEntry])) -> Future<'a, Receipt> {
        Box::pin(async move { Walk { root: &self.root, time: &*self.time, prefix, page }.run() })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(async move { self.delete_now(key) })
    }

    fn create_root(&self) -> Future<'_, Receipt> {
        Box::pin(async move {
            self.quiet("creating", OpKind::CreateNamespace, &self.root, || fs::create_dir_all(&self.root))
        })
    }

    fn create_folder<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(async move {
            let path = match key.trim_end_matches('/') {
                "" => self.root.clone(),
                key => self.path("creating", key)?,
            };
            self.quiet("creating", OpKind::CreateNamespace, &path, || fs::create_dir_all(&path))
        })
    }

    fn remove_folder<'a>(&'a self, key: &'a str) -> Future<'a, (bool, Receipt)> {
        Box::pin(async move {
            let path = match key.trim_end_matches('/') {
                "" => self.root.clone(),
                key => self.path("removing", key)?,
            };
            let mut gone = true;
            let receipt = self.quiet("removing", OpKind::Delete, &path, || match fs::remove_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                // The folder is not empty, or is a symbolic link or a mount point, and stays.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty
                            | io::ErrorKind::NotADirectory
                            | io::ErrorKind::ResourceBusy
                            | io::ErrorKind::InvalidInput
                    ) =>
                {
                    gone = false;
                    Ok(())
                }
                result => result,
            })?;
            Ok((gone, receipt))
        })
    }

    fn blocks(&self) -> bool {
        true
    }

    fn uri(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }

    fn root_uri(&self) -> String {
        self.uri("")
    }
}
