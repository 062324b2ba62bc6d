//! Opens an MPI library and identifies it.
#![expect(unsafe_code, reason = "opens a library and looks its symbols up, for which libc has no safe wrapper")]

use std::ffi::{CStr, CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::abi::{Abi, Constants, Handle};
use super::functions::{Calls, Functions, text};
use super::loaded::{Library, LibraryInfo, file_of, first_line};
use super::recognize::{family, recognize};
use super::search;
use crate::launcher::Launcher;
use crate::mpi_family::Family;

/// Opens the file `wanted`, or the first library that fits the launcher.
pub(super) fn find(wanted: Option<&Path>, launcher: Option<&Launcher>) -> Result<Library, String> {
    if let Some(file) = wanted {
        let opened = Opened::new(file).and_then(|opened| opened.belongs_to(launcher).map(|()| opened));
        return opened
            .and_then(Opened::library)
            .map_err(|reason| format!("MPI library {} (--mpi or DLIO_RS_MPI): {reason}", file.display()));
    }
    let families = launcher.map_or(&[Family::OpenMpi, Family::Mpich][..], |launcher| launcher.families);
    let program = launcher.and_then(|_| search::launcher_program());
    let (mut reasons, mut absent) = (Vec::new(), Vec::new());
    for file in search::candidates(families, program.as_deref()) {
        let opened = Opened::new(&file).and_then(|opened| opened.belongs_to(launcher).map(|()| opened));
        match opened.and_then(Opened::library) {
            Ok(library) => return Ok(library),
            Err(reason) if reason.contains("No such file") => absent.push(file.display().to_string()),
            Err(reason) => reasons.push(format!("{}: {reason}", file.display())),
        }
    }
    if !absent.is_empty() {
        reasons.push(format!("not there: {}", absent.join(", ")));
    }
    let starter = launcher.map_or_else(
        || "no MPI launcher was seen".to_owned(),
        |launcher| format!("this process was started by {} ({})", launcher.name, launcher.variables.join(", ")),
    );
    Err(format!(
        "{starter}, and no MPI library that fits was found ({}); install that MPI on this node (apt install openmpi-bin or mpich) or \
         load its module, add the library's folder to LD_LIBRARY_PATH, or name its file with --mpi FILE or DLIO_RS_MPI; \
         DLIO_RS_COMM=solo makes every process a world of its own",
        reasons.join("; ")
    ))
}

/// An open library with its version and ABI.
struct Opened {
    handle: *mut c_void,
    name: CString,
    version: String,
    abi: Abi,
}

impl Opened {
    /// Opens the library without exporting its symbols to other libraries.
    fn new(file: &Path) -> Result<Self, String> {
        let name = CString::new(file.as_os_str().as_bytes()).map_err(|_| "its name holds a zero byte".to_owned())?;
        // SAFETY: the name is a C string; the library's constructors run, as for any linked library.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(other_machine(file).unwrap_or_else(|| loader_error(file)));
        }
        let (version, abi) = identify(handle)?;
        Ok(Self { handle, name, version, abi })
    }

    /// Refuses a library of another MPI family than the launcher's, because every rank would be a world of its own.
    fn belongs_to(&self, launcher: Option<&Launcher>) -> Result<(), String> {
        let Some((launcher, family)) = launcher.zip(family(&self.version)) else { return Ok(()) };
        if launcher.families.contains(&family) {
            return Ok(());
        }
        let wanted = launcher.families.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        Err(format!(
            "it is {:?}, but this process was started by {} ({}), whose ranks need the library of {wanted}: start them with the \
             launcher of this library, or name the library of the launcher with --mpi FILE",
            first_line(&self.version),
            launcher.name,
            launcher.variables.join(", ")
        ))
    }

    /// Takes the library into use: Open MPI's plug-ins look for its symbols in the global scope.
    fn library(self) -> Result<Library, String> {
        // SAFETY: a library that is open; only the scope of its symbols changes.
        let global =
            unsafe { libc::dlopen(self.name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL | libc::RTLD_NOLOAD) };
        if global.is_null() {
            return Err(loader_error(Path::new(&*self.name.to_string_lossy())));
        }
        let address = |name| symbol(self.handle, name);
        // SAFETY: the library reports this ABI, which determines the width of its handles.
        let (calls, constants): (Box<dyn Calls>, _) = unsafe {
            match self.abi {
                Abi::OpenMpi => (Box::new(Functions::<Handle>::load(&address)?), Constants::open_mpi(&address)?),
                Abi::Mpich => (Box::new(Functions::<c_int>::load(&address)?), Constants::MPICH),
                Abi::Standard | Abi::Linked => (Box::new(Functions::<Handle>::load(&address)?), Constants::STANDARD),
            }
        };
        let file = symbol(self.handle, "MPI_Init_thread").ok().and_then(file_of);
        let file = file.unwrap_or_else(|| PathBuf::from(self.name.to_string_lossy().into_owned()));
        let version = first_line(&self.version);
        Ok(Library { info: LibraryInfo { version, file, abi: self.abi }, constants, calls })
    }
}

/// Asks a library for its version and ABI, which is allowed before MPI is initialized.
fn identify(handle: *mut c_void) -> Result<(String, Abi), String> {
    type Version = unsafe extern "C" fn(*mut std::ffi::c_char, *mut c_int) -> c_int;
    type Standard = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
    let version = symbol(handle, "MPI_Get_library_version")
        .map_err(|_| "it is no MPI library of version 3 or later (it has no MPI_Get_library_version)".to_owned())?;
    // SAFETY: every MPI of version 3 or later has this function with these arguments; the buffer has room for the longest text.
    let version = text(|text, len| unsafe { std::mem::transmute::<usize, Version>(version)(text, len) });
    let (mut major, mut minor): (c_int, c_int) = (-1, -1);
    if let Ok(standard) = symbol(handle, "MPI_Abi_get_version") {
        // SAFETY: MPI 5 has this function with these arguments; it may be called before initialization.
        unsafe { std::mem::transmute::<usize, Standard>(standard)(&raw mut major, &raw mut minor) };
    }
    let abi = recognize(&version, major)?;
    Ok((version, abi))
}

/// Returns the address of a symbol.
fn symbol(handle: *mut c_void, name: &'static str) -> Result<usize, String> {
    let c_name = CString::new(name).map_err(|error| error.to_string())?;
    // SAFETY: an open library and a C string.
    let address = unsafe { libc::dlsym(handle, c_name.as_ptr()) };
    if address.is_null() { Err(format!("it has no {name}")) } else { Ok(address.expose_provenance()) }
}

/// Returns the loader's last error in this thread, without the file name, which the message contains anyway.
fn loader_error(file: &Path) -> String {
    // SAFETY: the text is the loader's, valid until the next call in this thread, and copied at once.
    let text = unsafe { libc::dlerror().as_ref().map(|text| CStr::from_ptr(text).to_string_lossy().into_owned()) };
    let text = text.unwrap_or_else(|| "it cannot be opened".to_owned());
    text.strip_prefix(&format!("{}: ", file.display())).unwrap_or(&text).to_owned()
}

/// Explains that a file is a library for another architecture, which the loader reports as a missing file.
fn other_machine(file: &Path) -> Option<String> {
    let theirs = machine(file)?;
    let ours = machine(Path::new("/proc/self/exe"))?;
    (theirs != ours).then(|| {
        format!("it is a library for another kind of machine (ELF machine {}, this program's is {})", theirs.1, ours.1)
    })
}

/// Returns class (32 or 64 bit) and machine number of an ELF file.
fn machine(file: &Path) -> Option<(u8, u16)> {
    use std::io::Read as _;
    let mut head = [0u8; 20];
    std::fs::File::open(file).ok()?.read_exact(&mut head).ok()?;
    head.starts_with(b"\x7fELF").then(|| (head[4], u16::from_ne_bytes([head[18], head[19]])))
}
