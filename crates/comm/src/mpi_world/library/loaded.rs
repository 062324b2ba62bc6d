//! An MPI library in use: its version, its constants and its functions.
#![expect(unsafe_code, reason = "asks the loader for the file of an address, for which libc has no safe wrapper")]

use std::ffi::{CStr, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::abi::{Abi, Constants};
use super::functions::Calls;
use crate::error::Error;

/// Identifies the MPI library of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryInfo {
    /// First line of its version text.
    pub version: String,
    /// Its file, as found by the dynamic loader.
    pub file: PathBuf,
    /// Its binary interface.
    pub abi: Abi,
}

impl std::fmt::Display for LibraryInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {})", self.version, self.file.display(), self.abi)
    }
}

/// An MPI library in use.
pub(crate) struct Library {
    pub(crate) info: LibraryInfo,
    pub(crate) constants: Constants,
    pub(crate) calls: Box<dyn Calls>,
}

impl Library {
    /// Converts the return code of a call into an error with MPI's message.
    pub(crate) fn check(&self, call: &str, code: c_int) -> Result<(), Error> {
        if code == 0 {
            return Ok(());
        }
        Err(Error::Library(format!("{call} failed: {}", self.calls.error(code))))
    }
}

/// Returns name and version; the rest of the line describes how the library was built.
pub(super) fn first_line(version: &str) -> String {
    let line = version.lines().next().unwrap_or_default();
    let line = line.split(',').next().unwrap_or_default();
    // MPICH's lines are columns separated by tabs.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the file of the library that contains this address.
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
