//! Names of output folders that are still free: `out`, `out-2`, `out-3`, …

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::{Code, Failure};

/// Maximum number of folder names that are tried for one time stamp.
pub(super) const NAMES_MAX: u32 = 100_000;

/// Returns the name number `number`, from 1, for a folder.
pub(super) fn numbered(folder: &Path, number: u32) -> PathBuf {
    if number == 1 {
        return folder.to_owned();
    }
    let mut name: OsString = folder.as_os_str().to_owned();
    name.push(format!("-{number}"));
    PathBuf::from(name)
}

/// Returns the failure for a folder of which every number is taken.
pub(super) fn no_name_left(folder: &Path) -> Failure {
    Failure::new(
        Code::Storage,
        format_args!("{0} and {0}-2, -3, … exist already: give a folder with --output", folder.display()),
    )
}
