//! A decorator that reads whole objects as s3dlio does: it may request the size first, and reads large objects in concurrent
//! ranges.
//!
//! Invariant: the sink gets the bytes in order, and at most `concurrency` ranges of an object are in memory. Reads of a
//! range are passed on unchanged.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dlio_event::Outcome;
use futures::StreamExt as _;

use crate::{
    Attempt, Attempts, ByteRange, ChunkSink, ChunkSource, Error, ErrorKind, Future, Object, Receipt, Staged, Storage,
    Updatable, Update, Version, forward_object, forward_storage,
};

const MIB: u64 = 1 << 20;

/// Rules for reading whole objects in ranges. A value of `None` is derived from the object's size as in s3dlio 0.9.106.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangedGetRules {
    /// Request the size of an object before its first read.
    pub head: bool,
    /// Objects of at least this many bytes are read in ranges once their size is known; `None` disables ranges.
    pub threshold: Option<u64>,
    /// Bytes per range.
    pub chunk: Option<u64>,
    /// Number of ranges of one object in flight.
    pub concurrency: Option<usize>,
    /// Number of processors of this machine, from which s3dlio derives its concurrency.
    pub cores: usize,
}

/// Size and concurrency of the ranges of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeShape {
    /// Bytes per range.
    pub chunk: u64,
    /// Number of ranges in flight.
    pub concurrency: usize,
}

impl RangedGetRules {
    /// Returns how an object of this size in bytes is read in ranges; `None` means in one request.
    #[must_use]
    pub fn shape(&self, size: u64) -> Option<RangeShape> {
        if self.threshold.is_none_or(|threshold| size < threshold.max(1)) {
            return None;
        }
        let chunk = match size {
            _ if size < 16 * MIB => MIB,
            _ if size < 256 * MIB => 4 * MIB,
            _ => 8 * MIB,
        };
        let concurrency = match size {
            _ if size < 32 * MIB => (self.cores / 2).max(2),
            _ if size <= 512 * MIB => self.cores.max(4),
            _ => (2 * self.cores).max(8),
        };
        Some(RangeShape {
            chunk: self.chunk.unwrap_or(chunk).max(1),
            concurrency: self.concurrency.unwrap_or(concurrency).max(1),
        })
    }
}

/// A storage that reads whole objects in ranges by these rules.
pub struct RangedGet {
    inner: Arc<dyn Storage>,
    shared: Arc<Shared>,
}

/// State that the storage shares with its open objects.
struct Shared {
    rules: RangedGetRules,
    /// Sizes in bytes of the objects read so far, if they affect how the objects are read; kept for the life of the process, as in s3dlio.
    sizes: Mutex<HashMap<String, u64>>,
}

impl RangedGet {
    /// Wraps `inner` and applies these rules.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, rules: RangedGetRules) -> Self {
        Self { inner, shared: Arc::new(Shared { rules, sizes: Mutex::default() }) }
    }
}

impl Shared {
    fn known(&self, key: &str) -> Option<u64> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn learn(&self, key: &str, size: u64) {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), size);
    }

    fn forget(&self, key: &str) {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

struct RangedObject {
    inner: Box<dyn Object>,
    storage: Arc<dyn Storage>,
    shared: Arc<Shared>,
    key: Box<str>,
}

impl RangedObject {
    /// Reads the whole object, or its first `limit` bytes.
    async fn whole(&self, limit: Option<u64>, sink: &mut dyn ChunkSink) -> Result<Receipt, Error> {
        let mut asked = Attempts::new();
        let mut size = self.inner.size().or_else(|| self.shared.known(&self.key));
        if size.is_none() && self.shared.rules.head {
            let (metadata, receipt) = self.storage.stat(&self.key).await?;
            self.shared.learn(&self.key, metadata.size);
            (size, asked) = (Some(metadata.size), receipt.attempts);
        }
        let shape = size.and_then(|size| Some((size, self.shared.rules.shape(size)?)));
        let read = match shape {
            Some((size, shape)) => self.in_ranges((size, limit), shape, sink).await,
            None => match limit {
                Some(limit) => self.inner.read_first(limit, sink).await,
                None => self.inner.read(ByteRange::ALL, sink).await,
            },
        };
        match read {
            Ok(mut receipt) => {
                // The size of an object below the threshold does not affect later reads.
                if size.is_none() && limit.is_none() && self.shared.rules.shape(receipt.bytes).is_some() {
                    self.shared.learn(&self.key, receipt.bytes);
                }
                receipt.attempts.insert_many(0, asked);
                Ok(receipt)
            }
            Err(mut error) => {
                error.attempts.insert_many(0, asked);
                Err(error)
            }
        }
    }

    /// Reads an object of this size, or its first `limit` bytes, in ranges of one version.
    async fn in_ranges(
        &self,
        (size, limit): (u64, Option<u64>),
        shape: RangeShape,
        sink: &mut dyn ChunkSink,
    ) -> Result<Receipt, Error> {
        let wanted = limit.map_or(size, |limit| limit.min(size));
        // Buffers whose bytes were delivered and that can hold another range.
        let spare: RefCell<Vec<Vec<u8>>> = RefCell::default();
        let version = Version::new();
        let count = wanted.div_ceil(shape.chunk);
        let ranges = (0..count).map(|number| {
            let offset = number * shape.chunk;
            ByteRange::new(offset, shape.chunk.min(wanted - offset))
        });
        let fetch = |range: ByteRange| {
            let mut buffer = spare.borrow_mut().pop().unwrap_or_default();
            buffer.clear();
            let version = &version;
            async move {
                let mut collect = |bytes: &[u8]| {
                    buffer.extend_from_slice(bytes);
                    Ok(())
                };
                let receipt = self.inner.read_part(range, version, &mut collect).await?;
                Ok::<_, Error>((range, buffer, receipt))
            }
        };
        let mut fetched = futures::stream::iter(ranges).map(fetch).buffered(shape.concurrency);
        let mut whole = Receipt::default();
        while let Some(next) = fetched.next().await {
            let (range, buffer, receipt) = match next {
                Ok(next) => next,
                Err(mut error) => {
                    error.attempts.insert_many(0, whole.attempts);
                    return Err(error);
                }
            };
            whole.bytes += receipt.bytes;
            let other = |attempt: &Attempt| {
                attempt.outcome == Outcome::Ok && attempt.object_size.is_some_and(|now| now != size)
            };
            let other = receipt.attempts.iter().any(other);
            whole.attempts.extend(receipt.attempts);
            if range.len != Some(receipt.bytes) || other {
                // The remembered size is out of date.
                self.shared.forget(&self.key);
                let message = format!("the object was replaced while it was being read: it had {size} bytes");
                return Err(self.refused(range, message, whole.attempts));
            }
            if let Err(message) = sink.chunk(&buffer) {
                return Err(self.refused(range, message, whole.attempts));
            }
            spare.borrow_mut().push(buffer);
        }
        Ok(whole)
    }

    fn refused(&self, range: ByteRange, message: String, mut attempts: Attempts) -> Error {
        if let Some(last) = attempts.last_mut() {
            last.outcome = Outcome::Corrupt;
        }
        Error {
            kind: ErrorKind::Corrupt,
            doing: "reading",
            object: self.storage.uri(&self.key),
            range: Some(range),
            endpoint: attempts.last().and_then(|attempt| attempt.endpoint.as_deref().map(str::to_owned)),
            message,
            attempts,
        }
    }
}

impl Object for RangedObject {
    forward_object!(self => self.inner; size opened read_part);

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        if range == ByteRange::ALL { Box::pin(self.whole(None, sink)) } else { self.inner.read(range, sink) }
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.whole(Some(limit), sink))
    }
}

impl Storage for RangedGet {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move {
            let inner = self.inner.open(key).await?;
            let (storage, shared) = (Arc::clone(&self.inner), Arc::clone(&self.shared));
            Ok(Box::new(RangedObject { inner, storage, shared, key: key.into() }) as Box<dyn Object>)
        })
    }

    /// What was recorded of an object that changes is a range: nothing of it is split.
    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>> {
        self.shared.forget(key);
        self.inner.update(key, how)
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        self.shared.forget(key);
        self.inner.write(key, source)
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        self.shared.forget(&staged.key);
        self.inner.publish(staged)
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        self.shared.forget(key);
        self.inner.delete(key)
    }

    forward_storage!(self => self.inner; stage discard stat look_up list create_root create_folder remove_folder blocks uri root_uri);
}

#[cfg(test)]
mod tests {
    use super::*;

    const S3DLIO: RangedGetRules =
        RangedGetRules { head: true, threshold: Some(32 * MIB), chunk: None, concurrency: None, cores: 16 };

    #[test]
    fn the_shapes_are_those_of_s3dlio() {
        assert_eq!(S3DLIO.shape(32 * MIB - 1), None);
        assert_eq!(S3DLIO.shape(140 * MIB), Some(RangeShape { chunk: 4 * MIB, concurrency: 16 }));
        assert_eq!(S3DLIO.shape(256 * MIB), Some(RangeShape { chunk: 8 * MIB, concurrency: 16 }));
        assert_eq!(S3DLIO.shape(513 * MIB), Some(RangeShape { chunk: 8 * MIB, concurrency: 32 }));
        let low = RangedGetRules { threshold: Some(0), cores: 1, ..S3DLIO };
        assert_eq!(low.shape(MIB), Some(RangeShape { chunk: MIB, concurrency: 2 }));
        assert_eq!(low.shape(20 * MIB), Some(RangeShape { chunk: 4 * MIB, concurrency: 2 }));
        assert_eq!(low.shape(0), None, "an empty object has no ranges");
        assert_eq!(RangedGetRules { threshold: None, ..S3DLIO }.shape(u64::MAX), None);
    }
}
