//! Listing a tree of folders in key order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dlio_event::{OpKind, TimeSource};

use super::operation::Operation;
use super::temporary::is_temporary;
use crate::key::check_key;
use crate::{Error, ErrorKind, ListEntry, Receipt};

/// Entries per page, as in S3 listings.
const PAGE: usize = 1000;

/// A listing in progress.
pub(super) struct Walk<'a> {
    pub(super) root: &'a Path,
    pub(super) time: &'a dyn TimeSource,
    pub(super) prefix: &'a str,
    pub(super) page: &'a mut dyn FnMut(&[ListEntry]),
}

/// A folder to visit, or a file to report; ordered by key, where a folder's key ends with `/`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: String,
    folder: bool,
}

impl Walk<'_> {
    /// Passes every file below the root whose key starts with the prefix to the callback `page`.
    ///
    /// Sorting each folder by `name` for files and `name/` for folders, and visiting depth first, gives the byte
    /// order of the keys, which is the order in which S3 lists.
    pub(super) fn run(self) -> Result<Receipt, Error> {
        let mut operation = Operation::new(self.time, "listing");
        let start = match self.prefix.rsplit_once('/') {
            Some((folder, _)) => {
                if let Err(message) = check_key(folder) {
                    let path = self.root.join(folder.trim_start_matches('/'));
                    return Err(operation.refused(&path, None, ErrorKind::Invalid, message));
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
                let mut inside = match operation.step(OpKind::List, || self.folder(&path, &entry.key)) {
                    Ok(inside) => inside,
                    // A missing folder means that no key has the prefix, as on S3; a missing root is an error.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => continue,
                    Err(error) if error.kind() == io::ErrorKind::NotADirectory && self.root.is_dir() => continue,
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        return Err(operation.refused(&path, None, ErrorKind::Invalid, error.to_string()));
                    }
                    Err(error) => return Err(operation.failed(&path, None, &error)),
                };
                inside.sort_unstable_by(|a, b| b.cmp(a));
                waiting.append(&mut inside);
                continue;
            }
            let path = self.root.join(&entry.key);
            match fs::metadata(&path) {
                // FIFOs and sockets cannot be read as objects.
                Ok(metadata) if !metadata.is_file() => {}
                Ok(metadata) => found.push(ListEntry { key: entry.key, size: metadata.len() }),
                // The file was removed during the listing, or the entry is a dangling symbolic link.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(operation.failed(&path, None, &error)),
            }
            if found.len() == PAGE {
                (self.page)(&found);
                found.clear();
            }
        }
        if !found.is_empty() {
            (self.page)(&found);
        }
        Ok(Receipt { bytes: 0, attempts: operation.done() })
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
