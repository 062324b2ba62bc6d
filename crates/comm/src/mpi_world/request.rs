//! A nonblocking MPI call in progress, with the buffers that it uses.
//!
//! Invariant: MPI may access the buffers until the request is done. If a request is dropped before that, its buffers
//! are leaked.
#![expect(unsafe_code, reason = "calls functions of the MPI library, which was opened at run time")]

use std::ffi::c_int;
use std::task::{Context, Poll};

use super::backoff::{self, PollBackoff, Timer};
use super::library::{Handle, Library};
use crate::error::Error;

/// An active request with its buffers.
pub(super) struct Request<B> {
    library: &'static Library,
    call: &'static str,
    handle: Handle,
    /// `None` once it is done.
    buffers: Option<Box<B>>,
    backoff: PollBackoff,
}

impl<B> Request<B> {
    /// Starts a call; `start` receives the buffers and the location of the request, and returns MPI's error code.
    pub(super) fn start(
        library: &'static Library,
        call: &'static str,
        buffers: B,
        start: impl FnOnce(&mut B, &mut Handle) -> Result<c_int, Error>,
    ) -> Result<Self, Error> {
        let mut buffers = Box::new(buffers);
        let mut handle = library.constants.request_null;
        library.check(call, start(&mut buffers, &mut handle)?)?;
        Ok(Self { library, call, handle, buffers: Some(buffers), backoff: PollBackoff::default() })
    }

    /// Returns whether the request is done, and lets the library make progress.
    pub(super) fn test(&mut self) -> Result<bool, Error> {
        let mut flag: c_int = 0;
        let Library { constants, calls, .. } = self.library;
        // SAFETY: an active request of this thread, whose buffers are there, or null after completion.
        let code = unsafe { calls.test(&mut self.handle, &mut flag, constants.status_ignore) };
        self.library.check(self.call, code)?;
        Ok(flag != 0)
    }

    /// Polls the request; returns the buffers once it is done.
    pub(super) fn poll(&mut self, timer: &Timer, context: &mut Context<'_>) -> Poll<Result<B, Error>> {
        let done = if self.backoff.spins() { backoff::spin(|| self.test()) } else { self.test() };
        match done {
            Err(error) => Poll::Ready(Err(error)),
            Ok(false) => {
                timer.wake_after(self.backoff.pause(), context);
                Poll::Pending
            }
            Ok(true) => match self.buffers.take() {
                Some(buffers) => Poll::Ready(Ok(*buffers)),
                None => Poll::Ready(Err(Error::Library(format!("{} was waited for twice", self.call)))),
            },
        }
    }

    /// Waits until the request is done.
    pub(super) async fn done(mut self, timer: &Timer) -> Result<B, Error> {
        std::future::poll_fn(|context| self.poll(timer, context)).await
    }

    /// Blocks until the request is done; used only during initialization, when the library blocks as well.
    pub(super) fn block(mut self) -> Result<B, Error> {
        while !backoff::spin(|| self.test())? {
            backoff::sleep(self.backoff.pause());
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
