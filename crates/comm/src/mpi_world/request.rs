//! A collective of MPI that is under way, and the buffers that it works on.
//!
//! Invariant: MPI has the buffers until the request is done. A request that is dropped before leaves them where they are:
//! their memory is never given back.
#![expect(unsafe_code, reason = "calls functions of the MPI library, which was opened at run time")]

use std::ffi::c_int;
use std::task::{Context, Poll};

use super::library::{Handle, Library};
use super::pause::{self, Patience, Timer};
use crate::error::Error;

/// An active request with its buffers.
pub(super) struct Request<B> {
    library: &'static Library,
    call: &'static str,
    handle: Handle,
    /// `None`: it is done.
    buffers: Option<Box<B>>,
    patience: Patience,
}

impl<B> Request<B> {
    /// Starts a call; `start` is given the buffers and where the request goes, and returns MPI's code.
    pub(super) fn start(
        library: &'static Library,
        call: &'static str,
        buffers: B,
        start: impl FnOnce(&mut B, &mut Handle) -> Result<c_int, Error>,
    ) -> Result<Self, Error> {
        let mut buffers = Box::new(buffers);
        let mut handle = library.constants.request_null;
        library.check(call, start(&mut buffers, &mut handle)?)?;
        Ok(Self { library, call, handle, buffers: Some(buffers), patience: Patience::default() })
    }

    /// Whether it is done; lets the library move messages on.
    pub(super) fn test(&mut self) -> Result<bool, Error> {
        let mut flag: c_int = 0;
        let Library { constants, calls, .. } = self.library;
        // SAFETY: an active request of this thread, whose buffers are there, or null after completion.
        let code = unsafe { calls.test(&mut self.handle, &mut flag, constants.status_ignore) };
        self.library.check(self.call, code)?;
        Ok(flag != 0)
    }

    /// Looks whether it is done; the buffers are given back once.
    pub(super) fn poll(&mut self, timer: &Timer, context: &mut Context<'_>) -> Poll<Result<B, Error>> {
        let done = if self.patience.spins() { pause::spin(|| self.test()) } else { self.test() };
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
        while !pause::spin(|| self.test())? {
            pause::sleep(self.patience.pause());
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
