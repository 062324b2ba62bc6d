//! The MPI library of this process, opened at run time: MPI is not needed unless there are several ranks.
//!
//! Invariant: a process uses at most one library, which stays open until the process ends.

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

pub use self::abi::Abi;
pub(super) use self::abi::Handle;
pub(super) use self::functions::{Part, Parts};
pub(super) use self::loaded::Library;
pub use self::loaded::LibraryInfo;
#[cfg(not(feature = "rsmpi"))]
use self::opened::find;
use crate::error::Error;
use crate::launcher::Launcher;

/// The library that this process uses.
static IN_USE: OnceLock<Library> = OnceLock::new();

/// Returns the library in use; `None` if MPI was not started.
pub(super) fn in_use() -> Option<&'static Library> {
    IN_USE.get()
}

/// Opens a library: the file `wanted`, or one that fits the launcher.
///
/// # Errors
/// When no usable library is found; the text names each file with the reason.
pub(super) fn open(wanted: Option<&Path>, launcher: Option<&Launcher>) -> Result<&'static Library, Error> {
    if let Some(library) = IN_USE.get() {
        return Ok(library);
    }
    let library = find(wanted, launcher).map_err(Error::Library)?;
    Ok(IN_USE.get_or_init(|| library))
}

/// Returns the library that would be used, without starting MPI.
///
/// # Errors
/// When no library can be used, like [`super::Mpi::init`].
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
