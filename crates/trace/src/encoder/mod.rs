//! Encoding of events into Parquet row groups.
//!
//! Values are taken from the events block by block, several columns at a time, so that an event is visited while it is in the
//! processor's cache. Most columns of a run have the same value in all rows of a row group; such a column is encoded once, and
//! its bytes are copied from then on. The pages are made here rather than by the Parquet library, which looks every value up by a
//! hash of its bytes and allocates memory for every column, although names and words have numbers already
//! (`docs/adr/0022-trace-encoder.md`).

mod chunk;
mod coding;
mod dictionary;
mod table;

use std::io::Write;
use std::sync::Arc;

use dlio_event::{Event, Nanos, ObjectId};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

use crate::columns::{COLUMNS, Column, Packing, RankContext, Source, Storage, parquet_field};
use crate::names::NameTables;
use crate::row_group::EncodedGroup;
use chunk::{ChunkInfo, ChunkWriter, Rows, extreme_words, extremes};
pub(crate) use table::{Cell, Cells, TableEncoder};

/// Number of events whose values are taken at a time; they fit into the processor's cache.
const BLOCK: usize = 1024;
/// Number of columns whose values are taken at a time; the values of a full row group take a few MiB.
const COLUMNS_AT_A_TIME: usize = 9;
/// Key of a row without a name.
const NO_NAME: u32 = u32::MAX;

/// Columns with statistics in each row group, by which readers skip row groups.
const PRUNED: &[&str] = &["op", "epoch", "step", "t_start_ns", "t_end_ns"];

/// Encodes the events of a rank.
pub(crate) struct Encoder {
    schema: SchemaDescPtr,
    context: RankContext,
    columns: Vec<ColumnEncoder>,
}

/// Memory for the encoding of row groups, shared by the encoders of many ranks.
pub(crate) struct Workspace {
    values: [ColumnValues; COLUMNS_AT_A_TIME],
    order: Vec<(Nanos, u32)>,
    chunks: ChunkWriter,
}

impl Workspace {
    pub(crate) fn new() -> Result<Self, ParquetError> {
        Ok(Self { values: Default::default(), order: Vec::new(), chunks: ChunkWriter::new()? })
    }
}

/// State of one column from row group to row group.
struct ColumnEncoder {
    column: &'static Column,
    /// All words of a column with a closed set of words.
    words: Vec<&'static str>,
    /// The last chunk whose rows had equal values.
    constant: Option<ConstantChunk>,
}

/// An encoded chunk whose rows have equal values.
struct ConstantChunk {
    value: Value,
    rows: usize,
    bytes: Vec<u8>,
    info: ChunkInfo,
}

/// Value that all rows of a column have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Nothing,
    Number(i64),
    Key(u32),
}

/// Values of one column in the order of the rows.
#[derive(Default)]
struct ColumnValues {
    numbers: Vec<i64>,
    /// Numbers of words or names, one per row.
    keys: Vec<u32>,
    /// Definition levels of an optional column, one per row.
    levels: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(context: RankContext) -> Result<Self, ParquetError> {
        let fields = COLUMNS.iter().map(parquet_field).collect::<Result<Vec<_>, _>>()?;
        let root = Type::group_type_builder("event").with_fields(fields).build()?;
        let columns = COLUMNS.iter().map(|column| {
            let words = match column.source {
                Source::Word(_, words) => words(),
                _ => Vec::new(),
            };
            ColumnEncoder { column, words, constant: None }
        });
        Ok(Self { schema: Arc::new(SchemaDescriptor::new(Arc::new(root))), context, columns: columns.collect() })
    }

    pub(crate) fn schema(&self) -> SchemaDescPtr {
        Arc::clone(&self.schema)
    }

    /// Appends one row group to `sink`. The number of bytes written to `sink` must be the offset in the file.
    pub(crate) fn row_group(
        &mut self,
        (workspace, sink): (&mut Workspace, &mut TrackedWrite<Vec<u8>>),
        ordinal: usize,
        events: &[Event],
        names: &NameTables,
    ) -> Result<EncodedGroup, ParquetError> {
        let Workspace { values, order, chunks } = workspace;
        order.clear();
        order.extend(events.iter().zip(0_u32..).map(|(event, at)| (event.start, at)));
        order.sort_unstable();
        let schema = &self.schema;
        let (offset, mut uncompressed) = (sink.bytes_written(), 0);
        let mut written = Vec::with_capacity(COLUMNS.len());
        let mut sums = Vec::with_capacity(COLUMNS.len());
        for columns in self.columns.chunks_mut(COLUMNS_AT_A_TIME) {
            let sources = columns.iter().map(|column| &column.column.source);
            take(sources.zip(&mut *values), events, order, self.context);
            for (column, values) in columns.iter_mut().zip(&mut *values) {
                let value = values.constant(&column.column.source, events.len());
                let fits = |known: &ConstantChunk| Some(known.value) == value && known.rows == events.len();
                let at = sink.bytes_written();
                let info = if let Some(known) = column.constant.as_ref().filter(|known| fits(known)) {
                    sink.write_all(&known.bytes)?;
                    known.info.clone()
                } else {
                    let info = column.encode(values, events.len(), names, chunks)?;
                    sink.write_all(chunks.bytes())?;
                    column.constant = value.map(|value| {
                        let bytes = chunks.bytes().to_vec();
                        ConstantChunk { value, rows: events.len(), bytes, info: info.clone() }
                    });
                    info
                };
                debug_assert_eq!(sink.bytes_written() - at, info.compressed());
                uncompressed += info.uncompressed();
                sums.push(info.sum);
                written.push(info.metadata(schema.column(written.len()), at)?);
            }
        }
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let metadata = RowGroupMetaData::builder(Arc::clone(schema))
            .set_column_metadata(written)
            .set_num_rows(number(events.len()))
            .set_total_byte_size(number(uncompressed))
            .set_file_offset(number(offset))
            .set_ordinal(i32::try_from(ordinal).unwrap_or(i32::MAX))
            .build()?;
        Ok(EncodedGroup { metadata, sums })
    }
}

/// Takes the values of some columns from all events in the order `order`.
fn take<'a>(
    columns: impl Iterator<Item = (&'a Source, &'a mut ColumnValues)>,
    events: &[Event],
    order: &[(Nanos, u32)],
    context: RankContext,
) {
    let mut columns: Vec<_> = columns.collect();
    for (_, values) in &mut columns {
        values.clear();
    }
    let mut block = Vec::with_capacity(BLOCK);
    for part in order.chunks(BLOCK) {
        block.clear();
        block.extend(part.iter().map(|(_, at)| &events[*at as usize]));
        for (source, values) in &mut columns {
            values.extend(source, &block, context);
        }
    }
}

impl ColumnEncoder {
    /// Encodes the chunk of `rows` rows in the buffer of `chunks`.
    fn encode(
        &self,
        values: &mut ColumnValues,
        rows: usize,
        names: &NameTables,
        chunks: &mut ChunkWriter,
    ) -> Result<ChunkInfo, ParquetError> {
        let Column { source, storage, packing, optional, name, .. } = self.column;
        let pruned = PRUNED.contains(name);
        match source {
            Source::Word(..) => {
                let word = |key: u32| self.words.get(key as usize).copied().unwrap_or_default();
                let entry = |key: u32, out: &mut Vec<u8>| out.extend_from_slice(word(key).as_bytes());
                let rows = Rows { count: rows, levels: None };
                let mut info = chunks.texts(&rows, values.keys.iter().copied(), entry)?;
                info.statistics = pruned.then(|| extreme_words(&self.words, &values.keys));
                Ok(info)
            }
            Source::Object | Source::Endpoint | Source::Tag => values.names(source, names, chunks),
            _ => {
                let ColumnValues { numbers, levels, .. } = values;
                let small = *storage == Storage::Int32;
                let levels = optional.then_some(levels.as_slice());
                let described = Rows { count: rows, levels };
                let mut info = match packing {
                    Packing::Delta => chunks.differences(&described, numbers)?,
                    Packing::Dictionary => chunks.numbers(&described, numbers, if small { 4 } else { 8 })?,
                };
                info.statistics = pruned.then(|| extremes(numbers, rows, small));
                Ok(info)
            }
        }
    }
}

impl ColumnValues {
    fn clear(&mut self) {
        self.numbers.clear();
        self.keys.clear();
        self.levels.clear();
    }

    fn extend(&mut self, source: &Source, block: &[&Event], context: RankContext) {
        match source {
            Source::Int32(take) | Source::Int64(take) => take(block, context, &mut self.numbers),
            Source::OptionalInt32(take) | Source::OptionalInt64(take) => {
                take(block, context, &mut self.numbers, &mut self.levels);
            }
            Source::Word(take, _) => take(block, context, &mut self.keys),
            Source::Object => self.keys.extend(block.iter().map(|event| event.object.0)),
            Source::Endpoint => self.keys.extend(block.iter().map(|event| label(event.endpoint.0))),
            Source::Tag => self.keys.extend(block.iter().map(|event| label(event.tag.0))),
        }
    }

    /// Returns the value that all rows have, if they are equal.
    fn constant(&self, source: &Source, rows: usize) -> Option<Value> {
        match source {
            Source::Word(..) | Source::Object | Source::Endpoint | Source::Tag => same(&self.keys).map(Value::Key),
            _ if self.numbers.is_empty() => Some(Value::Nothing),
            _ if self.numbers.len() == rows => same(&self.numbers).map(Value::Number),
            _ => None,
        }
    }

    /// Encodes the chunk of a column of names. A number that was never assigned counts as no name.
    fn names(
        &mut self,
        source: &Source,
        names: &NameTables,
        chunks: &mut ChunkWriter,
    ) -> Result<ChunkInfo, ParquetError> {
        loop {
            self.levels.clear();
            self.levels.extend(self.keys.iter().map(|key| u8::from(*key != NO_NAME)));
            let rows = Rows { count: self.keys.len(), levels: Some(&self.levels) };
            let mut unknown = Vec::new();
            let id = |key: u32| u16::try_from(key).unwrap_or(u16::MAX);
            let info = chunks.texts(&rows, self.keys.iter().copied().filter(|key| *key != NO_NAME), |key, out| {
                let known = match source {
                    Source::Endpoint => names.endpoints.append(id(key), out),
                    Source::Tag => names.tags.append(id(key), out),
                    _ => names.objects.append(ObjectId(key), out),
                };
                if !known {
                    unknown.push(key);
                }
            })?;
            if unknown.is_empty() {
                return Ok(info);
            }
            self.keys.iter_mut().filter(|key| unknown.contains(key)).for_each(|key| *key = NO_NAME);
        }
    }
}

/// Returns the key of an endpoint or a tag.
fn label(number: u16) -> u32 {
    if number == u16::MAX { NO_NAME } else { u32::from(number) }
}

/// Returns the value of all elements, if they are equal.
fn same<T: Copy + PartialEq>(values: &[T]) -> Option<T> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}
