//! Putting a finished file under its key, and taking it away, while other processes do the same.
//!
//! Every step is one atomic system call; when it fails because somebody was faster, the situation is looked at again.
//! An object has two possible places, its plain path and the one aside. It moves from the first to the second only
//! when a folder needs its name; whoever overwrites it writes where it is. Readers look in that order, deletes too, so
//! that neither misses it on its way. Folders are made by one process at a time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::escape::{Escaped, aside};
use super::{Directory, require_bucket};
use crate::vault::{Condition, Deletion, Fault};

/// How often somebody else may get in between before we give up.
const TRIES: u32 = 32;

impl Directory {
    /// Renames a finished draft to the object's place.
    pub(super) fn place(&self, draft: &Path, bucket: &str, key: &Escaped, condition: &Condition) -> Result<(), Fault> {
        let aside = self.aside(bucket, key);
        self.place_if(draft, &self.bucket(bucket), key, condition)?;
        // What was kept beside the version before is of no use any more.
        let _ = aside.map(fs::remove_file);
        Ok(())
    }

    fn place_if(&self, draft: &Path, bucket: &Path, key: &Escaped, condition: &Condition) -> Result<(), Fault> {
        let flags = if condition.is_absent() { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
        // The kernel refuses to replace what must be absent; other conditions hold among those who wait for their turn.
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
                // The folder that was in the way is gone.
                Err(Errno::ISDIR | Errno::NOTEMPTY) => {}
                Err(Errno::EXIST) => return Err(Fault::Condition),
                Err(Errno::INVAL) if !flags.is_empty() => return Err(unsupported_condition()),
                Err(errno) => return Err(Fault::io("renaming an object into place")(errno.into())),
            }
        }
        Err(Fault::io("renaming an object into place")(io::Error::other("too many concurrent changes of its folder")))
    }

    /// Makes the folders of a key; an object that has the name of one is moved aside.
    fn make_folders(&self, bucket: &Path, key: &Escaped) -> Result<(), Fault> {
        let _turn = self.turn()?;
        let mut folder = bucket.to_path_buf();
        for name in key.folders() {
            let parent = folder.clone();
            folder.push(name);
            match fs::create_dir(&folder) {
                Ok(()) => self.sync(&parent).map_err(Fault::io("creating a folder"))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if folder.is_file() {
                        move_aside(&folder)?;
                    }
                }
                // The folder above was removed meanwhile; the caller comes back.
                Err(error) if super::is_absent(&error) => return Ok(()),
                Err(error) => return Err(Fault::io("creating a folder")(error)),
            }
        }
        Ok(())
    }

    /// Puts the object beside the folder that has its name; `false` when the folder above both is gone.
    fn place_aside(&self, draft: &Path, plain: &Path, flags: RenameFlags) -> Result<bool, Fault> {
        let _turn = self.turn()?;
        let aside = aside(plain);
        match renameat_with(CWD, draft, CWD, &aside, flags) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(Errno::EXIST) => return Err(Fault::Condition),
            Err(errno) => return Err(Fault::io("renaming an object into place")(errno.into())),
        }
        // Somebody removed the folder and wrote the object under its plain name meanwhile, where readers look first.
        if plain.is_file() {
            match renameat_with(CWD, &aside, CWD, plain, RenameFlags::empty()) {
                // The folder is back, or whoever wrote last has tidied up.
                Ok(()) | Err(Errno::ISDIR | Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(Fault::io("renaming an object into place")(errno.into())),
            }
        }
        Ok(true)
    }

    /// Waits until nobody else rearranges the places of objects and folders; until the file is dropped. Without it,
    /// moving an object aside could catch a folder that was put in its place meanwhile, or overwrite a newer version.
    /// On a file system without locks, keys such as `a` and `a/b` must not be written at the same time.
    pub(super) fn turn(&self) -> Result<File, Fault> {
        let turn = File::open(self.lock_path()).map_err(Fault::io("opening the lock file"))?;
        let _ = turn.lock();
        Ok(turn)
    }

    /// Waits until nobody else checks a condition and acts on it; until the file is dropped. It is another lock than
    /// [`Directory::turn`], which is taken while this one is held.
    fn conditional_turn(&self) -> Result<File, Fault> {
        let path = self.lock_path().with_extension("conditions");
        let turn = File::options().create(true).append(true).open(path);
        let turn = turn.map_err(Fault::io("opening the lock file of conditional writes"))?;
        let _ = turn.lock();
        Ok(turn)
    }

    /// Removes an object, if it is as expected.
    pub(super) fn remove(&self, bucket: &str, deletion: &Deletion) -> Result<(), Fault> {
        let (folder, key) = (self.bucket(bucket), Escaped::new(&deletion.key));
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

    fn sync_parent(&self, path: &Path) -> Result<(), Fault> {
        match path.parent().map(|parent| self.sync(parent)) {
            // A later delete took the folder away.
            Some(Err(error)) if !super::is_absent(&error) => Err(Fault::io("syncing a folder")(error)),
            _ => Ok(()),
        }
    }
}

fn unsupported_condition() -> Fault {
    Fault::io("writing only if absent")(io::Error::other("this file system cannot rename without replacing"))
}

fn move_aside(plain: &Path) -> Result<(), Fault> {
    match fs::rename(plain, aside(plain)) {
        Err(error) if !super::is_absent(&error) => Err(Fault::io("moving an object aside")(error)),
        _ => fs::create_dir(plain).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound => Ok(()),
            _ => Err(Fault::io("creating a folder")(error)),
        }),
    }
}

/// Removes an object, and the folders above it that it leaves empty.
fn remove(bucket: &Path, key: &Escaped) -> Result<(), Fault> {
    let plain = bucket.join(key.path());
    remove_file(&plain)?;
    remove_file(&aside(&plain))?;
    let mut folder: PathBuf = plain;
    while folder.pop() && folder.as_path() != bucket {
        // Not empty, or in use by somebody else: it stays.
        if fs::remove_dir(&folder).is_err() {
            break;
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if !super::is_absent(&error) && !path.is_dir() => Err(Fault::io("removing an object")(error)),
        _ => Ok(()),
    }
}
