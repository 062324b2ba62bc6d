//! Wrappers that report the progress of a request to the [`TrackedConnection`] of its connection: the stream, the request body,
//! the response body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use s3s::{Body, StdError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection_limiter::TrackedConnection;

/// A stream that reports received bytes.
pub(crate) struct TrackedStream<S> {
    stream: S,
    member: Arc<TrackedConnection>,
}

impl<S> TrackedStream<S> {
    pub(crate) fn new(stream: S, member: Arc<TrackedConnection>) -> Self {
        Self { stream, member }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.member.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A request body that reports when the server waits for it.
pub(crate) struct TrackedRequestBody {
    body: Body,
    member: Arc<TrackedConnection>,
}

impl TrackedRequestBody {
    /// Wraps a body; returns it unchanged if it is empty.
    pub(crate) fn body(body: Body, member: &Arc<TrackedConnection>) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::http_body(Self { body, member: Arc::clone(member) })
    }
}

impl hyper::body::Body for TrackedRequestBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.member.wait_for_body(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TrackedRequestBody {
    fn drop(&mut self) {
        self.member.wait_for_body(false);
    }
}

/// A response body that reports when it has been sent.
pub(crate) struct TrackedResponseBody {
    body: Body,
    member: Arc<TrackedConnection>,
}

impl TrackedResponseBody {
    pub(crate) fn new(body: Body, member: Arc<TrackedConnection>) -> Self {
        Self { body, member }
    }
}

impl hyper::body::Body for TrackedResponseBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TrackedResponseBody {
    fn drop(&mut self) {
        self.member.end_request();
    }
}
