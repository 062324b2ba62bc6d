//! Reads the samples of one lane: opens, asks the decoder what it needs, streams that through, sleeps, records.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dlio_event::{Event, EventSink, Lane, ObjectId, OpKind, Phase, Position};
use dlio_format::{Decode, FileShape, Footer, Layout, Need, SampleIndex};
use dlio_plan::{File, FileSet, HandleState, Handles, LaneStep, Lookups, Piece, SampleRead};
use dlio_storage::{Attempts, ByteRange, ErrorKind, Recorder, Storage};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::clock::nanos;
use crate::decoding::Work;
use crate::handles::{OpenFile, OpenFiles};
use crate::helpers::Helpers;
use crate::row_groups::Request;
use crate::{CancelFlag, Clock, Error, Place};

/// What a lane needs to read samples.
pub(crate) struct ReadKit {
    pub(crate) files: FileSet,
    pub(crate) layout: Layout,
    pub(crate) handles: Handles,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Arc<dyn EventSink>,
    /// Remembers the endpoints that this lane met.
    pub(crate) recorder: RefCell<Recorder>,
    /// Samples of one step in flight at the same time; more than one only where every sample is opened by itself.
    pub(crate) inflight: usize,
    pub(crate) rank: u32,
    pub(crate) lane: Lane,
    pub(crate) halt: Halt,
    pub(crate) status: Arc<LaneStatus>,
    /// What is done with samples besides reading them.
    pub(crate) decode: Decode,
    /// What the lane's reader has looked up so far, by combined number of the file; `None`: mapped, not looked into.
    pub(crate) indexes: RefCell<HashMap<u64, Option<Arc<SampleIndex>>>>,
    /// Footers of Parquet files that were open before, by combined number of the file.
    pub(crate) footers: RefCell<HashMap<u64, Arc<Footer>>>,
    /// Reading blocks the thread that reads: whoever wants several reads in flight needs as many threads.
    pub(crate) blocks: bool,
    /// Bytes of footers that no batch has counted yet.
    pub(crate) unclaimed: Cell<u64>,
}

/// What a lane is doing, for whoever waits for it.
#[derive(Debug)]
pub(crate) struct LaneStatus {
    file: AtomicU64,
}

impl LaneStatus {
    const IDLE: u64 = u64::MAX;

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { file: AtomicU64::new(Self::IDLE) })
    }

    pub(crate) fn set(&self, file: u64) {
        self.file.store(file, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.set(Self::IDLE);
    }

    /// Combined number of the file that is being read or written.
    pub(crate) fn file(&self) -> Option<u64> {
        Some(self.file.load(Ordering::Relaxed)).filter(|&file| file != Self::IDLE)
    }
}

/// Tells a lane to stop: the run was cancelled, or the main task has let go of its lanes.
#[derive(Debug, Clone)]
pub(crate) struct Halt {
    pub(crate) cancel: CancelFlag,
    pub(crate) released: Option<tokio::sync::watch::Receiver<()>>,
}

impl Halt {
    pub(crate) fn is_set(&self) -> bool {
        self.cancel.is_cancelled() || self.released.as_ref().is_some_and(|main| main.has_changed().is_err())
    }

    /// Completes when the main task has let go.
    pub(crate) async fn released(&self) {
        match self.released.clone() {
            // Nothing is ever sent: a change can only be the end of the sender.
            Some(mut main) => drop(main.changed().await),
            None => std::future::pending().await,
        }
    }
}

/// What a lane has to read in one epoch or evaluation.
pub(crate) struct Order {
    /// Tells batches of this pass from leftovers of an earlier one.
    pub(crate) pass: u32,
    /// Phase, epoch and block.
    pub(crate) at: Position,
    pub(crate) steps: Box<dyn Iterator<Item = LaneStep> + Send>,
    pub(crate) preprocess: Box<dyn Iterator<Item = Duration> + Send>,
    /// What the reader looks up first; taken when that is done.
    pub(crate) lookups: Option<Lookups>,
    /// When the files of this pass are closed.
    pub(crate) access: HandleState,
}

/// Reads the steps of one lane and keeps its open files.
pub(crate) struct Reader<'k> {
    kit: &'k ReadKit,
    open: OpenFiles,
    /// Threads for samples in flight beside the first, where reading blocks.
    helpers: Box<Helpers<'k>>,
}

impl<'k> Reader<'k> {
    pub(crate) fn new(kit: &'k ReadKit) -> Self {
        let helpers = Box::new(Helpers::new(kit));
        helpers.expect(u32::try_from(kit.inflight).unwrap_or(u32::MAX));
        Self { kit, open: OpenFiles::new(), helpers }
    }

    /// The epoch or evaluation is over for this lane.
    pub(crate) fn pass_over(&mut self) {
        if self.kit.handles != Handles::Cached {
            self.open.clear();
        }
    }

    /// Reads the samples of one step; returns their bytes.
    pub(crate) async fn read(&mut self, order: &mut Order, step: &LaneStep) -> Result<u64, Error> {
        let kit = self.kit;
        let at = Position { step: u32::try_from(step.step).unwrap_or(u32::MAX), ..order.at };
        let start = kit.clock.now();
        if let Some(lookups) = order.lookups.take() {
            kit.look_up(lookups, order.at).await?;
        }
        let mut bytes = 0;
        if kit.handles == Handles::PerSample && kit.inflight > 1 {
            bytes += self.read_together(order, step, at).await?;
        } else {
            for read in &step.samples {
                bytes += self.read_one(order, *read, sample_at(at, read)).await?;
            }
        }
        let span = Event::span(OpKind::Batch, kit.lane, at, start, kit.clock.now());
        kit.events.record(Event { bytes, ..span });
        kit.status.clear();
        Ok(bytes)
    }

    /// Reads the samples of a step with several of them in flight: on this thread, or, where reading blocks it, on threads
    /// beside it.
    async fn read_together(&self, order: &mut Order, step: &LaneStep, at: Position) -> Result<u64, Error> {
        let kit = self.kit;
        let pauses = std::iter::from_fn(|| Some(order.preprocess.next().unwrap_or_default()));
        let reads: Vec<_> = step
            .samples
            .iter()
            .zip(pauses)
            .map(|(read, pause)| async move {
                if !kit.blocks || kit.layout.is_untouched(kit.decode) {
                    return kit.read_alone(*read, sample_at(at, read), pause).await;
                }
                let SampleRead { index, file, sample } = *read;
                // Threads keep nothing: what tells where the samples of a file are is looked up once, here.
                kit.index_of(&kit.files.file(file), at).await?;
                let piece = Piece { step: step.step, index, file, sample, samples: 1 };
                let bytes = self.helpers.fetch(Request::Piece(piece), at).await?;
                kit.preprocess(sample_at(at, read), pause).await;
                Ok(bytes)
            })
            .collect();
        let mut reads = futures::stream::iter(reads).buffer_unordered(kit.inflight);
        let mut bytes = 0;
        while let Some(read) = reads.try_next().await? {
            bytes += read;
        }
        Ok(bytes)
    }

    async fn read_one(&mut self, order: &mut Order, read: SampleRead, at: Position) -> Result<u64, Error> {
        let kit = self.kit;
        let pause = order.preprocess.next().unwrap_or_default();
        if kit.layout.is_untouched(kit.decode) {
            kit.view(read, at);
            kit.preprocess(at, pause).await;
            return Ok(0);
        }
        if kit.handles == Handles::PerSample {
            return kit.read_alone(read, at, pause).await;
        }
        let access = order.access.access(read.file);
        let open = match self.open.entry(read.file) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(closed) => closed.insert(kit.open(&kit.files.file(read.file), at).await?),
        };
        let bytes = kit.read_sample(open, read, at).await?;
        if access.close {
            self.open.remove(&read.file);
        }
        kit.preprocess(at, pause).await;
        Ok(bytes)
    }
}

fn sample_at(at: Position, read: &SampleRead) -> Position {
    Position { sample: Some(read.index), ..at }
}

impl ReadKit {
    /// Opens, reads a piece of a file, and closes. What its samples share (the file, a row group) is read once.
    pub(crate) async fn read_piece(&self, piece: &Piece, at: Position) -> Result<u64, Error> {
        let step = u32::try_from(piece.step).unwrap_or(u32::MAX);
        let at = Position { step, sample: Some(piece.index), ..at };
        let file = self.files.file(piece.file);
        let mut open = self.open(&file, at).await?;
        let (start, mut bytes) = (self.clock.now(), 0);
        for ahead in 0..piece.samples {
            let read = SampleRead { index: piece.index + ahead, file: piece.file, sample: piece.sample + ahead };
            bytes += self.fetch_sample(&mut open, read, at).await?;
            if open.decoder.footer().is_some() {
                // The piece was cut where the row groups of its first sample end.
                break;
            }
        }
        let span = Event::span(OpKind::Sample, self.lane, at, start, self.clock.now());
        self.events.record(Event { bytes, object: open.name, ..span });
        Ok(bytes)
    }

    /// Opens, reads one sample, and closes.
    async fn read_alone(&self, read: SampleRead, at: Position, pause: Duration) -> Result<u64, Error> {
        let file = self.files.file(read.file);
        let mut open = self.open(&file, at).await?;
        let bytes = self.read_sample(&mut open, read, at).await?;
        drop(open);
        self.preprocess(at, pause).await;
        Ok(bytes)
    }

    pub(crate) async fn open(&self, file: &File, at: Position) -> Result<OpenFile, Error> {
        let key = file.key.as_str();
        if self.halt.is_set() {
            return Err(Error::Cancelled { place: self.place(at) });
        }
        self.status.set(file.combined);
        let name = self.events.object(&self.storage.uri(key));
        let object = self.storage.open(key).await.map_err(|error| self.storage_error(error, name, at))?;
        self.record(object.opened(), name, at);
        let shape = FileShape { file: file.combined, dims: &file.dims, samples: file.samples };
        let decoder = self.layout.decoder_with(&shape, self.decode);
        let mut decoder = decoder.map_err(|source| self.corrupt(source, key, at))?;
        if let Some(footer) = self.footers.borrow().get(&file.combined) {
            decoder.set_footer(footer.clone());
        }
        if let Some(bytes) = object.size() {
            decoder.size(bytes).map_err(|source| self.corrupt(source, key, at))?;
        }
        if let Some(index) = self.index_of(file, at).await? {
            decoder.locate(index).map_err(|source| self.corrupt(source, key, at))?;
        }
        Ok(OpenFile { object, name, decoder })
    }

    pub(crate) async fn read_sample(&self, open: &mut OpenFile, read: SampleRead, at: Position) -> Result<u64, Error> {
        let start = self.clock.now();
        let bytes = self.fetch_sample(open, read, at).await?;
        let span = Event::span(OpKind::Sample, self.lane, at, start, self.clock.now());
        self.events.record(Event { bytes, object: open.name, ..span });
        Ok(bytes)
    }

    async fn fetch_sample(&self, open: &mut OpenFile, read: SampleRead, at: Position) -> Result<u64, Error> {
        let aimed = open.decoder.sample(read.sample);
        aimed.map_err(|source| self.corrupt(source, &self.files.key(read.file), at))?;
        self.fetch_needed(open, read.file, at).await
    }

    /// Reads what the decoder of an open file needs; returns the bytes.
    pub(crate) async fn fetch_needed(&self, open: &mut OpenFile, file: u64, at: Position) -> Result<u64, Error> {
        self.status.set(file);
        let corrupt = |source| self.corrupt(source, &self.files.key(file), at);
        let OpenFile { object, name, decoder, .. } = open;
        let mut bytes = 0;
        loop {
            let (offset, len) = match decoder.need() {
                Need::Bytes { offset, len } => (offset, len),
                Need::Size => {
                    let size = self.size_of(file, *name, at).await?;
                    decoder.size(size).map_err(corrupt)?;
                    continue;
                }
                Need::Done => break,
            };
            let mut refused = None;
            let mut work = Work::new(&*self.clock, self.decode);
            let mut sink = |chunk: &[u8]| {
                if self.halt.is_set() {
                    return Err("cancelled".to_owned());
                }
                work.time(|| decoder.chunk(chunk)).map_err(|error| {
                    let text = error.to_string();
                    refused = Some(error);
                    text
                })
            };
            let outcome = object.read(ByteRange { offset, len }, &mut sink).await;
            let mut receipt = match (outcome, refused) {
                (Ok(receipt), _) => receipt,
                (Err(error), Some(refused)) => {
                    self.record(&error.attempts, *name, at);
                    return Err(corrupt(refused));
                }
                (Err(error), None) => return Err(self.storage_error(error, *name, at)),
            };
            work.take_from(&mut receipt.attempts);
            self.record(&receipt.attempts, *name, at);
            bytes += receipt.bytes;
            let ended = work.time(|| decoder.end());
            if let Some((start, end)) = work.span() {
                let span = Event::span(OpKind::Decode, self.lane, at, start, end);
                self.events.record(Event { bytes: receipt.bytes, object: *name, offset, ..span });
            }
            ended.map_err(corrupt)?;
        }
        if let Some(footer) = decoder.footer() {
            self.footers.borrow_mut().entry(file).or_insert(footer);
        }
        Ok(bytes)
    }

    /// The size of a file whose opening did not tell it.
    async fn size_of(&self, file: u64, name: ObjectId, at: Position) -> Result<u64, Error> {
        let key = self.files.key(file);
        let (metadata, receipt) = self.storage.stat(&key).await.map_err(|error| self.storage_error(error, name, at))?;
        self.record(&receipt.attempts, name, at);
        Ok(metadata.size)
    }

    /// Emulates the preprocessing of one sample.
    async fn preprocess(&self, at: Position, pause: Duration) {
        if !pause.is_zero() {
            let start = self.clock.now();
            self.clock.sleep_until(start.saturating_add(nanos(pause))).await;
            self.events.record(Event::span(OpKind::Preprocess, self.lane, at, start, self.clock.now()));
        }
    }

    /// Records the attempts of a failed operation and gives the error its place in the run.
    pub(crate) fn storage_error(&self, error: dlio_storage::Error, name: ObjectId, at: Position) -> Error {
        self.record(&error.attempts, name, at);
        let place = self.place(at);
        if self.halt.is_set() {
            return Error::Cancelled { place };
        }
        match error.kind {
            ErrorKind::NotFound => {
                let answer = crate::error::answer(&error);
                Error::Missing { place, object: error.object, answer }
            }
            _ => Error::Storage { place, source: Box::new(error) },
        }
    }

    pub(crate) fn record(&self, attempts: &Attempts, name: ObjectId, at: Position) {
        self.recorder.borrow_mut().record(attempts, name, at);
    }

    pub(crate) fn corrupt(&self, source: dlio_format::Error, key: &str, at: Position) -> Error {
        Error::Corrupt { place: self.place(at), object: self.storage.uri(key), source }
    }

    pub(crate) fn defect(&self, at: Position, what: &str) -> Error {
        Error::Defect { place: self.place(at), what: what.to_owned() }
    }

    pub(crate) fn place(&self, at: Position) -> Place {
        Place { rank: self.rank, at }
    }
}

/// The position of a pass: lanes do not know the blocks of an epoch, a checkpoint may end one while they read ahead.
pub(crate) fn pass_at(phase: Phase, epoch: u32) -> Position {
    Position { phase, epoch, block: u32::from(phase == Phase::Train), ..Position::default() }
}
