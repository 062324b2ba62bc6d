//! A generation lane, which writes files.

use std::sync::Arc;

use dlio_event::{Event, EventSink, Lane, ObjectId, OpKind};
use dlio_format::{Encoder, FileShape, Layout};
use dlio_plan::{File, FileSet};
use dlio_storage::{Attempts, ChunkSource, ErrorKind, Storage, record_attempts};

use crate::lane_status::{Halt, LaneStatus};
use crate::work_queue::FileWork;
use crate::{Clock, Error, FileDone, Place};

/// The resources with which a lane writes files.
pub(crate) struct Writer {
    pub(crate) files: FileSet,
    pub(crate) layout: Layout,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) overwrite: bool,
    pub(crate) place: Place,
    pub(crate) lane: Lane,
    pub(crate) halt: Halt,
    pub(crate) status: Arc<LaneStatus>,
}

/// Source of the bytes of a file, from its encoder. It ends early when the lane must stop, so that the storage abandons the file without
/// leaving anything behind.
pub(crate) struct Source<'w> {
    pub(crate) encoder: Encoder,
    pub(crate) halt: &'w Halt,
}

impl ChunkSource for Source<'_> {
    fn len(&self) -> u64 {
        self.encoder.len()
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        if self.halt.is_set() { 0 } else { self.encoder.fill(buffer) }
    }
}

impl FileWork for Writer {
    type Done = FileDone;

    async fn file(&self, number: u64) -> Result<FileDone, Error> {
        self.write_file(number).await
    }

    fn lane(&self) -> (&Arc<LaneStatus>, &Halt) {
        (&self.status, &self.halt)
    }
}

impl Writer {
    /// Writes one file and then its index files, unless all are complete.
    async fn write_file(&self, number: u64) -> Result<FileDone, Error> {
        if self.halt.is_set() {
            return Err(Error::Cancelled { place: self.place });
        }
        let file = self.files.file(number);
        let start = self.clock.now();
        let shape = FileShape { file: number, dims: &file.dims, samples: file.samples };
        let encoder = self.layout.encoder(&shape);
        let encoder = encoder.map_err(|source| self.encode_error(&file, source))?;
        let indexes = file.index_keys().into_iter().zip(self.layout.index_encoders(&shape));
        let indexes: Vec<_> = indexes.map(|((_, key), (_, encoder))| (key, encoder)).collect();
        let bytes = encoder.len() + indexes.iter().map(|(_, index)| index.len()).sum::<u64>();

        let found = if self.overwrite { None } else { self.size(&file.key).await? };
        let mut kept = found == Some(encoder.len());
        // Files appear when they are complete, so a file of another size belongs to another workload.
        let replaced = found.is_some() && !kept;
        for (key, encoder) in &indexes {
            kept = kept && self.size(key).await? == Some(encoder.len());
        }
        if !kept {
            self.write(&file.key, encoder).await?;
            for (key, encoder) in indexes {
                self.write(&key, encoder).await?;
            }
            let span = Event::span(OpKind::GenerateFile, self.lane, self.place.at, start, self.clock.now());
            self.events.record(Event { object: self.name(&file.key), bytes, ..span });
        }
        Ok(FileDone { file: number, bytes, kept, replaced })
    }

    /// Returns the size of an object in bytes; `None` if it does not exist.
    async fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.storage.stat(key).await {
            Ok((metadata, receipt)) => {
                self.record(&receipt.attempts, key);
                Ok(Some(metadata.size))
            }
            Err(error) => {
                self.record(&error.attempts, key);
                if error.kind == ErrorKind::NotFound { Ok(None) } else { Err(self.storage_error(error)) }
            }
        }
    }

    async fn write(&self, key: &str, encoder: Encoder) -> Result<(), Error> {
        match self.storage.write(key, &mut Source { encoder, halt: &self.halt }).await {
            Ok(receipt) => self.record(&receipt.attempts, key),
            Err(error) => {
                self.record(&error.attempts, key);
                return Err(self.storage_error(error));
            }
        }
        Ok(())
    }

    fn name(&self, key: &str) -> ObjectId {
        self.events.object(&self.storage.uri(key))
    }

    fn record(&self, attempts: &Attempts, key: &str) {
        record_attempts(&*self.events, attempts, self.name(key), self.lane, self.place.at);
    }

    fn storage_error(&self, source: dlio_storage::Error) -> Error {
        let place = self.place;
        if self.halt.is_set() {
            return Error::Cancelled { place };
        }
        Error::Storage { place, source: Box::new(source) }
    }

    fn encode_error(&self, file: &File, source: dlio_format::Error) -> Error {
        Error::Encode { place: self.place, object: self.storage.uri(&file.key), source }
    }
}
