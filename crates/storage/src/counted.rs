//! A decorator that counts bytes while they are read and written, for progress displays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    ByteRange, ChunkSink, ChunkSource, Future, Object, Receipt, Staged, Storage, Updatable, Update, Version,
    forward_object, forward_storage,
};

/// A storage whose reads and writes add their bytes to a counter, chunk by chunk.
pub struct Counted {
    inner: Arc<dyn Storage>,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    /// Wraps `inner` and adds the number of bytes that it reads and writes to `bytes`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, bytes: Arc<AtomicU64>) -> Self {
        Self { inner, bytes }
    }
}

struct CountedSink<'a> {
    inner: &'a mut dyn ChunkSink,
    bytes: &'a AtomicU64,
}

impl ChunkSink for CountedSink<'_> {
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.inner.chunk(bytes)
    }
}

struct CountedSource<'a> {
    inner: &'a mut dyn ChunkSource,
    bytes: &'a AtomicU64,
}

impl ChunkSource for CountedSource<'_> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let filled = self.inner.fill(buffer);
        self.bytes.fetch_add(filled as u64, Ordering::Relaxed);
        filled
    }
}

struct CountedObject<O: ?Sized> {
    inner: Box<O>,
    bytes: Arc<AtomicU64>,
}

impl<O: Object + ?Sized> Object for CountedObject<O> {
    forward_object!(self => self.inner; size opened);

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(async move { self.inner.read(range, &mut CountedSink { inner: sink, bytes: &self.bytes }).await })
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(
            async move { self.inner.read_first(limit, &mut CountedSink { inner: sink, bytes: &self.bytes }).await },
        )
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        let bytes = &self.bytes;
        Box::pin(async move { self.inner.read_part(range, version, &mut CountedSink { inner: sink, bytes }).await })
    }
}

impl<O: Updatable + ?Sized> Updatable for CountedObject<O> {
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        let bytes = &self.bytes;
        Box::pin(async move { self.inner.write(offset, &mut CountedSource { inner: source, bytes }).await })
    }

    fn sync(&self) -> Future<'_, Receipt> {
        self.inner.sync()
    }
}

impl Storage for Counted {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move {
            let inner = self.inner.open(key).await?;
            Ok(Box::new(CountedObject { inner, bytes: Arc::clone(&self.bytes) }) as Box<dyn Object>)
        })
    }

    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>> {
        Box::pin(async move {
            let inner = self.inner.update(key, how).await?;
            Ok(Box::new(CountedObject { inner, bytes: Arc::clone(&self.bytes) }) as Box<dyn Updatable>)
        })
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        let bytes = &self.bytes;
        Box::pin(async move { self.inner.write(key, &mut CountedSource { inner: source, bytes }).await })
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        let bytes = &self.bytes;
        Box::pin(async move { self.inner.stage(key, &mut CountedSource { inner: source, bytes }).await })
    }

    forward_storage!(self => self.inner; publish discard stat look_up list delete create_root create_folder remove_folder blocks uri root_uri);
}
