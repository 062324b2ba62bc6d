//! Rows of a trace as a structure of arrays.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, RecordBatch, StringArray};
use dlio_event::{ConnectionId, EndpointId, Event, Lane, ObjectId, OpKind, Outcome, Phase, Position, TagId};

use crate::header::Drift;

/// Names of a batch: every row refers to one of a few strings, or to none.
#[derive(Debug, Clone)]
pub struct Names {
    keys: Vec<u32>,
    values: StringArray,
}

/// No name in [`Names::keys`].
const NO_NAME: u32 = u32::MAX;

impl Names {
    pub(crate) fn none(rows: usize) -> Self {
        Self { keys: vec![NO_NAME; rows], values: StringArray::new_null(0) }
    }

    /// A column that was not asked for has no names.
    pub(crate) fn of(record: &RecordBatch, name: &str) -> Result<Self, String> {
        let mut names = Self::none(record.num_rows());
        if record.column_by_name(name).is_some() {
            names.fill(record, name)?;
        }
        Ok(names)
    }

    /// Takes the names of other rows.
    pub(crate) fn fill(&mut self, record: &RecordBatch, name: &str) -> Result<(), String> {
        let column = record.column_by_name(name);
        self.keys.clear();
        if let Some(texts) = column.and_then(|column| column.as_string_opt::<i32>()) {
            // Each row has its own.
            let key = |(row, key): (usize, u32)| if texts.is_null(row) { NO_NAME } else { key };
            self.keys.extend((0..texts.len()).zip(0..).map(key));
            self.values = texts.clone();
            return Ok(());
        }
        let (array, values) = dictionary(record, name)?;
        let keys = array.keys();
        let known = |key: i32| u32::try_from(key).unwrap_or(NO_NAME);
        match keys.null_count() {
            0 => self.keys.extend(keys.values().iter().map(|key| known(*key))),
            _ => self.keys.extend(keys.iter().map(|key| key.map_or(NO_NAME, known))),
        }
        self.values = values.clone();
        Ok(())
    }

    /// The same names, of no rows.
    #[must_use]
    pub fn without_rows(&self) -> Self {
        Self { keys: Vec::new(), values: self.values.clone() }
    }

    /// Whether numbers mean the same as in the other, which has to be asked only where that costs nothing.
    #[must_use]
    pub fn numbered_like(&self, other: &Self) -> bool {
        std::ptr::eq(self.values.value_data(), other.values.value_data())
            && std::ptr::eq(self.values.value_offsets(), other.values.value_offsets())
    }

    /// The name of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.key(row).map(|key| self.values.value(key))
    }

    /// The number of a row's name within this batch: an index into [`Names::value`].
    #[must_use]
    #[inline]
    pub fn key(&self, row: usize) -> Option<usize> {
        self.keys.get(row).copied().filter(|key| *key != NO_NAME).map(|key| key as usize)
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.keys.len()
    }

    /// How many names the batch can refer to; not all need be in use.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// A name by its number within this batch.
    #[must_use]
    pub fn value(&self, key: usize) -> Option<&str> {
        (key < self.values.len()).then(|| self.values.value(key))
    }
}

/// Some rows of one rank's trace, column by column; all columns have the same length. Times are nanoseconds on
/// rank 0's monotonic clock.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of dlio_event::Event, under the same names")]
pub struct Batch {
    pub lane: Vec<Lane>,
    pub kind: Vec<OpKind>,
    pub phase: Vec<Phase>,
    pub epoch: Vec<u32>,
    pub block: Vec<u32>,
    pub step: Vec<u32>,
    pub sample: Vec<Option<u64>>,
    pub object: Names,
    pub endpoint: Names,
    pub offset: Vec<u64>,
    pub requested: Vec<Option<u64>>,
    pub bytes: Vec<u64>,
    pub due: Vec<Option<i64>>,
    pub start: Vec<i64>,
    pub issued: Vec<Option<i64>>,
    pub last_byte: Vec<Option<i64>>,
    pub first_byte: Vec<Option<i64>>,
    pub end: Vec<i64>,
    pub status: Vec<i16>,
    pub outcome: Vec<Outcome>,
    pub attempt: Vec<u8>,
    pub connection: Vec<ConnectionId>,
    pub object_size: Vec<Option<u64>>,
    pub tag: Names,
}

impl Batch {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.start.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start.is_empty()
    }

    /// How long a row took, nanoseconds.
    #[must_use]
    pub fn duration(&self, row: usize) -> u64 {
        u64::try_from(self.end[row].saturating_sub(self.start[row])).unwrap_or(0)
    }

    /// One row as an event. `object` and `endpoint` are the numbers of the names within this batch.
    #[must_use]
    pub fn event(&self, row: usize) -> Event {
        let id = |names: &Names| names.key(row).and_then(|key| u32::try_from(key).ok());
        Event {
            kind: self.kind[row],
            object: id(&self.object).map_or(ObjectId::NONE, ObjectId),
            offset: self.offset[row],
            requested: self.requested[row],
            bytes: self.bytes[row],
            lane: self.lane[row],
            at: Position {
                phase: self.phase[row],
                epoch: self.epoch[row],
                block: self.block[row],
                step: self.step[row],
                sample: self.sample[row],
            },
            due: self.due[row].map(nanos),
            start: nanos(self.start[row]),
            issued: self.issued[row].map(nanos),
            last_byte: self.last_byte[row].map(nanos),
            first_byte: self.first_byte[row].map(nanos),
            end: nanos(self.end[row]),
            endpoint: id(&self.endpoint).and_then(|key| u16::try_from(key).ok()).map_or(EndpointId::NONE, EndpointId),
            connection: self.connection[row],
            object_size: self.object_size[row],
            tag: id(&self.tag).and_then(|key| u16::try_from(key).ok()).map_or(TagId::NONE, TagId),
            attempt: self.attempt[row],
            status: self.status[row],
            outcome: self.outcome[row],
        }
    }

    /// The same rows with the drift of the rank's clock taken out of all times.
    pub(crate) fn corrected(mut self, drift: Drift) -> Self {
        let whole = [&mut self.start, &mut self.end];
        for time in whole.into_iter().flatten() {
            *time = time.saturating_add(drift.at(*time));
        }
        let optional = [&mut self.due, &mut self.issued, &mut self.last_byte, &mut self.first_byte];
        for time in optional.into_iter().flatten().flatten() {
            *time = time.saturating_add(drift.at(*time));
        }
        self
    }

    /// Converts what the Parquet reader delivers; the text says what does not fit.
    pub(crate) fn from_record_batch(record: &RecordBatch) -> Result<Self, String> {
        let columns = Columns { record };
        Ok(Self {
            lane: columns.int32("lane", |value| u16::try_from(value).map_or(Lane::MAIN, Lane))?,
            kind: columns.word("op", OpKind::from_name)?,
            phase: columns.word("phase", Phase::from_name)?,
            epoch: columns.int32("epoch", unsigned)?,
            block: columns.int32("block", unsigned)?,
            step: columns.int32("step", unsigned)?,
            sample: columns.optional("sample_idx", size)?,
            object: columns.names("uri")?,
            endpoint: columns.names("endpoint")?,
            offset: columns.bytes("offset")?,
            requested: columns.optional("req_bytes", size)?,
            bytes: columns.bytes("bytes")?,
            due: columns.optional("t_due_ns", |value| value)?,
            start: columns.int64("t_start_ns", |value| value)?,
            issued: columns.later("t_issue_ns", |value| value)?,
            last_byte: columns.later("t_last_byte_ns", |value| value)?,
            first_byte: columns.optional("t_first_byte_ns", |value| value)?,
            end: columns.int64("t_end_ns", |value| value)?,
            status: columns.int32("status", |value| i16::try_from(value).unwrap_or(i16::MAX))?,
            outcome: columns.word("outcome", Outcome::from_name)?,
            attempt: columns.int32("attempt", |value| u8::try_from(value).unwrap_or(u8::MAX))?,
            connection: columns.connections()?,
            object_size: columns.later("object_size", size)?,
            tag: columns.names("tag")?,
        })
    }
}

/// A time before the origin of rank 0's clock can only be an error of the clock offset.
fn nanos(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

fn size(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn unsigned(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

struct Columns<'a> {
    record: &'a RecordBatch,
}

impl Columns<'_> {
    fn find(&self, name: &str) -> Result<&ArrayRef, String> {
        self.record.column_by_name(name).ok_or_else(|| format!("it has no column {name}"))
    }

    /// Missing values arrive as 0.
    fn int32<T>(&self, name: &str, convert: impl Fn(i32) -> T) -> Result<Vec<T>, String> {
        let array = self
            .find(name)?
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(|| format!("column {name} is not a 32-bit integer"))?;
        if array.null_count() == 0 {
            return Ok(array.values().iter().map(|value| convert(*value)).collect());
        }
        Ok(array.iter().map(|value| convert(value.unwrap_or(0))).collect())
    }

    fn int64<T>(&self, name: &str, convert: impl Fn(i64) -> T) -> Result<Vec<T>, String> {
        Ok(self.long(name)?.values().iter().map(|value| convert(*value)).collect())
    }

    /// Places in objects and numbers of bytes: one below 0 says that the file was not written by a recorder.
    fn bytes(&self, name: &str) -> Result<Vec<u64>, String> {
        let values = self.long(name)?.values();
        match values.iter().find(|value| **value < 0) {
            Some(odd) => Err(format!("column {name} holds {odd}, which is no number of bytes")),
            None => Ok(values.iter().map(|value| size(*value)).collect()),
        }
    }

    fn optional<T>(&self, name: &str, convert: impl Fn(i64) -> T) -> Result<Vec<Option<T>>, String> {
        Ok(self.long(name)?.iter().map(|value| value.map(&convert)).collect())
    }

    /// An optional column that traces of version 1.0 do not have.
    fn later<T: Clone>(&self, name: &str, convert: impl Fn(i64) -> T) -> Result<Vec<Option<T>>, String> {
        match self.record.column_by_name(name) {
            Some(_) => self.optional(name, convert),
            None => Ok(vec![None; self.record.num_rows()]),
        }
    }

    /// Traces of version 1.0 know no connections.
    fn connections(&self) -> Result<Vec<ConnectionId>, String> {
        let Some(column) = self.record.column_by_name("conn_id") else {
            return Ok(vec![ConnectionId::NONE; self.record.num_rows()]);
        };
        let array = column
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(|| "column conn_id is not a 32-bit integer".to_owned())?;
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        Ok(array.iter().map(|value| number(value).map_or(ConnectionId::NONE, ConnectionId)).collect())
    }

    fn long(&self, name: &str) -> Result<&arrow_array::PrimitiveArray<Int64Type>, String> {
        self.find(name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| format!("column {name} is not a 64-bit integer"))
    }

    fn word<T: Copy>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
        let (array, values) = dictionary(self.record, name)?;
        let known: Vec<Option<T>> = values.iter().map(|word| word.and_then(&parse)).collect();
        let one = |key: Option<usize>| {
            key.and_then(|key| known.get(key).copied().flatten()).ok_or_else(|| {
                let word = key.map_or("no value", |key| values.value(key));
                format!("column {name} holds {word:?}, which this version does not know")
            })
        };
        array.keys().iter().map(|key| one(key.and_then(|key| usize::try_from(key).ok()))).collect()
    }

    fn names(&self, name: &str) -> Result<Names, String> {
        Names::of(self.record, name)
    }
}

/// A column of text: a number per row, and the texts.
pub(crate) fn dictionary<'a>(
    record: &'a RecordBatch,
    name: &str,
) -> Result<(&'a DictionaryArray<Int32Type>, &'a StringArray), String> {
    let wrong = || format!("column {name} is not text");
    let column = record.column_by_name(name).ok_or_else(|| format!("it has no column {name}"))?;
    let array = column.as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
    let values = array.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    Ok((array, values))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Int64Array;

    use super::*;

    #[test]
    fn a_negative_offset_is_an_error_that_names_it() {
        let record = |values: Vec<i64>| {
            RecordBatch::try_from_iter([("offset", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap()
        };
        assert_eq!(Columns { record: &record(vec![0, 7]) }.bytes("offset"), Ok(vec![0, 7]));
        let refused = Columns { record: &record(vec![0, -5]) }.bytes("offset").unwrap_err();
        assert!(refused.contains("offset") && refused.contains("-5"), "{refused}");
    }
}
