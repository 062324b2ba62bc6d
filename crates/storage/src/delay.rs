//! A decorator that makes storage slower by a fixed time to the first byte and a bandwidth.

use std::future::Future as StdFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dlio_event::{Nanos, TimeSource};

use crate::{
    Attempts, ByteRange, ChunkSink, ChunkSource, Error, Found, Future, Metadata, Object, Receipt, Staged, Storage,
    Updatable, Update, Version,
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
    time: Arc<dyn TimeSource>,
    delays: Delays,
    sleep: Sleep,
}

impl<S: Storage> Delayed<S> {
    /// Delays `inner`, waiting with `sleep`; `time` must be the time that passes in it.
    #[must_use]
    pub fn new(inner: S, delays: Delays, time: Arc<dyn TimeSource>, sleep: Sleep) -> Self {
        Self { inner, time, delays, sleep }
    }

    /// Delays `inner` on tokio's clock, paused or not.
    #[must_use]
    pub fn on_tokio(inner: S, delays: Delays, time: Arc<dyn TimeSource>) -> Self {
        Self::new(inner, delays, time, Arc::new(|pause| Box::pin(tokio::time::sleep(pause))))
    }

    /// The storage behind the delays.
    pub fn inner(&self) -> &S {
        &self.inner
    }

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

struct DelayedObject<'a, S, O: ?Sized> {
    inner: Box<O>,
    delayed: &'a Delayed<S>,
    opened: Attempts,
}

impl<S: Storage, O: Updatable + ?Sized> Updatable for DelayedObject<'_, S, O> {
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(self.delayed.run_receipt(self.delayed.delays.write, self.inner.write(offset, source)))
    }

    fn sync(&self) -> Future<'_, Receipt> {
        Box::pin(self.delayed.run_receipt(self.delayed.delays.other, self.inner.sync()))
    }
}

impl<S: Storage, O: Object + ?Sized> Object for DelayedObject<'_, S, O> {
    fn size(&self) -> Option<u64> {
        self.inner.size()
    }

    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.delayed.run_receipt(self.delayed.delays.read, self.inner.read(range, sink)))
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        Box::pin(self.delayed.run_receipt(self.delayed.delays.read, self.inner.read_part(range, version, sink)))
    }
}

impl<S: Storage> Storage for Delayed<S> {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object + 'a>> {
        Box::pin(async move {
            let opening = async {
                let inner = self.inner.open(key).await?;
                let opened = inner.opened().clone();
                Ok(DelayedObject { inner, delayed: self, opened })
            };
            let object = self.run(self.delays.open, opening, |object| (&mut object.opened, 0)).await?;
            Ok(Box::new(object) as Box<dyn Object + 'a>)
        })
    }

    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable + 'a>> {
        Box::pin(async move {
            let opening = async {
                let inner = self.inner.update(key, how).await?;
                let opened = inner.opened().clone();
                Ok(DelayedObject { inner, delayed: self, opened })
            };
            let object = self.run(self.delays.open, opening, |object| (&mut object.opened, 0)).await?;
            Ok(Box::new(object) as Box<dyn Updatable + 'a>)
        })
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(self.run_receipt(self.delays.write, self.inner.write(key, source)))
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        let staging = self.inner.stage(key, source);
        Box::pin(self.run(self.delays.write, staging, |staged| (&mut staged.attempts, staged.bytes)))
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(self.run_receipt(self.delays.other, self.inner.publish(staged)))
    }

    fn discard<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(self.run_receipt(self.delays.other, self.inner.discard(staged)))
    }

    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)> {
        Box::pin(self.run(self.delays.other, self.inner.stat(key), |(_, receipt)| (&mut receipt.attempts, 0)))
    }

    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)> {
        Box::pin(self.run(self.delays.other, self.inner.look_up(key), |(_, receipt)| (&mut receipt.attempts, 0)))
    }

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[Found])) -> Future<'a, Receipt> {
        Box::pin(self.run_receipt(self.delays.other, self.inner.list(prefix, page)))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(self.run_receipt(self.delays.other, self.inner.delete(key)))
    }

    fn create_root(&self) -> Future<'_, Receipt> {
        Box::pin(self.run_receipt(self.delays.other, self.inner.create_root()))
    }

    fn create_folder<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(self.run_receipt(self.delays.other, self.inner.create_folder(key)))
    }

    fn remove_folder<'a>(&'a self, key: &'a str) -> Future<'a, (bool, Receipt)> {
        Box::pin(self.run(self.delays.other, self.inner.remove_folder(key), |(_, receipt)| {
            (&mut receipt.attempts, receipt.bytes)
        }))
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
