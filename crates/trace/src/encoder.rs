//! Events become row groups of Parquet.
//!
//! Values are taken from the events block by block, several columns at a time, so that an event is looked at while it
//! is in the processor's cache. A column whose rows all say the same, as most columns of a run do, is encoded once; from
//! then on its bytes are copied.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dlio_event::{Event, Nanos, ObjectId};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, get_column_writer};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::{ColumnPath, SchemaDescPtr, SchemaDescriptor, Type};

use crate::columns::{COLUMNS, Packing, Place, Source, parquet_field, present};
use crate::names::NameTables;

/// Events whose values are taken at a time: they fit into the processor's cache.
const BLOCK: usize = 1024;
/// Columns whose values are taken at a time: what is taken from a full row group is a few MiB.
const COLUMNS_AT_A_TIME: usize = 9;

/// Columns whose minimum and maximum are kept per row group, so that readers can skip groups.
const PRUNED: &[&str] = &["op", "epoch", "step", "t_start_ns", "t_end_ns"];

/// Turns events into row groups.
pub(crate) struct Encoder {
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    place: Place,
    columns: Vec<ColumnEncoder>,
    taken: [Taken; COLUMNS_AT_A_TIME],
}

/// What an encoder keeps for one column.
struct ColumnEncoder {
    /// The words of a column that has few.
    words: Vec<ByteArray>,
    /// The last chunk whose rows all said the same.
    uniform: Option<Uniform>,
}

/// An encoded chunk of equal rows.
struct Uniform {
    value: Value,
    rows: usize,
    bytes: Bytes,
    closed: ColumnCloseResult,
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
    numbers32: Vec<i32>,
    numbers64: Vec<i64>,
    /// Numbers of words or names, of all rows.
    keys: Vec<u32>,
    /// Per row whether it has a value: what Parquet stores for an optional column.
    levels: Vec<i16>,
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
            let words = words.into_iter().map(|word| ByteArray::from(Bytes::from_static(word.as_bytes()))).collect();
            ColumnEncoder { words, uniform: None }
        });
        Ok(Self {
            schema: Arc::new(SchemaDescriptor::new(Arc::new(root))),
            properties: Arc::new(properties()?),
            place,
            columns: columns.collect(),
            taken: Default::default(),
        })
    }

    pub(crate) fn schema(&self) -> SchemaDescPtr {
        Arc::clone(&self.schema)
    }

    /// Appends one row group to `sink`, whose count of bytes written must be the offset in the file.
    pub(crate) fn row_group(
        &mut self,
        sink: &mut TrackedWrite<Vec<u8>>,
        ordinal: usize,
        events: &[Event],
        names: &NameTables,
    ) -> Result<RowGroupMetaData, ParquetError> {
        let mut order: Vec<(Nanos, u32)> = events.iter().zip(0_u32..).map(|(event, at)| (event.start, at)).collect();
        order.sort_unstable();
        let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
        let (schema, properties) = (&self.schema, &self.properties);
        let mut group = SerializedRowGroupWriter::new(Arc::clone(schema), Arc::clone(properties), sink, ordinal, None);
        let columns: Vec<usize> = (0..COLUMNS.len()).collect();
        for numbers in columns.chunks(COLUMNS_AT_A_TIME) {
            let sources = numbers.iter().map(|number| &COLUMNS[*number].source);
            take(sources.zip(&mut self.taken), events, &order, self.place);
            for (&number, taken) in numbers.iter().zip(&self.taken) {
                let (column, source) = (&mut self.columns[number], &COLUMNS[number].source);
                let Some(value) = taken.uniform(source, events.len()) else {
                    let Some(mut writer) = group.next_column()? else { break };
                    taken.write(source, &column.words, names, writer.untyped())?;
                    writer.close()?;
                    continue;
                };
                let known = column.uniform.take().filter(|known| known.value == value && known.rows == events.len());
                let uniform = if let Some(known) = known {
                    known
                } else {
                    let write = |writer: &mut ColumnWriter<'_>| taken.write(source, &column.words, names, writer);
                    let (bytes, closed) = alone(schema, properties, number, write)?;
                    Uniform { value, rows: events.len(), bytes, closed }
                };
                group.append_column(&uniform.bytes, uniform.closed.clone())?;
                column.uniform = Some(uniform);
            }
        }
        Ok(Arc::unwrap_or_clone(group.close()?))
    }
}

/// One column's chunk, as if it stood at the beginning of a file.
fn alone(
    schema: &SchemaDescPtr,
    properties: &WriterPropertiesPtr,
    number: usize,
    write: impl FnOnce(&mut ColumnWriter<'_>) -> Result<(), ParquetError>,
) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
    let mut sink = TrackedWrite::new(Vec::new());
    let pages = Box::new(SerializedPageWriter::new(&mut sink));
    let mut writer = get_column_writer(schema.column(number), Arc::clone(properties), pages);
    write(&mut writer)?;
    let closed = writer.close()?;
    Ok((Bytes::from(sink.into_inner()?), closed))
}

fn properties() -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_created_by("dlio-rs".to_owned());
    for column in COLUMNS {
        let path = ColumnPath::from(column.name);
        if column.packing == Packing::Delta {
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if PRUNED.contains(&column.name) {
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Chunk);
        }
    }
    Ok(builder.build())
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

impl Taken {
    fn clear(&mut self) {
        self.numbers32.clear();
        self.numbers64.clear();
        self.keys.clear();
        self.levels.clear();
    }

    fn extend(&mut self, source: &Source, block: &[&Event], place: Place) {
        match source {
            Source::Int32(take) => take(block, place, &mut self.numbers32),
            Source::Int64(take) => take(block, place, &mut self.numbers64),
            Source::OptionalInt32(take) => take(block, place, &mut self.numbers32, &mut self.levels),
            Source::OptionalInt64(take) => take(block, place, &mut self.numbers64, &mut self.levels),
            Source::Word(take, _) => take(block, place, &mut self.keys),
            Source::Object => self.keys.extend(block.iter().map(|event| event.object.0)),
            Source::Endpoint => self.keys.extend(block.iter().map(|event| u32::from(event.endpoint.0))),
            Source::Tag => self.keys.extend(block.iter().map(|event| u32::from(event.tag.0))),
        }
    }

    /// What all rows say, if they say the same.
    fn uniform(&self, source: &Source, rows: usize) -> Option<Value> {
        match source {
            Source::Int32(_) => same(&self.numbers32).map(|value| Value::Number(i64::from(value))),
            Source::Int64(_) => same(&self.numbers64).map(Value::Number),
            Source::OptionalInt32(_) if self.numbers32.len() == rows => {
                same(&self.numbers32).map(|value| Value::Number(i64::from(value)))
            }
            Source::OptionalInt64(_) if self.numbers64.len() == rows => same(&self.numbers64).map(Value::Number),
            Source::OptionalInt32(_) => self.numbers32.is_empty().then_some(Value::Nothing),
            Source::OptionalInt64(_) => self.numbers64.is_empty().then_some(Value::Nothing),
            Source::Word(..) | Source::Object | Source::Endpoint | Source::Tag => same(&self.keys).map(Value::Key),
        }
    }

    fn write(
        &self,
        source: &Source,
        words: &[ByteArray],
        names: &NameTables,
        writer: &mut ColumnWriter<'_>,
    ) -> Result<(), ParquetError> {
        let levels = if self.levels.is_empty() { None } else { Some(self.levels.as_slice()) };
        match (source, writer) {
            (Source::Word(..), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                let values: Vec<ByteArray> =
                    self.keys.iter().filter_map(|key| words.get(*key as usize).cloned()).collect();
                writer.write_batch(&values, None, None)?;
            }
            (_, ColumnWriter::Int32ColumnWriter(writer)) => {
                writer.write_batch(&self.numbers32, levels, None)?;
            }
            (_, ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(&self.numbers64, levels, None)?;
            }
            (_, ColumnWriter::ByteArrayColumnWriter(writer)) => {
                let label = |name: Option<String>| name.map(|name| ByteArray::from(name.into_bytes()));
                let id = |key: u32| u16::try_from(key).unwrap_or(u16::MAX);
                let name = |key: u32| match source {
                    Source::Endpoint => label(names.endpoints.get(id(key))),
                    Source::Tag => label(names.tags.get(id(key))),
                    _ => names.objects.get(ObjectId(key)).map(ByteArray::from),
                };
                let mut known = HashMap::new();
                let (mut values, mut levels) = (Vec::new(), Vec::with_capacity(self.keys.len()));
                let texts = self.keys.iter().map(|key| known.entry(*key).or_insert_with(|| name(*key)).clone());
                present(texts, &mut values, &mut levels);
                writer.write_batch(&values, Some(&levels), None)?;
            }
            _ => return Err(ParquetError::General("a column has another type than its values".to_owned())),
        }
        Ok(())
    }
}

/// The value of all, if it is one.
fn same<T: Copy + PartialEq>(values: &[T]) -> Option<T> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}
