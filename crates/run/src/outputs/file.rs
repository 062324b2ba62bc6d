//! Output files, which appear under their names only when they are complete.

use std::path::Path;

use dlio_storage::{beside, replace_file};

use crate::failure::Failure;

/// Name of the file of metrics in the output folder.
pub const SUMMARY: &str = "summary.json";

/// Writes a file under a temporary name and renames it.
///
/// # Errors
/// If the file cannot be written.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let write = |temporary: &Path| std::fs::write(temporary, content);
    replace_file(&beside(path, ".tmp"), path, write).map_err(|error| Failure::file("writing", path, &error))
}
