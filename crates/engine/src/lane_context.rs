//! The resources of a reader lane: it executes the steps of a [`FileReader`] with storage, a clock and an event recorder.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use dlio_event::{Event, EventSink, Lane, ObjectId, OpKind, Position};
use dlio_format::Footer;
use dlio_plan::{File, FileSet, Handles, Piece, SampleRead};
use dlio_storage::{Attempts, ByteRange, ErrorKind, Object, Recorder, Storage};

use crate::clock::nanos;
use crate::decode_timer::DecodeTimer;
use crate::lane_files::{FileReader, ReaderState, Step};
use crate::lane_status::{Halt, LaneStatus};
use crate::{Clock, Error, Place};

/// The resources with which a lane reads samples.
pub(crate) struct LaneContext {
    pub(crate) files: FileSet,
    /// Layout, indexes and footers of the files.
    pub(crate) state: ReaderState,
    pub(crate) handles: Handles,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Arc<dyn EventSink>,
    /// Recorder of this lane's attempts.
    pub(crate) recorder: RefCell<Recorder>,
    /// Number of samples of one step in flight at the same time; more than one only where every sample opens its file.
    pub(crate) inflight: usize,
    pub(crate) rank: u32,
    pub(crate) lane: Lane,
    pub(crate) halt: Halt,
    pub(crate) status: Arc<LaneStatus>,
    /// Reads block their thread, so reads in flight need one thread each.
    pub(crate) blocks: bool,
    /// Number of footer bytes that no batch has counted yet.
    pub(crate) unclaimed: Cell<u64>,
}

/// A file that is open for reading.
pub(crate) struct OpenFile {
    pub(crate) object: Box<dyn Object>,
    pub(crate) name: ObjectId,
    pub(crate) reader: FileReader,
}

impl LaneContext {
    /// Opens a file, reads a piece of it and closes it; returns the number of bytes. A row group, or a file read whole, is read once for
    /// all of its samples.
    pub(crate) async fn read_piece(&self, piece: &Piece, at: Position) -> Result<u64, Error> {
        let step = u32::try_from(piece.step).unwrap_or(u32::MAX);
        let at = Position { step, sample: Some(piece.index), ..at };
        let file = self.files.file(piece.file);
        let mut open = self.open(&file, at).await?;
        let (start, mut bytes) = (self.clock.now(), 0);
        for ahead in 0..piece.samples {
            let read = SampleRead { index: piece.index + ahead, file: piece.file, sample: piece.sample + ahead };
            bytes += self.fetch_sample(&mut open, read, at).await?;
            if open.reader.footer().is_some() {
                // The piece ends with the row group of its first sample.
                break;
            }
        }
        let span = Event::span(OpKind::Sample, self.lane, at, start, self.clock.now());
        self.events.record(Event { bytes, object: open.name, ..span });
        Ok(bytes)
    }

    /// Opens a file, reads one sample and closes the file; returns the number of bytes.
    pub(crate) async fn read_alone(&self, read: SampleRead, at: Position, pause: Duration) -> Result<u64, Error> {
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
        let reader = FileReader::new(&self.state, file, object.size());
        let mut reader = reader.map_err(|source| self.corrupt(source, key, at))?;
        if let Some(index) = reader.take_index_reader() {
            let index = self.read_index(file, *index, at).await?;
            reader.locate(index).map_err(|source| self.corrupt(source, key, at))?;
        }
        Ok(OpenFile { object, name, reader })
    }

    pub(crate) async fn read_sample(&self, open: &mut OpenFile, read: SampleRead, at: Position) -> Result<u64, Error> {
        let start = self.clock.now();
        let bytes = self.fetch_sample(open, read, at).await?;
        let span = Event::span(OpKind::Sample, self.lane, at, start, self.clock.now());
        self.events.record(Event { bytes, object: open.name, ..span });
        Ok(bytes)
    }

    async fn fetch_sample(&self, open: &mut OpenFile, read: SampleRead, at: Position) -> Result<u64, Error> {
        let aimed = open.reader.aim(read.sample);
        aimed.map_err(|source| self.corrupt(source, &self.files.name(read.file), at))?;
        self.fetch_needed(open, read.file, at).await
    }

    /// Executes the steps of the reader of an open file until it is done; returns the number of bytes read.
    pub(crate) async fn fetch_needed(&self, open: &mut OpenFile, file: u64, at: Position) -> Result<u64, Error> {
        self.status.set(file);
        let corrupt = |source| self.corrupt(source, &self.files.name(file), at);
        let OpenFile { object, name, reader } = open;
        let mut bytes = 0;
        loop {
            let (offset, len) = match reader.step(&self.state) {
                Step::Read { offset, len } => (offset, len),
                Step::Size => {
                    let size = self.size_of(file, *name, at).await?;
                    reader.size(size).map_err(corrupt)?;
                    continue;
                }
                Step::Done => return Ok(bytes),
            };
            let mut refused = None;
            let mut work = DecodeTimer::new(&*self.clock, self.state.decode());
            let mut sink = |chunk: &[u8]| {
                if self.halt.is_set() {
                    return Err("cancelled".to_owned());
                }
                work.time(|| reader.chunk(chunk)).map_err(|error| {
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
            let ended = work.time(|| reader.end());
            if let Some((start, end)) = work.span() {
                let span = Event::span(OpKind::Decode, self.lane, at, start, end);
                self.events.record(Event { bytes: receipt.bytes, object: *name, offset, ..span });
            }
            ended.map_err(corrupt)?;
        }
    }

    /// Requests the size in bytes of a file whose opening did not report it.
    async fn size_of(&self, file: u64, name: ObjectId, at: Position) -> Result<u64, Error> {
        let key = self.files.name(file);
        let (metadata, receipt) = self.storage.stat(&key).await.map_err(|error| self.storage_error(error, name, at))?;
        self.record(&receipt.attempts, name, at);
        Ok(metadata.size)
    }

    /// Emulates the preprocessing time of one sample.
    pub(crate) async fn preprocess(&self, at: Position, pause: Duration) {
        if !pause.is_zero() {
            let start = self.clock.now();
            self.clock.sleep_until(start.saturating_add(nanos(pause))).await;
            self.events.record(Event::span(OpKind::Preprocess, self.lane, at, start, self.clock.now()));
        }
    }

    /// Records the attempts of a failed operation and adds the place in the run to its error.
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

    /// Reads only the footer of a file; also returns the number of bytes read.
    pub(crate) async fn read_footer(&self, number: u64, at: Position) -> Result<(Arc<Footer>, u64), Error> {
        let mut open = self.open(&self.files.file(number), at).await?;
        open.reader.aim_at_footer();
        let bytes = self.fetch_needed(&mut open, number, at).await?;
        let footer = open.reader.footer();
        footer.map(|footer| (footer, bytes)).ok_or_else(|| self.defect(at, "a footer was read and is not there"))
    }

    /// Returns the context of a helper thread of the lane, without indexes and footers.
    pub(crate) fn twin(&self) -> Self {
        Self {
            files: self.files.clone(),
            state: self.state.fresh(),
            handles: self.handles,
            storage: self.storage.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
            recorder: RefCell::new(Recorder::new(self.events.clone(), self.lane)),
            inflight: 1,
            rank: self.rank,
            lane: self.lane,
            halt: self.halt.clone(),
            status: self.status.clone(),
            blocks: self.blocks,
            unclaimed: Cell::new(0),
        }
    }
}
