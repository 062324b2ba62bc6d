//! Puts a finished file under its key and removes objects, while other processes do the same.
//!
//! Every step is one atomic system call. If it fails because another process was faster, the state is examined again.
//! An object has two possible paths: its plain path and the one aside. It moves from the first to the second only if
//! a folder needs its name, and an overwrite keeps its path. Readers and deletes look in that order, so they cannot
//! miss an object that moves.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::files::{is_absent, require_bucket};
use super::key_path::{EncodedKey, aside};
use super::root::Directory;
use crate::store::condition::{Condition, Deletion};
use crate::store::error::StoreError;

/// Attempts after which the operation fails because other processes keep interfering.
const TRIES: u32 = 32;

impl Directory {
    /// Renames a finished file to the object's path.
    pub(super) fn place(
        &self,
        draft: &Path,
        bucket: &str,
        key: &EncodedKey,
        condition: &Condition,
    ) -> Result<(), StoreError> {
        let aside = self.aside(bucket, key);
        self.place_if(draft, &self.bucket(bucket), key, condition)?;
        // The separate attribute file of the previous version is obsolete.
        let _ = aside.map(fs::remove_file);
        Ok(())
    }

    fn place_if(&self, draft: &Path, bucket: &Path, key: &EncodedKey, condition: &Condition) -> Result<(), StoreError> {
        let flags = if condition.is_absent() { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
        // The kernel refuses to replace a file that must be absent; other conditions hold only between processes that
        // take the lock.
        let _turn = if condition.is_always() || condition.is_absent() { None } else { Some(self.conditional_turn()?) };
        if !condition.is_always() {
            condition.check(self.stat(bucket, key).as_ref())?;
        }
        let plain = bucket.join(key.path());
        for _ in 0..TRIES {
            if aside(&plain).exists() && self.place_aside(draft, &plain, flags)? {
                return self.sync_parent(&plain);
            }
            match renameat_with(CWD, draft, CWD, &plain, flags) {
                Ok(()) => return self.sync_parent(&plain),
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    require_bucket(bucket)?;
                    self.make_folders(bucket, key)?;
                }
                Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) if plain.is_dir() => {
                    if self.place_aside(draft, &plain, flags)? {
                        return self.sync_parent(&plain);
                    }
                }
                // The conflicting folder was removed.
                Err(Errno::ISDIR | Errno::NOTEMPTY) => {}
                Err(Errno::EXIST) => return Err(StoreError::Condition),
                Err(Errno::INVAL) if !flags.is_empty() => return Err(unsupported_condition()),
                Err(errno) => return Err(StoreError::io("renaming an object into place")(errno.into())),
            }
        }
        Err(StoreError::io("renaming an object into place")(io::Error::other(
            "too many concurrent changes of its folder",
        )))
    }

    /// Creates the folders of a key; an object that has the name of one of them is moved aside.
    fn make_folders(&self, bucket: &Path, key: &EncodedKey) -> Result<(), StoreError> {
        let _turn = self.turn()?;
        let mut folder = bucket.to_path_buf();
        for name in key.folders() {
            let parent = folder.clone();
            folder.push(name);
            match fs::create_dir(&folder) {
                Ok(()) => self.sync(&parent).map_err(StoreError::io("creating a folder"))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if folder.is_file() {
                        move_aside(&folder)?;
                    }
                }
                // The parent folder was removed concurrently; the caller tries again.
                Err(error) if is_absent(&error) => return Ok(()),
                Err(error) => return Err(StoreError::io("creating a folder")(error)),
            }
        }
        Ok(())
    }

    /// Puts the object beside the folder that has its name; returns `false` if the parent folder was removed.
    fn place_aside(&self, draft: &Path, plain: &Path, flags: RenameFlags) -> Result<bool, StoreError> {
        let _turn = self.turn()?;
        let aside = aside(plain);
        match renameat_with(CWD, draft, CWD, &aside, flags) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(Errno::EXIST) => return Err(StoreError::Condition),
            Err(errno) => return Err(StoreError::io("renaming an object into place")(errno.into())),
        }
        // Meanwhile another process removed the folder and wrote the object under its plain path, where readers look
        // first.
        if plain.is_file() {
            match renameat_with(CWD, &aside, CWD, plain, RenameFlags::empty()) {
                // The folder exists again, or the last writer has cleaned up.
                Ok(()) | Err(Errno::ISDIR | Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(StoreError::io("renaming an object into place")(errno.into())),
            }
        }
        Ok(true)
    }

    /// Locks the paths of objects and folders against rearrangement until the file is dropped. Without the lock,
    /// moving an object aside could move a folder that replaced it, or overwrite a newer version. On a file system
    /// without locks, keys such as `a` and `a/b` must not be written at the same time.
    pub(super) fn turn(&self) -> Result<File, StoreError> {
        let turn = File::open(self.lock_path()).map_err(StoreError::io("opening the lock file"))?;
        let _ = turn.lock();
        Ok(turn)
    }

    /// Locks out other conditional operations until the file is dropped. This lock is different from that of
    /// [`Directory::turn`], which is taken while this one is held.
    fn conditional_turn(&self) -> Result<File, StoreError> {
        let path = self.lock_path().with_extension("conditions");
        let turn = File::options().create(true).append(true).open(path);
        let turn = turn.map_err(StoreError::io("opening the lock file of conditional writes"))?;
        let _ = turn.lock();
        Ok(turn)
    }

    /// Removes an object if its precondition holds.
    pub(super) fn remove(&self, bucket: &str, deletion: &Deletion) -> Result<(), StoreError> {
        let (folder, key) = (self.bucket(bucket), EncodedKey::new(&deletion.key));
        let aside = self.aside(bucket, &key);
        if deletion.condition.is_always() {
            remove(&folder, &key)?;
        } else {
            let _turn = self.conditional_turn()?;
            if let Some(stat) = self.stat(&folder, &key) {
                deletion.condition.check(Some(&stat))?;
                remove(&folder, &key)?;
            }
        }
        let _ = aside.map(fs::remove_file);
        Ok(())
    }

    fn sync_parent(&self, path: &Path) -> Result<(), StoreError> {
        match path.parent().map(|parent| self.sync(parent)) {
            // A later delete has removed the folder.
            Some(Err(error)) if !is_absent(&error) => Err(StoreError::io("syncing a folder")(error)),
            _ => Ok(()),
        }
    }
}

fn unsupported_condition() -> StoreError {
    StoreError::io("writing only if absent")(io::Error::other("this file system cannot rename without replacing"))
}

fn move_aside(plain: &Path) -> Result<(), StoreError> {
    match fs::rename(plain, aside(plain)) {
        Err(error) if !is_absent(&error) => Err(StoreError::io("moving an object aside")(error)),
        _ => fs::create_dir(plain).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound => Ok(()),
            _ => Err(StoreError::io("creating a folder")(error)),
        }),
    }
}

/// Removes an object and the parent folders that become empty.
fn remove(bucket: &Path, key: &EncodedKey) -> Result<(), StoreError> {
    let plain = bucket.join(key.path());
    remove_file(&plain)?;
    remove_file(&aside(&plain))?;
    let mut folder: PathBuf = plain;
    while folder.pop() && folder.as_path() != bucket {
        // The folder is not empty or in use by another process, so it stays.
        if fs::remove_dir(&folder).is_err() {
            break;
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) && !path.is_dir() => Err(StoreError::io("removing an object")(error)),
        _ => Ok(()),
    }
}
