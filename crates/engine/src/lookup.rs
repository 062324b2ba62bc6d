//! Index files: read when a lane's reader is made, for every file that it may read, or else when a file is opened.
//!
//! What was looked up is kept as long as the reader lives: a few numbers per file whose samples follow each other evenly.

use std::sync::Arc;

use dlio_event::{Event, OpKind, Position};
use dlio_format::{FileShape, IndexDecoder, SampleIndex};
use dlio_plan::{File, Lookups, SampleRead};
use dlio_storage::ByteRange;

use crate::Error;
use crate::reader::ReadKit;

impl ReadKit {
    /// Does what a reader does when it is made.
    pub(crate) async fn look_up(&self, lookups: Lookups, at: Position) -> Result<(), Error> {
        if lookups.fresh {
            self.indexes.borrow_mut().clear();
        }
        for number in lookups.files {
            if self.indexes.borrow().contains_key(&number) {
                continue;
            }
            let file = self.files.file(number);
            if self.layout.is_untouched(self.decode) {
                self.map(&file, at).await?;
                self.indexes.borrow_mut().insert(number, None);
            } else {
                self.index_of(&file, at).await?;
            }
        }
        Ok(())
    }

    /// Where the samples of a file are, for formats that have an index of that.
    pub(crate) async fn index_of(&self, file: &File, at: Position) -> Result<Option<Arc<SampleIndex>>, Error> {
        let known = self.indexes.borrow().get(&file.combined).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let Some(decoder) = self.index_decoder(file) else { return Ok(None) };
        let index = Arc::new(self.read_index(file, decoder, at).await?);
        self.indexes.borrow_mut().insert(file.combined, Some(index.clone()));
        Ok(Some(index))
    }

    fn index_decoder(&self, file: &File) -> Option<IndexDecoder> {
        let shape = FileShape { file: file.combined, dims: &file.dims, samples: file.samples };
        self.layout.index_decoder(&shape)
    }

    /// Reads the index files of a data file, each whole.
    async fn read_index(&self, file: &File, mut decoder: IndexDecoder, at: Position) -> Result<SampleIndex, Error> {
        for (kind, key) in file.index_keys() {
            if self.halt.is_set() {
                return Err(Error::Cancelled { place: self.place(at) });
            }
            let name = self.events.object(&self.storage.uri(&key));
            let object = self.storage.open(&key).await.map_err(|error| self.storage_error(error, name, at))?;
            self.record(object.opened(), name, at);
            if let Some(bytes) = object.size() {
                decoder.size(kind, bytes).map_err(|source| self.corrupt(source, &key, at))?;
            }
            let mut refused = None;
            let mut sink = |chunk: &[u8]| decoder.chunk(kind, chunk).map_err(|error| refused.insert(error).to_string());
            match (object.read(ByteRange::ALL, &mut sink).await, refused) {
                (Ok(receipt), _) => self.record(&receipt.attempts, name, at),
                (Err(error), Some(refused)) => {
                    self.record(&error.attempts, name, at);
                    return Err(self.corrupt(refused, &key, at));
                }
                (Err(error), None) => return Err(self.storage_error(error, name, at)),
            }
            decoder.end(kind).map_err(|source| self.corrupt(source, &key, at))?;
        }
        decoder.finish().map_err(|source| self.corrupt(source, &file.key, at))
    }

    /// Opens and closes a file and its indexes, as memory-mapping them does; no byte is read, but their sizes are compared,
    /// where opening tells them.
    async fn map(&self, file: &File, at: Position) -> Result<(), Error> {
        let shape = FileShape { file: file.combined, dims: &file.dims, samples: file.samples };
        let mut index = self.layout.index_decoder(&shape);
        let data = self.layout.decoder_with(&shape, self.decode);
        let mut data = data.map_err(|source| self.corrupt(source, &file.key, at))?;
        let indexes = file.index_keys().into_iter().map(|(kind, key)| (Some(kind), key));
        for (kind, key) in indexes.chain([(None, file.key.clone())]) {
            let name = self.events.object(&self.storage.uri(&key));
            let object = self.storage.open(&key).await.map_err(|error| self.storage_error(error, name, at))?;
            self.record(object.opened(), name, at);
            let sized = match (object.size(), kind, &mut index) {
                (Some(bytes), Some(kind), Some(index)) => index.size(kind, bytes),
                (Some(bytes), None, _) => data.size(bytes),
                _ => Ok(()),
            };
            sized.map_err(|source| self.corrupt(source, &key, at))?;
        }
        if let (true, Some(decoder)) = (data.is_in_doubt(), self.index_decoder(file)) {
            let index = self.read_index(file, decoder, at).await?;
            data.locate(Arc::new(index)).map_err(|source| self.corrupt(source, &file.key, at))?;
        }
        Ok(())
    }

    /// A sample that is only looked up: a row in the trace, and no operation.
    pub(crate) fn view(&self, read: SampleRead, at: Position) {
        let now = self.clock.now();
        let object = self.events.object(&self.storage.uri(&self.files.key(read.file)));
        self.events.record(Event { object, ..Event::span(OpKind::Sample, self.lane, at, now, now) });
    }
}
