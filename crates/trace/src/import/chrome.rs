//! Import of Chrome's trace-event JSON: the export of this program, and events of other programs with known names.
//!
//! Times are in microseconds. `X` is a complete event; `B` and `E` on one thread, and `b` and `e` with one id, are the begin and
//! the end of an event. A process whose name begins with `rank N` is that rank: its thread 0 is the training loop, and its other
//! threads are lanes. Any other process gets a rank in the order of first rows, and its threads become lanes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use dlio_event::{ConnectionId, Event, Lane, OpKind, Outcome, Phase, Position};
use foldhash::fast::RandomState;

use super::event_scanner::{EventScanner, Found};
use super::json::{self, Value};
use super::options::{Imported, Options};
use super::rank_buffers::{Process, RankBuffers, RowNames, Thread};
use super::sources::LineReader;
use super::{dftracer_names, op_log};
use crate::error::{Error, Malformed};

/// Maximum number of events that have begun and not ended.
const OPEN: usize = 1 << 16;

#[derive(Default)]
struct Reader {
    /// Ranks of processes that are named after a rank.
    ranks: HashMap<String, u32, RandomState>,
    /// Texts of the events that have begun, the newest last, by thread or id.
    open: HashMap<String, Vec<String>, RandomState>,
    open_count: usize,
    /// Path of the file, which distinguishes its processes from those of other files.
    file: String,
}

/// Members of an event that the import uses.
#[derive(Default)]
struct Entry<'a> {
    name: Cow<'a, str>,
    cat: Cow<'a, str>,
    ph: Cow<'a, str>,
    pid: Cow<'a, str>,
    tid: Cow<'a, str>,
    id: Cow<'a, str>,
    ts: Option<i64>,
    dur: Option<i64>,
    args: Args<'a>,
}

/// Arguments of an event that the import uses.
#[derive(Default)]
struct Args<'a> {
    name: Option<Cow<'a, str>>,
    uri: Option<Cow<'a, str>>,
    path: Option<Cow<'a, str>>,
    endpoint: Option<Cow<'a, str>>,
    tag: Option<Cow<'a, str>>,
    phase: Option<Cow<'a, str>>,
    outcome: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    epoch: Option<u64>,
    block: Option<u64>,
    step: Option<u64>,
    sample: Option<u64>,
    offset: Option<u64>,
    requested: Option<u64>,
    bytes: Option<u64>,
    size: Option<u64>,
    object_size: Option<u64>,
    connection: Option<u64>,
    attempt: Option<u64>,
    status: Option<i64>,
    first_byte: Option<i64>,
}

/// Imports a document.
pub(super) fn document(
    lines: &mut LineReader,
    path: &Path,
    options: &Options,
    buffers: &mut RankBuffers,
    done: &mut Imported,
) -> Result<(), Error> {
    let (mut elements, mut reader) =
        (EventScanner::default(), Reader { file: path.display().to_string(), ..Reader::default() });
    let broken = |done: &mut Imported, line, reason| {
        done.add_malformed(Malformed { path: path.to_owned(), line, reason }, options)
    };
    while let Some(block) = lines.block()? {
        let mut block = match block {
            Ok(block) => block,
            Err(reason) => {
                broken(done, elements.began(), reason)?;
                break;
            }
        };
        while let Some(found) = elements.next(&mut block) {
            done.lines += 1;
            let read = match found {
                Found::Event => text_of(elements.event()).and_then(|text| reader.event(text, buffers)),
                Found::Broken(reason) => Err(reason),
            };
            if let Err(reason) = read {
                broken(done, elements.began(), reason)?;
            }
            buffers.take_error()?;
        }
    }
    if let Some(Found::Broken(reason)) = elements.end() {
        done.lines += 1;
        broken(done, elements.began(), reason)?;
    }
    done.unfinished += reader.open_count as u64;
    Ok(())
}

fn text_of(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| format!("invalid UTF-8: {error}"))
}

impl<'a> Entry<'a> {
    /// Takes the members from an event's text. Members of an end event replace those of its begin event.
    fn take(&mut self, text: &'a str) -> Result<(), String> {
        json::members(text, |inside, key, value| {
            match inside {
                None => self.member(key, value)?,
                Some("args") => self.args.member(key, value),
                // Ids of events that have a local and a global one.
                Some("id2") => self.id = word(value).unwrap_or_default(),
                Some(_) => {}
            }
            Ok(())
        })
    }

    fn member(&mut self, key: &str, value: Value<'a>) -> Result<(), String> {
        let wrong = |value: &Value<'_>| format!("{key} is {value:?}; expected microseconds");
        match key {
            "name" => self.name = word(value).unwrap_or_default(),
            "cat" => self.cat = word(value).unwrap_or_default(),
            "ph" => self.ph = word(value).unwrap_or_default(),
            "pid" => self.pid = word(value).unwrap_or_default(),
            "tid" => self.tid = word(value).unwrap_or_default(),
            "id" => self.id = word(value).unwrap_or_default(),
            "ts" => self.ts = Some(nanos(&value).ok_or_else(|| wrong(&value))?),
            "dur" => self.dur = Some(nanos(&value).ok_or_else(|| wrong(&value))?),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Args<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "name" => self.name = value.text(),
            "uri" => self.uri = value.text(),
            "path" | "file" | "filename" | "file_name" | "fname" | "object" | "key" => self.path = value.text(),
            "endpoint" => self.endpoint = value.text(),
            "tag" => self.tag = value.text(),
            "phase" => self.phase = value.text(),
            "outcome" => self.outcome = value.text(),
            "error" => self.error = value.text(),
            "epoch" => self.epoch = whole(&value),
            "block" => self.block = whole(&value),
            "step" => self.step = whole(&value),
            "sample_idx" => self.sample = whole(&value),
            "offset" => self.offset = whole(&value),
            "req_bytes" => self.requested = whole(&value),
            "bytes" => self.bytes = whole(&value),
            "size" | "length" | "count" => self.size = whole(&value),
            "object_size" => self.object_size = whole(&value),
            "conn_id" => self.connection = whole(&value),
            "attempt" => self.attempt = whole(&value),
            "status" => self.status = value.number(),
            "first_byte_us" => self.first_byte = nanos(&value),
            _ => {}
        }
    }
}

impl Reader {
    fn event(&mut self, text: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let mut entry = Entry::default();
        entry.take(text)?;
        match entry.ph.as_ref() {
            "X" => self.row(&entry, buffers),
            "B" => self.begin(thread_key(&entry), text),
            "b" | "S" => self.begin(id_key(&entry), text),
            "E" => self.end(&thread_key(&entry), text, buffers),
            "e" | "F" => self.end(&id_key(&entry), text, buffers),
            "M" => {
                self.metadata(&entry, buffers);
                Ok(())
            }
            "" => Err("not a trace event: ph is missing".to_owned()),
            _ => {
                buffers.skip(&entry.name, "an instant, a counter or a flow");
                Ok(())
            }
        }
    }

    fn begin(&mut self, key: String, text: &str) -> Result<(), String> {
        if self.open_count >= OPEN {
            return Err(format!("more than {OPEN} events have begun and not ended"));
        }
        self.open_count += 1;
        self.open.entry(key).or_default().push(text.to_owned());
        Ok(())
    }

    fn end(&mut self, key: &str, text: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let text_of_begin = self.open.get_mut(key).and_then(Vec::pop).ok_or("the event ends but has not begun")?;
        self.open_count -= 1;
        let mut entry = Entry::default();
        entry.take(&text_of_begin)?;
        let (name, cat, began) = (std::mem::take(&mut entry.name), std::mem::take(&mut entry.cat), entry.ts.take());
        entry.take(text)?;
        // An end event may lack the name.
        (entry.name, entry.cat) = (name, cat);
        let ended = entry.ts.ok_or("not a trace event: ts is missing")?;
        entry.ts = began;
        entry.dur = Some(ended.saturating_sub(began.ok_or("not a trace event: ts is missing in its begin")?));
        self.row(&entry, buffers)
    }

    /// Takes the rank and the host of a process from its name, as the export of this program writes it.
    fn metadata(&mut self, entry: &Entry<'_>, buffers: &mut RankBuffers) {
        let (true, Some(name)) = (entry.name == "process_name", &entry.args.name) else { return };
        let Some(rest) = name.strip_prefix("rank ") else { return };
        let (rank, host) = rest.split_once(" on ").unwrap_or((rest, ""));
        if let Ok(rank) = rank.parse() {
            self.ranks.insert(entry.pid.clone().into_owned(), rank);
            if !host.is_empty() {
                // An invalid rank is reported for its rows.
                let _ = buffers.host(rank, host);
            }
        }
    }

    fn row(&mut self, entry: &Entry<'_>, buffers: &mut RankBuffers) -> Result<(), String> {
        let Some(kind) = kind_of(&entry.name, &entry.cat) else {
            buffers.skip(&entry.name, "");
            return Ok(());
        };
        let mut event = entry.event(kind)?;
        buffers.times_begin(event.start);
        let args = &entry.args;
        let names = RowNames {
            object: args.uri.as_deref().or(args.path.as_deref()).filter(|name| !name.is_empty()),
            endpoint: args.endpoint.as_deref(),
            tag: args.tag.as_deref(),
        };
        let Some(rank) = self.ranks.get(entry.pid.as_ref()) else {
            let process = format!("{}:{}", self.file, entry.pid);
            return buffers.row(Process::Named(&process), Some(entry.tid.as_ref()), event, names);
        };
        let lane = entry.tid.parse::<u16>().map_err(|_| format!("tid is {:?}; a rank's are 0 to 65535", entry.tid))?;
        event.lane = lane.checked_sub(1).map_or(Lane::MAIN, Lane);
        buffers.row(Process::Rank(*rank), Thread::Lane(event.lane), event, names)
    }
}

impl Entry<'_> {
    fn event(&self, kind: OpKind) -> Result<Event, String> {
        let start = self.ts.ok_or("not a trace event: ts is missing")?;
        let took = self.dur.ok_or("not a trace event: dur is missing")?;
        let (Ok(start), Ok(took)) = (u64::try_from(start), u64::try_from(took)) else {
            return Err(format!("it starts at {start} ns and lasts {took} ns; neither may be negative"));
        };
        let args = &self.args;
        let counted = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        let at = Position {
            phase: args.phase.as_deref().and_then(Phase::from_name).unwrap_or(Phase::Train),
            epoch: counted(args.epoch),
            block: counted(args.block),
            step: counted(args.step),
            sample: args.sample,
        };
        let outcome = match (args.outcome.as_deref(), args.error.as_deref()) {
            (Some(word), _) => Outcome::from_name(word).ok_or_else(|| format!("outcome is {word:?}"))?,
            (None, Some(error)) if !error.is_empty() => op_log::outcome_of(error),
            _ => Outcome::Ok,
        };
        Ok(Event {
            offset: args.offset.unwrap_or(0),
            requested: args.requested,
            bytes: args.bytes.or(args.size).unwrap_or(0),
            first_byte: args.first_byte.and_then(|after| start.checked_add(u64::try_from(after).ok()?)),
            outcome,
            object_size: args.object_size,
            attempt: args.attempt.and_then(|attempt| u8::try_from(attempt).ok()).unwrap_or(0),
            status: args.status.and_then(|status| i16::try_from(status).ok()).unwrap_or(0),
            connection: args.connection.map_or(ConnectionId::NONE, |_| ConnectionId(counted(args.connection))),
            ..Event::span(kind, Lane::MAIN, at, start, start.saturating_add(took))
        })
    }
}

/// Returns the key of a thread's events.
fn thread_key(entry: &Entry<'_>) -> String {
    format!("{}\t{}", entry.pid, entry.tid)
}

/// Returns the key of events with an id; ids are unique within a category.
fn id_key(entry: &Entry<'_>) -> String {
    format!("{}\t{}\t{}\t{}", entry.pid, entry.cat, entry.id, entry.name)
}

/// Recognises the names of this program, of dftracer, of system calls and of op-logs.
fn kind_of(name: &str, category: &str) -> Option<OpKind> {
    // PyTorch profiler's name for the training loop's wait for a batch.
    if name.starts_with("enumerate(DataLoader)") {
        return Some(OpKind::Fetch);
    }
    let ours = || OpKind::from_name(&name.to_ascii_lowercase());
    ours()
        .or_else(|| dftracer_names::kind_of(name, category))
        .or_else(|| dftracer_names::system_call(name))
        .or_else(|| op_log::kind_of(name))
}

/// Returns a string, or a number as written.
fn word(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Number(digits) => Some(Cow::Borrowed(digits)),
        value => value.text(),
    }
}

/// Parses a whole number, which may have decimals or be a string.
fn whole(value: &Value<'_>) -> Option<u64> {
    value.number().or_else(|| u64::try_from(nanos(value)? / 1_000).ok())
}

/// Converts microseconds to nanoseconds, exactly unless the number has an exponent.
fn nanos(value: &Value<'_>) -> Option<i64> {
    let text = match value {
        Value::Number(digits) => digits,
        Value::Text(digits) => digits.as_ref(),
        _ => return None,
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if text.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        let nanos = text.parse::<f64>().ok()? * 1e3;
        #[expect(clippy::cast_possible_truncation, reason = "it was looked at whether it fits")]
        return (nanos.abs() < 9e18).then_some(nanos as i64);
    }
    let mut rest = 0;
    for place in 0..3 {
        let digit = decimals.as_bytes().get(place).map_or(Some(0), |byte| char::from(*byte).to_digit(10))?;
        rest = rest * 10 + i64::from(digit);
    }
    if !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros = whole.parse::<i64>().ok()?.checked_mul(1_000)?;
    if whole.starts_with('-') { micros.checked_sub(rest) } else { micros.checked_add(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_keep_their_nanoseconds() {
        let of = |digits: &str| nanos(&Value::Number(digits));
        assert_eq!(of("1795245458719968.308"), Some(1_795_245_458_719_968_308));
        assert_eq!((of("12"), of("0.5"), of("-0.0015")), (Some(12_000), Some(500), Some(-1)));
        assert_eq!((of("1.5e3"), of("1e99")), (Some(1_500_000), None));
        assert_eq!((of("9223372036854775807"), nanos(&Value::Text("7.25".into()))), (None, Some(7_250)));
        assert_eq!((nanos(&Value::Text("1.2.3".into())), nanos(&Value::Truth(true))), (None, None));
        assert_eq!(whole(&Value::Number("4096.0")), Some(4096));
    }
}
