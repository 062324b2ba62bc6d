//! The columns of a trace: their names, types and meanings, and how their values are taken from events.

use std::sync::Arc;

use dlio_event::{ConnectionId, Event, Lane, Nanos, OpKind, Outcome, Phase};
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::Type;

/// Physical type of a column in Parquet.
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
    /// Column name in the file.
    pub name: &'static str,
    /// Physical type.
    pub storage: Storage,
    /// Whether a row may lack a value.
    pub optional: bool,
    /// Unit, or `-`.
    pub unit: &'static str,
    /// Description for the documentation.
    pub meaning: &'static str,
    pub(crate) source: Source,
    pub(crate) packing: Packing,
}

/// How the values of a column are taken from events.
#[derive(Debug)]
pub(crate) enum Source {
    Int32(fn(&[&Event], RankContext, &mut Vec<i64>)),
    OptionalInt32(fn(&[&Event], RankContext, &mut Vec<i64>, &mut Vec<u8>)),
    Int64(fn(&[&Event], RankContext, &mut Vec<i64>)),
    OptionalInt64(fn(&[&Event], RankContext, &mut Vec<i64>, &mut Vec<u8>)),
    /// Index of a word, and the function that lists all words.
    Word(fn(&[&Event], RankContext, &mut Vec<u32>), fn() -> Vec<&'static str>),
    Object,
    Endpoint,
    Tag,
}

/// Defines a source that takes the values of a column from many events in one call, because a call for each value would cost more
/// than the value.
macro_rules! each {
    ($source:ident, $value:expr) => {
        Source::$source(|events, place, numbers| numbers.extend(values(events, place, $value)))
    };
}

/// Defines such a source for a column whose rows may lack a value.
macro_rules! some {
    ($source:ident, $value:expr) => {
        Source::$source(|events, place, numbers, levels| present(values(events, place, $value), numbers, levels))
    };
}

fn values<T>(
    events: &[&Event],
    place: RankContext,
    value: impl Fn(&Event, RankContext) -> T,
) -> impl Iterator<Item = T> {
    events.iter().map(move |event| value(event, place))
}

/// Appends the values that exist, and a definition level for each row: 1 with a value, 0 without.
fn present(rows: impl Iterator<Item = Option<i64>>, values: &mut Vec<i64>, levels: &mut Vec<u8>) {
    for value in rows {
        levels.push(u8::from(value.is_some()));
        values.extend(value);
    }
}

/// Defines a source of words, each represented by its index among all words.
macro_rules! word {
    ($value:expr, $words:expr) => {
        Source::Word(|events, place, numbers| numbers.extend(values(events, place, $value)), $words)
    };
}

/// Encoding of a column: a dictionary for values that repeat, packed differences for values that grow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Dictionary,
    Delta,
}

/// Properties that all rows of a file share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RankContext {
    pub(crate) rank: u32,
    pub(crate) offset_to_rank0_ns: i64,
}

impl RankContext {
    fn time(self, at: Nanos) -> i64 {
        clamp(at).saturating_add(self.offset_to_rank0_ns)
    }
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn small(value: u32) -> i64 {
    i64::from(value).min(i64::from(i32::MAX))
}

/// Converts a position: positions count from 1, and 0, which stands for outside, is stored as no value.
fn counted(value: u32) -> Option<i64> {
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

/// All columns, in the order of the file.
pub const COLUMNS: &[Column] = &[
    column("rank", "-", each!(Int32, |_, place| small(place.rank)), "MPI rank"),
    column(
        "lane",
        "-",
        each!(Int32, |event, _| if event.lane == Lane::MAIN { -1 } else { i64::from(event.lane.0) }),
        "reader lane (a loader worker of the reference) within the rank; -1 for the training loop",
    ),
    column(
        "kind",
        "-",
        word!(|event, _| u32::from(!event.kind.is_storage()), || vec!["io", "span"]),
        "io: an attempt of a storage operation; span: a span of the run",
    ),
    column(
        "op",
        "-",
        word!(|event, _| event.kind as u32, || OpKind::ALL.iter().map(|op| op.name()).collect()),
        "operation or span: get, read, put, …, fetch, compute, barrier, …",
    ),
    column(
        "phase",
        "-",
        word!(|event, _| event.at.phase as u32, || Phase::ALL.iter().map(|phase| phase.name()).collect()),
        "part of the run: setup, generate, train, eval, checkpoint",
    ),
    column("epoch", "-", some!(OptionalInt32, |event, _| counted(event.at.epoch)), "epoch, from 1"),
    column("block", "-", some!(OptionalInt32, |event, _| counted(event.at.block)), "block of the epoch, from 1"),
    column("step", "-", some!(OptionalInt32, |event, _| counted(event.at.step)), "step of the epoch, from 1"),
    delta(column(
        "sample_idx",
        "-",
        some!(OptionalInt64, |event, _| event.at.sample.map(clamp)),
        "global index of the sample, for rows that concern one sample",
    )),
    column("uri", "-", Source::Object, "object name or path"),
    column("endpoint", "-", Source::Endpoint, "scheme://host:port that served the operation"),
    column("offset", "B", each!(Int64, |event, _| clamp(event.offset)), "first byte of the requested range"),
    column(
        "req_bytes",
        "B",
        some!(OptionalInt64, |event, _| event.requested.map(clamp)),
        "length of the requested range; no value for a range to the end of the object and for operations without a range",
    ),
    column("bytes", "B", each!(Int64, |event, _| clamp(event.bytes)), "bytes actually moved"),
    delta(column(
        "t_due_ns",
        "ns",
        some!(OptionalInt64, |event, place| event.due.map(|at| place.time(at))),
        "planned start in a replay, or time at which the operation was queued",
    )),
    delta(column(
        "t_start_ns",
        "ns",
        each!(Int64, |event, place| place.time(event.start)),
        "start on rank 0's monotonic clock; the rows of a row group are sorted by it",
    )),
    delta(column(
        "t_issue_ns",
        "ns",
        some!(OptionalInt64, |event, place| event.issued.map(|at| place.time(at))),
        "time at which a usable connection got the request; from t_start_ns to then it was queued or waited for a connection",
    )),
    delta(column(
        "t_last_byte_ns",
        "ns",
        some!(OptionalInt64, |event, place| event.last_byte.map(|at| place.time(at))),
        "for writes, time at which the connection took the last byte of the body",
    )),
    delta(column(
        "t_first_byte_ns",
        "ns",
        some!(OptionalInt64, |event, place| event.first_byte.map(|at| place.time(at))),
        "arrival of the first byte of the response, if measured",
    )),
    delta(column("t_end_ns", "ns", each!(Int64, |event, place| place.time(event.end)), "end")),
    column(
        "status",
        "-",
        each!(Int32, |event, _| i64::from(event.status)),
        "HTTP status, negated errno, or 0 if there is neither",
    ),
    column(
        "outcome",
        "-",
        word!(|event, _| event.outcome as u32, || Outcome::ALL.iter().map(|outcome| outcome.name()).collect()),
        "result: ok, timeout, connect, client_error, not_found, throttled, …",
    ),
    column("attempt", "-", each!(Int32, |event, _| i64::from(event.attempt)), "0 for the first attempt, then 1, 2, …"),
    column(
        "conn_id",
        "-",
        some!(OptionalInt32, |event, _| (event.connection != ConnectionId::NONE).then(|| small(event.connection.0))),
        "connection of this rank, numbered in the order of opening; the first row of a connection includes the wait for it",
    ),
    column(
        "object_size",
        "B",
        some!(OptionalInt64, |event, _| event.object_size.map(clamp)),
        "size of the whole object, if the operation reported it",
    ),
    column("tag", "-", Source::Tag, "label set by the user, or by the program that wrote an imported trace"),
];

/// Returns the Parquet schema of a column.
pub(crate) fn parquet_field(column: &Column) -> Result<Arc<Type>, ParquetError> {
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
