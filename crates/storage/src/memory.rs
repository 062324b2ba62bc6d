//! Objects in memory: the reference model of the storage semantics, for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dlio_event::{Nanos, OpKind, Outcome, TimeSource};

use crate::key::check_key;
use crate::staged::Ticket;
use crate::traits::{look_up_object, no_folder};
use crate::{
    Attempt, Attempts, ByteRange, ChunkSink, ChunkSource, Error, ErrorKind, Future, ListEntry, Metadata, Object,
    Receipt, Staged, Storage, Updatable, Update, Version,
};

/// Bytes per chunk of a read; sinks receive objects in pieces, as from other storage.
const CHUNK: usize = 256 << 10;

/// Entries per page of a listing.
const PAGE: usize = 1000;

/// A bucket in memory whose clones share its objects. An object that is open for reading keeps its content when it is replaced or updated.
#[derive(Clone)]
pub struct Memory {
    time: Arc<dyn TimeSource>,
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl Memory {
    /// Returns a storage without objects.
    #[must_use]
    pub fn new(time: Arc<dyn TimeSource>) -> Self {
        Self { time, objects: Arc::default() }
    }

    /// Returns the shared content of an object; `None` if it does not exist.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.objects().get(key).cloned()
    }

    /// Stores an object and replaces any object of the same key.
    pub fn put(&self, key: &str, content: impl Into<Bytes>) {
        self.objects().insert(key.to_owned(), content.into());
    }

    /// Returns the number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects().len()
    }

    /// Returns whether there is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects().is_empty()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempt(&self, kind: OpKind, start: Nanos) -> Attempt {
        Attempt { end: self.time.now(), ..Attempt::started(kind, start) }
    }

    fn receipt(&self, kind: OpKind, start: Nanos) -> Receipt {
        Receipt { bytes: 0, attempts: Attempts::from_iter([self.attempt(kind, start)]) }
    }

    fn error(&self, kind: ErrorKind, key: &str, message: String, attempt: Attempt) -> Error {
        let doing = match attempt.kind {
            OpKind::Open => "opening",
            OpKind::Read => "reading",
            OpKind::Write | OpKind::Rename => "writing",
            OpKind::Delete => "deleting",
            OpKind::CreateNamespace => "creating",
            _ => "looking up",
        };
        let attempts = Attempts::from_iter([attempt]);
        Error { kind, doing, object: self.uri(key), range: None, endpoint: None, message, attempts }
    }

    fn find(&self, kind: OpKind, key: &str) -> Result<(Bytes, Receipt), Error> {
        let start = self.time.now();
        self.check(kind, key)?;
        self.get(key).map(|content| (content, self.receipt(kind, start))).ok_or_else(|| {
            let attempt = Attempt { outcome: Outcome::NotFound, ..self.attempt(kind, start) };
            self.error(ErrorKind::NotFound, key, "no such object; write it first".to_owned(), attempt)
        })
    }

    fn check(&self, kind: OpKind, key: &str) -> Result<(), Error> {
        check_key(key).map_err(|message| {
            let attempt = Attempt { outcome: Outcome::ClientError, ..self.attempt(kind, self.time.now()) };
            self.error(ErrorKind::Invalid, key, message, attempt)
        })
    }

    fn write_now(&self, key: &str, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let (content, receipt) = self.draw(key, source)?;
        self.put(key, content);
        Ok(receipt)
    }

    fn stage_now(&self, key: &str, source: &mut dyn ChunkSource) -> Result<Staged, Error> {
        let (content, Receipt { bytes, attempts }) = self.draw(key, source)?;
        Ok(Staged { key: key.to_owned(), bytes, attempts, ticket: Ticket::Memory(content.into()) })
    }

    fn publish_now(&self, staged: &Staged) -> Result<Receipt, Error> {
        let start = self.time.now();
        let Ticket::Memory(content) = &staged.ticket else {
            let attempt = Attempt { outcome: Outcome::ClientError, ..self.attempt(OpKind::Rename, start) };
            return Err(self.error(ErrorKind::Invalid, &staged.key, staged.foreign(), attempt));
        };
        self.put(&staged.key, content.clone());
        Ok(self.receipt(OpKind::Rename, start))
    }

    /// Reads a source to its end.
    fn draw(&self, key: &str, source: &mut dyn ChunkSource) -> Result<(Vec<u8>, Receipt), Error> {
        let start = self.time.now();
        self.check(OpKind::Write, key)?;
        let total = source.len();
        let mut content = Vec::new();
        let size = usize::try_from(total).unwrap_or(usize::MAX);
        if content.try_reserve_exact(size).is_err() {
            let attempt = Attempt { outcome: Outcome::Io, ..self.attempt(OpKind::Write, start) };
            let message = format!("no memory for {total} bytes; use a smaller object or another storage");
            return Err(self.error(ErrorKind::Full, key, message, attempt));
        }
        content.resize(size, 0);
        let mut filled = 0;
        while filled < size {
            match source.fill(&mut content[filled..size.min(filled + CHUNK)]) {
                0 => {
                    let message = format!(
                        "the source ended after {filled} of {total} bytes; nothing was written under this name"
                    );
                    let attempt = Attempt { outcome: Outcome::Cancelled, ..self.attempt(OpKind::Write, start) };
                    return Err(self.error(ErrorKind::Invalid, key, message, attempt));
                }
                more => filled += more,
            }
        }
        let attempt = Attempt { requested: Some(total), bytes: total, ..self.attempt(OpKind::Write, start) };
        Ok((content, Receipt { bytes: total, attempts: Attempts::from_iter([attempt]) }))
    }

    /// Returns the next page of a listing: at most [`PAGE`] objects with this prefix whose keys follow `after`.
    fn page(&self, prefix: &str, after: Option<&str>) -> Vec<ListEntry> {
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        self.objects()
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(PAGE)
            .map(|(key, content)| ListEntry { key: key.clone(), size: content.len() as u64 })
            .collect()
    }
}

struct OpenBytes {
    memory: Memory,
    key: Box<str>,
    content: Bytes,
    opened: Attempts,
}

/// An object that is updated in place; each read returns all earlier writes.
struct UpdatedBytes {
    memory: Memory,
    key: Box<str>,
    opened: Attempts,
}

impl UpdatedBytes {
    fn write_now(&self, offset: u64, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let (part, mut receipt) = self.memory.draw(&self.key, source)?;
        if let Some(attempt) = receipt.attempts.last_mut() {
            attempt.offset = offset;
        }
        let mut objects = self.memory.objects();
        let mut content = objects.get(&*self.key).map(|content| content.to_vec()).unwrap_or_default();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = from.saturating_add(part.len());
        if content.try_reserve(end.saturating_sub(content.len())).is_err() {
            let attempt =
                Attempt { outcome: Outcome::Io, ..self.memory.attempt(OpKind::Write, self.memory.time.now()) };
            let message = format!("no memory for {end} bytes; use a smaller object or another storage");
            return Err(self.memory.error(ErrorKind::Full, &self.key, message, attempt));
        }
        if !part.is_empty() {
            content.resize(content.len().max(end), 0);
            content[from..end].copy_from_slice(&part);
        }
        objects.insert(self.key.to_string(), content.into());
        Ok(receipt)
    }
}

impl Object for UpdatedBytes {
    fn size(&self) -> Option<u64> {
        self.memory.get(&self.key).map(|content| content.len() as u64)
    }

    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(async move {
            let content = self.memory.get(&self.key).unwrap_or_default();
            let (memory, key) = (self.memory.clone(), self.key.clone());
            let now = OpenBytes { memory, key, content, opened: Attempts::new() };
            now.read_now(range, sink)
        })
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        self.read(ByteRange::new(0, limit), sink)
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        _version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        self.read(range, sink)
    }
}

impl Updatable for UpdatedBytes {
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(async move { self.write_now(offset, source) })
    }

    fn sync(&self) -> Future<'_, Receipt> {
        Box::pin(async move { Ok(self.memory.receipt(OpKind::Fsync, self.memory.time.now())) })
    }
}

impl OpenBytes {
    fn read_now(&self, range: ByteRange, sink: &mut dyn ChunkSink) -> Result<Receipt, Error> {
        let start = self.memory.time.now();
        let size = self.content.len() as u64;
        let end = range.len.map_or(size, |len| range.offset.saturating_add(len).min(size));
        let from = range.offset.min(end);
        let mut attempt = Attempt {
            offset: range.offset,
            requested: range.len,
            first_byte: (from < end).then_some(start),
            object_size: Some(size),
            ..self.memory.attempt(OpKind::Read, start)
        };
        #[expect(clippy::cast_possible_truncation, reason = "both are within the length of a slice, which is a usize")]
        let wanted = &self.content[from as usize..end as usize];
        for chunk in wanted.chunks(CHUNK) {
            if let Err(message) = sink.chunk(chunk) {
                attempt.outcome = Outcome::Corrupt;
                let error = self.memory.error(ErrorKind::Corrupt, &self.key, message, attempt);
                return Err(Error { range: Some(range), ..error });
            }
            attempt.bytes += chunk.len() as u64;
        }
        attempt.end = self.memory.time.now();
        Ok(Receipt { bytes: attempt.bytes, attempts: Attempts::from_iter([attempt]) })
    }
}

impl Object for OpenBytes {
    fn size(&self) -> Option<u64> {
        Some(self.content.len() as u64)
    }

    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(async move { self.read_now(range, sink) })
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        self.read(ByteRange::new(0, limit), sink)
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        _version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        self.read(range, sink)
    }
}

impl Storage for Memory {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move {
            let (content, receipt) = self.find(OpKind::Open, key)?;
            let (memory, key, opened) = (self.clone(), key.into(), receipt.attempts);
            Ok(Box::new(OpenBytes { memory, key, content, opened }) as Box<dyn Object>)
        })
    }

    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>> {
        Box::pin(async move {
            let start = self.time.now();
            self.check(OpKind::Open, key)?;
            if how.create && self.get(key).is_none() {
                self.put(key, Vec::new());
            }
            self.find(OpKind::Open, key)?;
            let opened = self.receipt(OpKind::Open, start).attempts;
            Ok(Box::new(UpdatedBytes { memory: self.clone(), key: key.into(), opened }) as Box<dyn Updatable>)
        })
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(async move { self.write_now(key, source) })
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        Box::pin(async move { self.stage_now(key, source) })
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(async move { self.publish_now(staged) })
    }

    fn discard<'a>(&'a self, _staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(async move { Ok(self.receipt(OpKind::Delete, self.time.now())) })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)> {
        Box::pin(async move {
            let (content, receipt) = self.find(OpKind::Stat, key)?;
            Ok((Metadata { size: content.len() as u64 }, receipt))
        })
    }

    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)> {
        look_up_object(self, key)
    }

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[ListEntry])) -> Future<'a, Receipt> {
        Box::pin(async move {
            let mut attempts = Attempts::new();
            let mut last: Option<String> = None;
            loop {
                let start = self.time.now();
                let found = self.page(prefix, last.as_deref());
                attempts.push(self.attempt(OpKind::List, start));
                if !found.is_empty() {
                    page(&found);
                }
                if found.len() < PAGE {
                    return Ok(Receipt { bytes: 0, attempts });
                }
                last = found.last().map(|found| found.key.clone());
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(async move {
            let start = self.time.now();
            self.check(OpKind::Delete, key)?;
            self.objects().remove(key);
            Ok(self.receipt(OpKind::Delete, start))
        })
    }

    fn create_root(&self) -> Future<'_, Receipt> {
        Box::pin(async move { Ok(self.receipt(OpKind::CreateNamespace, self.time.now())) })
    }

    fn create_folder<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(async move {
            if !key.trim_end_matches('/').is_empty() {
                self.check(OpKind::CreateNamespace, key.trim_end_matches('/'))?;
            }
            Ok(self.receipt(OpKind::CreateNamespace, self.time.now()))
        })
    }

    fn remove_folder<'a>(&'a self, _key: &'a str) -> Future<'a, (bool, Receipt)> {
        no_folder()
    }

    fn blocks(&self) -> bool {
        false
    }

    fn uri(&self, key: &str) -> String {
        format!("memory://{key}")
    }

    fn root_uri(&self) -> String {
        self.uri("")
    }
}
