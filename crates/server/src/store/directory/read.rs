//! Reads the file of an object: from the page cache on the network thread, from the disk on a blocking thread, in
//! pieces through reused buffers.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

/// Size of a buffer in bytes: large enough to make the cost of system calls negligible, small enough to stay in a
/// core's cache between being filled and being sent.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Idle buffers kept for reuse.
const KEPT: usize = 64;

/// Buffers of [`PIECE_BYTES`] each. They are not cleared between uses: only bytes that were just read are sent.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Box<[u8]>>>);

impl Buffers {
    fn take(self: &Arc<Self>) -> Buffer {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = kept.unwrap_or_else(|| vec![0; PIECE_BYTES].into_boxed_slice());
        Buffer { bytes, filled: 0, home: Arc::clone(self) }
    }
}

struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(bytes);
        }
    }
}

/// An open file of an object.
pub(crate) struct Content {
    file: Arc<File>,
    buffers: Arc<Buffers>,
}

impl Content {
    pub(super) fn new(file: File, buffers: Arc<Buffers>) -> Self {
        Self { file: Arc::new(file), buffers }
    }

    pub(crate) fn read(self, range: Range<u64>, piece: usize) -> Reader {
        let Content { file, buffers } = self;
        let piece = piece.clamp(1, PIECE_BYTES);
        Reader { file, buffers, next: range.start, end: range.end, piece, waiting: None }
    }
}

/// Streams a range of a file.
pub(crate) struct Reader {
    file: Arc<File>,
    buffers: Arc<Buffers>,
    next: u64,
    end: u64,
    piece: usize,
    waiting: Option<JoinHandle<io::Result<Buffer>>>,
}

impl Reader {
    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.next
    }

    fn deliver(&mut self, buffer: Buffer) -> io::Result<Bytes> {
        if buffer.filled == 0 {
            self.next = self.end;
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the object's file was truncated"));
        }
        self.next += buffer.filled as u64;
        Ok(Bytes::from_owner(buffer))
    }
}

impl Stream for Reader {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.waiting.is_none() {
            let wanted = usize::try_from(this.remaining()).unwrap_or(usize::MAX).min(this.piece);
            if wanted == 0 {
                return Poll::Ready(None);
            }
            let mut buffer = this.buffers.take();
            let (file, offset) = (Arc::clone(&this.file), this.next);
            let target = &mut [IoSliceMut::new(&mut buffer.bytes[..wanted])];
            match rustix::io::preadv2(&*file, target, offset, ReadWriteFlags::NOWAIT) {
                Ok(filled) if filled > 0 => {
                    buffer.filled = filled;
                    return Poll::Ready(Some(this.deliver(buffer)));
                }
                // The bytes are not in the page cache, or the file system cannot tell: a blocking thread reads them.
                _ => {}
            }
            this.waiting = Some(tokio::task::spawn_blocking(move || {
                buffer.filled = read_full(&file, &mut buffer.bytes[..wanted], offset)?;
                Ok(buffer)
            }));
        }
        let Some(waiting) = this.waiting.as_mut() else { return Poll::Ready(None) };
        let joined = std::task::ready!(Pin::new(waiting).poll(context));
        this.waiting = None;
        match joined.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(buffer) => Poll::Ready(Some(this.deliver(buffer))),
            Err(error) => {
                this.next = this.end;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
