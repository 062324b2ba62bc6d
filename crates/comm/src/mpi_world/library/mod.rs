//! The MPI library of this process, opened at run time: nothing of MPI is needed until ranks are.
//!
//! Invariant: at most one library is taken into use in a process, and it stays open until the process ends.

mod abi;
mod functions;
#[cfg(feature = "rsmpi")]
mod linked;
mod loaded;
#[cfg(not(feature = "rsmpi"))]
mod opened;
#[cfg(not(feature = "rsmpi"))]
mod recognize;
#[cfg(not(feature = "rsmpi"))]
mod search;

use std::path::Path;
use std::sync::OnceLock;

pub(super) use self::abi::Handle;
pub use self::abi::{Abi, Family};
pub(super) use self::functions::{Part, Parts};
pub(super) use self::loaded::Library;
pub use self::loaded::LibraryInfo;
#[cfg(not(feature = "rsmpi"))]
use self::opened::find;
use crate::error::Error;
use crate::launcher::Launcher;

/// The one that this process uses.
static IN_USE: OnceLock<Library> = OnceLock::new();

/// The library in use, if MPI was started.
pub(super) fn in_use() -> Option<&'static Library> {
    IN_USE.get()
}

/// Opens a library: the file that `wanted` names, or one that fits the launcher.
///
/// # Errors
/// When there is none, or what there is cannot be used: the text names each file and its reason.
pub(super) fn open(wanted: Option<&Path>, launcher: Option<&Launcher>) -> Result<&'static Library, Error> {
    if let Some(library) = IN_USE.get() {
        return Ok(library);
    }
    let library = find(wanted, launcher).map_err(Error::Library)?;
    Ok(IN_USE.get_or_init(|| library))
}

/// The library that would be used, without starting MPI.
///
/// # Errors
/// As [`super::Mpi::init`] would have for the library.
pub fn look(wanted: Option<&Path>, launcher: Option<&Launcher>) -> Result<LibraryInfo, Error> {
    match IN_USE.get() {
        Some(library) => Ok(library.info.clone()),
        None => find(wanted, launcher).map(|library| library.info).map_err(Error::Library),
    }
}

#[cfg(feature = "rsmpi")]
fn find(wanted: Option<&Path>, _launcher: Option<&Launcher>) -> Result<Library, String> {
    match wanted {
        Some(file) => Err(format!(
            "{}: this program is linked with {} and takes no other MPI library",
            file.display(),
            linked::library()?.info
        )),
        None => linked::library(),
    }
}
