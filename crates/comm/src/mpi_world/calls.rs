//! The MPI calls that are used, with their errors as values. Collectives are started here and give a [`Request`], which
//! owns the buffers that MPI works on.
#![expect(unsafe_code, reason = "rsmpi's safe layer drops MPI's return codes, so the calls are made through mpi::ffi")]

use std::ffi::{c_int, c_void};

use mpi::ffi;

use super::request::Request;
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

    /// Starts to send a short message.
    pub(super) fn send(&self, bytes: Vec<u8>, to: u32) -> Result<Request<Vec<u8>>, Error> {
        let (len, to) = (count(bytes.len())?, c_int::try_from(to).unwrap_or(0));
        Request::start("MPI_Isend", bytes, |bytes, request| {
            // SAFETY: the request owns the buffer until it is done.
            unsafe { ffi::MPI_Isend(bytes.as_ptr().cast::<c_void>(), len, ffi::RSMPI_UINT8_T, to, 0, self.0, request) }
        })
    }

    /// A short message that has arrived.
    pub(super) fn receive(&self) -> Result<Option<[u8; super::roll_call::BYTES]>, Error> {
        let mut bytes = [0; super::roll_call::BYTES];
        let mut flag: c_int = 0;
        // SAFETY: a valid communicator; the buffer has the size of the only messages that are sent on it, one of which is there.
        unsafe {
            let (source, ignored) = (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_STATUS_IGNORE);
            check("MPI_Iprobe", ffi::MPI_Iprobe(source, 0, self.0, &raw mut flag, ignored))?;
            if flag == 0 {
                return Ok(None);
            }
            let len = count(bytes.len())?;
            let buffer = bytes.as_mut_ptr().cast::<c_void>();
            check("MPI_Recv", ffi::MPI_Recv(buffer, len, ffi::RSMPI_UINT8_T, source, 0, self.0, ignored))?;
        }
        Ok(Some(bytes))
    }

    /// Starts a barrier.
    pub(super) fn barrier(&self) -> Result<Request<()>, Error> {
        Request::start("MPI_Ibarrier", (), |(), request| {
            // SAFETY: a valid communicator; the request is kept until it is done.
            unsafe { ffi::MPI_Ibarrier(self.0, request) }
        })
    }

    /// Starts to gather every rank's number, in rank order, as bytes in native order.
    pub(super) fn all_gather_number(&self, mine: u64) -> Result<Request<Gather>, Error> {
        let all = vec![0; self.size()? as usize * size_of::<u64>()];
        let buffers = Gather { mine: mine.to_ne_bytes().to_vec(), all, ..Gather::default() };
        Request::start("MPI_Iallgather", buffers, |buffers, request| {
            // SAFETY: the request owns both buffers until it is done, and `all` has 8 bytes per rank.
            unsafe {
                ffi::MPI_Iallgather(
                    buffers.mine.as_ptr().cast::<c_void>(),
                    8,
                    ffi::RSMPI_UINT8_T,
                    buffers.all.as_mut_ptr().cast::<c_void>(),
                    8,
                    ffi::RSMPI_UINT8_T,
                    self.0,
                    request,
                )
            }
        })
    }

    /// Starts to gather every rank's bytes, one after the other; `lengths` tells how many each rank passes.
    pub(super) fn all_gather_bytes(&self, mine: Vec<u8>, lengths: &[usize]) -> Result<Request<Gather>, Error> {
        let counts = lengths.iter().map(|len| count(*len)).collect::<Result<Vec<_>, _>>()?;
        let mut total = 0;
        let mut offsets = Vec::with_capacity(lengths.len());
        for len in lengths {
            offsets.push(count(total)?);
            total += len;
        }
        let sent = count(mine.len())?;
        let buffers = Gather { mine, all: vec![0; total], counts, offsets };
        Request::start("MPI_Iallgatherv", buffers, |buffers, request| {
            // SAFETY: the request owns all buffers until it is done, and the parts end within `all`.
            unsafe {
                ffi::MPI_Iallgatherv(
                    buffers.mine.as_ptr().cast::<c_void>(),
                    sent,
                    ffi::RSMPI_UINT8_T,
                    buffers.all.as_mut_ptr().cast::<c_void>(),
                    buffers.counts.as_ptr(),
                    buffers.offsets.as_ptr(),
                    ffi::RSMPI_UINT8_T,
                    self.0,
                    request,
                )
            }
        })
    }

    /// Starts to send rank 0's bytes to all; the buffer has the same length on every rank.
    pub(super) fn broadcast(&self, bytes: Vec<u8>) -> Result<Request<Vec<u8>>, Error> {
        let len = count(bytes.len())?;
        Request::start("MPI_Ibcast", bytes, |bytes, request| {
            // SAFETY: the request owns the buffer until it is done.
            unsafe { ffi::MPI_Ibcast(bytes.as_mut_ptr().cast::<c_void>(), len, ffi::RSMPI_UINT8_T, 0, self.0, request) }
        })
    }
}

/// The buffers of a gathering.
#[derive(Default)]
pub(super) struct Gather {
    mine: Vec<u8>,
    all: Vec<u8>,
    counts: Vec<c_int>,
    offsets: Vec<c_int>,
}

impl Gather {
    /// Every rank's bytes, one after the other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.all
    }

    /// Every rank's number.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.all.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect()
    }
}

/// Ends every process of the world, where MPI is in use; otherwise it does nothing and returns. It is also called from threads
/// that panic: MPI promises less for them, but its libraries only tell the launcher and end the process.
pub(super) fn abort(exit_code: i32) {
    let (mut started, mut ended): (c_int, c_int) = (0, 0);
    // SAFETY: both calls are allowed at any time from any thread; the call that ends the world does not return.
    unsafe {
        ffi::MPI_Initialized(&raw mut started);
        ffi::MPI_Finalized(&raw mut ended);
        if started != 0 && ended == 0 {
            ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, exit_code);
        }
    }
}

impl Drop for Comm {
    fn drop(&mut self) {
        // Freeing is collective: the other ranks do not come to it while this one unwinds.
        if std::thread::panicking() {
            return;
        }
        // SAFETY: a communicator that MPI made for us, freed once; the library is still initialized.
        unsafe { ffi::MPI_Comm_free(&raw mut self.0) };
    }
}
