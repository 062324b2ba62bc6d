//! A decorator that counts the bytes that operations move while they move them, for whoever shows progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    Attempts, ByteRange, ChunkSink, ChunkSource, Found, Future, Metadata, Object, Receipt, Staged, Storage, Updatable,
    Update, Version,
};

/// Storage whose reads and writes add their bytes to a counter, chunk by chunk.
pub struct Counted {
    inner: Arc<dyn Storage>,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    /// Counts what moves through `inner` in `bytes`.
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

struct CountedObject<'a, O: ?Sized> {
    inner: Box<O>,
    bytes: &'a AtomicU64,
}

impl<O: Object + ?Sized> Object for CountedObject<'_, O> {
    fn size(&self) -> Option<u64> {
        self.inner.size()
    }

    fn opened(&self) -> &Attempts {
        self.inner.opened()
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(async move { self.inner.read(range, &mut CountedSink { inner: sink, bytes: self.bytes }).await })
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(async move { self.inner.read_first(limit, &mut CountedSink { inner: sink, bytes: self.bytes }).await })
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        let bytes = self.bytes;
        Box::pin(async move { self.inner.read_part(range, version, &mut CountedSink { inner: sink, bytes }).await })
    }
}

impl<O: Updatable + ?Sized> Updatable for CountedObject<'_, O> {
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        let bytes = self.bytes;
        Box::pin(async move { self.inner.write(offset, &mut CountedSource { inner: source, bytes }).await })
    }

    fn sync(&self) -> Future<'_, Receipt> {
        self.inner.sync()
    }
}

impl Storage for Counted {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object + 'a>> {
        Box::pin(async move {
            let inner = self.inner.open(key).await?;
            Ok(Box::new(CountedObject { inner, bytes: &self.bytes }) as Box<dyn Object + 'a>)
        })
    }

    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable + 'a>> {
        Box::pin(async move {
            let inner = self.inner.update(key, how).await?;
            Ok(Box::new(CountedObject { inner, bytes: &self.bytes }) as Box<dyn Updatable + 'a>)
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

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        self.inner.publish(staged)
    }

    fn discard<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        self.inner.discard(staged)
    }

    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)> {
        self.inner.stat(key)
    }

    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)> {
        self.inner.look_up(key)
    }

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[Found])) -> Future<'a, Receipt> {
        self.inner.list(prefix, page)
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        self.inner.delete(key)
    }

    fn create_root(&self) -> Future<'_, Receipt> {
        self.inner.create_root()
    }

    fn create_folder<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        self.inner.create_folder(key)
    }

    fn remove_folder<'a>(&'a self, key: &'a str) -> Future<'a, (bool, Receipt)> {
        self.inner.remove_folder(key)
    }

    fn blocks(&self) -> bool {
        self.inner.blocks()
    }

    fn uri(&self, key: &str) -> String {
        self.inner.uri(key)
    }

    fn root_uri(&self) -> String {
        self.inner.root_uri()
    }
}
