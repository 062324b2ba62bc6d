//! Footers: writing one after every row group, and finding the last one that is whole in a torn file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::SchemaDescPtr;

use crate::Error;
use crate::reader::whole;

/// Magic bytes at the start and at the end of a Parquet file.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";

/// The length field and the magic bytes that end a file.
const TAIL: u64 = 8;
/// How much is read at a time while looking backwards for a footer.
const WINDOW: u64 = 1 << 20;

/// The bytes of a footer for `groups`; they are valid wherever in the file they are put.
pub(crate) fn encode(
    schema: SchemaDescPtr,
    groups: Vec<RowGroupMetaData>,
    pairs: Vec<KeyValue>,
) -> Result<Vec<u8>, ParquetError> {
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let file = FileMetaData::new(1, rows, Some("dlio-rs".to_owned()), Some(pairs), schema, None);
    let metadata = ParquetMetaData::new(file, groups);
    let mut bytes = Vec::new();
    let mut sink = TrackedWrite::new(&mut bytes);
    ParquetMetaDataWriter::new(&mut sink, &metadata).finish()?;
    sink.into_inner()?;
    Ok(bytes)
}

/// A footer that was found in a file.
pub(crate) struct Found {
    pub(crate) metadata: ParquetMetaData,
    /// Bytes after the footer: what was being written when the process ended.
    pub(crate) torn_bytes: u64,
}

/// The last footer that is whole and whose row groups lie before it.
pub(crate) fn find(path: &Path, file: &File) -> Result<Found, Error> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let len = file.metadata().map_err(read_error)?.len();
    let not_a_trace = |reason: &str| Error::NotATrace { path: path.to_owned(), reason: reason.to_owned() };
    let mut head = [0_u8; 4];
    if len < 4 {
        return Err(not_a_trace("shorter than any Parquet file"));
    }
    file.read_exact_at(&mut head, 0).map_err(read_error)?;
    if &head != MAGIC {
        return Err(not_a_trace("it does not begin with the magic bytes of Parquet"));
    }
    let mut end = len;
    while end >= TAIL + MAGIC.len() as u64 {
        let start = end.saturating_sub(WINDOW);
        let mut window = vec![0_u8; usize::try_from(end - start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut window, start).map_err(read_error)?;
        for at in magic_ends(&window) {
            let footer_end = start + at as u64;
            if let Some(metadata) = decode(file, footer_end) {
                return Ok(Found { metadata, torn_bytes: len - footer_end });
            }
        }
        if start == 0 {
            break;
        }
        // Overlap by three bytes: the magic may lie across the border of two windows.
        end = start + MAGIC.len() as u64 - 1;
    }
    Err(Error::Damaged {
        path: path.to_owned(),
        reason: "no complete footer: the process ended before it wrote its first row group".to_owned(),
    })
}

/// Where in the window the magic bytes end, last first.
fn magic_ends(window: &[u8]) -> impl Iterator<Item = usize> {
    (MAGIC.len()..=window.len()).rev().filter(|end| &window[end - MAGIC.len()..*end] == MAGIC)
}

/// The footer that ends at `end`, if the bytes there are one.
fn decode(file: &File, end: u64) -> Option<ParquetMetaData> {
    let mut tail = [0_u8; 8];
    file.read_exact_at(&mut tail, end.checked_sub(TAIL)?).ok()?;
    let len = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let start = end.checked_sub(TAIL + len)?;
    if len == 0 || start < MAGIC.len() as u64 {
        return None;
    }
    let mut bytes = vec![0_u8; usize::try_from(len).ok()?];
    file.read_exact_at(&mut bytes, start).ok()?;
    let metadata = whole(|| ParquetMetaDataReader::decode_metadata(&bytes).map_err(|error| error.to_string())).ok()?;
    let inside = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns).all(|column| {
        let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let range = u64::try_from(first).ok().zip(u64::try_from(column.compressed_size()).ok());
        range.and_then(|(offset, len)| offset.checked_add(len)).is_some_and(|column_end| column_end <= start)
    });
    inside.then_some(metadata)
}
