//! Look-ups of index files: when a lane's reader is created, for every file that it may read, or else when a file is opened.
//!
//! Indexes are kept as long as the reader lives; they take a few numbers per file if the samples have equal sizes.

use std::sync::Arc;

use dlio_event::{Event, OpKind, Position};
use dlio_format::SampleIndex;
use dlio_plan::{File, Lookups, SampleRead};
use dlio_storage::ByteRange;

use crate::Error;
use crate::lane_context::LaneContext;
use crate::lane_files::{IndexReader, Lookup, MapReader};

impl LaneContext {
    /// Executes the look-ups of a reader that was just created.
    pub(crate) async fn look_up(&self, lookups: Lookups, at: Position) -> Result<(), Error> {
        if lookups.fresh {
            self.state.forget_indexes();
        }
        for number in lookups.files {
            if self.state.knows_index(number) {
                continue;
            }
            let file = self.files.file(number);
            match self.state.look_up(&file).map_err(|source| self.corrupt(source, &file.key, at))? {
                Lookup::Nothing => {}
                Lookup::Map(map) => self.map(&file, *map, at).await?,
                Lookup::Index(reader) => drop(self.read_index(&file, *reader, at).await?),
            }
        }
        Ok(())
    }

    /// Reads the index of a file, unless the index is known or the format has none.
    pub(crate) async fn look_up_index(&self, file: &File, at: Position) -> Result<(), Error> {
        if let Lookup::Index(reader) = self.state.look_up(file).map_err(|source| self.corrupt(source, &file.key, at))? {
            self.read_index(file, *reader, at).await?;
        }
        Ok(())
    }

    /// Reads all index files of a data file.
    pub(crate) async fn read_index(
        &self,
        file: &File,
        mut reader: IndexReader,
        at: Position,
    ) -> Result<Arc<SampleIndex>, Error> {
        let keys = file.index_keys();
        while let Some(kind) = reader.next_file() {
            let key = keys.iter().find(|(of, _)| *of == kind).map_or("", |(_, key)| key);
            if self.halt.is_set() {
                return Err(Error::Cancelled { place: self.place(at) });
            }
            let name = self.events.object(&self.storage.uri(key));
            let object = self.storage.open(key).await.map_err(|error| self.storage_error(error, name, at))?;
            self.record(object.opened(), name, at);
            if let Some(bytes) = object.size() {
                reader.size(kind, bytes).map_err(|source| self.corrupt(source, key, at))?;
            }
            let mut refused = None;
            let mut sink = |chunk: &[u8]| reader.chunk(kind, chunk).map_err(|error| refused.insert(error).to_string());
            match (object.read(ByteRange::ALL, &mut sink).await, refused) {
                (Ok(receipt), _) => self.record(&receipt.attempts, name, at),
                (Err(error), Some(refused)) => {
                    self.record(&error.attempts, name, at);
                    return Err(self.corrupt(refused, key, at));
                }
                (Err(error), None) => return Err(self.storage_error(error, name, at)),
            }
            reader.end(kind).map_err(|source| self.corrupt(source, key, at))?;
        }
        reader.finish(&self.state).map_err(|source| self.corrupt(source, &file.key, at))
    }

    /// Opens and closes a file and its index files, as memory-mapping does. Reads no bytes, but compares the sizes that opening reports.
    async fn map(&self, file: &File, mut map: MapReader, at: Position) -> Result<(), Error> {
        for (kind, key) in MapReader::files(file) {
            let name = self.events.object(&self.storage.uri(&key));
            let object = self.storage.open(&key).await.map_err(|error| self.storage_error(error, name, at))?;
            self.record(object.opened(), name, at);
            if let Some(bytes) = object.size() {
                map.size(kind, bytes).map_err(|source| self.corrupt(source, &key, at))?;
            }
        }
        let index = match self.state.index_reader(file) {
            Some(reader) if map.needs_index() => Some(self.read_index(file, reader, at).await?),
            _ => None,
        };
        map.finish(&self.state, index).map_err(|source| self.corrupt(source, &file.key, at))
    }

    /// Records a sample that is mapped but not read, as an event without an operation.
    pub(crate) fn view(&self, read: SampleRead, at: Position) {
        let now = self.clock.now();
        let object = self.events.object(&self.storage.uri(&self.files.name(read.file)));
        self.events.record(Event { object, ..Event::span(OpKind::Sample, self.lane, at, now, now) });
    }
}
