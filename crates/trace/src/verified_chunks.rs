//! Reads the column chunks of a file. Each chunk is read as a whole and compared with its checksum before any of it is decoded.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};

use crate::checksum::{self, ChunkSums};
use crate::damage::Damage;
use crate::footer::{FoundFooter, chunk_range};

/// Metadata from the footer of a file and the checksums of its column chunks.
#[derive(Debug)]
pub(crate) struct FileContents {
    pub(crate) metadata: Arc<ParquetMetaData>,
    /// `None` if the format version of the file has no checksums.
    sums: Option<ChunkSums>,
}

impl FileContents {
    pub(crate) fn new(found: FoundFooter) -> Self {
        Self { metadata: Arc::new(found.metadata), sums: found.sums }
    }
}

/// The chunks of a file, for a reader that visits its row groups in order. The chunk that was read last in each column stays in
/// memory.
pub(crate) struct VerifiedChunks {
    file: File,
    len: u64,
    contents: Arc<FileContents>,
    /// Locations of the chunks in the selected row groups, sorted by offset.
    places: Vec<ChunkLocation>,
    /// For each column, the row group that was read last and the bytes of its chunk.
    loaded: Vec<Mutex<Option<(usize, Bytes)>>>,
    damage: Damage,
}

#[derive(Debug, Clone, Copy)]
struct ChunkLocation {
    start: u64,
    end: u64,
    group: usize,
    column: usize,
}

impl VerifiedChunks {
    /// Opens the chunks of one row group, or of all.
    pub(crate) fn new(
        file: File,
        contents: &Arc<FileContents>,
        group: Option<usize>,
        damage: &Damage,
    ) -> io::Result<Self> {
        let groups = contents.metadata.row_groups().iter().enumerate();
        let wanted = groups.filter(|(number, _)| group.is_none_or(|group| group == *number));
        let mut places = Vec::new();
        for (group, metadata) in wanted {
            for (column, metadata) in metadata.columns().iter().enumerate() {
                if let Some((start, len)) = chunk_range(metadata) {
                    places.push(ChunkLocation { start, end: start.saturating_add(len), group, column });
                }
            }
        }
        places.sort_unstable_by_key(|place| place.start);
        let columns = contents.metadata.file_metadata().schema_descr().num_columns();
        let loaded = (0..columns).map(|_| Mutex::new(None)).collect();
        let len = file.metadata()?.len();
        Ok(Self { file, len, contents: Arc::clone(contents), places, loaded, damage: Arc::clone(damage) })
    }

    /// Returns the bytes from offset `start` to the end of the chunk that contains it.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let after = self.places.partition_point(|place| place.start <= start);
        let place = after.checked_sub(1).and_then(|at| self.places.get(at)).filter(|place| start < place.end);
        let Some(place) = place else {
            return Err(ParquetError::EOF(format!("byte {start} is in no column")));
        };
        let mut loaded = self.loaded[place.column].lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match &*loaded {
            Some((group, bytes)) if *group == place.group => bytes.clone(),
            _ => {
                let bytes = self.load(place)?;
                *loaded = Some((place.group, bytes.clone()));
                bytes
            }
        };
        Ok(bytes.slice(usize::try_from(start - place.start).unwrap_or(usize::MAX)..))
    }

    fn load(&self, place: &ChunkLocation) -> Result<Bytes, ParquetError> {
        let damaged = |what: String| {
            let column = &self.contents.metadata.row_group(place.group).column(place.column);
            let ChunkLocation { start, end, group, .. } = place;
            let name = column.column_descr().name();
            let text = format!("column {name} of row group {group}, bytes {start} to {end} of the file: {what}");
            ParquetError::General(self.damage.get_or_init(|| text).clone())
        };
        let mut bytes = vec![0; usize::try_from(place.end - place.start).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, place.start).map_err(|error| damaged(error.to_string()))?;
        let sum = self.contents.sums.as_ref().map(|sums| sums.get(place.group, place.column));
        match sum {
            Some(sum) if sum != Some(checksum::of(&bytes)) => Err(damaged("its checksum does not match".to_owned())),
            _ => Ok(bytes.into()),
        }
    }
}

impl Length for VerifiedChunks {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for VerifiedChunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.from(start).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} reach beyond their column")));
        }
        Ok(bytes.slice(..length))
    }
}
