//! The MPI calls that are used, with their errors as values. Buffers never outlive the call that lends them: each
//! function waits for its own request.
#![expect(unsafe_code, reason = "rsmpi's safe layer drops MPI's return codes, so the calls are made through mpi::ffi")]

use std::ffi::{c_int, c_void};

use mpi::ffi;

use super::wait;
use crate::Error;

/// A communicator that is freed when dropped; it must go before the library is finalized.
pub(super) struct Comm(ffi::MPI_Comm);

/// Turns a return code into an error with MPI's words.
pub(super) fn check(call: &str, code: c_int) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    let mut text = [0u8; 512];
    let mut len: c_int = 0;
    // SAFETY: MPI_MAX_ERROR_STRING is at most 512 in Open MPI (256) and MPICH (512); `len` is set to what was written.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &raw mut len) };
    let len = usize::try_from(len).unwrap_or(0).min(text.len());
    Err(Error::Library(format!("{call} failed: {}", String::from_utf8_lossy(&text[..len]))))
}

fn count(len: usize) -> Result<c_int, Error> {
    c_int::try_from(len).map_err(|_| Error::Library(format!("{len} elements are more than one MPI call can move")))
}

/// Polls `request` until it is done.
fn complete(call: &str, mut request: ffi::MPI_Request) -> Result<(), Error> {
    wait::until(|| {
        let mut flag: c_int = 0;
        // SAFETY: the request is an active one of this thread, or null after completion.
        check(call, unsafe { ffi::MPI_Test(&raw mut request, &raw mut flag, ffi::RSMPI_STATUS_IGNORE) })?;
        Ok(flag != 0)
    })
}

/// Version text of the MPI library.
pub(super) fn library() -> String {
    // SAFETY: a constant of the library.
    let max = usize::try_from(unsafe { ffi::RSMPI_MAX_LIBRARY_VERSION_STRING }).unwrap_or(0);
    let mut text = vec![0u8; max + 1];
    let mut len: c_int = 0;
    // SAFETY: the buffer has room for the longest text.
    unsafe { ffi::MPI_Get_library_version(text.as_mut_ptr().cast(), &raw mut len) };
    text.truncate(usize::try_from(len).unwrap_or(0));
    String::from_utf8_lossy(&text).trim_end_matches(['\0', '\n']).lines().next().unwrap_or_default().to_owned()
}

impl Comm {
    /// A copy of the world, so that nobody else's messages meet ours, with errors returned.
    pub(super) fn world() -> Result<Self, Error> {
        // SAFETY: the library is initialized (the caller holds its `Universe`), and `comm` is writable.
        unsafe {
            let mut comm = ffi::RSMPI_COMM_NULL;
            let code = ffi::MPI_Comm_set_errhandler(ffi::RSMPI_COMM_WORLD, ffi::RSMPI_ERRORS_RETURN);
            check("MPI_Comm_set_errhandler", code)?;
            check("MPI_Comm_dup", ffi::MPI_Comm_dup(ffi::RSMPI_COMM_WORLD, &raw mut comm))?;
            check("MPI_Comm_set_errhandler", ffi::MPI_Comm_set_errhandler(comm, ffi::RSMPI_ERRORS_RETURN))?;
            Ok(Self(comm))
        }
    }

    /// The ranks that share this rank's memory, in the order of their ranks here.
    pub(super) fn node(&self) -> Result<Self, Error> {
        let key = c_int::try_from(self.rank()?).unwrap_or(0);
        // SAFETY: collective on a valid communicator; `comm` is writable.
        unsafe {
            let mut comm = ffi::RSMPI_COMM_NULL;
            let kind = ffi::RSMPI_COMM_TYPE_SHARED;
            let code = ffi::MPI_Comm_split_type(self.0, kind, key, ffi::RSMPI_INFO_NULL, &raw mut comm);
            check("MPI_Comm_split_type", code)?;
            Ok(Self(comm))
        }
    }

    /// The ranks that pass the same number, in the order of their ranks here.
    pub(super) fn split(&self, color: u32) -> Result<Self, Error> {
        let key = c_int::try_from(self.rank()?).unwrap_or(0);
        // SAFETY: collective on a valid communicator; `comm` is writable.
        unsafe {
            let mut comm = ffi::RSMPI_COMM_NULL;
            let color = c_int::try_from(color).unwrap_or(0);
            check("MPI_Comm_split", ffi::MPI_Comm_split(self.0, color, key, &raw mut comm))?;
            Ok(Self(comm))
        }
    }

    /// The handle, for calls outside this module.
    pub(super) fn raw(&self) -> ffi::MPI_Comm {
        self.0
    }

    /// Lets the library move messages on.
    pub(super) fn progress(&self) -> Result<(), Error> {
        let mut flag: c_int = 0;
        // SAFETY: a valid communicator and a writable integer; no message is received.
        check("MPI_Iprobe", unsafe {
            let (source, tag) = (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_ANY_TAG);
            ffi::MPI_Iprobe(source, tag, self.0, &raw mut flag, ffi::RSMPI_STATUS_IGNORE)
        })
    }

    pub(super) fn rank(&self) -> Result<u32, Error> {
        let mut rank: c_int = 0;
        // SAFETY: a valid communicator and a writable integer.
        check("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(self.0, &raw mut rank) })?;
        Ok(rank.unsigned_abs())
    }

    pub(super) fn size(&self) -> Result<u32, Error> {
        let mut size: c_int = 0;
        // SAFETY: a valid communicator and a writable integer.
        check("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(self.0, &raw mut size) })?;
        Ok(size.unsigned_abs())
    }

    pub(super) fn barrier(&self) -> Result<(), Error> {
        // SAFETY: `request` is writable and completed before it goes.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            check("MPI_Ibarrier", ffi::MPI_Ibarrier(self.0, &raw mut request))?;
            complete("MPI_Ibarrier", request)
        }
    }

    /// Every rank's number, in rank order; `all` has one place per rank.
    pub(super) fn all_gather_numbers(&self, mine: u64, all: &mut [u64]) -> Result<(), Error> {
        // SAFETY: both buffers live until the request is done, and `all` has one u64 per rank.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let code = ffi::MPI_Iallgather(
                (&raw const mine).cast::<c_void>(),
                1,
                ffi::RSMPI_UINT64_T,
                all.as_mut_ptr().cast::<c_void>(),
                1,
                ffi::RSMPI_UINT64_T,
                self.0,
                &raw mut request,
            );
            check("MPI_Iallgather", code)?;
            complete("MPI_Iallgather", request)
        }
    }

    /// Every rank's bytes one after the other in `all`; `lengths` tells how many each rank passes.
    pub(super) fn all_gather_bytes(&self, mine: &[u8], lengths: &[usize], all: &mut [u8]) -> Result<(), Error> {
        let counts = lengths.iter().map(|len| count(*len)).collect::<Result<Vec<_>, _>>()?;
        let mut offset = 0;
        let mut offsets = Vec::with_capacity(lengths.len());
        for len in lengths {
            offsets.push(count(offset)?);
            offset += len;
        }
        if offset > all.len() {
            return Err(Error::Library(format!("{offset} bytes do not fit into a buffer of {}", all.len())));
        }
        // SAFETY: all buffers live until the request is done, and the parts end within `all`.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let code = ffi::MPI_Iallgatherv(
                mine.as_ptr().cast::<c_void>(),
                count(mine.len())?,
                ffi::RSMPI_UINT8_T,
                all.as_mut_ptr().cast::<c_void>(),
                counts.as_ptr(),
                offsets.as_ptr(),
                ffi::RSMPI_UINT8_T,
                self.0,
                &raw mut request,
            );
            check("MPI_Iallgatherv", code)?;
            complete("MPI_Iallgatherv", request)
        }
    }

    /// Rank 0's bytes; the buffer has the same length on every rank.
    pub(super) fn broadcast(&self, bytes: &mut [u8]) -> Result<(), Error> {
        // SAFETY: the buffer lives until the request is done.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let code = ffi::MPI_Ibcast(
                bytes.as_mut_ptr().cast::<c_void>(),
                count(bytes.len())?,
                ffi::RSMPI_UINT8_T,
                0,
                self.0,
                &raw mut request,
            );
            check("MPI_Ibcast", code)?;
            complete("MPI_Ibcast", request)
        }
    }

    /// Ends every process of the world.
    #[expect(clippy::unused_self, reason = "a communicator proves that the library is initialized")]
    pub(super) fn abort(&self, exit_code: i32) {
        // SAFETY: the library is initialized; the call does not return.
        unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, exit_code) };
    }
}

impl Drop for Comm {
    fn drop(&mut self) {
        // SAFETY: a communicator that MPI made for us, freed once; the library is still initialized.
        unsafe { ffi::MPI_Comm_free(&raw mut self.0) };
    }
}
