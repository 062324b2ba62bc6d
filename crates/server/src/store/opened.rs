//! An object opened for reading, from either kind of store.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use super::attributes::Attributes;
use super::directory::read as directory_content;
use super::segments;
use super::stat::Stat;

/// An object opened for reading.
pub(crate) struct OpenObject {
    pub(crate) stat: Stat,
    pub(crate) attributes: Arc<Attributes>,
    pub(super) content: Content,
}

pub(super) enum Content {
    Memory(Arc<segments::Segments>),
    Directory(directory_content::Content),
}

impl OpenObject {
    /// Streams a range that lies within the object, in pieces of at most `piece` bytes.
    pub(crate) fn read(self, range: Range<u64>, piece: usize) -> Reader {
        match self.content {
            Content::Memory(segments) => Reader::Memory(segments::Reader::new(segments, range, piece)),
            Content::Directory(content) => Reader::Directory(content.read(range, piece)),
        }
    }
}

/// Streams the bytes of a range, piece by piece.
pub(crate) enum Reader {
    Memory(segments::Reader),
    Directory(directory_content::Reader),
}

impl Reader {
    /// Returns the number of bytes still to come.
    pub(crate) fn remaining(&self) -> u64 {
        match self {
            Reader::Memory(reader) => reader.remaining(),
            Reader::Directory(reader) => reader.remaining(),
        }
    }
}

impl Stream for Reader {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Reader::Memory(reader) => Poll::Ready(reader.next().map(Ok)),
            Reader::Directory(reader) => Pin::new(reader).poll_next(context),
        }
    }
}
