//! The sorted contents of folders, cached as long as the folder does not change, because every page of a listing
//! needs them again.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::files::is_absent;
use super::key_path::{Name, parse};
use crate::clock;

/// The objects and folders directly in one folder, in key order: `name` is an object, `name/` a folder.
pub(super) struct DirectoryListing(Vec<String>);

impl DirectoryListing {
    pub(super) fn entries(&self) -> &[String] {
        &self.0
    }
}

/// Number of cached folders.
const KEPT: usize = 8;
/// A change within one tick of the file system's clock does not alter the modification time. A folder that had not
/// changed for this long when it was read cannot have been changed within the tick of its last change.
const QUIET: Duration = Duration::from_secs(2);

/// The most recently read listings.
#[derive(Default)]
pub(super) struct ListingCache(Mutex<VecDeque<(PathBuf, SystemTime, Arc<DirectoryListing>)>>);

impl ListingCache {
    /// Returns the current listing of a folder; empty if it does not exist.
    pub(super) fn get(&self, folder: &Path) -> io::Result<Arc<DirectoryListing>> {
        let modified = match fs::metadata(folder) {
            Ok(metadata) => metadata.modified()?,
            Err(error) if is_absent(&error) => return Ok(Arc::new(DirectoryListing(Vec::new()))),
            Err(error) => return Err(error),
        };
        let known = |kept: &VecDeque<(PathBuf, SystemTime, Arc<DirectoryListing>)>| {
            let found = kept.iter().find(|(path, when, _)| path == folder && *when == modified);
            found.map(|(_, _, level)| Arc::clone(level))
        };
        if let Some(level) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(level);
        }
        let now = clock::wall();
        let mut entries = Vec::new();
        let mut in_one_folder = true;
        read(folder, "", &mut entries, &mut in_one_folder)?;
        entries.sort_unstable();
        entries.dedup();
        let level = Arc::new(DirectoryListing(entries));
        if in_one_folder && now.duration_since(modified).is_ok_and(|quiet| quiet > QUIET) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|(path, ..)| path != folder);
            kept.push_front((folder.to_path_buf(), modified, Arc::clone(&level)));
            kept.truncate(KEPT);
        }
        Ok(level)
    }
}

/// Reads a folder and the folders in it that continue a long component, which begins with `begun`.
fn read(folder: &Path, begun: &str, entries: &mut Vec<String>, in_one_folder: &mut bool) -> io::Result<()> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in listed {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(name) = parse(&name) else { continue };
        let mut kind = entry.file_type()?;
        if kind.is_symlink() {
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            kind = metadata.file_type();
        }
        match name {
            Name::Component(component) if kind.is_dir() => entries.push(format!("{begun}{component}/")),
            Name::Component(component) | Name::Aside(component) if kind.is_file() => {
                entries.push(format!("{begun}{component}"));
            }
            Name::Continued(piece) if kind.is_dir() => {
                *in_one_folder = false;
                read(&entry.path(), &format!("{begun}{piece}"), entries, in_one_folder)?;
            }
            _ => {}
        }
    }
    Ok(())
}
