//! Rows of a trace as plain columns, one vector for each, with a fixed value where a row has none. An analysis goes through the
//! columns; everything else looks at one row at a time through [`Row`].

use arrow_array::RecordBatch;
use dlio_event::{ConnectionId, EndpointId, Event, Lane, ObjectId, OpKind, Outcome, Phase, Position, TagId};

use crate::header::Drift;
use crate::name_column::NameColumn;
use crate::record_columns::RecordColumns;

/// A time that was not measured.
pub const NO_TIME: i64 = i64::MIN;
/// A row that concerns no sample.
pub const NO_SAMPLE: u64 = u64::MAX;
/// A number of bytes that the row does not have.
pub const NO_BYTES: u64 = u64::MAX;
/// A row without a connection.
pub const NO_CONNECTION: u32 = u32::MAX;

/// The columns that are read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Every column.
    All,
    /// Every column except object names.
    WithoutNames,
    /// The columns that an analysis needs.
    Analysis,
    /// The column of object names.
    ObjectNames,
}

/// Columns of [`Selection::Analysis`].
const ANALYSIS: &[&str] = &[
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

impl Selection {
    /// Whether the column of this name is read.
    pub(crate) fn has(self, column: &str) -> bool {
        match self {
            Self::All => true,
            Self::WithoutNames => column != "uri",
            Self::Analysis => ANALYSIS.contains(&column),
            Self::ObjectNames => column == "uri",
        }
    }
}

/// Some rows of one rank's trace. All columns that were read have the same length, the others are empty. Times are nanoseconds on
/// rank 0's monotonic clock.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Reader lane; `u16::MAX` for the training loop.
    pub lane: Vec<u16>,
    /// Kind of operation or span.
    pub kind: Vec<OpKind>,
    /// Part of the run.
    pub phase: Vec<Phase>,
    /// Epoch, from 1; 0 outside epochs.
    pub epoch: Vec<u32>,
    /// Block, from 1; 0 outside blocks.
    pub block: Vec<u32>,
    /// Step, from 1; 0 outside steps.
    pub step: Vec<u32>,
    /// Sample, or [`NO_SAMPLE`].
    pub sample: Vec<u64>,
    /// Object names; no row has one if they were not read.
    pub object: NameColumn,
    /// Endpoint names.
    pub endpoint: NameColumn,
    /// First byte of the requested range.
    pub offset: Vec<u64>,
    /// Length of the requested range in bytes, or [`NO_BYTES`]; not read for an analysis.
    pub requested: Vec<u64>,
    /// Bytes moved.
    pub bytes: Vec<u64>,
    /// Planned start, or [`NO_TIME`]; not read for an analysis.
    pub due: Vec<i64>,
    /// Start.
    pub start: Vec<i64>,
    /// Time at which a connection got the request, or [`NO_TIME`].
    pub issued: Vec<i64>,
    /// Time at which the connection took the last byte of a write, or [`NO_TIME`]; not read for an analysis.
    pub last_byte: Vec<i64>,
    /// Arrival of the first byte of the answer, or [`NO_TIME`].
    pub first_byte: Vec<i64>,
    /// End; for an analysis it is never before the start.
    pub end: Vec<i64>,
    /// HTTP status, negated errno, or 0; not read for an analysis.
    pub status: Vec<i16>,
    /// Result of the operation.
    pub outcome: Vec<Outcome>,
    /// 0 for the first attempt, then 1, 2, ….
    pub attempt: Vec<u8>,
    /// Connection, or [`NO_CONNECTION`].
    pub connection: Vec<u32>,
    /// Size of the whole object in bytes, or [`NO_BYTES`]; not read for an analysis.
    pub object_size: Vec<u64>,
    /// Labels; not read for an analysis.
    pub tag: NameColumn,
}

impl Rows {
    /// No rows; [`RowReader::read`](crate::RowReader::read) fills them.
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
            object: NameColumn::none(0),
            endpoint: NameColumn::none(0),
            offset: Vec::new(),
            requested: Vec::new(),
            bytes: Vec::new(),
            due: Vec::new(),
            start: Vec::new(),
            issued: Vec::new(),
            last_byte: Vec::new(),
            first_byte: Vec::new(),
            end: Vec::new(),
            status: Vec::new(),
            outcome: Vec::new(),
            attempt: Vec::new(),
            connection: Vec::new(),
            object_size: Vec::new(),
            tag: NameColumn::none(0),
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.start.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start.is_empty()
    }

    /// Returns a view of one row.
    ///
    /// # Panics
    /// The methods of the view panic if there is no such row.
    #[must_use]
    pub fn row(&self, at: usize) -> Row<'_> {
        Row { rows: self, at }
    }

    /// Returns views of all rows, in their order.
    #[must_use]
    pub fn views(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|at| self.row(at))
    }

    /// Replaces these rows with those of a record batch and reuses their memory. The error names the column that does not fit.
    pub(crate) fn fill(
        &mut self,
        record: &RecordBatch,
        selection: Selection,
        drift: Option<Drift>,
    ) -> Result<(), String> {
        let (columns, analysis) = (RecordColumns { record }, selection == Selection::Analysis);
        columns.int32("lane", &mut self.lane, |value| u16::try_from(value).unwrap_or(u16::MAX))?;
        columns.word("op", &mut self.kind, OpKind::from_name)?;
        columns.word("phase", &mut self.phase, Phase::from_name)?;
        columns.int32("epoch", &mut self.epoch, unsigned)?;
        columns.int32("block", &mut self.block, unsigned)?;
        columns.int32("step", &mut self.step, unsigned)?;
        columns.int64("sample_idx", &mut self.sample, NO_SAMPLE, size)?;
        columns.names("uri", &mut self.object, analysis)?;
        columns.names("endpoint", &mut self.endpoint, analysis)?;
        columns.int64("offset", &mut self.offset, 0, size)?;
        columns.int64("bytes", &mut self.bytes, 0, size)?;
        columns.int64("t_start_ns", &mut self.start, 0, |time| time)?;
        columns.int64("t_issue_ns", &mut self.issued, NO_TIME, |time| time)?;
        columns.int64("t_first_byte_ns", &mut self.first_byte, NO_TIME, |time| time)?;
        columns.int64("t_end_ns", &mut self.end, 0, |time| time)?;
        columns.word("outcome", &mut self.outcome, Outcome::from_name)?;
        columns.int32("attempt", &mut self.attempt, |value| u8::try_from(value).unwrap_or(u8::MAX))?;
        columns.connections(&mut self.connection, NO_CONNECTION)?;
        if !analysis {
            columns.are_byte_counts(&["offset", "bytes"])?;
            columns.int64("req_bytes", &mut self.requested, NO_BYTES, size)?;
            columns.int64("t_due_ns", &mut self.due, NO_TIME, |time| time)?;
            columns.int64("t_last_byte_ns", &mut self.last_byte, NO_TIME, |time| time)?;
            columns.int32("status", &mut self.status, |value| i16::try_from(value).unwrap_or(i16::MAX))?;
            columns.int64("object_size", &mut self.object_size, NO_BYTES, size)?;
            columns.names("tag", &mut self.tag, false)?;
        }
        if let Some(drift) = drift {
            self.correct(drift);
        }
        if analysis {
            for (end, start) in self.end.iter_mut().zip(&self.start) {
                *end = (*end).max(*start);
            }
        }
        Ok(())
    }

    /// Takes the drift of the rank's clock out of all times.
    fn correct(&mut self, drift: Drift) {
        let Self { due, start, issued, last_byte, first_byte, end, .. } = self;
        let times = [due, start, issued, last_byte, first_byte, end];
        for time in times.into_iter().flatten().filter(|time| **time != NO_TIME) {
            *time = time.saturating_add(drift.at(*time));
        }
    }
}

/// One row of a trace; absent values are `None`.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    rows: &'a Rows,
    at: usize,
}

impl<'a> Row<'a> {
    /// Reader lane; [`Lane::MAIN`] for the training loop.
    #[must_use]
    pub fn lane(self) -> Lane {
        Lane(self.rows.lane[self.at])
    }

    /// Kind of operation or span.
    #[must_use]
    pub fn kind(self) -> OpKind {
        self.rows.kind[self.at]
    }

    /// Part of the run.
    #[must_use]
    pub fn phase(self) -> Phase {
        self.rows.phase[self.at]
    }

    /// Epoch, from 1; 0 outside epochs.
    #[must_use]
    pub fn epoch(self) -> u32 {
        self.rows.epoch[self.at]
    }

    /// Block, from 1; 0 outside blocks.
    #[must_use]
    pub fn block(self) -> u32 {
        self.rows.block[self.at]
    }

    /// Step, from 1; 0 outside steps.
    #[must_use]
    pub fn step(self) -> u32 {
        self.rows.step[self.at]
    }

    /// Global index of the sample.
    #[must_use]
    pub fn sample(self) -> Option<u64> {
        Some(self.rows.sample[self.at]).filter(|sample| *sample != NO_SAMPLE)
    }

    /// Name or path of the object.
    #[must_use]
    pub fn object(self) -> Option<&'a str> {
        self.rows.object.get(self.at)
    }

    /// Endpoint that served the operation.
    #[must_use]
    pub fn endpoint(self) -> Option<&'a str> {
        self.rows.endpoint.get(self.at)
    }

    /// Label.
    #[must_use]
    pub fn tag(self) -> Option<&'a str> {
        self.rows.tag.get(self.at)
    }

    /// First byte of the requested range.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.rows.offset[self.at]
    }

    /// Length of the requested range, bytes.
    #[must_use]
    pub fn requested(self) -> Option<u64> {
        self.rows.requested.get(self.at).copied().filter(|bytes| *bytes != NO_BYTES)
    }

    /// Bytes moved.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.rows.bytes[self.at]
    }

    /// Size of the whole object, bytes.
    #[must_use]
    pub fn object_size(self) -> Option<u64> {
        self.rows.object_size.get(self.at).copied().filter(|bytes| *bytes != NO_BYTES)
    }

    /// Planned start, nanoseconds.
    #[must_use]
    pub fn due(self) -> Option<i64> {
        time(&self.rows.due, self.at)
    }

    /// Start, nanoseconds.
    #[must_use]
    pub fn start(self) -> i64 {
        self.rows.start[self.at]
    }

    /// Time at which a connection got the request, nanoseconds.
    #[must_use]
    pub fn issued(self) -> Option<i64> {
        time(&self.rows.issued, self.at)
    }

    /// Time at which the connection took the last byte of a write, nanoseconds.
    #[must_use]
    pub fn last_byte(self) -> Option<i64> {
        time(&self.rows.last_byte, self.at)
    }

    /// Arrival of the first byte of the answer, nanoseconds.
    #[must_use]
    pub fn first_byte(self) -> Option<i64> {
        time(&self.rows.first_byte, self.at)
    }

    /// End, nanoseconds.
    #[must_use]
    pub fn end(self) -> i64 {
        self.rows.end[self.at]
    }

    /// HTTP status, negated errno, or 0.
    #[must_use]
    pub fn status(self) -> i16 {
        self.rows.status.get(self.at).copied().unwrap_or(0)
    }

    /// Result of the operation.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        self.rows.outcome[self.at]
    }

    /// 0 for the first attempt, then 1, 2, ….
    #[must_use]
    pub fn attempt(self) -> u8 {
        self.rows.attempt[self.at]
    }

    /// Connection, or [`ConnectionId::NONE`].
    #[must_use]
    pub fn connection(self) -> ConnectionId {
        ConnectionId(self.rows.connection[self.at])
    }
}

impl Row<'_> {
    /// Time from start to end, nanoseconds; 0 for a row that ends before it starts.
    #[must_use]
    pub fn duration(self) -> u64 {
        u64::try_from(self.end().saturating_sub(self.start())).unwrap_or(0)
    }

    /// Phase, epoch, block, step and sample.
    #[must_use]
    pub fn position(self) -> Position {
        Position {
            phase: self.phase(),
            epoch: self.epoch(),
            block: self.block(),
            step: self.step(),
            sample: self.sample(),
        }
    }

    /// The row as an event. `object`, `endpoint` and `tag` are the numbers of the names within these rows.
    #[must_use]
    pub fn event(self) -> Event {
        let key = |names: &NameColumn| names.key(self.at).and_then(|key| u32::try_from(key).ok());
        let label = |names: &NameColumn| key(names).and_then(|key| u16::try_from(key).ok());
        Event {
            kind: self.kind(),
            object: key(&self.rows.object).map_or(ObjectId::NONE, ObjectId),
            offset: self.offset(),
            requested: self.requested(),
            bytes: self.bytes(),
            lane: self.lane(),
            at: self.position(),
            due: self.due().map(nanos),
            start: nanos(self.start()),
            issued: self.issued().map(nanos),
            last_byte: self.last_byte().map(nanos),
            first_byte: self.first_byte().map(nanos),
            end: nanos(self.end()),
            endpoint: label(&self.rows.endpoint).map_or(EndpointId::NONE, EndpointId),
            connection: self.connection(),
            object_size: self.object_size(),
            tag: label(&self.rows.tag).map_or(TagId::NONE, TagId),
            attempt: self.attempt(),
            status: self.status(),
            outcome: self.outcome(),
        }
    }
}

fn time(times: &[i64], at: usize) -> Option<i64> {
    times.get(at).copied().filter(|time| *time != NO_TIME)
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
