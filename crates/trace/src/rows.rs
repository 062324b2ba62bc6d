//! A row group as plain columns, for readers that go through millions of rows: only what an analysis needs, one vector per
//! column, a fixed value where a row has none.

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch};
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

    /// Rows that are to be filled.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            lane: Vec::new(),
            kind: Vec::new(),
            phase: Vec::new(),
            epoch: Vec::new(),
            block: Vec::new(),
            step: Vec::new(),
            sample: Vec::new(),
            object: Names::none(0),
            endpoint: Names::none(0),
            offset: Vec::new(),
            bytes: Vec::new(),
            start: Vec::new(),
            issued: Vec::new(),
            first_byte: Vec::new(),
            end: Vec::new(),
            outcome: Vec::new(),
            attempt: Vec::new(),
            connection: Vec::new(),
        }
    }

    /// Takes other rows, into the same memory.
    pub(crate) fn fill(&mut self, record: &RecordBatch, drift: Option<Drift>) -> Result<(), String> {
        let columns = Columns { record };
        columns.small("lane", &mut self.lane, |value| u16::try_from(value).unwrap_or(u16::MAX))?;
        columns.word("op", &mut self.kind, OpKind::from_name)?;
        columns.word("phase", &mut self.phase, Phase::from_name)?;
        columns.small("epoch", &mut self.epoch, unsigned)?;
        columns.small("block", &mut self.block, unsigned)?;
        columns.small("step", &mut self.step, unsigned)?;
        columns.or("sample_idx", &mut self.sample, NO_SAMPLE, size)?;
        self.object.fill(record, "uri")?;
        self.endpoint.fill(record, "endpoint")?;
        columns.or("offset", &mut self.offset, 0, size)?;
        columns.or("bytes", &mut self.bytes, 0, size)?;
        columns.or("t_start_ns", &mut self.start, 0, |time| time)?;
        columns.or("t_issue_ns", &mut self.issued, NO_TIME, |time| time)?;
        columns.or("t_first_byte_ns", &mut self.first_byte, NO_TIME, |time| time)?;
        columns.or("t_end_ns", &mut self.end, 0, |time| time)?;
        columns.word("outcome", &mut self.outcome, Outcome::from_name)?;
        columns.small("attempt", &mut self.attempt, |value| u8::try_from(value).unwrap_or(u8::MAX))?;
        columns.connections(&mut self.connection)?;
        if let Some(drift) = drift {
            self.correct(drift);
        }
        for (end, start) in self.end.iter_mut().zip(&self.start) {
            *end = (*end).max(*start);
        }
        Ok(())
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
    fn small<T>(&self, name: &str, into: &mut Vec<T>, convert: impl Fn(i32) -> T) -> Result<(), String> {
        let array = Self::required(name, self.typed::<Int32Type>(name)?)?;
        into.clear();
        if array.null_count() == 0 {
            into.extend(array.values().iter().map(|value| convert(*value)));
        } else {
            into.extend(array.iter().map(|value| convert(value.unwrap_or(0))));
        }
        Ok(())
    }

    /// 64-bit values; `none` where there is none. A column that older versions did not have holds none.
    fn or<T: Copy>(&self, name: &str, into: &mut Vec<T>, none: T, convert: impl Fn(i64) -> T) -> Result<(), String> {
        into.clear();
        let array = match self.typed::<Int64Type>(name)? {
            None if name == "t_issue_ns" => {
                into.resize(self.record.num_rows(), none);
                return Ok(());
            }
            found => Self::required(name, found)?,
        };
        if array.null_count() == 0 {
            into.extend(array.values().iter().map(|value| convert(*value)));
        } else if array.null_count() == array.len() {
            into.resize(array.len(), none);
        } else {
            into.extend(array.iter().map(|value| value.map_or(none, &convert)));
        }
        Ok(())
    }

    fn connections(&self, into: &mut Vec<u32>) -> Result<(), String> {
        into.clear();
        let rows = self.record.num_rows();
        let Some(array) = self.typed::<Int32Type>("conn_id")?.filter(|array| array.null_count() < rows) else {
            into.resize(rows, NO_CONNECTION);
            return Ok(());
        };
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(NO_CONNECTION);
        into.extend(array.iter().map(number));
        Ok(())
    }

    fn word<T: Copy>(&self, name: &str, into: &mut Vec<T>, parse: impl Fn(&str) -> Option<T>) -> Result<(), String> {
        let (array, values) = dictionary(self.record, name)?;
        let known: Vec<Option<T>> = values.iter().map(|word| word.and_then(&parse)).collect();
        let unknown = |key: i32| {
            let word = usize::try_from(key).ok().filter(|key| *key < values.len()).map(|key| values.value(key));
            format!("column {name} holds {:?}, which this version does not know", word.unwrap_or("no value"))
        };
        if array.keys().null_count() > 0 {
            return Err(format!("column {name} has rows without a value"));
        }
        into.clear();
        into.reserve(array.len());
        for key in array.keys().values() {
            let found = usize::try_from(*key).ok().and_then(|key| known.get(key).copied().flatten());
            into.push(found.ok_or_else(|| unknown(*key))?);
        }
        Ok(())
    }
}
