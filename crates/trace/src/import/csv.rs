//! Import of this program's CSV export: comma-separated, every column of the trace, found by name. Text files written from data
//! frames of a trace look similar: columns may be missing or reordered, and whole numbers may end in `.0`.

use dlio_event::{ConnectionId, Event, Lane, OpKind, Outcome, Phase, Position};

use super::columns::Columns;
use super::multiline_record::MultilineRecord;
use super::rank_buffers::{Process, RankBuffers, RowNames, Thread};
use crate::columns::COLUMNS;

/// Maximum length of a record over all its lines, bytes.
const LONGEST: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Reader {
    layout: Option<Layout>,
    /// A record with a line end inside a quoted name.
    open: MultilineRecord,
    fields: Fields,
}

struct Layout {
    header: String,
    /// Number of columns, and the index of each of [`COLUMNS`].
    count: usize,
    places: Vec<Option<usize>>,
}

/// Index of a column in [`COLUMNS`], computed at compile time.
macro_rules! column {
    ($name:literal) => {
        const { number_of($name) }
    };
}

const fn number_of(name: &str) -> usize {
    let mut number = 0;
    while !same(COLUMNS[number].name.as_bytes(), name.as_bytes()) {
        number += 1;
    }
    number
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Fields of a record without their quotes.
#[derive(Default)]
struct Fields {
    text: String,
    ends: Vec<usize>,
}

/// The fields of a record with the indices of its columns.
struct Record<'a> {
    places: &'a [Option<usize>],
    fields: &'a Fields,
}

impl Reader {
    pub(super) fn line(&mut self, line: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let record = &*self.open.join(line);
        if record.trim().is_empty() {
            return Ok(());
        }
        if !self.fields.fill(record)? {
            return self.open.keep(record, LONGEST);
        }
        match &self.layout {
            // Concatenated files repeat their header.
            Some(layout) if layout.header != record => {
                let fields = self.fields.ends.len();
                if fields != layout.count {
                    return Err(format!("{fields} fields; the header has {}", layout.count));
                }
                Record { places: &layout.places, fields: &self.fields }.row(buffers)
            }
            _ => {
                let columns = Columns::of(record, ',', &["op", "t_start_ns", "t_end_ns"])?;
                let places = COLUMNS.iter().map(|column| columns.place(column.name)).collect();
                self.layout = Some(Layout { header: record.to_owned(), count: columns.count(), places });
                Ok(())
            }
        }
    }

    /// Checks the state at the end of the file.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.open.end()
    }
}

impl Fields {
    /// Splits a record. Returns false if the record ends inside quotes.
    fn fill(&mut self, record: &str) -> Result<bool, String> {
        self.text.clear();
        self.ends.clear();
        let mut rest = record;
        loop {
            rest = match rest.strip_prefix('"') {
                None => {
                    let end = memchr::memchr(b',', rest.as_bytes()).unwrap_or(rest.len());
                    self.text.push_str(&rest[..end]);
                    &rest[end..]
                }
                Some(quoted) => match self.quoted(quoted) {
                    Some(rest) => rest,
                    None => return Ok(false),
                },
            };
            self.ends.push(self.text.len());
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None if rest.is_empty() => return Ok(true),
                None => return Err("text after a closing quote".to_owned()),
            }
        }
    }

    /// Takes a quoted field after its first quote and returns the rest of the record. Two quotes stand for one.
    fn quoted<'a>(&mut self, mut rest: &'a str) -> Option<&'a str> {
        loop {
            let at = memchr::memchr(b'"', rest.as_bytes())?;
            self.text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            match rest.strip_prefix('"') {
                Some(next) => {
                    self.text.push('"');
                    rest = next;
                }
                None => return Some(rest),
            }
        }
    }

    fn get(&self, place: usize) -> &str {
        let from = if place == 0 { 0 } else { self.ends.get(place - 1).copied().unwrap_or(0) };
        self.ends.get(place).and_then(|to| self.text.get(from..*to)).unwrap_or_default()
    }
}

impl Record<'_> {
    /// Returns a field; `None` if it is empty or the column is missing.
    fn text(&self, column: usize) -> Option<&str> {
        let text = self.fields.get(self.places[column]?);
        (!text.is_empty()).then_some(text)
    }

    fn number<T: std::str::FromStr>(&self, column: usize) -> Result<Option<T>, String> {
        let Some(text) = self.text(column) else { return Ok(None) };
        let number = text.strip_suffix(".0").unwrap_or(text).parse();
        number.map(Some).map_err(|_| format!("{} is {text:?}; expected a number in its range", COLUMNS[column].name))
    }

    fn needed<T: std::str::FromStr>(&self, column: usize) -> Result<T, String> {
        self.number(column)?.ok_or_else(|| format!("{} is empty; expected a number", COLUMNS[column].name))
    }

    fn row(&self, buffers: &mut RankBuffers) -> Result<(), String> {
        let op = self.text(column!("op")).unwrap_or_default();
        let Some(kind) = OpKind::from_name(op) else {
            buffers.skip(op, "");
            return Ok(());
        };
        let event = self.event(kind)?;
        buffers.times_begin(event.start);
        let names = RowNames {
            object: self.text(column!("uri")),
            endpoint: self.text(column!("endpoint")),
            tag: self.text(column!("tag")),
        };
        let rank = self.number(column!("rank"))?.unwrap_or(0);
        buffers.row(Process::Rank(rank), Thread::Lane(event.lane), event, names)
    }

    fn event(&self, kind: OpKind) -> Result<Event, String> {
        let (start, end) = (self.needed(column!("t_start_ns"))?, self.needed(column!("t_end_ns"))?);
        if end < start {
            return Err("it ends before it starts".to_owned());
        }
        let lane = match self.number::<i32>(column!("lane"))? {
            None | Some(-1) => Lane::MAIN,
            Some(lane) => {
                let lane = u16::try_from(lane).ok().map(Lane).filter(|lane| *lane != Lane::MAIN);
                lane.ok_or_else(|| {
                    format!("lane is {:?}; expected -1 to 65534", self.text(column!("lane")).unwrap_or_default())
                })?
            }
        };
        let at = Position {
            phase: self.word(column!("phase"), Phase::from_name)?.unwrap_or(Phase::Train),
            epoch: self.number(column!("epoch"))?.unwrap_or(0),
            block: self.number(column!("block"))?.unwrap_or(0),
            step: self.number(column!("step"))?.unwrap_or(0),
            sample: self.number(column!("sample_idx"))?,
        };
        Ok(Event {
            offset: self.number(column!("offset"))?.unwrap_or(0),
            requested: self.number(column!("req_bytes"))?,
            bytes: self.number(column!("bytes"))?.unwrap_or(0),
            due: self.number(column!("t_due_ns"))?,
            issued: self.number(column!("t_issue_ns"))?,
            last_byte: self.number(column!("t_last_byte_ns"))?,
            first_byte: self.number(column!("t_first_byte_ns"))?,
            status: self.number(column!("status"))?.unwrap_or(0),
            outcome: self.word(column!("outcome"), Outcome::from_name)?.unwrap_or(Outcome::Ok),
            attempt: self.number(column!("attempt"))?.unwrap_or(0),
            connection: self.number(column!("conn_id"))?.map_or(ConnectionId::NONE, ConnectionId),
            object_size: self.number(column!("object_size"))?,
            ..Event::span(kind, lane, at, start, end)
        })
    }

    fn word<T>(&self, column: usize, known: impl Fn(&str) -> Option<T>) -> Result<Option<T>, String> {
        let Some(text) = self.text(column) else { return Ok(None) };
        known(text).map(Some).ok_or_else(|| format!("{} is {text:?}, which is not a known value", COLUMNS[column].name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(record: &str) -> Result<Option<Vec<String>>, String> {
        let mut fields = Fields::default();
        let whole = fields.fill(record)?;
        Ok(whole.then(|| (0..fields.ends.len()).map(|place| fields.get(place).to_owned()).collect()))
    }

    #[test]
    fn fields_are_split_at_commas_that_no_quotes_hold() {
        let fields = |record: &str| split(record).unwrap().unwrap();
        assert_eq!(fields("a,,c"), ["a", "", "c"]);
        assert_eq!(fields("\"a,\"\"b\"\"\",\"\",é\"x"), ["a,\"b\"", "", "é\"x"]);
        assert_eq!(fields("\"two\nlines\","), ["two\nlines", ""]);
        assert_eq!(fields(""), [""]);
        assert_eq!(split("1,\"open"), Ok(None));
        assert_eq!(split("1,\"open\"\""), Ok(None));
        assert!(split("\"a\"b,1").is_err());
    }
}
