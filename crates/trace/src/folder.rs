//! Names of the files in a trace folder.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Returns the name of a rank's trace: `rank-00012.parquet`.
#[must_use]
pub fn file_name(rank: u32) -> String {
    format!("rank-{rank:05}.parquet")
}

/// Returns the paths of the traces in a folder, sorted by name, without opening them.
///
/// # Errors
/// [`Error::Read`].
pub fn list_dir(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    files_named(folder, |name| name.starts_with("rank-") && name.ends_with(".parquet"))
}

/// Returns the files of a folder whose names satisfy `wanted`, sorted by name.
pub(crate) fn files_named(folder: &Path, wanted: fn(&str) -> bool) -> Result<Vec<PathBuf>, Error> {
    let read_error = |source| Error::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read_error)? {
        let file = entry.map_err(read_error)?.path();
        if file.file_name().and_then(|name| name.to_str()).is_some_and(wanted) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
