//! Footers of Parquet files: encoding one after each row group, and finding the last complete one in a torn file.

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

use crate::checksum::{self, ChunkSums, FooterCheck};
use crate::damage::catch_panic;
use crate::error::Error;
use crate::header;
use crate::row_group::EncodedGroup;

/// Magic bytes at the start and at the end of a Parquet file.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";

/// Length of the length field and the magic bytes that end a file.
const TAIL: u64 = 8;
/// Bytes read at a time in the backward search for a footer.
const WINDOW: u64 = 1 << 20;

/// Encodes a footer for `groups`. Its bytes do not depend on their offset in the file.
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
pub(crate) struct FoundFooter {
    pub(crate) metadata: ParquetMetaData,
    /// Checksums of the column chunks; `None` if the format version of the file has none.
    pub(crate) sums: Option<ChunkSums>,
    /// Bytes after the footer, which were being written when the process ended.
    pub(crate) torn_bytes: u64,
}

/// Finds the last complete footer whose row groups lie before it. A later footer that was written completely and cannot be read
/// any more is reported as damage.
///
/// # Errors
/// [`Error::Read`], [`Error::NotATrace`] or [`Error::Damaged`].
pub(crate) fn find(path: &Path, file: &File) -> Result<FoundFooter, Error> {
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
        return Err(damaged(format!("its footer that ends at byte {end} is complete but cannot be read")));
    }
    match found {
        Some(found) => found.map_err(damaged),
        None => Err(damaged("no complete footer: the process ended before it wrote its first row group".to_owned())),
    }
}

/// Finds the last footer of a file of `len` bytes. The inner `Err` says why that footer cannot be trusted.
fn last(file: &File, len: u64) -> std::io::Result<Option<Result<FoundFooter, String>>> {
    let mut end = len;
    while end >= TAIL + MAGIC.len() as u64 {
        let start = end.saturating_sub(WINDOW);
        let window = read(file, start, end)?;
        for at in magic_ends(&window) {
            let footer_end = start + at as u64;
            if let Some(found) = decode(file, footer_end) {
                let torn_bytes = len - footer_end;
                return Ok(Some(found.map(|(metadata, sums)| FoundFooter { metadata, sums, torn_bytes })));
            }
        }
        if start == 0 {
            break;
        }
        // Windows overlap by three bytes because the magic bytes may cross their border.
        end = start + MAGIC.len() as u64 - 1;
    }
    Ok(None)
}

/// Returns the end of a footer that begins after `from` and was written completely but cannot be read any more. Both its checksum
/// and its length with the magic bytes give that position, and one flipped bit leaves one of the two intact.
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

/// Returns the offsets in the window at which the magic bytes end, last first.
fn magic_ends(window: &[u8]) -> impl Iterator<Item = usize> {
    (MAGIC.len()..=window.len()).rev().filter(|end| &window[end - MAGIC.len()..*end] == MAGIC)
}

/// Returns the ends of magic bytes that follow a plausible length field: the footer begins at most `before` bytes before the
/// window.
fn framed_ends(window: &[u8], before: u64) -> impl Iterator<Item = usize> {
    magic_ends(window).filter(move |end| {
        let length = end.checked_sub(8).and_then(|at| window.get(at..at + 4)?.try_into().ok()).map(u32::from_le_bytes);
        length.is_some_and(|length| length > 0 && u64::from(length) + TAIL <= before + *end as u64)
    })
}

/// Contents of a footer, or the reason why it cannot be trusted.
type Decoded = Result<(ParquetMetaData, Option<ChunkSums>), String>;

/// Decodes the footer that ends at `end`; `None` if the bytes there are not a footer.
fn decode(file: &File, end: u64) -> Option<Decoded> {
    let tail = read(file, end.checked_sub(TAIL)?, end).ok()?;
    let len = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let start = end.checked_sub(TAIL + len)?;
    if len == 0 || start < MAGIC.len() as u64 {
        return None;
    }
    let bytes = read(file, start, end).ok()?;
    let seal = checksum::check(&bytes);
    if seal == FooterCheck::Broken {
        return Some(Err(format!("the checksum of its footer, bytes {start} to {end}, does not match")));
    }
    let thrift = &bytes[..bytes.len().checked_sub(usize::try_from(TAIL).ok()?)?];
    let metadata =
        catch_panic(|| ParquetMetaDataReader::decode_metadata(thrift).map_err(|error| error.to_string())).ok()?;
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

/// Returns the offset and the length of a column chunk.
pub(crate) fn chunk_range(column: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    u64::try_from(first).ok().zip(u64::try_from(column.compressed_size()).ok())
}

/// Parses the checksums of the column chunks, which every footer of format 1.2 and later must have.
fn chunk_sums(pairs: &[KeyValue], seal: FooterCheck, metadata: &ParquetMetaData) -> Result<Option<ChunkSums>, String> {
    let text = pairs.iter().find(|pair| pair.key == checksum::CHUNKS).and_then(|pair| pair.value.as_deref());
    if seal == FooterCheck::Absent && text.is_none() && !header::has_checksums(pairs) {
        return Ok(None);
    }
    let columns = metadata.file_metadata().schema_descr().num_columns();
    match (seal, text) {
        (FooterCheck::Absent, _) => Err(format!("its footer has no {}", checksum::FOOTER)),
        (_, None) => Err(format!("its footer has no {}", checksum::CHUNKS)),
        (_, Some(text)) => ChunkSums::parse(text, metadata.num_row_groups(), columns).map(Some),
    }
}
