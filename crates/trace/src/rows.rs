//! A row group as plain columns, for readers that go through millions of rows: only what an analysis needs, one vector per
//! column, a fixed value where a row has none.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};
use dlio_event::{OpKind, Outcome, Phase};

use crate::batch::{Names, dictionary};
use crate::header::Drift;

/// A time that was not measured.
pub const NO_TIME: i64 = i64::MIN;
/// A row that concerns no sample.
pub const NO_SAMPLE: u64 = u64::MAX;
/// A row without a connection.
pub const NO_CONNECTION: u32 = u32::MAX;

/// Columns that [`Rows`] is made of.
pub(crate) const WANTED: &[&str] = &[
    "lane",
    "op",
    "phase",
    "epoch",
    "block",
    "step",
    "sample_idx",
    "uri",
    "endpoint",
    "offset",
    "bytes",
    "t_start_ns",
    "t_issue_ns",
    "t_first_byte_ns",
    "t_end_ns",
    "outcome",
    "attempt",
    "conn_id",
];

/// Some rows of a row group; all columns have the same length. Times are nanoseconds on rank 0's monotonic clock.
#[derive(Debug)]
pub struct Rows {
    /// Reader lane; `u16::MAX` for the training loop.
    pub lane: Vec<u16>,
    /// What was done.
    pub kind: Vec<OpKind>,
    /// Part of the run.
    pub phase: Vec<Phase>,
    /// Epoch, from 1; 0: none.
    pub epoch: Vec<u32>,
    /// Block, from 1; 0: none.
    pub block: Vec<u32>,
    /// Step, from 1; 0: none.
    pub step: Vec<u32>,
    /// Sample, or [`NO_SAMPLE`].
    pub sample: Vec<u64>,
    /// Object names.
    pub object: Names,
    /// Endpoint names.
    pub endpoint: Names,
    /// First byte of the range.
    pub offset: Vec<u64>,
    /// Bytes moved.
    pub bytes: Vec<u64>,
    /// Start.
    pub start: Vec<i64>,
    /// Handed to a connection, or [`NO_TIME`].
    pub issued: Vec<i64>,
    /// First byte of the answer, or [`NO_TIME`].
    pub first_byte: Vec<i64>,
    /// End; never before the start.
    pub end: Vec<i64>,
    /// How it ended.
    pub outcome: Vec<Outcome>,
    /// 0 for the first try.
    pub attempt: Vec<u8>,
    /// Connection, or [`NO_CONNECTION`].
    pub connection: Vec<u32>,
}

impl Rows {
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

    pub(crate) fn from_record_batch(record: &RecordBatch, drift: Option<Drift>) -> Result<Self, String> {
        let columns = Columns { record };
        let mut rows = Self {
            lane: columns.small("lane", |value| u16::try_from(value).unwrap_or(u16::MAX))?,
            kind: columns.word("op", OpKind::from_name)?,
            phase: columns.word("phase", Phase::from_name)?,
            epoch: columns.small("epoch", unsigned)?,
            block: columns.small("block", unsigned)?,
            step: columns.small("step", unsigned)?,
            sample: columns.or("sample_idx", NO_SAMPLE, size)?,
            object: columns.names("uri")?,
            endpoint: columns.names("endpoint")?,
            offset: columns.or("offset", 0, size)?,
            bytes: columns.or("bytes", 0, size)?,
            start: columns.or("t_start_ns", 0, |time| time)?,
            issued: columns.or("t_issue_ns", NO_TIME, |time| time)?,
            first_byte: columns.or("t_first_byte_ns", NO_TIME, |time| time)?,
            end: columns.or("t_end_ns", 0, |time| time)?,
            outcome: columns.word("outcome", Outcome::from_name)?,
            attempt: columns.small("attempt", |value| u8::try_from(value).unwrap_or(u8::MAX))?,
            connection: columns.connections()?,
        };
        if let Some(drift) = drift {
            rows.correct(drift);
        }
        for (end, start) in rows.end.iter_mut().zip(&rows.start) {
            *end = (*end).max(*start);
        }
        Ok(rows)
    }

    fn correct(&mut self, drift: Drift) {
        let times = [&mut self.start, &mut self.issued, &mut self.first_byte, &mut self.end];
        for time in times.into_iter().flatten().filter(|time| **time != NO_TIME) {
            *time = time.saturating_add(drift.at(*time));
        }
    }
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
    fn find(&self, name: &str) -> Option<&ArrayRef> {
        self.record.column_by_name(name)
    }

    fn typed<T: ArrowPrimitiveType>(&self, name: &str) -> Result<Option<&PrimitiveArray<T>>, String> {
        let Some(column) = self.find(name) else { return Ok(None) };
        let wrong = || format!("column {name} is {} and not {}", column.data_type(), T::DATA_TYPE);
        column.as_primitive_opt::<T>().ok_or_else(wrong).map(Some)
    }

    fn required<'a, T: ArrowPrimitiveType>(
        name: &str,
        found: Option<&'a PrimitiveArray<T>>,
    ) -> Result<&'a PrimitiveArray<T>, String> {
        found.ok_or_else(|| format!("it has no column {name}"))
    }

    /// 32-bit values; 0 where there is none.
    fn small<T>(&self, name: &str, convert: impl Fn(i32) -> T) -> Result<Vec<T>, String> {
        let array = Self::required(name, self.typed::<Int32Type>(name)?)?;
        if array.null_count() == 0 {
            return Ok(array.values().iter().map(|value| convert(*value)).collect());
        }
        Ok(array.iter().map(|value| convert(value.unwrap_or(0))).collect())
    }

    /// 64-bit values; `none` where there is none. A column that older versions did not have holds none.
    fn or<T: Copy>(&self, name: &str, none: T, convert: impl Fn(i64) -> T) -> Result<Vec<T>, String> {
        let array = match self.typed::<Int64Type>(name)? {
            None if name == "t_issue_ns" => return Ok(vec![none; self.record.num_rows()]),
            found => Self::required(name, found)?,
        };
        if array.null_count() == 0 {
            return Ok(array.values().iter().map(|value| convert(*value)).collect());
        }
        if array.null_count() == array.len() {
            return Ok(vec![none; array.len()]);
        }
        Ok(array.iter().map(|value| value.map_or(none, &convert)).collect())
    }

    fn connections(&self) -> Result<Vec<u32>, String> {
        let rows = self.record.num_rows();
        let Some(array) = self.typed::<Int32Type>("conn_id")? else { return Ok(vec![NO_CONNECTION; rows]) };
        if array.null_count() == rows {
            return Ok(vec![NO_CONNECTION; rows]);
        }
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(NO_CONNECTION);
        Ok(array.iter().map(number).collect())
    }

    fn word<T: Copy>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
        let (array, values) = dictionary(self.record, name)?;
        let known: Vec<Option<T>> = values.iter().map(|word| word.and_then(&parse)).collect();
        let unknown = |key: i32| {
            let word = usize::try_from(key).ok().filter(|key| *key < values.len()).map(|key| values.value(key));
            format!("column {name} holds {:?}, which this version does not know", word.unwrap_or("no value"))
        };
        if array.keys().null_count() > 0 {
            return Err(format!("column {name} has rows without a value"));
        }
        let one = |key: &i32| {
            let found = usize::try_from(*key).ok().and_then(|key| known.get(key).copied().flatten());
            found.ok_or_else(|| unknown(*key))
        };
        array.keys().values().iter().map(one).collect()
    }

    fn names(&self, name: &str) -> Result<Names, String> {
        Names::of(self.record, name)
    }
}
