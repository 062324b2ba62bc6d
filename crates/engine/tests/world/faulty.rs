//! Storage as slow and as broken as a test wants it.

use std::sync::Arc;
use std::time::Duration;

use dlio_storage::memory::Memory;
use dlio_storage::{
    Attempts, ByteRange, ChunkSink, ChunkSource, Error, ErrorKind, Found, Future, Metadata, Object, Receipt, Staged,
    Storage,
};

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub read: Duration,
    /// Of what is staged.
    pub stage: Duration,
    pub slow: Option<(String, Duration)>,
    pub broken: Option<String>,
    pub truncated: Option<(String, usize)>,
    pub flipped: Option<(String, usize)>,
    pub missing: Option<String>,
}

impl Faults {
    /// Damages the data set before the run.
    pub async fn damage(&self, memory: &Memory) {
        if let Some((key, bytes)) = &self.truncated {
            let content = memory.get(key).unwrap();
            memory.put(key, content.slice(..*bytes));
        }
        if let Some((key, at)) = &self.flipped {
            let mut content: Vec<u8> = memory.get(key).unwrap().to_vec();
            content[*at] ^= 1;
            memory.put(key, bytes::Bytes::from(content));
        }
        if let Some(key) = &self.missing {
            memory.delete(key).await.unwrap();
        }
    }
}

/// Delays and fails what the faults say, and passes on the rest.
pub struct Faulty {
    inner: Arc<Memory>,
    faults: Faults,
}

impl Faulty {
    pub fn new(inner: Arc<Memory>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn slowness(&self, key: &str) -> Option<Duration> {
        self.faults.slow.as_ref().filter(|(slow, _)| slow == key).map(|(_, delay)| *delay)
    }

    fn broken(&self, doing: &'static str, key: &str) -> Result<(), Error> {
        if self.faults.broken.as_deref() != Some(key) {
            return Ok(());
        }
        Err(Error {
            kind: ErrorKind::Io,
            doing,
            object: self.uri(key),
            range: None,
            endpoint: None,
            message: "the disk is on fire".to_owned(),
            attempts: Attempts::new(),
        })
    }
}

struct Slow<'a> {
    inner: Box<dyn Object + 'a>,
    delay: Duration,
}

impl Object for Slow<'_> {
    fn size(&self) -> Option<u64> {
        self.inner.size()
    }

    fn opened(&self) -> &Attempts {
        self.inner.opened()
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(async move {
            tokio::time::sleep(self.delay).await;
            self.inner.read(range, sink).await
        })
    }
}

impl Storage for Faulty {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object + 'a>> {
        Box::pin(async move {
            self.broken("opening", key)?;
            let inner = self.inner.open(key).await?;
            let delay = self.slowness(key).unwrap_or(self.faults.read);
            Ok(Box::new(Slow { inner, delay }) as Box<dyn Object>)
        })
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(async move {
            self.broken("writing", key)?;
            tokio::time::sleep(self.slowness(key).unwrap_or_default()).await;
            self.inner.write(key, source).await
        })
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        Box::pin(async move {
            self.broken("writing", key)?;
            tokio::time::sleep(self.slowness(key).unwrap_or(self.faults.stage)).await;
            self.inner.stage(key, source).await
        })
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

    fn uri(&self, key: &str) -> String {
        self.inner.uri(key)
    }
}
