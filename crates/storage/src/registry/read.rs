//! Reads the registry.

use std::fs;
use std::io;
use std::path::Path;

use super::announcement::{Announcement, EXTENSION, FORMAT};
use super::error::Error;
use super::files::{failed, read_json};
use super::key_pair::{CREDENTIALS, KeyPair};
use super::owner::{Liveness, liveness};
use crate::process::ProcessScope;

/// The contents of a registry directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// Endpoints in the order of their file names: by rank, then by number within the rank.
    pub endpoints: Vec<Announcement>,
    /// Key pair that the servers generated, if any.
    pub credentials: Option<KeyPair>,
    /// Stale files; their endpoints are not listed.
    pub stale: Vec<Stale>,
    /// Files that are being written.
    pub pending: Vec<String>,
}

/// An announcement whose server is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// File name.
    pub name: String,
    /// Evidence that the server has ended.
    pub reason: String,
}

/// Reads the current announcements. A directory that does not exist is an empty registry. Servers on other machines
/// are assumed to run.
///
/// # Errors
/// When the directory or one of its files cannot be read.
pub fn read(dir: &Path) -> Result<Registry, Error> {
    let (mut registry, here) = (Registry::default(), ProcessScope::now());
    for name in announcements(dir)? {
        match read_announcement(&dir.join(&name)) {
            Ok(Some(announcement)) => match liveness(&announcement, &here) {
                Liveness::Dead(reason) => registry.stale.push(Stale { name, reason }),
                _ => registry.endpoints.push(announcement),
            },
            // The file was removed between listing and reading.
            Ok(None) => {}
            // On file systems without hard links, files are written in place.
            Err(Error::Content { source, .. }) if source.is_eof() => registry.pending.push(name),
            Err(error) => return Err(error),
        }
    }
    registry.credentials = read_json(&dir.join(CREDENTIALS))?;
    Ok(registry)
}

fn announcements(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("listing", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let Ok(name) = entry.map_err(failed("listing", dir))?.file_name().into_string() else { continue };
        if name.strip_suffix(EXTENSION).is_some_and(|stem| stem.starts_with("endpoint-")) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Reads an announcement; `None` if the file does not exist.
pub(super) fn read_announcement(path: &Path) -> Result<Option<Announcement>, Error> {
    let Some(read) = read_json::<Announcement>(path)? else { return Ok(None) };
    if read.format > FORMAT {
        return Err(Error::Format { path: path.to_path_buf(), found: read.format, known: FORMAT });
    }
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Some(Announcement { file_name, ..read }))
}
