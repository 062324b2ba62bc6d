//! The columns of a trace and their encoding as one Parquet row group.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dlio_event::{ConnectionId, Event, Lane, Nanos, OpKind, Outcome, Phase};
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedColumnWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::{ColumnPath, SchemaDescPtr, SchemaDescriptor, Type};

use crate::names::{LabelNames, NameTables};

/// How a column is stored in Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// `INT32`.
    Int32,
    /// `INT64`.
    Int64,
    /// `BYTE_ARRAY` with the logical type string.
    Text,
}

/// One column of the format.
#[derive(Debug)]
pub struct Column {
    /// Name in the file.
    pub name: &'static str,
    /// Physical type.
    pub storage: Storage,
    /// Whether rows may have no value.
    pub optional: bool,
    /// Unit, or `-`.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
    source: Source,
    packing: Packing,
}

/// Where the value of a column comes from.
#[derive(Debug)]
enum Source {
    Int32(fn(&Event, Place) -> i32),
    OptionalInt32(fn(&Event) -> Option<i32>),
    Int64(fn(&Event, Place) -> i64),
    OptionalInt64(fn(&Event, Place) -> Option<i64>),
    Word(fn(&Event) -> usize, fn() -> Vec<&'static str>),
    Object,
    Endpoint,
    Tag,
}

/// Values that repeat go through a dictionary; values that grow are stored as packed differences.
#[derive(Debug, PartialEq, Eq)]
enum Packing {
    Dictionary,
    Delta,
}

/// What is the same for all rows of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) rank: u32,
    pub(crate) offset_to_rank0_ns: i64,
}

impl Place {
    fn time(self, at: Nanos) -> i64 {
        clamp(at).saturating_add(self.offset_to_rank0_ns)
    }
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn small(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Positions count from 1; 0 means "not in one" and is stored as no value.
fn counted(value: u32) -> Option<i32> {
    (value != 0).then(|| small(value))
}

const fn column(name: &'static str, unit: &'static str, source: Source, meaning: &'static str) -> Column {
    let (storage, optional) = match source {
        Source::Int32(_) => (Storage::Int32, false),
        Source::OptionalInt32(_) => (Storage::Int32, true),
        Source::Int64(_) => (Storage::Int64, false),
        Source::OptionalInt64(_) => (Storage::Int64, true),
        Source::Word(..) => (Storage::Text, false),
        Source::Object | Source::Endpoint | Source::Tag => (Storage::Text, true),
    };
    Column { name, storage, optional, unit, meaning, source, packing: Packing::Dictionary }
}

const fn delta(column: Column) -> Column {
    Column { packing: Packing::Delta, ..column }
}

/// Every column, in the order of the file.
pub const COLUMNS: &[Column] = &[
    column("rank", "-", Source::Int32(|_, place| small(place.rank)), "MPI rank"),
    column(
        "lane",
        "-",
        Source::Int32(|event, _| if event.lane == Lane::MAIN { -1 } else { i32::from(event.lane.0) }),
        "reader lane (the reference's loader worker) within the rank; -1: the training loop",
    ),
    column(
        "kind",
        "-",
        Source::Word(|event| usize::from(!event.kind.is_storage()), || vec!["io", "span"]),
        "io: an operation on storage, one row per attempt; span: a stretch of the run",
    ),
    column(
        "op",
        "-",
        Source::Word(|event| event.kind as usize, || OpKind::ALL.iter().map(|op| op.name()).collect()),
        "what was done: get, read, put, …, fetch, compute, barrier, …",
    ),
    column(
        "phase",
        "-",
        Source::Word(|event| event.at.phase as usize, || Phase::ALL.iter().map(|phase| phase.name()).collect()),
        "part of the run: setup, generate, train, eval, checkpoint",
    ),
    column("epoch", "-", Source::OptionalInt32(|event| counted(event.at.epoch)), "epoch, from 1"),
    column("block", "-", Source::OptionalInt32(|event| counted(event.at.block)), "block of the epoch, from 1"),
    column("step", "-", Source::OptionalInt32(|event| counted(event.at.step)), "step of the epoch, from 1"),
    delta(column(
        "sample_idx",
        "-",
        Source::OptionalInt64(|event, _| event.at.sample.map(clamp)),
        "global sample index, where one sample is concerned",
    )),
    column("uri", "-", Source::Object, "object name or path"),
    column("endpoint", "-", Source::Endpoint, "scheme://host:port that served the operation"),
    column("offset", "B", Source::Int64(|event, _| clamp(event.offset)), "first byte of the requested range"),
    column(
        "req_bytes",
        "B",
        Source::OptionalInt64(|event, _| event.requested.map(clamp)),
        "length of the requested range; no value: to the end of the object, or not a range operation",
    ),
    column("bytes", "B", Source::Int64(|event, _| clamp(event.bytes)), "bytes that were really moved"),
    delta(column(
        "t_due_ns",
        "ns",
        Source::OptionalInt64(|event, place| event.due.map(|at| place.time(at))),
        "when it should have started (replay) or was queued",
    )),
    delta(column(
        "t_start_ns",
        "ns",
        Source::Int64(|event, place| place.time(event.start)),
        "start, on rank 0's monotonic clock; rows of a row group are sorted by it",
    )),
    delta(column(
        "t_issue_ns",
        "ns",
        Source::OptionalInt64(|event, place| event.issued.map(|at| place.time(at))),
        "when the request was handed to a usable connection: since t_start_ns it was queued or waited for a connection",
    )),
    delta(column(
        "t_last_byte_ns",
        "ns",
        Source::OptionalInt64(|event, place| event.last_byte.map(|at| place.time(at))),
        "writes: when the last byte of the body was handed to the connection",
    )),
    delta(column(
        "t_first_byte_ns",
        "ns",
        Source::OptionalInt64(|event, place| event.first_byte.map(|at| place.time(at))),
        "arrival of the first byte of the answer, where it is measured",
    )),
    delta(column("t_end_ns", "ns", Source::Int64(|event, place| place.time(event.end)), "end")),
    column(
        "status",
        "-",
        Source::Int32(|event, _| i32::from(event.status)),
        "HTTP status, or the negated errno, or 0 where neither exists",
    ),
    column(
        "outcome",
        "-",
        Source::Word(|event| event.outcome as usize, || Outcome::ALL.iter().map(|outcome| outcome.name()).collect()),
        "how it ended: ok, timeout, connect, client_error, not_found, throttled, …",
    ),
    column("attempt", "-", Source::Int32(|event, _| i32::from(event.attempt)), "0 for the first try, then 1, 2, …"),
    column(
        "conn_id",
        "-",
        Source::OptionalInt32(|event| (event.connection != ConnectionId::NONE).then(|| small(event.connection.0))),
        "connection of this rank, numbered in the order of opening: its first row is the one that had to wait for it",
    ),
    column(
        "object_size",
        "B",
        Source::OptionalInt64(|event, _| event.object_size.map(clamp)),
        "size of the whole object, where the operation told it",
    ),
    column("tag", "-", Source::Tag, "label: of the user, or of the program that an imported trace comes from"),
];

/// Columns whose minimum and maximum are kept per row group, so that readers can skip groups.
const PRUNED: &[&str] = &["op", "epoch", "step", "t_start_ns", "t_end_ns"];

/// Turns events into row groups.
pub(crate) struct Encoder {
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    words: Vec<Vec<ByteArray>>,
    place: Place,
}

impl Encoder {
    pub(crate) fn new(place: Place) -> Result<Self, ParquetError> {
        let fields = COLUMNS.iter().map(parquet_field).collect::<Result<Vec<_>, _>>()?;
        let root = Type::group_type_builder("event").with_fields(fields).build()?;
        let words = COLUMNS.iter().map(|column| match column.source {
            Source::Word(_, words) => {
                words().into_iter().map(|word| ByteArray::from(Bytes::from_static(word.as_bytes()))).collect()
            }
            _ => Vec::new(),
        });
        Ok(Self {
            schema: Arc::new(SchemaDescriptor::new(Arc::new(root))),
            properties: Arc::new(properties()?),
            words: words.collect(),
            place,
        })
    }

    pub(crate) fn schema(&self) -> SchemaDescPtr {
        Arc::clone(&self.schema)
    }

    /// Appends one row group to `sink`, whose count of bytes written must be the offset in the file.
    pub(crate) fn row_group(
        &self,
        sink: &mut TrackedWrite<Vec<u8>>,
        ordinal: usize,
        events: &[Event],
        names: &NameTables,
    ) -> Result<RowGroupMetaData, ParquetError> {
        let mut order: Vec<(Nanos, u32)> = events.iter().zip(0_u32..).map(|(event, at)| (event.start, at)).collect();
        order.sort_unstable();
        let rows = Rows { events, order: &order, place: self.place, names };
        let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
        let mut group =
            SerializedRowGroupWriter::new(Arc::clone(&self.schema), Arc::clone(&self.properties), sink, ordinal, None);
        for (column, words) in COLUMNS.iter().zip(&self.words) {
            let Some(mut writer) = group.next_column()? else { break };
            rows.write(&column.source, words, &mut writer)?;
            writer.close()?;
        }
        Ok(Arc::unwrap_or_clone(group.close()?))
    }
}

fn parquet_field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column.storage {
        Storage::Int32 => (Physical::INT32, None),
        Storage::Int64 => (Physical::INT64, None),
        Storage::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let repetition = if column.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
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

struct Rows<'a> {
    events: &'a [Event],
    order: &'a [(Nanos, u32)],
    place: Place,
    names: &'a NameTables,
}

impl Rows<'_> {
    fn iter(&self) -> impl Iterator<Item = &Event> {
        self.order.iter().map(|(_, at)| &self.events[*at as usize])
    }

    fn write(
        &self,
        source: &Source,
        words: &[ByteArray],
        writer: &mut SerializedColumnWriter<'_>,
    ) -> Result<(), ParquetError> {
        let place = self.place;
        match source {
            Source::Int32(value) => {
                let values: Vec<i32> = self.iter().map(|event| value(event, place)).collect();
                writer.typed::<Int32Type>().write_batch(&values, None, None)?;
            }
            Source::Int64(value) => {
                let values: Vec<i64> = self.iter().map(|event| value(event, place)).collect();
                writer.typed::<Int64Type>().write_batch(&values, None, None)?;
            }
            Source::OptionalInt32(value) => {
                let (values, levels) = self.present(value);
                writer.typed::<Int32Type>().write_batch(&values, Some(&levels), None)?;
            }
            Source::OptionalInt64(value) => {
                let (values, levels) = self.present(|event| value(event, place));
                writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
            }
            Source::Word(index, _) => {
                let values: Vec<ByteArray> = self.iter().filter_map(|event| words.get(index(event)).cloned()).collect();
                writer.typed::<ByteArrayType>().write_batch(&values, None, None)?;
            }
            Source::Object => {
                let mut known = HashMap::new();
                let (values, levels) = self.present(|event| {
                    let name = || self.names.objects.get(event.object).map(ByteArray::from);
                    known.entry(event.object).or_insert_with(name).clone()
                });
                writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
            }
            Source::Endpoint => {
                self.write_label(writer, &self.names.endpoints, |event| event.endpoint.0)?;
            }
            Source::Tag => self.write_label(writer, &self.names.tags, |event| event.tag.0)?,
        }
        Ok(())
    }

    /// A column of words of which there are few.
    fn write_label(
        &self,
        writer: &mut SerializedColumnWriter<'_>,
        labels: &LabelNames,
        label: fn(&Event) -> u16,
    ) -> Result<(), ParquetError> {
        let mut known = HashMap::new();
        let (values, levels) = self.present(|event| {
            let name = || labels.get(label(event)).map(|name| ByteArray::from(name.into_bytes()));
            known.entry(label(event)).or_insert_with(name).clone()
        });
        writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        Ok(())
    }

    /// The values that exist, and for every row whether it has one: what Parquet stores for an optional column.
    fn present<T>(&self, mut value: impl FnMut(&Event) -> Option<T>) -> (Vec<T>, Vec<i16>) {
        let mut values = Vec::with_capacity(self.order.len());
        let mut levels = Vec::with_capacity(self.order.len());
        for event in self.iter() {
            let value = value(event);
            levels.push(i16::from(value.is_some()));
            values.extend(value);
        }
        (values, levels)
    }
}
