//! Footers: writing one after every row group, and finding the last one that is whole in a torn file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
    RowGroupMetaData,
};
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::SchemaDescPtr;

use crate::checksum::{self, ChunkSums, Seal};
use crate::damage::whole;
use crate::error::Error;
use crate::header;
use crate::row_group::EncodedGroup;

/// Magic bytes at the start and at the end of a Parquet file.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";

/// The length field and the magic bytes that end a file.
const TAIL: u64 = 8;
/// How much is read at a time while looking backwards for a footer.
const WINDOW: u64 = 1 << 20;

/// The bytes of a footer for `groups`; they are valid wherever in the file they are put.
pub(crate) fn encode(
    schema: SchemaDescPtr,
    groups: Vec<EncodedGroup>,
    mut pairs: Vec<KeyValue>,
) -> Result<Vec<u8>, ParquetError> {
    pairs.extend(checksum::pairs(&groups));
    let groups: Vec<RowGroupMetaData> = groups.into_iter().map(|group| group.metadata).collect();
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let file = FileMetaData::new(1, rows, Some("dlio-rs".to_owned()), Some(pairs), schema, None);
    let metadata = ParquetMetaData::new(file, groups);
    let mut bytes = Vec::new();
    let mut sink = TrackedWrite::new(&mut bytes);
    ParquetMetaDataWriter::new(&mut sink, &metadata).finish()?;
    sink.into_inner()?;
    checksum::seal(&mut bytes)?;
    Ok(bytes)
}

/// A footer that was found in a file.
pub(crate) struct Found {
    pub(crate) metadata: ParquetMetaData,
    /// Checksums of its column chunks; `None`: the format of the file has none.
    pub(crate) sums: Option<ChunkSums>,
    /// Bytes after the footer: what was being written when the process ended.
    pub(crate) torn_bytes: u64,
}

/// The last footer that is whole and whose row groups lie before it. One behind it that was written to its end, and is no footer
/// any more, is damage.
pub(crate) fn find(path: &Path, file: &File) -> Result<Found, Error> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let len = file.metadata().map_err(read_error)?.len();
    let not_a_trace = |reason: &str| Error::NotATrace { path: path.to_owned(), reason: reason.to_owned() };
    let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
    let mut head = [0_u8; 4];
    if len < 4 {
        return Err(not_a_trace("shorter than any Parquet file"));
    }
    file.read_exact_at(&mut head, 0).map_err(read_error)?;
    if &head != MAGIC {
        return Err(not_a_trace("it does not begin with the magic bytes of Parquet"));
    }
    let found = last(file, len).map_err(read_error)?;
    let whole_until = match &found {
        Some(Ok(found)) => len - found.torn_bytes,
        Some(Err(_)) => len,
        None => 0,
    };
    if let Some(end) = damaged_end(file, whole_until, len).map_err(read_error)? {
        return Err(damaged(format!("its footer that ends at byte {end} is whole, but cannot be read")));
    }
    match found {
        Some(found) => found.map_err(damaged),
        None => Err(damaged("no complete footer: the process ended before it wrote its first row group".to_owned())),
    }
}

/// The last footer of a file of so many bytes; `Err` inside: why it cannot be relied on.
fn last(file: &File, len: u64) -> std::io::Result<Option<Result<Found, String>>> {
    let mut end = len;
    while end >= TAIL + MAGIC.len() as u64 {
        let start = end.saturating_sub(WINDOW);
        let window = read(file, start, end)?;
        for at in magic_ends(&window) {
            let footer_end = start + at as u64;
            if let Some(found) = decode(file, footer_end) {
                let torn_bytes = len - footer_end;
                return Ok(Some(found.map(|(metadata, sums)| Found { metadata, sums, torn_bytes })));
            }
        }
        if start == 0 {
            break;
        }
        // Overlap by three bytes: the magic may lie across the border of two windows.
        end = start + MAGIC.len() as u64 - 1;
    }
    Ok(None)
}

/// Where a footer ends that begins behind `from` and was written to its end, though it cannot be read any more. Its checksum says
/// where that is, and so do its length and the magic bytes: one flipped bit leaves one of them.
fn damaged_end(file: &File, from: u64, len: u64) -> std::io::Result<Option<u64>> {
    let mut start = from;
    while start < len {
        let end = (start + WINDOW).min(len);
        let window = read(file, start, end)?;
        let ends = checksum::ends(&window).chain(framed_ends(&window, start - from)).map(|end| start + end as u64);
        if let Some(end) = ends.filter(|end| *end <= len).max() {
            return Ok(Some(end));
        }
        if end == len {
            break;
        }
        start = end - (checksum::SPAN as u64 - 1);
    }
    Ok(None)
}

fn read(file: &File, start: u64, end: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; usize::try_from(end - start).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

/// Where in the window the magic bytes end, last first.
fn magic_ends(window: &[u8]) -> impl Iterator<Item = usize> {
    (MAGIC.len()..=window.len()).rev().filter(|end| &window[end - MAGIC.len()..*end] == MAGIC)
}

/// Where magic bytes end that stand behind a length which reaches no further back than `before` bytes before the window.
fn framed_ends(window: &[u8], before: u64) -> impl Iterator<Item = usize> {
    magic_ends(window).filter(move |end| {
        let length = end.checked_sub(8).and_then(|at| window.get(at..at + 4)?.try_into().ok()).map(u32::from_le_bytes);
        length.is_some_and(|length| length > 0 && u64::from(length) + TAIL <= before + *end as u64)
    })
}

/// What a footer says, or why it cannot be relied on.
type Decoded = Result<(ParquetMetaData, Option<ChunkSums>), String>;

/// The footer that ends at `end`, if the bytes there are one.
fn decode(file: &File, end: u64) -> Option<Decoded> {
    let tail = read(file, end.checked_sub(TAIL)?, end).ok()?;
    let len = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let start = end.checked_sub(TAIL + len)?;
    if len == 0 || start < MAGIC.len() as u64 {
        return None;
    }
    let bytes = read(file, start, end).ok()?;
    let seal = checksum::check(&bytes);
    if seal == Seal::Broken {
        return Some(Err(format!("the checksum of its footer, bytes {start} to {end}, does not match")));
    }
    let thrift = &bytes[..bytes.len().checked_sub(usize::try_from(TAIL).ok()?)?];
    let metadata = whole(|| ParquetMetaDataReader::decode_metadata(thrift).map_err(|error| error.to_string())).ok()?;
    let inside = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns).all(|column| {
        let range = chunk_range(column);
        range.and_then(|(offset, len)| offset.checked_add(len)).is_some_and(|column_end| column_end <= start)
    });
    inside.then(|| {
        let pairs = metadata.file_metadata().key_value_metadata().map_or(&[][..], Vec::as_slice);
        let sums = chunk_sums(pairs, seal, &metadata)?;
        Ok((metadata, sums))
    })
}

/// Where a column chunk begins, and its length.
pub(crate) fn chunk_range(column: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    u64::try_from(first).ok().zip(u64::try_from(column.compressed_size()).ok())
}

/// The checksums of column chunks that a footer of its version must have.
fn chunk_sums(pairs: &[KeyValue], seal: Seal, metadata: &ParquetMetaData) -> Result<Option<ChunkSums>, String> {
    let text = pairs.iter().find(|pair| pair.key == checksum::CHUNKS).and_then(|pair| pair.value.as_deref());
    if seal == Seal::Absent && text.is_none() && !header::has_checksums(pairs) {
        return Ok(None);
    }
    let columns = metadata.file_metadata().schema_descr().num_columns();
    match (seal, text) {
        (Seal::Absent, _) => Err(format!("its footer has no {}", checksum::FOOTER)),
        (_, None) => Err(format!("its footer has no {}", checksum::CHUNKS)),
        (_, Some(text)) => ChunkSums::parse(text, metadata.num_row_groups(), columns).map(Some),
    }
}
