//! A decorator that makes storage slower by a fixed time to the first byte and a bandwidth.

use std::collections::HashMap;
use std::future::Future as StdFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dlio_event::{Nanos, TimeSource};

use crate::{
    Attempts, ByteRange, ChunkSink, ChunkSource, Error, Found, Future, Metadata, Object, Receipt, Staged, Storage,
    Updatable, Update, Version, forward_object, forward_storage,
};

/// How slow one kind of operation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delay {
    /// Before the first byte, or before the answer where no bytes move.
    pub first_byte: Duration,
    /// Bytes per second after that; `None`: no limit.
    pub bytes_per_second: Option<u64>,
}

impl Delay {
    /// No bytes come before `first_byte`; then they come at once.
    #[must_use]
    pub fn latency(first_byte: Duration) -> Self {
        Self { first_byte, bytes_per_second: None }
    }

    fn transfer(&self, bytes: u64) -> Duration {
        let nanos = |rate: u64| u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        self.bytes_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_nanos(u64::try_from(nanos(rate)).unwrap_or(u64::MAX)))
    }
}

/// The delays of all operations; by default there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delays {
    /// Opening an object.
    pub open: Delay,
    /// Reading a range.
    pub read: Delay,
    /// Writing an object.
    pub write: Delay,
    /// Everything else: looking up, listing, deleting, creating.
    pub other: Delay,
}

/// Waits for a time: `tokio::time::sleep`, or what a test puts in its place.
pub type Sleep = Arc<dyn Fn(Duration) -> Pin<Box<dyn StdFuture<Output = ()>>> + Send + Sync>;

/// Storage that answers after a delay.
///
/// The delay is the same for every operation however many run at once, so a test can compute by hand when each ends.
/// Attempts carry the delayed times. Under tokio's clock delays are whole milliseconds.
pub struct Delayed<S> {
    inner: S,
    pace: Pace,
    /// Delays of single keys, in place of those of all others.
    keys: HashMap<String, Delays>,
}

/// How an operation is delayed.
#[derive(Clone)]
struct Pace {
    time: Arc<dyn TimeSource>,
    delays: Delays,
    sleep: Sleep,
}

impl<S: Storage> Delayed<S> {
    /// Delays `inner`, waiting with `sleep`; `time` must be the time that passes in it.
    #[must_use]
    pub fn new(inner: S, delays: Delays, time: Arc<dyn TimeSource>, sleep: Sleep) -> Self {
        Self { inner, pace: Pace { time, delays, sleep }, keys: HashMap::new() }
    }

    /// Delays `inner` on tokio's clock, paused or not.
    #[must_use]
    pub fn on_tokio(inner: S, delays: Delays, time: Arc<dyn TimeSource>) -> Self {
        Self::new(inner, delays, time, Arc::new(|pause| Box::pin(tokio::time::sleep(pause))))
    }

    /// Delays operations on this key by `delays` instead.
    #[must_use]
    pub fn with_key(mut self, key: &str, delays: Delays) -> Self {
        self.keys.insert(key.to_owned(), delays);
        self
    }

    /// The storage behind the delays.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// How operations on this key are delayed.
    fn pace(&self, key: &str) -> Pace {
        let delays = self.keys.get(key).copied().unwrap_or(self.pace.delays);
        Pace { delays, ..self.pace.clone() }
    }
}

impl Pace {
    async fn pause(&self, pause: Duration) {
        if !pause.is_zero() {
            (self.sleep)(pause).await;
        }
    }

    /// Runs `work` between the wait for its first byte and the wait for its `moved` bytes.
    async fn run<T>(
        &self,
        delay: Delay,
        work: impl StdFuture<Output = Result<T, Error>>,
        parts: impl Fn(&mut T) -> (&mut Attempts, u64),
    ) -> Result<T, Error> {
        let start = self.time.now();
        self.pause(delay.first_byte).await;
        let answered = self.time.now();
        match work.await {
            Ok(mut done) => {
                let (attempts, moved) = parts(&mut done);
                self.pause(delay.transfer(moved)).await;
                self.stretch(attempts, start, answered);
                Ok(done)
            }
            Err(mut error) => {
                self.stretch(&mut error.attempts, start, answered);
                Err(error)
            }
        }
    }

    async fn run_receipt(&self, delay: Delay, work: Future<'_, Receipt>) -> Result<Receipt, Error> {
        self.run(delay, work, |receipt| (&mut receipt.attempts, receipt.bytes)).await
    }

    /// The first attempt began before the delay, the last ended after the transfer.
    fn stretch(&self, attempts: &mut Attempts, start: Nanos, answered: Nanos) {
        if let Some(first) = attempts.first_mut() {
            first.start = start;
            first.first_byte = first.first_byte.map(|_| answered);
        }
        if let Some(last) = attempts.last_mut() {
            last.end = self.time.now();
        }
    }
}

struct DelayedObject<O: ?Sized> {
    inner: Box<O>,
    pace: Pace,
    opened: Attempts,
}

impl<O: Updatable + ?Sized> Updatable for DelayedObject<O> {
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(self.pace.run_receipt(self.pace.delays.write, self.inner.write(offset, source)))
    }

    fn sync(&self) -> Future<'_, Receipt> {
        Box::pin(self.pace.run_receipt(self.pace.delays.other, self.inner.sync()))
    }
}

impl<O: Object + ?Sized> Object for DelayedObject<O> {
    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.pace.run_receipt(self.pace.delays.read, self.inner.read(range, sink)))
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.pace.run_receipt(self.pace.delays.read, self.inner.read_first(limit, sink)))
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        Box::pin(self.pace.run_receipt(self.pace.delays.read, self.inner.read_part(range, version, sink)))
    }

    forward_object!(self => self.inner; size);
}

impl<S: Storage> Delayed<S> {
    /// Runs an operation that moves bytes, or none.
    fn receipt<'a>(&'a self, key: &str, delay: fn(&Delays) -> Delay, work: Future<'a, Receipt>) -> Future<'a, Receipt> {
        let pace = self.pace(key);
        Box::pin(async move { pace.run_receipt(delay(&pace.delays), work).await })
    }

    /// Runs an operation that moves no bytes and answers with a value.
    fn answer<'a, T: 'a>(&'a self, key: &str, work: Future<'a, (T, Receipt)>) -> Future<'a, (T, Receipt)> {
        let pace = self.pace(key);
        Box::pin(async move {
            pace.run(pace.delays.other, work, |(_, receipt)| (&mut receipt.attempts, receipt.bytes)).await
        })
    }

    /// Opens an object.
    async fn opened<O: Object + ?Sized>(
        &self,
        key: &str,
        opening: Future<'_, Box<O>>,
    ) -> Result<Box<DelayedObject<O>>, Error> {
        let pace = self.pace(key);
        let opening = async {
            let inner = opening.await?;
            let opened = inner.opened().clone();
            Ok(Box::new(DelayedObject { inner, pace: pace.clone(), opened }))
        };
        pace.run(pace.delays.open, opening, |object| (&mut object.opened, 0)).await
    }
}

impl<S: Storage> Storage for Delayed<S> {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move { Ok(self.opened(key, self.inner.open(key)).await? as Box<dyn Object>) })
    }

    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>> {
        Box::pin(async move { Ok(self.opened(key, self.inner.update(key, how)).await? as Box<dyn Updatable>) })
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        self.receipt(key, |delays| delays.write, self.inner.write(key, source))
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        let (pace, staging) = (self.pace(key), self.inner.stage(key, source));
        Box::pin(
            async move { pace.run(pace.delays.write, staging, |staged| (&mut staged.attempts, staged.bytes)).await },
        )
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        self.receipt(&staged.key, |delays| delays.other, self.inner.publish(staged))
    }

    fn discard<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        self.receipt(&staged.key, |delays| delays.other, self.inner.discard(staged))
    }

    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)> {
        self.answer(key, self.inner.stat(key))
    }

    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)> {
        self.answer(key, self.inner.look_up(key))
    }

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[Found])) -> Future<'a, Receipt> {
        self.receipt(prefix, |delays| delays.other, self.inner.list(prefix, page))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        self.receipt(key, |delays| delays.other, self.inner.delete(key))
    }

    fn create_root(&self) -> Future<'_, Receipt> {
        self.receipt("", |delays| delays.other, self.inner.create_root())
    }

    fn create_folder<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        self.receipt(key, |delays| delays.other, self.inner.create_folder(key))
    }

    fn remove_folder<'a>(&'a self, key: &'a str) -> Future<'a, (bool, Receipt)> {
        self.answer(key, self.inner.remove_folder(key))
    }

    forward_storage!(self => self.inner; blocks uri root_uri);
}
