//! Local paths in options.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use dlio_config::location::local;

/// Returns the parser of options that take a local path; paths that are not Unicode are accepted.
pub(crate) fn local_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path: PathBuf| match path.to_str() {
        Some(text) => local(text).map(PathBuf::from),
        None => Ok(path),
    })
}
