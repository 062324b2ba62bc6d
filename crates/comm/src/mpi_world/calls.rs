//! The MPI calls in use, with errors as values. A collective is started here and returns a [`Request`], which owns
//! the buffers that MPI works on.
#![expect(unsafe_code, reason = "calls functions of the MPI library, which was opened at run time")]

use std::ffi::{c_int, c_void};

use super::library::{Handle, Library, Part, Parts, in_use};
use super::request::Request;
use crate::error::Error;

/// An initialized MPI library; dropping it finalizes MPI.
pub(super) struct Session(&'static Library);

impl Session {
    /// Initializes MPI for calls from this thread only (`MPI_THREAD_FUNNELED`).
    pub(super) fn start(library: &'static Library) -> Result<Self, Error> {
        if library.calls.is_active() {
            return Err(Error::Library("MPI was initialized before; a process can do it once".to_owned()));
        }
        let level = library.constants.funneled;
        // SAFETY: MPI is not initialized yet.
        let (code, provided) = unsafe { library.calls.init(level) };
        library.check("MPI_Init_thread", code)?;
        let session = Self(library);
        if provided < level {
            return Err(Error::Library(format!(
                "{} supports no threads beside the one that calls MPI (MPI_THREAD_FUNNELED); use a build that does",
                library.info
            )));
        }
        Ok(session)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Finalizing is collective, and the other ranks do not finalize while this one panics.
        if !std::thread::panicking() {
            // SAFETY: initialized by `start` and finalized once, after all communicators are freed.
            unsafe { self.0.calls.finalize() };
        }
    }
}

/// A communicator that is freed when dropped, which must happen before the library is finalized.
pub(super) struct Comm {
    library: &'static Library,
    handle: Handle,
}

fn count(len: usize) -> Result<c_int, Error> {
    c_int::try_from(len).map_err(|_| Error::Library(format!("{len} elements are more than one MPI call can move")))
}

/// Converts a length that another rank sent.
pub(super) fn to_usize(len: u64) -> Result<usize, Error> {
    usize::try_from(len).map_err(|_| Error::Library(format!("{len} bytes do not fit into this process's memory")))
}

impl Comm {
    /// Duplicates the world, so that messages do not mix with those of others; errors are returned.
    pub(super) fn world(session: &Session) -> Result<Self, Error> {
        let library = session.0;
        let Library { constants, calls, .. } = library;
        // SAFETY: the library is initialized, as the session shows.
        library.check("MPI_Comm_set_errhandler", unsafe {
            calls.set_errhandler(constants.comm_world, constants.errors_return)
        })?;
        // SAFETY: as above.
        let world = Self::made(library, "MPI_Comm_dup", |new| unsafe { calls.dup(constants.comm_world, new) })?;
        // SAFETY: a valid communicator.
        let set = unsafe { calls.set_errhandler(world.handle, constants.errors_return) };
        library.check("MPI_Comm_set_errhandler", set)?;
        Ok(world)
    }

    /// Wraps the communicator that a call creates.
    fn made(library: &'static Library, name: &str, call: impl FnOnce(&mut Handle) -> c_int) -> Result<Self, Error> {
        let mut handle = library.constants.comm_null;
        library.check(name, call(&mut handle))?;
        Ok(Self { library, handle })
    }

    fn check(&self, call: &str, code: c_int) -> Result<(), Error> {
        self.library.check(call, code)
    }

    /// Splits off the ranks that share this rank's memory, in their current order.
    pub(super) fn node(&self) -> Result<Self, Error> {
        let key = c_int::try_from(self.rank()?).unwrap_or(0);
        let Library { constants, calls, .. } = self.library;
        Self::made(self.library, "MPI_Comm_split_type", |new| {
            // SAFETY: collective on a valid communicator.
            unsafe { calls.split_type(self.handle, constants.type_shared, (key, constants.info_null), new) }
        })
    }

    /// Splits off the ranks that pass the same `color`, in their current order.
    pub(super) fn split(&self, color: u32) -> Result<Self, Error> {
        let key = c_int::try_from(self.rank()?).unwrap_or(0);
        let color = c_int::try_from(color).unwrap_or(0);
        // SAFETY: collective on a valid communicator.
        Self::made(self.library, "MPI_Comm_split", |new| unsafe {
            self.library.calls.split(self.handle, color, key, new)
        })
    }

    /// Lets the library make progress on messages.
    pub(super) fn progress(&self) -> Result<(), Error> {
        let constants = &self.library.constants;
        self.probe((constants.any_source, constants.any_tag)).map(|_| ())
    }

    /// Returns whether a message from this source with this tag has arrived, without receiving it.
    fn probe(&self, from: (c_int, c_int)) -> Result<bool, Error> {
        let mut flag: c_int = 0;
        // SAFETY: a valid communicator.
        self.check("MPI_Iprobe", unsafe {
            self.library.calls.iprobe(from, self.handle, &mut flag, self.library.constants.status_ignore)
        })?;
        Ok(flag != 0)
    }

    pub(super) fn rank(&self) -> Result<u32, Error> {
        let mut rank: c_int = 0;
        // SAFETY: a valid communicator.
        self.check("MPI_Comm_rank", unsafe { self.library.calls.rank(self.handle, &mut rank) })?;
        Ok(rank.unsigned_abs())
    }

    pub(super) fn size(&self) -> Result<u32, Error> {
        let mut size: c_int = 0;
        // SAFETY: a valid communicator.
        self.check("MPI_Comm_size", unsafe { self.library.calls.size(self.handle, &mut size) })?;
        Ok(size.unsigned_abs())
    }

    /// Describes a byte buffer to MPI.
    fn bytes(&self, at: *mut u8, len: usize) -> Result<Part, Error> {
        Ok(Part { at: at.cast::<c_void>(), count: count(len)?, kind: self.library.constants.byte })
    }

    /// Starts a nonblocking call; `call` receives the buffers and the location of the request.
    fn start<B>(
        &self,
        name: &'static str,
        buffers: B,
        call: impl FnOnce(&mut B, &mut Handle) -> Result<c_int, Error>,
    ) -> Result<Request<B>, Error> {
        Request::start(self.library, name, buffers, call)
    }

    /// Starts to send a short message.
    pub(super) fn send(&self, bytes: Vec<u8>, to: u32) -> Result<Request<Vec<u8>>, Error> {
        let to = c_int::try_from(to).unwrap_or(0);
        self.start("MPI_Isend", bytes, |bytes, request| {
            let part = self.bytes(bytes.as_mut_ptr(), bytes.len())?;
            // SAFETY: the request owns the buffer until it is done.
            Ok(unsafe { self.library.calls.isend(part, to, self.handle, request) })
        })
    }

    /// Receives a short message if one has arrived; all messages on this communicator have the length `LEN`.
    pub(super) fn receive<const LEN: usize>(&self) -> Result<Option<[u8; LEN]>, Error> {
        let mut bytes = [0; LEN];
        let constants = &self.library.constants;
        if !self.probe((constants.any_source, 0))? {
            return Ok(None);
        }
        let part = self.bytes(bytes.as_mut_ptr(), bytes.len())?;
        // SAFETY: the buffer has the size of the only messages that are sent on this communicator, one of which is there.
        self.check("MPI_Recv", unsafe {
            self.library.calls.recv(part, constants.any_source, self.handle, constants.status_ignore)
        })?;
        Ok(Some(bytes))
    }

    /// Starts a barrier.
    pub(super) fn barrier(&self) -> Result<Request<()>, Error> {
        self.start("MPI_Ibarrier", (), |(), request| {
            // SAFETY: a valid communicator; the request is kept until it is done.
            Ok(unsafe { self.library.calls.ibarrier(self.handle, request) })
        })
    }

    /// Starts to gather one number from every rank, in rank order, as bytes in native order.
    pub(super) fn all_gather_number(&self, mine: u64) -> Result<Request<Gather>, Error> {
        let all = vec![0; self.size()? as usize * size_of::<u64>()];
        let buffers = Gather { mine: mine.to_ne_bytes().to_vec(), all, ..Gather::default() };
        self.start("MPI_Iallgather", buffers, |buffers, request| {
            let part = self.bytes(buffers.mine.as_mut_ptr(), size_of::<u64>())?;
            let all = buffers.all.as_mut_ptr().cast::<c_void>();
            // SAFETY: the request owns both buffers until it is done, and `all` has 8 bytes per rank.
            Ok(unsafe { self.library.calls.iallgather(part, all, self.handle, request) })
        })
    }

    /// Gathers the bytes of all ranks, whose lengths may differ. It blocks, so it is used only during initialization.
    pub(super) fn all_gather_now(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let lengths = self.all_gather_number(mine.len() as u64)?.block()?.numbers();
        let lengths = lengths.into_iter().map(to_usize).collect::<Result<Vec<_>, _>>()?;
        let gathered = self.all_gather_bytes(mine.to_vec(), &lengths)?.block()?;
        let mut rest = gathered.bytes();
        let parts = lengths.iter().map(|len| {
            let (part, tail) = rest.split_at(*len);
            rest = tail;
            part.to_vec()
        });
        Ok(parts.collect())
    }

    /// Starts to gather the bytes of all ranks, concatenated in rank order; `lengths` contains the length of each
    /// rank's bytes.
    pub(super) fn all_gather_bytes(&self, mine: Vec<u8>, lengths: &[usize]) -> Result<Request<Gather>, Error> {
        let counts = lengths.iter().map(|len| count(*len)).collect::<Result<Vec<_>, _>>()?;
        let mut total = 0;
        let mut offsets = Vec::with_capacity(lengths.len());
        for len in lengths {
            offsets.push(count(total)?);
            total += len;
        }
        let buffers = Gather { mine, all: vec![0; total], counts, offsets };
        self.start("MPI_Iallgatherv", buffers, |buffers, request| {
            let part = self.bytes(buffers.mine.as_mut_ptr(), buffers.mine.len())?;
            let all = Parts {
                at: buffers.all.as_mut_ptr().cast::<c_void>(),
                counts: buffers.counts.as_ptr(),
                offsets: buffers.offsets.as_ptr(),
            };
            // SAFETY: the request owns all buffers until it is done, and the parts end within `all`.
            Ok(unsafe { self.library.calls.iallgatherv(part, all, self.handle, request) })
        })
    }

    /// Starts to broadcast rank 0's bytes; the buffer has the same length on every rank.
    pub(super) fn broadcast(&self, bytes: Vec<u8>) -> Result<Request<Vec<u8>>, Error> {
        self.start("MPI_Ibcast", bytes, |bytes, request| {
            let part = self.bytes(bytes.as_mut_ptr(), bytes.len())?;
            // SAFETY: the request owns the buffer until it is done.
            Ok(unsafe { self.library.calls.ibcast(part, 0, self.handle, request) })
        })
    }
}

/// The buffers of a gather.
#[derive(Default)]
pub(super) struct Gather {
    mine: Vec<u8>,
    all: Vec<u8>,
    counts: Vec<c_int>,
    offsets: Vec<c_int>,
}

impl Gather {
    /// Returns the bytes of all ranks, concatenated.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.all
    }

    /// Returns the numbers of all ranks.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.all.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect()
    }
}

/// Ends every process of the world if MPI is in use; otherwise returns without effect. Panicking threads call it too:
/// the MPI standard does not cover this, but libraries only inform the launcher and exit.
pub(super) fn abort(exit_code: i32) {
    let Some(Library { constants, calls, .. }) = in_use() else { return };
    if calls.is_active() {
        // SAFETY: MPI is initialized; the call does not return.
        unsafe { calls.abort(constants.comm_world, exit_code) };
    }
}

impl Drop for Comm {
    fn drop(&mut self) {
        // Freeing is collective, and the other ranks do not free while this one panics.
        if std::thread::panicking() {
            return;
        }
        // SAFETY: a communicator that MPI made for us, freed once; the library is still initialized.
        unsafe { self.library.calls.free(self.handle) };
    }
}
