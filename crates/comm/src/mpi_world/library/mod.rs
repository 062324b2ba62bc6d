//! The MPI library of this process, opened at run time: nothing of MPI is needed until ranks are.
//!
//! Invariant: at most one library is taken into use in a process, and it stays open until the process ends.
#![expect(unsafe_code, reason = "asks the loader for the file of an address, for which libc has no safe wrapper")]

mod abi;
mod functions;
#[cfg(feature = "rsmpi")]
mod linked;
#[cfg(not(feature = "rsmpi"))]
mod opened;
#[cfg(not(feature = "rsmpi"))]
mod recognize;
#[cfg(not(feature = "rsmpi"))]
mod search;

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use self::abi::{Abi, Family};
pub(super) use self::abi::{Constants, Handle};
pub(super) use self::functions::{Calls, Part, Parts};
#[cfg(not(feature = "rsmpi"))]
use self::opened::find;
use crate::Error;
use crate::launcher::Launcher;

/// Which MPI library a process uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryInfo {
    /// The first line of what it says of itself.
    pub version: String,
    /// Its file, as the loader has found it.
    pub file: PathBuf,
    /// Its binary interface.
    pub abi: Abi,
}

impl std::fmt::Display for LibraryInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {})", self.version, self.file.display(), self.abi)
    }
}

/// A library in use.
pub(super) struct Library {
    pub(super) info: LibraryInfo,
    pub(super) constants: Constants,
    pub(super) calls: Box<dyn Calls>,
}

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

/// Name and number; what else stands in the line tells how the library was built.
fn first_line(version: &str) -> String {
    let line = version.lines().next().unwrap_or_default();
    let line = line.split(',').next().unwrap_or_default();
    // MPICH's lines are columns with tabs between.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The file of the library that has this address.
fn file_of(address: usize) -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: any address may be asked for; the loader fills what it knows, zero is valid for the rest.
    let info = unsafe {
        if libc::dladdr(std::ptr::with_exposed_provenance(address), info.as_mut_ptr()) == 0 {
            return None;
        }
        info.assume_init()
    };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a C string of the loader, which lives as long as the library is open.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    let file = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    Some(file.canonicalize().unwrap_or(file))
}
