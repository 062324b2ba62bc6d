//! Import of operation logs of s3dlio, sai3-bench and warp: tab-separated, one line per request, columns found by name.
//!
//! The logs have no offsets. s3dlio sets the first byte of a GET to its end and the first byte of a PUT to its start; such values
//! are dropped. s3dlio logs most operations twice: the request (`http://…`) and the call around it (`s3://bucket`). Of such a
//! pair the request is imported with the name from the call, because the request lacks its bucket. A request without a range
//! reads or writes the whole object.

use std::borrow::Cow;

use dlio_event::{ConnectionId, Event, Lane, Nanos, OpKind, Outcome, Phase, Position, TagId};

use super::columns::{Columns, Fields, Splitter};
use super::json::{self, Value};
use super::labels::Labels;
use super::multiline_record::{MultilineRecord, UNIT, without_quotes};
use super::rank_buffers::{Process, RankBuffers, RowNames};
use super::time::TimeParser;

/// Maximum length of a record over all its lines, bytes.
const LONGEST: usize = 1 << 16;
/// Maximum number of threads whose last request is kept.
const THREADS: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Reader {
    layout: Option<Layout>,
    splitter: Splitter,
    /// A record of several lines: warp quotes error messages with line ends.
    open: MultilineRecord,
    calendar: TimeParser,
    /// The last request of each thread, until the call that is logged after it.
    requests: Requests,
    /// The first client with a name; rows without a client belong to it.
    client: Option<String>,
    /// Bucket of the last call as `s3://bucket`, used for requests without a call.
    bucket: Option<String>,
}

/// The last request of each thread.
#[derive(Default)]
struct Requests {
    threads: Labels,
    last: Vec<Request>,
    /// Requests of threads that were dropped from the table.
    forgotten: Vec<Request>,
}

#[derive(Default)]
struct Request {
    file: String,
    start: Nanos,
    end: Nanos,
    /// The event, kept until the next line of its thread, which may be its call.
    event: Option<Event>,
    endpoint: String,
    client: String,
    thread: String,
}

/// Indices of the columns.
struct Layout {
    /// Beginning of the header line, by which a repeated header is recognised.
    first: String,
    /// Whether the log has calls next to their requests, as those of s3dlio do and those of warp do not.
    calls: bool,
    count: usize,
    thread: Option<usize>,
    op: Option<usize>,
    client: Option<usize>,
    bytes: Option<usize>,
    endpoint: Option<usize>,
    file: Option<usize>,
    error: Option<usize>,
    start: Option<usize>,
    first_byte: Option<usize>,
    last_byte: Option<usize>,
    end: Option<usize>,
    duration: Option<usize>,
}

impl Layout {
    fn of(header: &str) -> Result<Self, String> {
        let columns = Columns::of(header, '\t', &["op", "bytes", "file", "start"])?;
        let place = |name| columns.place(name);
        if place("end").is_none() && place("duration_ns").is_none() {
            return Err("the header has neither a column end nor a column duration_ns".to_owned());
        }
        let end_of_second = header.match_indices('\t').nth(1).map_or(header.len(), |(at, _)| at);
        Ok(Self {
            first: header[..end_of_second].to_owned(),
            calls: place("last_byte").is_none(),
            count: columns.count(),
            thread: place("thread"),
            op: place("op"),
            client: place("client_id"),
            bytes: place("bytes"),
            endpoint: place("endpoint"),
            file: place("file"),
            error: place("error"),
            start: place("start"),
            first_byte: place("first_byte"),
            last_byte: place("last_byte"),
            end: place("end"),
            duration: place("duration_ns"),
        })
    }
}

impl Reader {
    pub(super) fn line(&mut self, line: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        if self.open.is_open() {
            let record = self.open.join(line);
            return self.quoted(&record, buffers);
        }
        // Comments: warp appends the command line of its client.
        if line.starts_with('#') || line.trim().is_empty() {
            return Ok(());
        }
        if line.starts_with('{') {
            let record = of_json(line)?;
            if self.layout.is_none() {
                self.layout = Some(Layout::of(&JSON.join("\t"))?);
            }
            return self.record(&record, UNIT as u8, buffers);
        }
        match &self.layout {
            // Concatenated files repeat their header.
            Some(layout) if !line.starts_with(layout.first.as_str()) => {}
            _ => {
                self.layout = Some(Layout::of(line)?);
                return Ok(());
            }
        }
        if memchr::memmem::find(line.as_bytes(), b"\t\"").is_some() {
            return self.quoted(line, buffers);
        }
        self.record(line, b'\t', buffers)
    }

    fn record(&mut self, line: &str, separator: u8, buffers: &mut RankBuffers) -> Result<(), String> {
        let Some(layout) = &self.layout else { return Ok(()) };
        let fields = self.splitter.split(line, separator);
        if fields.count() != layout.count {
            return Err(format!("{} fields; the header has {}", fields.count(), layout.count));
        }
        let word = fields.get(layout.op);
        let Some(kind) = kind_of(word) else {
            buffers.skip(word, "");
            return Ok(());
        };
        let event = layout.event(kind, &fields, &mut self.calendar)?;
        let text = |place| Some(fields.get(place)).filter(|text| !text.is_empty());
        let thread = text(layout.thread).unwrap_or("0");
        let (endpoint, file) = (fields.get(layout.endpoint), fields.get(layout.file));
        let client = fields.get(layout.client);
        if !layout.calls {
            let names = RowNames { object: text(layout.file), endpoint: text(layout.endpoint), tag: None };
            return row(&mut self.client, (client, thread), (event, names), buffers);
        }
        let Self { requests, bucket, client: first, .. } = self;
        let request = requests.of(thread);
        if endpoint.starts_with("http") {
            request.add_without_call(first, bucket.as_deref(), buffers)?;
            request.keep(file, &event, [endpoint, client, thread]);
        } else {
            let name = name_of_call(endpoint, file, bucket);
            if request.is_enclosed_by(&event, file) {
                buffers.skip(word, "the call around a request that is in the log");
                request.add_row(first, &name, buffers)?;
            } else {
                request.add_without_call(first, bucket.as_deref(), buffers)?;
                let object = Some(name.as_ref()).filter(|name| !name.is_empty());
                let names = RowNames { object, endpoint: text(layout.endpoint), tag: None };
                row(first, (client, thread), (event, names), buffers)?;
            }
        }
        for mut request in requests.forgotten.drain(..) {
            request.add_without_call(first, bucket.as_deref(), buffers)?;
        }
        Ok(())
    }

    /// Adds the rows of the last requests at the end of the file.
    pub(super) fn finish(mut self, buffers: &mut RankBuffers) -> Result<(), String> {
        let mut last = self.requests.last.iter_mut();
        last.try_for_each(|request| request.add_without_call(&mut self.client, self.bucket.as_deref(), buffers))
    }

    /// Reads a record whose quotes contain separators or continue on the next line.
    fn quoted(&mut self, record: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let plain = without_quotes(record, '\t');
        // Programs that do not quote as Go does may use quotes in names.
        let count = self.layout.as_ref().map_or(0, |layout| layout.count);
        let fits = |text: &str, separator| text.matches(separator).count() + 1 == count;
        if fits(record, '\t') && !plain.as_ref().is_some_and(|plain| fits(plain, UNIT)) {
            return self.record(record, b'\t', buffers);
        }
        match plain {
            Some(plain) => self.record(&plain, UNIT as u8, buffers),
            None => self.open.keep(record, LONGEST),
        }
    }

    /// Checks the state at the end of the file.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.open.end()
    }
}

/// Columns of records that are JSON objects.
const JSON: [&str; 13] = [
    "idx",
    "thread",
    "op",
    "client_id",
    "n_objects",
    "bytes",
    "endpoint",
    "file",
    "error",
    "start",
    "first_byte",
    "end",
    "duration_ns",
];

/// Converts a JSON object to a record with the columns of [`JSON`], separated by [`UNIT`].
fn of_json(line: &str) -> Result<String, String> {
    let mut fields: [Cow<'_, str>; JSON.len()] = Default::default();
    json::members(line, |inside, key, value| {
        let place = JSON.iter().position(|name| *name == key).filter(|_| inside.is_none());
        match (place, value) {
            (Some(place), Value::Number(digits)) => fields[place] = Cow::Borrowed(digits),
            (Some(place), value) => fields[place] = value.text().unwrap_or_default(),
            (None, _) => {}
        }
        Ok(())
    })?;
    if fields.iter().any(|field| field.contains(UNIT)) {
        return Err("a field contains the control character US".to_owned());
    }
    Ok(fields.join(&UNIT.to_string()))
}

/// Adds a row; `first` is the first client with a name.
fn row(
    first: &mut Option<String>,
    (client, thread): (&str, &str),
    (event, names): (Event, RowNames<'_>),
    buffers: &mut RankBuffers,
) -> Result<(), String> {
    let who = match first {
        Some(first) if client.is_empty() => first.as_str(),
        _ => client,
    };
    buffers.row(Process::Named(who), Some(thread), event, names)?;
    if first.is_none() && !client.is_empty() {
        *first = Some(client.to_owned());
    }
    Ok(())
}

/// Returns the object name of a call, `s3://bucket/key`, from its columns `s3://bucket` and `bucket/key`. A path is its own name.
fn name_of_call<'a>(endpoint: &str, file: &'a str, bucket: &mut Option<String>) -> Cow<'a, str> {
    let Some((scheme, rest)) = endpoint.split_once("://") else { return Cow::Borrowed(file) };
    let named = rest.split('/').next().unwrap_or(rest);
    if named.is_empty() {
        return Cow::Borrowed(file);
    }
    let place = format!("{scheme}://{named}");
    let key = file.strip_prefix(place.as_str()).map(|key| key.trim_start_matches('/'));
    let key = key.or_else(|| file.strip_prefix(named)?.strip_prefix('/')).unwrap_or(file);
    let name = format!("{place}/{key}");
    if bucket.as_deref() != Some(place.as_str()) {
        *bucket = Some(place);
    }
    Cow::Owned(name)
}

impl Requests {
    /// Returns the last request of a thread.
    fn of(&mut self, thread: &str) -> &mut Request {
        if self.threads.len() >= THREADS {
            let last = std::mem::take(&mut self.last);
            *self = Self { forgotten: last, ..Self::default() };
        }
        let next = |count| Ok::<_, ()>(u32::try_from(count).unwrap_or(u32::MAX));
        let at = self.threads.get(thread, next).unwrap_or_default() as usize;
        if at >= self.last.len() {
            self.last.resize_with(at + 1, Request::default);
        }
        &mut self.last[at]
    }
}

impl Request {
    /// Replaces the request and reuses its memory.
    fn keep(&mut self, file: &str, event: &Event, [endpoint, client, thread]: [&str; 3]) {
        let texts = [&mut self.file, &mut self.endpoint, &mut self.client, &mut self.thread];
        for (text, now) in texts.into_iter().zip([file, endpoint, client, thread]) {
            now.clone_into(text);
        }
        (self.start, self.end, self.event) = (event.start, event.end, Some(*event));
    }

    /// Adds the row of a request without a call; its bucket is that of the last call.
    fn add_without_call(
        &mut self,
        first: &mut Option<String>,
        bucket: Option<&str>,
        buffers: &mut RankBuffers,
    ) -> Result<(), String> {
        let name = match bucket {
            Some(bucket) if self.event.is_some() && !self.file.contains("://") => {
                format!("{bucket}/{}", self.file)
            }
            _ => self.file.clone(),
        };
        self.add_row(first, &name, buffers)
    }

    /// Adds the row of a request unless it has been added.
    fn add_row(&mut self, first: &mut Option<String>, name: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let Some(event) = self.event.take() else { return Ok(()) };
        let names =
            RowNames { object: Some(name).filter(|name| !name.is_empty()), endpoint: Some(&self.endpoint), tag: None };
        row(first, (&self.client, &self.thread), (event, names), buffers)
    }

    /// Whether a call encloses this request.
    fn is_enclosed_by(&self, call: &Event, file: &str) -> bool {
        // A thread without a request has one that ended at 0.
        self.end > 0 && call.start <= self.start && self.end <= call.end && file.ends_with(&self.file)
    }
}

impl Layout {
    fn event(&self, kind: OpKind, fields: &Fields<'_>, calendar: &mut TimeParser) -> Result<Event, String> {
        let start = fields.get(self.start);
        let start = calendar.nanos(start).ok_or_else(|| wrong("start", start))?;
        let end = self.end_of(fields, start, calendar)?;
        let bytes = fields.number(self.bytes, "bytes")?;
        // A first byte at the end of a GET or at the start of a PUT was not measured.
        let first_byte =
            optional(fields, self.first_byte, "first_byte", calendar)?.filter(|at| *at > start && *at < end);
        let last_byte =
            optional(fields, self.last_byte, "last_byte", calendar)?.filter(|at| *at > start && kind.is_write());
        let outcome = if fields.get(self.error).is_empty() { Outcome::Ok } else { outcome_of(fields.get(self.error)) };
        Ok(Event {
            bytes: if outcome == Outcome::Ok { bytes } else { 0 },
            requested: (bytes > 0 && kind.is_write()).then_some(bytes),
            last_byte,
            first_byte,
            outcome,
            object_size: (bytes > 0 && kind == OpKind::Get && outcome == Outcome::Ok).then_some(bytes),
            connection: ConnectionId::NONE,
            tag: TagId::NONE,
            ..Event::span(kind, Lane::MAIN, Position { phase: Phase::Train, ..Position::default() }, start, end)
        })
    }

    /// Returns the end of an operation. Merged logs of sai3-bench have durations instead of ends.
    fn end_of(&self, fields: &Fields<'_>, start: Nanos, calendar: &mut TimeParser) -> Result<Nanos, String> {
        match optional(fields, self.end, "end", calendar)? {
            Some(end) if end < start => Err("it ends before it starts".to_owned()),
            Some(end) => Ok(end),
            None => Ok(start.saturating_add(fields.number(self.duration, "duration_ns")?)),
        }
    }
}

fn optional(
    fields: &Fields<'_>,
    place: Option<usize>,
    name: &str,
    calendar: &mut TimeParser,
) -> Result<Option<Nanos>, String> {
    match fields.get(place) {
        "" => Ok(None),
        text => calendar.nanos(text).map(Some).ok_or_else(|| wrong(name, text)),
    }
}

fn wrong(name: &str, text: &str) -> String {
    format!("{name} is {text:?}; expected a time like 2026-02-03T04:05:06.789Z")
}

pub(super) fn kind_of(word: &str) -> Option<OpKind> {
    let known = [
        ("GET", OpKind::Get),
        ("GET_RANGE", OpKind::GetRange),
        ("PUT", OpKind::Put),
        // Form uploads of warp, and uploads of its Iceberg benchmarks.
        ("POST", OpKind::Put),
        ("UPLOAD", OpKind::Put),
        ("LIST", OpKind::List),
        ("HEAD", OpKind::Head),
        ("STAT", OpKind::Head),
        ("DELETE", OpKind::Delete),
        ("MULTIPART", OpKind::MultipartPart),
        ("PUTPART", OpKind::MultipartPart),
        ("UPLOAD_PART", OpKind::MultipartPart),
        ("CREATE_MULTIPART", OpKind::MultipartCreate),
        ("COMPLETE_MULTIPART", OpKind::MultipartComplete),
        ("ABORT_MULTIPART", OpKind::MultipartAbort),
        ("MKDIR", OpKind::CreateNamespace),
        ("CREATE_BUCKET", OpKind::CreateNamespace),
        ("CREATE_CONTAINER", OpKind::CreateNamespace),
    ];
    known.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
}

/// Classifies an error message.
pub(super) fn outcome_of(text: &str) -> Outcome {
    // This program's export writes the names of outcomes.
    if let Some(outcome) = Outcome::from_name(text.trim()) {
        return outcome;
    }
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match () {
        () if has(&["timeout", "timed out", "deadline"]) => Outcome::Timeout,
        () if has(&["slowdown", "slow down", "503", "429", "throttl", "too many"]) => Outcome::Throttled,
        () if has(&["nosuchkey", "not found", "404", "no such"]) => Outcome::NotFound,
        () if has(&["connect", "reset", "refused", "broken pipe", "dns", "tls"]) => Outcome::Connect,
        () if has(&["accessdenied", "403", "denied", "400", "invalid"]) => Outcome::ClientError,
        () if has(&["500", "502", "504", "internal"]) => Outcome::ServerError,
        () if has(&["short", "unexpected eof", "incomplete"]) => Outcome::ShortRead,
        () if has(&["cancel"]) => Outcome::Cancelled,
        () => Outcome::Io,
    }
}
