//! A lock file: created exclusively with its whole content, and taken over if its owner is provably gone. It does not
//! need `flock`, which many parallel and network file systems lack.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dlio_storage::process::process_state;

use super::owner::{Owner, OwnerState};

/// Number of attempts if the lock file disappears while it is being read.
const TRIES: u32 = 20;
/// Maximum depth of nested lock files of processes that died while they took over another lock.
const DEPTH: u32 = 3;

/// A held lock, whose file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    owner: Owner,
}

/// Reason why a lock was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The owner is alive.
    Held(Box<Owner>),
    /// Whether the owner is alive cannot be determined from here.
    Unknown(Box<Owner>),
    /// The file names no owner that this version understands.
    Unreadable,
    /// The folder cannot be written.
    Io(io::Error),
}

impl Lock {
    /// Takes the lock `path` for `owner`. Also returns the previous owner if the lock was taken over.
    ///
    /// # Errors
    /// If another process has or may have the lock, or the folder cannot be written.
    pub(super) fn take(path: &Path, owner: &Owner) -> Result<(Self, Option<Owner>), Refusal> {
        take(path, owner, DEPTH)
    }

    /// Value that identifies this lock among all others.
    pub(super) fn token(&self) -> &str {
        &self.owner.token
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If a user removed the file by hand, another run may have the folder by now.
        if matches!(read(&self.path), Ok(Some(found)) if found.token == self.owner.token) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Checks that nobody holds the lock `path`, as far as can be determined from here.
///
/// # Errors
/// The same as those of [`Lock::take`].
pub(super) fn check(path: &Path, here: &Owner) -> Result<(), Refusal> {
    match read(path) {
        Ok(None) => Ok(()),
        // There is no lock if the folder is a file.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(()),
        Ok(Some(owner)) => gone(owner, here).map(drop),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Refusal::Unreadable),
        Err(error) => Err(Refusal::Io(error)),
    }
}

/// Returns the owner if it is provably gone.
fn gone(owner: Owner, here: &Owner) -> Result<Owner, Refusal> {
    match owner.fate(here, process_state) {
        OwnerState::Gone => Ok(owner),
        OwnerState::Alive => Err(Refusal::Held(Box::new(owner))),
        OwnerState::Unknown => Err(Refusal::Unknown(Box::new(owner))),
    }
}

fn take(path: &Path, owner: &Owner, depth: u32) -> Result<(Lock, Option<Owner>), Refusal> {
    let mut taken_over = None;
    for _ in 0..TRIES {
        if create(path, owner).map_err(Refusal::Io)? {
            return Ok((Lock { path: path.to_owned(), owner: owner.clone() }, taken_over));
        }
        let found = match read(path) {
            Ok(Some(found)) => gone(found, owner)?,
            // The file was removed in the meantime.
            Ok(None) => continue,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(Refusal::Unreadable),
            Err(error) => return Err(Refusal::Io(error)),
        };
        let Some(deeper) = depth.checked_sub(1) else { return Err(Refusal::Unknown(Box::new(found))) };
        // Of several processes that find the same stale lock, only the holder of this second lock may remove it. Later
        // processes find another token.
        let mut name = path.as_os_str().to_owned();
        name.push(".takeover");
        let (_takeover, _) = take(Path::new(&name), owner, deeper)?;
        if matches!(read(path), Ok(Some(again)) if again.token == found.token) {
            fs::remove_file(path).map_err(Refusal::Io)?;
            taken_over = Some(found);
        }
    }
    Err(Refusal::Unreadable)
}

/// Reads the owner from a lock file; `None` if there is no such file.
fn read(path: &Path) -> io::Result<Option<Owner>> {
    match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates the file with its whole content unless it exists: with a hard link to a complete file, else with a rename
/// that replaces nothing, else, on file systems that have neither, with an exclusive creation.
fn create(path: &Path, owner: &Owner) -> io::Result<bool> {
    let content = format!("{}\n", serde_json::to_string_pretty(owner)?);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique: String = owner.token.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let temporary = path.with_file_name(format!(".{name}.{unique}"));
    write_new(&temporary, &content)?;
    let created = [by_link, by_rename].into_iter().find_map(|way| match way(&temporary, path) {
        Ok(()) => Some(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(false),
        // A network file system may report an error for an operation that succeeded.
        Err(_) if matches!(read(path), Ok(Some(found)) if found.token == owner.token) => Some(true),
        Err(_) => None,
    });
    let created = created.map_or_else(
        || match write_new(path, &content) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        },
        Ok,
    );
    let _ = fs::remove_file(&temporary);
    created
}

fn by_link(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(temporary, path)
}

fn by_rename(temporary: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE)?)
}

/// Creates a file that must not exist. An incomplete file is removed.
fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).open(path)?;
    file.write_all(content.as_bytes()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner::this_process(&["dlio-rs".to_owned()], "2026-01-01T00:00:00", None)
    }

    /// No process has an id above the kernel's maximum.
    fn dead() -> Owner {
        Owner { pid: i32::MAX, token: "dead".to_owned(), ..owner() }
    }

    fn plant(path: &Path, owner: &Owner) {
        fs::write(path, serde_json::to_string(owner).unwrap()).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_second_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        let (lock, over) = Lock::take(&path, &owner()).unwrap();
        assert_eq!((names(folder.path()), over), (vec!["run.lock".to_owned()], None));
        assert!(matches!(Lock::take(&path, &owner()), Err(Refusal::Held(found)) if found.token == lock.token()));
        assert!(matches!(check(&path, &owner()), Err(Refusal::Held(_))));
        drop(lock);
        assert!(names(folder.path()).is_empty());
        assert!(check(&path, &owner()).is_ok());
        assert!(Lock::take(&path, &owner()).is_ok());
    }

    #[test]
    fn a_lock_whose_owner_is_gone_is_taken_over_also_when_a_taker_died() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        plant(&path, &dead());
        plant(&folder.path().join("run.lock.takeover"), &Owner { token: "taker".to_owned(), ..dead() });
        let (lock, over) = Lock::take(&path, &owner()).unwrap();
        assert_eq!(over, Some(dead()));
        assert_eq!(names(folder.path()), ["run.lock"]);
        drop(lock);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn of_many_takers_one_gets_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        plant(&path, &dead());
        let held: Vec<Lock> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..8).map(|_| scope.spawn(|| Lock::take(&path, &owner()))).collect();
            takers.into_iter().filter_map(|taker| Some(taker.join().unwrap().ok()?.0)).collect()
        });
        assert_eq!(held.len(), 1);
        assert_eq!(read(&path).unwrap().unwrap().token, held[0].token());
        drop(held);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn another_host_s_lock_and_a_file_that_is_none_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        plant(&path, &Owner { boot_id: Some("other".to_owned()), ..dead() });
        assert!(matches!(Lock::take(&path, &owner()), Err(Refusal::Unknown(_))));
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Lock::take(&path, &owner()), Err(Refusal::Unreadable)));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_lock_that_was_given_to_another_is_left_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        let (lock, _) = Lock::take(&path, &owner()).unwrap();
        fs::remove_file(&path).unwrap();
        let (other, _) = Lock::take(&path, &owner()).unwrap();
        drop(lock);
        assert_eq!(read(&path).unwrap().unwrap().token, other.token());
    }

    #[test]
    fn no_way_of_creation_replaces_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        for refused in [by_link(&from, &to), by_rename(&from, &to), write_new(&to, "new")] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&to).unwrap(), b"old");
        fs::remove_file(&to).unwrap();
        by_rename(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }
}
