//! Walking a tree of folders in key order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dlio_event::{OpKind, TimeSource};

use super::task::Task;
use super::write::is_temporary;
use crate::key::check_key;
use crate::{Error, ErrorKind, Found, Receipt};

/// Entries per page: what an S3 listing gives.
const PAGE: usize = 1000;

/// One listing while it runs.
pub(super) struct Walk<'a> {
    pub(super) root: &'a Path,
    pub(super) time: &'a dyn TimeSource,
    pub(super) prefix: &'a str,
    pub(super) page: &'a mut dyn FnMut(&[Found]),
}

/// A folder to visit, or a file to report; ordered by key, where a folder's key ends with `/`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: String,
    folder: bool,
}

impl Walk<'_> {
    /// Passes every file below the root whose key starts with the prefix to `page`.
    ///
    /// Sorting each folder by `name` for files and `name/` for folders, and visiting depth first, gives the byte
    /// order of the keys, which is the order in which S3 lists.
    pub(super) fn run(self) -> Result<Receipt, Error> {
        let mut task = Task::new(self.time, "listing");
        let start = match self.prefix.rsplit_once('/') {
            Some((folder, _)) => {
                if let Err(message) = check_key(folder) {
                    let path = self.root.join(folder.trim_start_matches('/'));
                    return Err(task.refused(&path, None, ErrorKind::Invalid, message));
                }
                format!("{folder}/")
            }
            None => String::new(),
        };
        let mut waiting = vec![Entry { key: start, folder: true }];
        let mut found = Vec::new();
        while let Some(entry) = waiting.pop() {
            if entry.folder {
                let path = self.root.join(&entry.key);
                let mut inside = match task.step(OpKind::List, || self.folder(&path, &entry.key)) {
                    Ok(inside) => inside,
                    // No such folder means no such keys, as on S3; but a root must be there.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => continue,
                    Err(error) if error.kind() == io::ErrorKind::NotADirectory && self.root.is_dir() => continue,
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        return Err(task.refused(&path, None, ErrorKind::Invalid, error.to_string()));
                    }
                    Err(error) => return Err(task.failed(&path, None, &error)),
                };
                inside.sort_unstable_by(|a, b| b.cmp(a));
                waiting.append(&mut inside);
                continue;
            }
            let path = self.root.join(&entry.key);
            match fs::metadata(&path) {
                // Neither a FIFO nor a socket can be read as an object.
                Ok(metadata) if !metadata.is_file() => {}
                Ok(metadata) => found.push(Found { key: entry.key, size: metadata.len() }),
                // Removed meanwhile, or a link to nowhere.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(task.failed(&path, None, &error)),
            }
            if found.len() == PAGE {
                (self.page)(&found);
                found.clear();
            }
        }
        if !found.is_empty() {
            (self.page)(&found);
        }
        Ok(Receipt { bytes: 0, attempts: task.done() })
    }

    fn folder(&self, path: &PathBuf, key: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let text =
                    format!("the name of {} is not UTF-8, so it cannot be a key; rename it", entry.path().display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            };
            let kind = entry.file_type()?;
            let folder = if kind.is_symlink() { entry.path().is_dir() } else { kind.is_dir() };
            let key = if folder { format!("{key}{name}/") } else { format!("{key}{name}") };
            let matches = key.starts_with(self.prefix) || (folder && self.prefix.starts_with(&key));
            if matches && (folder || !is_temporary(name)) {
                entries.push(Entry { key, folder });
            }
        }
        Ok(entries)
    }
}
