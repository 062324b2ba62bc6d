//! Request bodies: frames of bytes that are shared, never copied, and return to a pool once the response has arrived.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use dlio_event::{Nanos, TimeSource};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::ChunkSource;

/// Size of a frame in bytes: small enough to stay in cache between being filled and being sent.
pub(super) const FRAME: usize = 256 << 10;
/// Frames that a thread keeps for later writes.
const POOLED: usize = 256;

#[derive(Debug)]
enum Content {
    Frames(VecDeque<Bytes>),
    Stream(mpsc::Receiver<Bytes>),
}

/// The body of a request, whose length is known in advance.
#[derive(Debug)]
pub(super) struct RequestBody {
    content: Content,
    left: u64,
    sent: Option<Arc<SendProgress>>,
}

/// The number of a body's bytes that its connection has taken.
pub(super) struct SendProgress {
    bytes: AtomicU64,
    /// Time of the last byte, on the storage's time source; 0: not yet.
    ended: AtomicU64,
    time: Arc<dyn TimeSource>,
}

impl SendProgress {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn ended(&self) -> Option<Nanos> {
        Some(self.ended.load(Ordering::Relaxed)).filter(|&ended| ended > 0)
    }
}

impl std::fmt::Debug for SendProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SendProgress({})", self.bytes())
    }
}

impl RequestBody {
    pub(super) fn empty() -> Self {
        Self { content: Content::Frames(VecDeque::new()), left: 0, sent: None }
    }

    /// Creates a body from frames in memory.
    pub(super) fn frames(frames: impl IntoIterator<Item = Bytes>) -> Self {
        let frames: VecDeque<Bytes> = frames.into_iter().collect();
        let left = frames.iter().map(|frame| frame.len() as u64).sum();
        Self { content: Content::Frames(frames), left, sent: None }
    }

    /// Creates a body whose frames arrive one by one.
    pub(super) fn stream(len: u64) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self { content: Content::Stream(receiver), left: len, sent: None })
    }

    /// Returns a counter of the bytes that the connection takes.
    pub(super) fn watch(&mut self, time: &Arc<dyn TimeSource>) -> Arc<SendProgress> {
        let fresh =
            || Arc::new(SendProgress { bytes: AtomicU64::new(0), ended: AtomicU64::new(0), time: Arc::clone(time) });
        Arc::clone(self.sent.get_or_insert_with(fresh))
    }

    pub(super) fn len(&self) -> u64 {
        self.left
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.content {
            Content::Frames(frames) => frames.pop_front(),
            Content::Stream(receiver) => std::task::ready!(receiver.poll_recv(cx)),
        };
        let Some(frame) = next else { return Poll::Ready(None) };
        self.left = self.left.saturating_sub(frame.len() as u64);
        if let Some(sent) = &self.sent {
            sent.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
            if self.left == 0 {
                sent.ended.store(sent.time.now(), Ordering::Relaxed);
            }
        }
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Unused frames; one pool per thread.
#[derive(Debug, Default)]
pub(super) struct Pool {
    frames: Vec<BytesMut>,
}

impl Pool {
    /// Returns a buffer of `len` bytes, at most [`FRAME`], with arbitrary content.
    pub(super) fn take(&mut self, len: usize) -> BytesMut {
        if len < FRAME / 4 {
            return BytesMut::zeroed(len);
        }
        let mut frame = self.frames.pop().unwrap_or_default();
        frame.resize(FRAME, 0);
        frame.truncate(len.min(FRAME));
        frame
    }

    /// Takes back frames that are not referenced elsewhere.
    pub(super) fn give(&mut self, frames: impl IntoIterator<Item = Bytes>) {
        for frame in frames {
            if self.frames.len() >= POOLED {
                return;
            }
            if let Ok(frame) = frame.try_into_mut()
                && frame.capacity() >= FRAME
            {
                self.frames.push(frame);
            }
        }
    }
}

/// Draws frames from a source.
pub(super) struct FrameSource<'a> {
    source: &'a mut dyn ChunkSource,
    /// Bytes not drawn yet.
    pub(super) left: u64,
}

impl<'a> FrameSource<'a> {
    pub(super) fn new(source: &'a mut dyn ChunkSource) -> Self {
        let left = source.len();
        Self { source, left }
    }

    /// Draws the next frame, of at most `limit` bytes; `None` at the end.
    ///
    /// # Errors
    /// When the source has fewer bytes than announced.
    pub(super) fn next(&mut self, pool: &mut Pool, limit: u64) -> Result<Option<Bytes>, String> {
        let want = usize::try_from(self.left.min(limit)).unwrap_or(FRAME).min(FRAME);
        if want == 0 {
            return Ok(None);
        }
        let mut frame = pool.take(want);
        let got = self.source.fill(&mut frame);
        if got != want {
            return Err(format!("the source of the bytes ended {} bytes early", self.left - (got.min(want)) as u64));
        }
        self.left -= want as u64;
        Ok(Some(frame.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u64, u64);

    impl ChunkSource for Counting {
        fn len(&self) -> u64 {
            self.0
        }

        fn fill(&mut self, buffer: &mut [u8]) -> usize {
            buffer.fill(7);
            let given = (self.1).min(buffer.len() as u64);
            self.1 -= given;
            usize::try_from(given).unwrap()
        }
    }

    #[test]
    fn frames_are_used_again_once_nobody_holds_them() {
        let mut pool = Pool::default();
        let mut source = Counting(3 * FRAME as u64, u64::MAX);
        let mut feed = FrameSource::new(&mut source);
        let first = feed.next(&mut pool, u64::MAX).unwrap().unwrap();
        let address = first.as_ptr();
        let held = first.clone();
        pool.give([first]);
        assert!(pool.frames.is_empty(), "a frame that is still being sent stays away from the pool");
        pool.give([held]);
        let second = feed.next(&mut pool, 100 << 10).unwrap().unwrap();
        assert_eq!((second.as_ptr(), second.len()), (address, 100 << 10));
        pool.give([second]);
        assert_eq!(feed.next(&mut pool, u64::MAX).unwrap().unwrap().as_ptr(), address, "also after a shorter use");
    }

    #[test]
    fn a_source_that_ends_early_is_an_error() {
        let mut source = Counting(100, 40);
        assert!(
            FrameSource::new(&mut source).next(&mut Pool::default(), u64::MAX).unwrap_err().contains("60 bytes early")
        );
    }
}
