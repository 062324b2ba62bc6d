//! An MPI library in use: what it says of itself, its constants and its functions.
#![expect(unsafe_code, reason = "asks the loader for the file of an address, for which libc has no safe wrapper")]

use std::ffi::{CStr, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::abi::{Abi, Constants};
use super::functions::Calls;
use crate::error::Error;

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
pub(in crate::mpi_world) struct Library {
    pub(in crate::mpi_world) info: LibraryInfo,
    pub(in crate::mpi_world) constants: Constants,
    pub(in crate::mpi_world) calls: Box<dyn Calls>,
}

impl Library {
    /// Turns the return code of a call into an error with MPI's words.
    pub(in crate::mpi_world) fn check(&self, call: &str, code: c_int) -> Result<(), Error> {
        if code == 0 {
            return Ok(());
        }
        Err(Error::Library(format!("{call} failed: {}", self.calls.error(code))))
    }
}

/// Name and number; what else stands in the line tells how the library was built.
pub(super) fn first_line(version: &str) -> String {
    let line = version.lines().next().unwrap_or_default();
    let line = line.split(',').next().unwrap_or_default();
    // MPICH's lines are columns with tabs between.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The file of the library that has this address.
pub(super) fn file_of(address: usize) -> Option<PathBuf> {
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
