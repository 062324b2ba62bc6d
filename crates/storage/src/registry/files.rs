//! Registry files: reads them whole, and creates them whole, exclusively and synced.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::error::Error;
use crate::random::random_hex;

/// Reads a file; opening a pipe in the directory must not block the reader.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file; remove it"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a JSON file; `None` if it does not exist.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match read_file(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|source| content_error(path, source)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", path)(error)),
    }
}

/// Writes a synced file with exactly this mode, under a name that readers ignore.
fn write_draft(dir: &Path, text: &[u8], mode: u32) -> Result<PathBuf, Error> {
    let path = dir.join(format!(".draft-{}", random_hex::<8>().map_err(Error::Random)?));
    let write = || {
        fs::create_dir_all(dir)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text)?;
        file.sync_all()
    };
    write().map_err(failed("writing", &path))?;
    Ok(path)
}

/// Makes a complete file appear under its name; returns `false` if the name exists.
pub(super) fn publish(dir: &Path, path: &Path, text: &[u8], mode: u32) -> Result<bool, Error> {
    let draft = write_draft(dir, text, mode)?;
    // Unlike a rename, a link fails if another process was first.
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if cannot_link(&error) => write_in_place(path, text, mode),
        linked => linked,
    };
    fs::remove_file(&draft).map_err(failed("removing", &draft))?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed("writing", path)(error)),
    }
}

/// Returns whether the file system has no hard links, like some FUSE and most SMB file systems.
fn cannot_link(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK))
}

/// Writes the file in place. Readers treat a file that ends early as one that is being written.
fn write_in_place(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

pub(super) fn sync(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("syncing", dir))
}

pub(super) fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File { doing, path: path.clone(), source }
}

pub(super) fn content_error(path: &Path, source: serde_json::Error) -> Error {
    Error::Content { path: path.to_path_buf(), source }
}
