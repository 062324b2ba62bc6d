//! Local paths that users name as options.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use dlio_config::location::local;

/// The parser of every option that takes a local path; bytes that are not Unicode are a path like any other.
pub(crate) fn local_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path: PathBuf| match path.to_str() {
        Some(text) => local(text).map(PathBuf::from),
        None => Ok(path),
    })
}
