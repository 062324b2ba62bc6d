//! A collective of MPI that is under way, and the buffers that it works on.
//!
//! Invariant: MPI has the buffers until the request is done. A request that is dropped before leaves them where they are:
//! their memory is never given back.
#![expect(unsafe_code, reason = "rsmpi's safe layer drops MPI's return codes, so the calls are made through mpi::ffi")]

use std::ffi::c_int;
use std::task::{Context, Poll};

use mpi::ffi;

use super::calls::check;
use super::pause::{Patience, Timer};
use crate::Error;

/// An active request with its buffers.
pub(super) struct Request<B> {
    call: &'static str,
    handle: ffi::MPI_Request,
    /// `None`: it is done.
    buffers: Option<Box<B>>,
    patience: Patience,
}

impl<B> Request<B> {
    /// Starts a call; `start` is given the buffers and where the request goes, and returns MPI's code.
    pub(super) fn start(
        call: &'static str,
        buffers: B,
        start: impl FnOnce(&mut B, *mut ffi::MPI_Request) -> c_int,
    ) -> Result<Self, Error> {
        let mut buffers = Box::new(buffers);
        // SAFETY: a constant of the library.
        let mut handle = unsafe { ffi::RSMPI_REQUEST_NULL };
        check(call, start(&mut buffers, &raw mut handle))?;
        Ok(Self { call, handle, buffers: Some(buffers), patience: Patience::default() })
    }

    /// Whether it is done; lets the library move messages on.
    pub(super) fn test(&mut self) -> Result<bool, Error> {
        let mut flag: c_int = 0;
        // SAFETY: an active request of this thread, whose buffers are there, or null after completion.
        check(self.call, unsafe { ffi::MPI_Test(&raw mut self.handle, &raw mut flag, ffi::RSMPI_STATUS_IGNORE) })?;
        Ok(flag != 0)
    }

    /// Looks whether it is done; the buffers are given back once.
    pub(super) fn poll(&mut self, timer: &Timer, context: &mut Context<'_>) -> Poll<Result<B, Error>> {
        let done = if self.patience.spins() { super::pause::spin(|| self.test()) } else { self.test() };
        match done {
            Err(error) => Poll::Ready(Err(error)),
            Ok(false) => {
                timer.wake_after(self.patience.pause(), context);
                Poll::Pending
            }
            Ok(true) => match self.buffers.take() {
                Some(buffers) => Poll::Ready(Ok(*buffers)),
                None => Poll::Ready(Err(Error::Library(format!("{} was waited for twice", self.call)))),
            },
        }
    }

    /// Waits for it.
    pub(super) async fn done(mut self, timer: &Timer) -> Result<B, Error> {
        std::future::poll_fn(|context| self.poll(timer, context)).await
    }

    /// Blocks until it is done: only while the world is set up, when the library blocks as well.
    pub(super) fn block(mut self) -> Result<B, Error> {
        while !super::pause::spin(|| self.test())? {
            super::pause::sleep(self.patience.pause());
        }
        self.buffers
            .take()
            .map(|buffers| *buffers)
            .ok_or_else(|| Error::Library(format!("{} has no buffers", self.call)))
    }
}

impl<B> Drop for Request<B> {
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take() {
            std::mem::forget(buffers);
        }
    }
}
