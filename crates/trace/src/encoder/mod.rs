//! Events become row groups of Parquet.
//!
//! Values are taken from the events block by block, several columns at a time, so that an event is looked at while it
//! is in the processor's cache. A column whose rows all say the same, as most columns of a run do, is encoded once; from
//! then on its bytes are copied. The pages are made here and not by the library's writers: those look every value up by a
//! hash of its bytes and take new memory for every column, and names and words have numbers already.

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

use crate::columns::{COLUMNS, Column, Packing, Place, Source, Storage, parquet_field};
use crate::names::NameTables;
use crate::row_group::EncodedGroup;
use chunk::{ChunkWriter, Rows, Shape, extreme_words, extremes};
pub(crate) use table::{Cell, Cells, TableEncoder};

/// Events whose values are taken at a time: they fit into the processor's cache.
const BLOCK: usize = 1024;
/// Columns whose values are taken at a time: what is taken from a full row group is a few MiB.
const COLUMNS_AT_A_TIME: usize = 9;
/// The key of a row without a name.
const NO_NAME: u32 = u32::MAX;

/// Columns whose minimum and maximum are kept per row group, so that readers can skip groups.
const PRUNED: &[&str] = &["op", "epoch", "step", "t_start_ns", "t_end_ns"];

/// Turns the events of a rank into row groups.
pub(crate) struct Encoder {
    schema: SchemaDescPtr,
    place: Place,
    columns: Vec<ColumnEncoder>,
}

/// The memory in which a row group is encoded; the encoders of many ranks share it.
pub(crate) struct Workspace {
    taken: [Taken; COLUMNS_AT_A_TIME],
    order: Vec<(Nanos, u32)>,
    chunks: ChunkWriter,
}

impl Workspace {
    pub(crate) fn new() -> Result<Self, ParquetError> {
        Ok(Self { taken: Default::default(), order: Vec::new(), chunks: ChunkWriter::new()? })
    }
}

/// What an encoder keeps for one column.
struct ColumnEncoder {
    column: &'static Column,
    /// The words of a column that has few.
    words: Vec<&'static str>,
    /// The last chunk whose rows all said the same.
    uniform: Option<Uniform>,
}

/// An encoded chunk of equal rows.
struct Uniform {
    value: Value,
    rows: usize,
    bytes: Vec<u8>,
    shape: Shape,
}

/// What all rows of a column say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Nothing,
    Number(i64),
    Key(u32),
}

/// The values of one column in the order of the rows.
#[derive(Default)]
struct Taken {
    numbers: Vec<i64>,
    /// Numbers of words or names, of all rows.
    keys: Vec<u32>,
    /// Per row of an optional column whether it has a value.
    levels: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(place: Place) -> Result<Self, ParquetError> {
        let fields = COLUMNS.iter().map(parquet_field).collect::<Result<Vec<_>, _>>()?;
        let root = Type::group_type_builder("event").with_fields(fields).build()?;
        let columns = COLUMNS.iter().map(|column| {
            let words = match column.source {
                Source::Word(_, words) => words(),
                _ => Vec::new(),
            };
            ColumnEncoder { column, words, uniform: None }
        });
        Ok(Self { schema: Arc::new(SchemaDescriptor::new(Arc::new(root))), place, columns: columns.collect() })
    }

    pub(crate) fn schema(&self) -> SchemaDescPtr {
        Arc::clone(&self.schema)
    }

    /// Appends one row group to `sink`, whose count of bytes written must be the offset in the file.
    pub(crate) fn row_group(
        &mut self,
        (workspace, sink): (&mut Workspace, &mut TrackedWrite<Vec<u8>>),
        ordinal: usize,
        events: &[Event],
        names: &NameTables,
    ) -> Result<EncodedGroup, ParquetError> {
        let Workspace { taken, order, chunks } = workspace;
        order.clear();
        order.extend(events.iter().zip(0_u32..).map(|(event, at)| (event.start, at)));
        order.sort_unstable();
        let schema = &self.schema;
        let (offset, mut uncompressed) = (sink.bytes_written(), 0);
        let mut written = Vec::with_capacity(COLUMNS.len());
        let mut sums = Vec::with_capacity(COLUMNS.len());
        for columns in self.columns.chunks_mut(COLUMNS_AT_A_TIME) {
            let sources = columns.iter().map(|column| &column.column.source);
            take(sources.zip(&mut *taken), events, order, self.place);
            for (column, taken) in columns.iter_mut().zip(&mut *taken) {
                let value = taken.uniform(&column.column.source, events.len());
                let fits = |known: &Uniform| Some(known.value) == value && known.rows == events.len();
                let at = sink.bytes_written();
                let shape = if let Some(known) = column.uniform.as_ref().filter(|known| fits(known)) {
                    sink.write_all(&known.bytes)?;
                    known.shape.clone()
                } else {
                    let shape = column.encode(taken, events.len(), names, chunks)?;
                    sink.write_all(chunks.bytes())?;
                    column.uniform = value.map(|value| {
                        let bytes = chunks.bytes().to_vec();
                        Uniform { value, rows: events.len(), bytes, shape: shape.clone() }
                    });
                    shape
                };
                debug_assert_eq!(sink.bytes_written() - at, shape.compressed());
                uncompressed += shape.uncompressed();
                sums.push(shape.sum);
                written.push(shape.metadata(schema.column(written.len()), at)?);
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

/// Takes the values of some columns from all events, in their order.
fn take<'a>(
    columns: impl Iterator<Item = (&'a Source, &'a mut Taken)>,
    events: &[Event],
    order: &[(Nanos, u32)],
    place: Place,
) {
    let mut columns: Vec<_> = columns.collect();
    for (_, taken) in &mut columns {
        taken.clear();
    }
    let mut block = Vec::with_capacity(BLOCK);
    for part in order.chunks(BLOCK) {
        block.clear();
        block.extend(part.iter().map(|(_, at)| &events[*at as usize]));
        for (source, taken) in &mut columns {
            taken.extend(source, &block, place);
        }
    }
}

impl ColumnEncoder {
    /// The chunk of some rows; its bytes are the writer's.
    fn encode(
        &self,
        taken: &mut Taken,
        rows: usize,
        names: &NameTables,
        chunks: &mut ChunkWriter,
    ) -> Result<Shape, ParquetError> {
        let Column { source, storage, packing, optional, name, .. } = self.column;
        let pruned = PRUNED.contains(name);
        match source {
            Source::Word(..) => {
                let word = |key: u32| self.words.get(key as usize).copied().unwrap_or_default();
                let entry = |key: u32, out: &mut Vec<u8>| out.extend_from_slice(word(key).as_bytes());
                let rows = Rows { count: rows, levels: None };
                let mut shape = chunks.texts(&rows, taken.keys.iter().copied(), entry)?;
                shape.statistics = pruned.then(|| extreme_words(&self.words, &taken.keys));
                Ok(shape)
            }
            Source::Object | Source::Endpoint | Source::Tag => taken.names(source, names, chunks),
            _ => {
                let Taken { numbers, levels, .. } = taken;
                let small = *storage == Storage::Int32;
                let levels = optional.then_some(levels.as_slice());
                let described = Rows { count: rows, levels };
                let mut shape = match packing {
                    Packing::Delta => chunks.differences(&described, numbers)?,
                    Packing::Dictionary => chunks.numbers(&described, numbers, if small { 4 } else { 8 })?,
                };
                shape.statistics = pruned.then(|| extremes(numbers, rows, small));
                Ok(shape)
            }
        }
    }
}

impl Taken {
    fn clear(&mut self) {
        self.numbers.clear();
        self.keys.clear();
        self.levels.clear();
    }

    fn extend(&mut self, source: &Source, block: &[&Event], place: Place) {
        match source {
            Source::Int32(take) | Source::Int64(take) => take(block, place, &mut self.numbers),
            Source::OptionalInt32(take) | Source::OptionalInt64(take) => {
                take(block, place, &mut self.numbers, &mut self.levels);
            }
            Source::Word(take, _) => take(block, place, &mut self.keys),
            Source::Object => self.keys.extend(block.iter().map(|event| event.object.0)),
            Source::Endpoint => self.keys.extend(block.iter().map(|event| label(event.endpoint.0))),
            Source::Tag => self.keys.extend(block.iter().map(|event| label(event.tag.0))),
        }
    }

    /// What all rows say, if they say the same.
    fn uniform(&self, source: &Source, rows: usize) -> Option<Value> {
        match source {
            Source::Word(..) | Source::Object | Source::Endpoint | Source::Tag => same(&self.keys).map(Value::Key),
            _ if self.numbers.is_empty() => Some(Value::Nothing),
            _ if self.numbers.len() == rows => same(&self.numbers).map(Value::Number),
            _ => None,
        }
    }

    /// The chunk of a column of names. A number that was never handed out is no name.
    fn names(&mut self, source: &Source, names: &NameTables, chunks: &mut ChunkWriter) -> Result<Shape, ParquetError> {
        loop {
            self.levels.clear();
            self.levels.extend(self.keys.iter().map(|key| u8::from(*key != NO_NAME)));
            let rows = Rows { count: self.keys.len(), levels: Some(&self.levels) };
            let mut unknown = Vec::new();
            let id = |key: u32| u16::try_from(key).unwrap_or(u16::MAX);
            let shape = chunks.texts(&rows, self.keys.iter().copied().filter(|key| *key != NO_NAME), |key, out| {
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
                return Ok(shape);
            }
            self.keys.iter_mut().filter(|key| unknown.contains(key)).for_each(|key| *key = NO_NAME);
        }
    }
}

/// The key of an endpoint or a tag.
fn label(number: u16) -> u32 {
    if number == u16::MAX { NO_NAME } else { u32::from(number) }
}

/// The value of all, if it is one.
fn same<T: Copy + PartialEq>(values: &[T]) -> Option<T> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}
