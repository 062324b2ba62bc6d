//! A decoder of the values of row groups, which does the work of a training reader: it passes the bytes that were
//! read to the `parquet` crate.

use std::ops::Range;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::{Buf as _, Bytes};

use crate::error::Error;

/// Number of rows in a batch of values.
const BATCH: usize = 1024;

/// Parses the metadata that the library needs; `tail` is the end of the file from offset `from` on.
pub(super) fn metadata(size: u64, from: u64, tail: Vec<u8>) -> Result<ArrowReaderMetadata, Error> {
    let parts = FetchedRanges { size, parts: vec![(from, tail.into())] };
    let metadata = ArrowReaderMetadata::load(&parts, ArrowReaderOptions::default());
    metadata.map_err(|error| malformed("footer of the Parquet file", from, &error))
}

/// A decoder of one file's values. It holds the bytes of the row groups that are being read.
#[derive(Debug)]
pub(super) struct ValueDecoder {
    size: u64,
    metadata: ArrowReaderMetadata,
    parts: Vec<(u64, Vec<u8>)>,
}

/// Byte ranges of a file.
#[derive(Debug, Clone)]
struct FetchedRanges {
    size: u64,
    parts: Vec<(u64, Bytes)>,
}

impl ValueDecoder {
    /// Creates a decoder for a file of `size` bytes.
    pub(super) fn new(size: u64, metadata: ArrowReaderMetadata) -> Self {
        Self { size, metadata, parts: Vec::new() }
    }

    /// Begins a range at byte `offset` of the file.
    pub(super) fn begin(&mut self, offset: u64) {
        self.parts.push((offset, Vec::new()));
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if let Some((_, part)) = self.parts.last_mut() {
            part.extend_from_slice(bytes);
        }
    }

    /// Decodes row groups whose bytes are complete, and drops the bytes.
    pub(super) fn decode(&mut self, groups: Range<usize>, leaves: &[usize]) -> Result<(), Error> {
        let offset = self.parts.first().map_or(0, |(offset, _)| *offset);
        let failed = |error: &dyn std::fmt::Display| malformed("a row group", offset, error);
        let parts: Vec<_> = self.parts.drain(..).map(|(offset, part)| (offset, part.into())).collect();
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), leaves.iter().copied());
        let rows = groups.clone().map(|group| self.metadata.metadata().row_group(group).num_rows().unsigned_abs());
        let rows: u64 = rows.sum();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            FetchedRanges { size: self.size, parts },
            self.metadata.clone(),
        );
        let reader = builder.with_row_groups(groups.collect()).with_projection(mask).with_batch_size(BATCH).build();
        let mut decoded = 0;
        for batch in reader.map_err(|error| failed(&error))? {
            decoded += batch.map_err(|error| failed(&error))?.num_rows() as u64;
        }
        if decoded == rows {
            return Ok(());
        }
        let (expected, found) = (rows.to_string(), decoded.to_string());
        Err(Error::Differs { noun: "number of decoded rows", expected, found })
    }
}

fn malformed(noun: &'static str, offset: u64, error: &dyn std::fmt::Display) -> Error {
    Error::Malformed { noun, offset, expected: "values that can be decoded".to_owned(), found: error.to_string() }
}

impl FetchedRanges {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let part = self.parts.iter().find(|(offset, part)| (*offset..offset + part.len() as u64).contains(&start));
        let part = part.map(|(offset, part)| part.slice((start - offset) as usize..));
        part.ok_or_else(|| ParquetError::EOF(format!("offset {start} is outside the ranges in the footer")))
    }
}

impl Length for FetchedRanges {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for FetchedRanges {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let part = self.from(start)?;
        if length <= part.len() {
            return Ok(part.slice(..length));
        }
        Err(ParquetError::EOF(format!("{length} bytes at offset {start}, but only {} were read", part.len())))
    }
}
