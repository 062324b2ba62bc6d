//! A decorator that slows storage down to a fixed time to first byte and a fixed bandwidth.

use std::collections::HashMap;
use std::future::Future as StdFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dlio_event::{Nanos, TimeSource};

use crate::{
    Attempts, ByteRange, ChunkSink, ChunkSource, Error, Future, ListEntry, Metadata, Object, Receipt, Staged, Storage,
    Updatable, Update, Version, forward_object, forward_storage,
};

/// Delay of one kind of operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delay {
    /// Time before the first byte, or before the response of an operation without bytes.
    pub first_byte: Duration,
    /// Bandwidth after the first byte, in bytes per second; `None` means unlimited.
    pub bytes_per_second: Option<u64>,
}

impl Delay {
    /// Returns a delay with this time to first byte and unlimited bandwidth.
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

/// Delays of all kinds of operations; the default has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delays {
    /// Delay of opening an object.
    pub open: Delay,
    /// Delay of reading a range.
    pub read: Delay,
    /// Delay of writing or staging an object.
    pub write: Delay,
    /// Delay of every other operation: look-ups, listings, deletions, creations.
    pub other: Delay,
}

/// A function that waits for a duration: `tokio::time::sleep`, or a substitute in tests.
pub type Sleep = Arc<dyn Fn(Duration) -> Pin<Box<dyn StdFuture<Output = ()>>> + Send + Sync>;

/// A storage that responds after a delay.
///
/// The delay does not depend on how many operations run at the same time, so a test can compute the end of each operation by hand.
/// Attempts carry the delayed times. On tokio's clock, delays are rounded to whole milliseconds.
pub struct Delayed<S> {
    inner: S,
    timer: DelayTimer,
    /// Delays of individual keys, which replace the general ones.
    keys: HashMap<String, Delays>,
}

/// The delays of one operation, and the clock and sleep function that apply them.
#[derive(Clone)]
struct DelayTimer {
    time: Arc<dyn TimeSource>,
    delays: Delays,
    sleep: Sleep,
}

impl<S: Storage> Delayed<S> {
    /// Delays `inner` with the function `sleep`; `time` must be the clock on which `sleep` waits.
    #[must_use]
    pub fn new(inner: S, delays: Delays, time: Arc<dyn TimeSource>, sleep: Sleep) -> Self {
        Self { inner, timer: DelayTimer { time, delays, sleep }, keys: HashMap::new() }
    }

    /// Delays `inner` on tokio's clock, which may be paused.
    #[must_use]
    pub fn on_tokio(inner: S, delays: Delays, time: Arc<dyn TimeSource>) -> Self {
        Self::new(inner, delays, time, Arc::new(|pause| Box::pin(tokio::time::sleep(pause))))
    }

    /// Replaces the delays of operations on this key.
    #[must_use]
    pub fn with_key(mut self, key: &str, delays: Delays) -> Self {
        self.keys.insert(key.to_owned(), delays);
        self
    }

    /// Returns the wrapped storage.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns the delays of operations on this key.
    fn timer(&self, key: &str) -> DelayTimer {
        let delays = self.keys.get(key).copied().unwrap_or(self.timer.delays);
        DelayTimer { delays, ..self.timer.clone() }
    }
}

impl DelayTimer {
    async fn pause(&self, pause: Duration) {
        if !pause.is_zero() {
            (self.sleep)(pause).await;
        }
    }

    /// Waits for the time to first byte, runs `work`, and then waits for the transfer of the bytes that `parts` reports.
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

    /// Moves the start of the first attempt before the delay, and the end of the last attempt after the transfer.
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
    timer: DelayTimer,
    opened: Attempts,
}

impl<O: Updatable + ?Sized> Updatable for DelayedObject<O> {
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(self.timer.run_receipt(self.timer.delays.write, self.inner.write(offset, source)))
    }

    fn sync(&self) -> Future<'_, Receipt> {
        Box::pin(self.timer.run_receipt(self.timer.delays.other, self.inner.sync()))
    }
}

impl<O: Object + ?Sized> Object for DelayedObject<O> {
    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.timer.run_receipt(self.timer.delays.read, self.inner.read(range, sink)))
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.timer.run_receipt(self.timer.delays.read, self.inner.read_first(limit, sink)))
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        Box::pin(self.timer.run_receipt(self.timer.delays.read, self.inner.read_part(range, version, sink)))
    }

    forward_object!(self => self.inner; size);
}

impl<S: Storage> Delayed<S> {
    /// Delays an operation that returns a receipt.
    fn receipt<'a>(&'a self, key: &str, delay: fn(&Delays) -> Delay, work: Future<'a, Receipt>) -> Future<'a, Receipt> {
        let timer = self.timer(key);
        Box::pin(async move { timer.run_receipt(delay(&timer.delays), work).await })
    }

    /// Delays an operation that returns a value and a receipt.
    fn answer<'a, T: 'a>(&'a self, key: &str, work: Future<'a, (T, Receipt)>) -> Future<'a, (T, Receipt)> {
        let timer = self.timer(key);
        Box::pin(async move {
            timer.run(timer.delays.other, work, |(_, receipt)| (&mut receipt.attempts, receipt.bytes)).await
        })
    }

    /// Delays the opening of an object.
    async fn opened<O: Object + ?Sized>(
        &self,
        key: &str,
        opening: Future<'_, Box<O>>,
    ) -> Result<Box<DelayedObject<O>>, Error> {
        let timer = self.timer(key);
        let opening = async {
            let inner = opening.await?;
            let opened = inner.opened().clone();
            Ok(Box::new(DelayedObject { inner, timer: timer.clone(), opened }))
        };
        timer.run(timer.delays.open, opening, |object| (&mut object.opened, 0)).await
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
        let (timer, staging) = (self.timer(key), self.inner.stage(key, source));
        Box::pin(
            async move { timer.run(timer.delays.write, staging, |staged| (&mut staged.attempts, staged.bytes)).await },
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

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[ListEntry])) -> Future<'a, Receipt> {
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
