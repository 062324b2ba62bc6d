//! A decorator that makes chosen operations fail, the same ones in every run.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use dlio_event::{OpKind, Outcome, TimeSource};

use crate::{
    Attempt, Attempts, ByteRange, ChunkSink, ChunkSource, Error, ErrorKind, Future, ListEntry, Metadata, Object,
    Receipt, Staged, Storage, Updatable, Update, Version, forward_object, forward_storage,
};

/// Kind of an operation that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Storage::open`] and [`Storage::update`].
    Open,
    /// [`Object::read`], [`Object::read_first`] and [`Object::read_part`].
    Read,
    /// [`Storage::write`], [`Storage::stage`], [`Updatable::write`] and [`Updatable::sync`].
    Write,
    /// [`Storage::publish`].
    Publish,
    /// [`Storage::stat`] and [`Storage::look_up`].
    Stat,
    /// [`Storage::list`].
    List,
    /// [`Storage::delete`] and [`Storage::remove_folder`].
    Delete,
    /// [`Storage::create_root`] and [`Storage::create_folder`].
    Create,
}

/// Selects calls of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Every call.
    Always,
    /// The `n`th call on any key, counted from 1.
    Call(u64),
    /// Every call on this key.
    Key(String),
    /// The `n`th call on this key, counted from 1; a retry after it succeeds.
    KeyCall(String, u64),
    /// Reads of this key whose range covers this byte of the object; the bytes before it are delivered.
    Byte(String, u64),
    /// About one call in `n`, chosen by a hash of the seed, key and offset, so that thread order does not change the choice.
    OneIn {
        /// Mean number of calls per chosen call.
        n: u64,
        /// Seed of the choice.
        seed: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    Error(ErrorKind),
    /// The read succeeds with only this many bytes of the range.
    Cut(u64),
    /// All bits of the byte at this offset of the object are inverted.
    Flip(u64),
}

#[derive(Debug, Clone)]
struct Rule {
    on: Operation,
    when: When,
    failure: Failure,
}

/// A storage whose chosen operations fail.
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

/// Numbers of calls by operation and key; `None` counts the calls on all keys.
type CallCounts = HashMap<(Operation, Option<String>), u64>;

/// The rules and the numbers of calls so far, which open objects share with their storage.
#[derive(Clone)]
struct Faults {
    time: Arc<dyn TimeSource>,
    rules: Arc<Vec<Rule>>,
    calls: Arc<Mutex<CallCounts>>,
}

/// The properties of a call that rules match.
struct Call<'a> {
    on: Operation,
    key: &'a str,
    range: Option<ByteRange>,
    number: u64,
    key_number: u64,
}

impl When {
    fn meets(&self, call: &Call) -> bool {
        match self {
            When::Always => true,
            When::Call(number) => call.number == *number,
            When::Key(key) => call.key == key,
            When::KeyCall(key, number) => call.key == key && call.key_number == *number,
            When::Byte(key, byte) => {
                let covers =
                    |range: ByteRange| range.offset <= *byte && range.len.is_none_or(|len| *byte - range.offset < len);
                call.key == key && call.range.is_some_and(covers)
            }
            When::OneIn { n, seed } => {
                let mut hasher = DefaultHasher::new();
                (seed, call.on, call.key, call.range.map(|range| range.offset)).hash(&mut hasher);
                hasher.finish().is_multiple_of((*n).max(1))
            }
        }
    }
}

impl<S: Storage> Faulty<S> {
    /// Wraps `inner` without any fault.
    #[must_use]
    pub fn new(inner: S, time: Arc<dyn TimeSource>) -> Self {
        Self { inner, faults: Faults { time, rules: Arc::default(), calls: Arc::default() } }
    }

    /// Makes the selected calls of an operation fail with an error of this kind.
    #[must_use]
    pub fn fail(self, on: Operation, when: When, kind: ErrorKind) -> Self {
        self.with(Rule { on, when, failure: Failure::Error(kind) })
    }

    /// Cuts the selected reads after `bytes` bytes, as if the object were shorter.
    #[must_use]
    pub fn cut(self, when: When, bytes: u64) -> Self {
        self.with(Rule { on: Operation::Read, when, failure: Failure::Cut(bytes) })
    }

    /// Inverts the byte at `offset` of the object in the selected reads that cover it.
    #[must_use]
    pub fn corrupt(self, when: When, offset: u64) -> Self {
        self.with(Rule { on: Operation::Read, when, failure: Failure::Flip(offset) })
    }

    fn with(mut self, rule: Rule) -> Self {
        Arc::make_mut(&mut self.faults.rules).push(rule);
        self
    }

    /// Returns the wrapped storage.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Counts a call on the storage, and returns an error if a rule selects it.
    fn pass(&self, on: Operation, key: &str) -> Result<(), Error> {
        self.faults.pass(on, key, || self.inner.uri(key))
    }

    fn opened<O: Object + ?Sized>(&self, key: &str, inner: Box<O>) -> FaultyObject<O> {
        let (faults, uri) = (self.faults.clone(), self.inner.uri(key));
        FaultyObject { inner, faults, key: key.into(), uri }
    }
}

impl Faults {
    /// Counts a call and returns the first rule that selects it.
    fn next(&self, on: Operation, key: &str, range: Option<ByteRange>) -> Option<&Rule> {
        let (number, key_number) = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let mut count = |key| {
                let count = calls.entry((on, key)).or_insert(0u64);
                *count += 1;
                *count
            };
            (count(None), count(Some(key.to_owned())))
        };
        let call = Call { on, key, range, number, key_number };
        self.rules.iter().find(|rule| rule.on == on && rule.when.meets(&call))
    }

    /// Counts a call that transfers no bytes, and returns an error if a rule selects it.
    fn pass(&self, on: Operation, key: &str, uri: impl FnOnce() -> String) -> Result<(), Error> {
        match self.next(on, key, None).map(|rule| rule.failure) {
            Some(Failure::Error(kind)) => Err(self.error(on, uri(), kind, 0)),
            _ => Ok(()),
        }
    }

    fn error(&self, on: Operation, object: String, kind: ErrorKind, bytes: u64) -> Error {
        let (doing, op) = match on {
            Operation::Open => ("opening", OpKind::Open),
            Operation::Read => ("reading", OpKind::Read),
            Operation::Write => ("writing", OpKind::Write),
            Operation::Publish => ("writing", OpKind::Rename),
            Operation::Stat => ("looking up", OpKind::Stat),
            Operation::List => ("listing", OpKind::List),
            Operation::Delete => ("deleting", OpKind::Delete),
            Operation::Create => ("creating", OpKind::CreateNamespace),
        };
        let outcome = match kind {
            ErrorKind::NotFound | ErrorKind::NoBucket => Outcome::NotFound,
            ErrorKind::Denied | ErrorKind::Invalid => Outcome::ClientError,
            ErrorKind::Unreachable => Outcome::Connect,
            ErrorKind::Server => Outcome::ServerError,
            ErrorKind::Corrupt => Outcome::Corrupt,
            ErrorKind::Full | ErrorKind::Io => Outcome::Io,
        };
        let attempt = Attempt { bytes, outcome, ..Attempt::started(op, self.time.now()) };
        Error {
            kind,
            doing,
            object,
            range: None,
            endpoint: None,
            message: format!("an injected fault of kind {kind:?}"),
            attempts: Attempts::from_iter([attempt]),
        }
    }
}

/// A sink that inverts one byte and passes all bytes on; `at` is the offset from the start of the next chunk.
struct Flip<'a> {
    at: Option<u64>,
    sink: &'a mut dyn ChunkSink,
}

impl ChunkSink for Flip<'_> {
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String> {
        let hit = self.at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < bytes.len());
        self.at = self.at.and_then(|at| at.checked_sub(bytes.len() as u64));
        let Some(at) = hit else { return self.sink.chunk(bytes) };
        let mut changed = bytes.to_vec();
        changed[at] = !changed[at];
        self.sink.chunk(&changed)
    }
}

struct FaultyObject<O: ?Sized> {
    inner: Box<O>,
    faults: Faults,
    key: Box<str>,
    uri: String,
}

/// The method of [`Object`] that a read came through.
#[derive(Clone, Copy)]
enum Method<'a> {
    Range,
    First(u64),
    Part(&'a Version),
}

impl<O: Object + ?Sized> FaultyObject<O> {
    fn pass(&self, on: Operation) -> Result<(), Error> {
        self.faults.pass(on, &self.key, || self.uri.clone())
    }

    fn read_by<'a>(&'a self, method: Method<'a>, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        match method {
            Method::Range => self.inner.read(range, sink),
            Method::First(limit) => self.inner.read_first(limit, sink),
            Method::Part(version) => self.inner.read_part(range, version, sink),
        }
    }

    async fn read_or_fail(
        &self,
        method: Method<'_>,
        range: ByteRange,
        sink: &mut dyn ChunkSink,
    ) -> Result<Receipt, Error> {
        match self.faults.next(Operation::Read, &self.key, Some(range)) {
            None => self.read_by(method, range, sink).await,
            Some(Rule { failure: Failure::Flip(offset), .. }) => {
                let mut flip = Flip { at: offset.checked_sub(range.offset), sink };
                self.read_by(method, range, &mut flip).await
            }
            Some(Rule { failure: Failure::Cut(bytes), .. }) => {
                let cut = ByteRange::new(range.offset, range.len.map_or(*bytes, |len| len.min(*bytes)));
                self.inner.read(cut, sink).await
            }
            Some(Rule { failure: Failure::Error(kind), when, .. }) => {
                let mut before = 0;
                if let When::Byte(_, byte) = when {
                    let until = ByteRange::new(range.offset, byte - range.offset);
                    before = self.inner.read(until, sink).await?.bytes;
                }
                let error = self.faults.error(Operation::Read, self.uri.clone(), *kind, before);
                Err(Error { range: Some(range), ..error })
            }
        }
    }
}

impl<O: Updatable + ?Sized> Updatable for FaultyObject<O> {
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(async move {
            self.pass(Operation::Write)?;
            self.inner.write(offset, source).await
        })
    }

    fn sync(&self) -> Future<'_, Receipt> {
        Box::pin(async move {
            self.pass(Operation::Write)?;
            self.inner.sync().await
        })
    }
}

impl<O: Object + ?Sized> Object for FaultyObject<O> {
    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.read_or_fail(Method::Range, range, sink))
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.read_or_fail(Method::First(limit), ByteRange::new(0, limit), sink))
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        Box::pin(self.read_or_fail(Method::Part(version), range, sink))
    }

    forward_object!(self => self.inner; size opened);
}

impl<S: Storage> Storage for Faulty<S> {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move {
            self.pass(Operation::Open, key)?;
            let inner = self.inner.open(key).await?;
            Ok(Box::new(self.opened(key, inner)) as Box<dyn Object>)
        })
    }

    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>> {
        Box::pin(async move {
            self.pass(Operation::Open, key)?;
            let inner = self.inner.update(key, how).await?;
            Ok(Box::new(self.opened(key, inner)) as Box<dyn Updatable>)
        })
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(async move {
            self.pass(Operation::Write, key)?;
            self.inner.write(key, source).await
        })
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        Box::pin(async move {
            self.pass(Operation::Write, key)?;
            self.inner.stage(key, source).await
        })
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(async move {
            self.pass(Operation::Publish, &staged.key)?;
            self.inner.publish(staged).await
        })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)> {
        Box::pin(async move {
            self.pass(Operation::Stat, key)?;
            self.inner.stat(key).await
        })
    }

    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)> {
        Box::pin(async move {
            self.pass(Operation::Stat, key)?;
            self.inner.look_up(key).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[ListEntry])) -> Future<'a, Receipt> {
        Box::pin(async move {
            self.pass(Operation::List, prefix)?;
            self.inner.list(prefix, page).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(async move {
            self.pass(Operation::Delete, key)?;
            self.inner.delete(key).await
        })
    }

    fn create_root(&self) -> Future<'_, Receipt> {
        Box::pin(async move {
            self.pass(Operation::Create, "")?;
            self.inner.create_root().await
        })
    }

    fn create_folder<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(async move {
            self.pass(Operation::Create, key)?;
            self.inner.create_folder(key).await
        })
    }

    fn remove_folder<'a>(&'a self, key: &'a str) -> Future<'a, (bool, Receipt)> {
        Box::pin(async move {
            self.pass(Operation::Delete, key)?;
            self.inner.remove_folder(key).await
        })
    }

    forward_storage!(self => self.inner; discard blocks uri root_uri);
}
