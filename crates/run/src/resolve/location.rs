//! Local paths in keys and variables.

use std::path::{Path, PathBuf};

use dlio_config::location::local;

use crate::failure::Failure;

/// Parses a local path in a key or a variable.
///
/// # Errors
/// The value is a URI of another scheme.
pub fn named(name: &str, path: &Path) -> Result<PathBuf, Failure> {
    let Some(text) = path.to_str() else { return Ok(path.to_owned()) };
    local(text).map(PathBuf::from).map_err(|why| Failure::usage(format_args!("{name}: {why}")))
}
