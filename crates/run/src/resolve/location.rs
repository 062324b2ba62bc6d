//! Local paths that keys and variables name.

use std::path::{Path, PathBuf};

use dlio_config::location::local;

use crate::failure::Failure;

/// A local path that a key or a variable names.
///
/// # Errors
/// When it names something else.
pub fn named(name: &str, path: &Path) -> Result<PathBuf, Failure> {
    let Some(text) = path.to_str() else { return Ok(path.to_owned()) };
    local(text).map(PathBuf::from).map_err(|why| Failure::usage(format_args!("{name}: {why}")))
}
