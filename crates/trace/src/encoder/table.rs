//! Encoding of side tables: plain columns with the pages and checksums of traces.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

use super::chunk::{ChunkWriter, Rows};
use crate::row_group::EncodedGroup;

/// Type of the cells in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// A number in every row.
    Int64,
    /// A number in some rows.
    OptionalInt64,
    /// An unsigned number in every row.
    UInt64,
    /// A text in every row.
    Text,
}

/// The cells of one column in some rows.
pub(crate) enum Cells<'a> {
    /// Numbers as 64-bit patterns. `None` is allowed only in an optional column.
    Numbers(Vec<Option<i64>>),
    Texts(Vec<&'a str>),
}

/// Encodes the row groups of one table.
pub(crate) struct TableEncoder {
    schema: SchemaDescPtr,
    chunks: ChunkWriter,
}

impl TableEncoder {
    pub(crate) fn new(columns: &[(&str, Cell)]) -> Result<Self, ParquetError> {
        let fields = columns.iter().map(|(name, cell)| {
            let (physical, logical) = match cell {
                Cell::Int64 | Cell::OptionalInt64 => (Physical::INT64, None),
                Cell::UInt64 => (Physical::INT64, Some(LogicalType::integer(64, false))),
                Cell::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            };
            let optional = *cell == Cell::OptionalInt64;
            let repetition = if optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
            let field = Type::primitive_type_builder(name, physical);
            field.with_repetition(repetition).with_logical_type(logical).build().map(Arc::new)
        });
        let root = Type::group_type_builder("row").with_fields(fields.collect::<Result<_, _>>()?).build()?;
        Ok(Self { schema: Arc::new(SchemaDescriptor::new(Arc::new(root))), chunks: ChunkWriter::new()? })
    }

    pub(crate) fn schema(&self) -> SchemaDescPtr {
        Arc::clone(&self.schema)
    }

    /// Appends one row group to `sink`. The number of bytes written to `sink` must be the offset in the file.
    pub(crate) fn row_group(
        &mut self,
        sink: &mut TrackedWrite<Vec<u8>>,
        ordinal: usize,
        rows: usize,
        columns: &[Cells<'_>],
    ) -> Result<EncodedGroup, ParquetError> {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let (offset, mut uncompressed) = (sink.bytes_written(), 0);
        let (mut written, mut sums) = (Vec::new(), Vec::new());
        for (cells, column) in columns.iter().zip(self.schema.columns()) {
            let at = sink.bytes_written();
            let info = match cells {
                Cells::Numbers(cells) => {
                    let values: Vec<i64> = cells.iter().copied().flatten().collect();
                    let levels: Vec<u8> = cells.iter().map(|cell| u8::from(cell.is_some())).collect();
                    let optional = column.self_type().is_optional();
                    let described = Rows { count: rows, levels: optional.then_some(levels.as_slice()) };
                    self.chunks.numbers(&described, &values, 8)?
                }
                Cells::Texts(texts) => {
                    let (keys, different) = keys(texts);
                    let entry = |key: u32, out: &mut Vec<u8>| {
                        out.extend_from_slice(different.get(key as usize).copied().unwrap_or_default().as_bytes());
                    };
                    self.chunks.texts(&Rows { count: rows, levels: None }, keys.into_iter(), entry)?
                }
            };
            sink.write_all(self.chunks.bytes())?;
            uncompressed += info.uncompressed();
            sums.push(info.sum);
            written.push(info.metadata(Arc::clone(column), at)?);
        }
        let metadata = RowGroupMetaData::builder(self.schema())
            .set_column_metadata(written)
            .set_num_rows(number(rows))
            .set_total_byte_size(number(uncompressed))
            .set_file_offset(number(offset))
            .set_ordinal(i32::try_from(ordinal).unwrap_or(i32::MAX))
            .build()?;
        Ok(EncodedGroup { metadata, sums })
    }
}

/// Returns a key for each text, and the different texts in the order of their keys.
fn keys<'a>(texts: &[&'a str]) -> (Vec<u32>, Vec<&'a str>) {
    let (mut known, mut different) = (HashMap::new(), Vec::new());
    let keys = texts.iter().map(|text| {
        *known.entry(*text).or_insert_with(|| {
            different.push(*text);
            u32::try_from(different.len() - 1).unwrap_or(u32::MAX)
        })
    });
    (keys.collect(), different)
}
