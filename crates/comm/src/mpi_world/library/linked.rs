//! The MPI library with which this program is linked, called through rsmpi's bindings.
#![expect(unsafe_code, reason = "reads constants of the library")]

use std::ffi::c_int;

use mpi::ffi;

use super::abi::{Abi, Constants, Handle};
use super::functions::{Calls, Functions, text};
use super::loaded::{Library, LibraryInfo, file_of, first_line};

/// Converts a handle of the headers' type.
fn handle<H: Copy>(handle: H) -> Handle {
    // SAFETY: handles are integers of 32 bits or addresses, in every MPI.
    unsafe {
        if size_of::<H>() == size_of::<u32>() {
            std::mem::transmute_copy::<H, u32>(&handle) as Handle
        } else {
            std::mem::transmute_copy::<H, Handle>(&handle)
        }
    }
}

macro_rules! addresses {
    ($wanted:expr, $($name:ident)*) => {
        match $wanted {
            $(stringify!($name) => Ok(ffi::$name as *const () as usize),)*
            other => Err(format!("the bindings have no {other}")),
        }
    };
}

fn address(name: &'static str) -> Result<usize, String> {
    addresses!(
        name,
        MPI_Init_thread MPI_Initialized MPI_Finalized MPI_Finalize MPI_Abort MPI_Error_string
        MPI_Comm_set_errhandler MPI_Comm_dup MPI_Comm_split MPI_Comm_split_type MPI_Comm_free MPI_Comm_rank
        MPI_Comm_size MPI_Iprobe MPI_Isend MPI_Recv MPI_Test MPI_Ibarrier MPI_Ibcast MPI_Iallgather MPI_Iallgatherv
    )
}

/// Returns the linked library.
pub(super) fn library() -> Result<Library, String> {
    // SAFETY: constants of the library; the functions are those of the headers, and have handles of their width.
    let (constants, calls): (Constants, Box<dyn Calls>) = unsafe {
        let constants = Constants {
            comm_world: handle(ffi::RSMPI_COMM_WORLD),
            comm_null: handle(ffi::RSMPI_COMM_NULL),
            byte: handle(ffi::RSMPI_UINT8_T),
            info_null: handle(ffi::RSMPI_INFO_NULL),
            errors_return: handle(ffi::RSMPI_ERRORS_RETURN),
            request_null: handle(ffi::RSMPI_REQUEST_NULL),
            status_ignore: handle(ffi::RSMPI_STATUS_IGNORE),
            any_source: ffi::RSMPI_ANY_SOURCE,
            any_tag: ffi::RSMPI_ANY_TAG,
            type_shared: ffi::RSMPI_COMM_TYPE_SHARED,
            funneled: ffi::RSMPI_THREAD_FUNNELED,
        };
        if size_of::<ffi::MPI_Comm>() == size_of::<c_int>() {
            (constants, Box::new(Functions::<c_int>::load(&address)?))
        } else {
            (constants, Box::new(Functions::<Handle>::load(&address)?))
        }
    };
    // SAFETY: the buffer has room for the longest text.
    let version = text(|bytes, len| unsafe { ffi::MPI_Get_library_version(bytes, len) });
    let file = address("MPI_Init_thread").ok().and_then(file_of).unwrap_or_default();
    Ok(Library { info: LibraryInfo { version: first_line(&version), file, abi: Abi::Linked }, constants, calls })
}
