//! Local paths that users name: in options, keys and variables.

use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};
use dlio_config::location::local;

use crate::exit::Failure;

/// The parser of every option that takes a local path; bytes that are not Unicode are a path like any other.
pub(crate) fn local_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path: PathBuf| match path.to_str() {
        Some(text) => local(text).map(PathBuf::from),
        None => Ok(path),
    })
}

/// A local path that a key or a variable names.
///
/// # Errors
/// When it names something else.
pub(crate) fn named(name: &str, path: &Path) -> Result<PathBuf, Failure> {
    let Some(text) = path.to_str() else { return Ok(path.to_owned()) };
    local(text).map(PathBuf::from).map_err(|why| Failure::usage(format_args!("{name}: {why}")))
}
