//! The operation logs of s3dlio, sai3-bench and warp: tab-separated, one line per request, columns by header.
//!
//! They have no offsets, and s3dlio's first byte of a GET is its end and of a PUT its start: such a first byte is none.
//! s3dlio logs most operations twice, by the request (`http://…`) and by the call around it (`s3://bucket`): of such a pair
//! the request is imported, under the name of the call, as the request lacks its bucket. A request on an object that the source tells no range of is one of the whole object.

use std::borrow::Cow;

use dlio_event::{ConnectionId, Event, Lane, Nanos, OpKind, Outcome, Phase, Position, TagId};

use super::columns::{Columns, Fields, Splitter};
use super::json::{self, Value};
use super::labels::Labels;
use super::multiline_record::{MultilineRecord, UNIT, without_quotes};
use super::rank_buffers::{Names, RankBuffers, Who};
use super::time::Calendar;

/// Longest record, over all its lines.
const LONGEST: usize = 1 << 16;
/// Threads whose last request is kept.
const THREADS: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Reader {
    layout: Option<Layout>,
    splitter: Splitter,
    /// Warp quotes errors that have several lines.
    open: MultilineRecord,
    calendar: Calendar,
    /// The last request of each thread, for the call that is logged behind it.
    requests: Requests,
    /// The first client that has a name; rows without one are its own.
    client: Option<String>,
    /// The bucket of the last call, as `s3://bucket`: that of requests without a call.
    bucket: Option<String>,
}

/// The last requests of threads.
#[derive(Default)]
struct Requests {
    threads: Labels,
    last: Vec<Request>,
    /// Requests of threads that were forgotten.
    forgotten: Vec<Request>,
}

#[derive(Default)]
struct Request {
    file: String,
    start: Nanos,
    end: Nanos,
    /// Its row, until the next line of its thread, which may be its call.
    event: Option<Event>,
    endpoint: String,
    client: String,
    thread: String,
}

/// Where the columns are.
struct Layout {
    /// How a line that is a header again begins.
    first: String,
    /// Whether calls are logged beside their requests, as s3dlio does; warp does not.
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
        // Comments: warp puts what its client was told to do behind the rows.
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
            // Files that were put one behind the other repeat their header.
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
            let names = Names { object: text(layout.file), endpoint: text(layout.endpoint), tag: None };
            return row(&mut self.client, (client, thread), (event, names), buffers);
        }
        let Self { requests, bucket, client: first, .. } = self;
        let request = requests.of(thread);
        if endpoint.starts_with("http") {
            request.settle(first, bucket.as_deref(), buffers)?;
            request.keep(file, &event, [endpoint, client, thread]);
        } else {
            let name = name_of_call(endpoint, file, bucket);
            if request.inside(&event, file) {
                buffers.skip(word, "the call around a request that is in the log");
                request.emit(first, &name, buffers)?;
            } else {
                request.settle(first, bucket.as_deref(), buffers)?;
                let object = Some(name.as_ref()).filter(|name| !name.is_empty());
                let names = Names { object, endpoint: text(layout.endpoint), tag: None };
                row(first, (client, thread), (event, names), buffers)?;
            }
        }
        for mut request in requests.forgotten.drain(..) {
            request.settle(first, bucket.as_deref(), buffers)?;
        }
        Ok(())
    }

    /// The file has ended: no call comes any more.
    pub(super) fn done(mut self, buffers: &mut RankBuffers) -> Result<(), String> {
        let mut last = self.requests.last.iter_mut();
        last.try_for_each(|request| request.settle(&mut self.client, self.bucket.as_deref(), buffers))
    }

    /// A record with quotes that hold separators or go on in the next line.
    fn quoted(&mut self, record: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let plain = without_quotes(record, '\t');
        // Who does not write quotes as Go does may have them in names.
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

    /// What is wrong with how the file ends.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.open.end()
    }
}

/// The columns of records that are JSON objects.
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

/// A record of [`JSON`]'s columns, with [`UNIT`] between them, of a JSON object that has them as members.
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
        return Err("a control character in a text".to_owned());
    }
    Ok(fields.join(&UNIT.to_string()))
}

/// Gives a row; `first` is the first client that has a name.
fn row(
    first: &mut Option<String>,
    (client, thread): (&str, &str),
    (event, names): (Event, Names<'_>),
    buffers: &mut RankBuffers,
) -> Result<(), String> {
    let who = match first {
        Some(first) if client.is_empty() => first.as_str(),
        _ => client,
    };
    buffers.row(Who::Named(who), Some(thread), event, names)?;
    if first.is_none() && !client.is_empty() {
        *first = Some(client.to_owned());
    }
    Ok(())
}

/// The name of what a call is about: `s3://bucket/key`, of which the columns have `s3://bucket` and `bucket/key`. A path is its name.
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
    /// The last request of a thread.
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
    /// Becomes another request, in the memory of the one before.
    fn keep(&mut self, file: &str, event: &Event, [endpoint, client, thread]: [&str; 3]) {
        let texts = [&mut self.file, &mut self.endpoint, &mut self.client, &mut self.thread];
        for (text, now) in texts.into_iter().zip([file, endpoint, client, thread]) {
            now.clone_into(text);
        }
        (self.start, self.end, self.event) = (event.start, event.end, Some(*event));
    }

    /// Gives the row of a request that has no call; its bucket is that of the last call.
    fn settle(
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
        self.emit(first, &name, buffers)
    }

    /// Gives the row of a request, if it has not been given.
    fn emit(&mut self, first: &mut Option<String>, name: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let Some(event) = self.event.take() else { return Ok(()) };
        let names =
            Names { object: Some(name).filter(|name| !name.is_empty()), endpoint: Some(&self.endpoint), tag: None };
        row(first, (&self.client, &self.thread), (event, names), buffers)
    }

    /// Whether a call was made for this request.
    fn inside(&self, call: &Event, file: &str) -> bool {
        // A thread without a request has one that ended at 0.
        self.end > 0 && call.start <= self.start && self.end <= call.end && file.ends_with(&self.file)
    }
}

impl Layout {
    fn event(&self, kind: OpKind, fields: &Fields<'_>, calendar: &mut Calendar) -> Result<Event, String> {
        let start = fields.get(self.start);
        let start = calendar.nanos(start).ok_or_else(|| wrong("start", start))?;
        let end = self.end_of(fields, start, calendar)?;
        let bytes = fields.number(self.bytes, "bytes")?;
        // A first byte at the very end of a GET, or the very start of a PUT, was not measured.
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

    /// sai3-bench's merged logs leave the end out, and say how long it took.
    fn end_of(&self, fields: &Fields<'_>, start: Nanos, calendar: &mut Calendar) -> Result<Nanos, String> {
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
    calendar: &mut Calendar,
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
        // Warp's uploads by form, and those of its Iceberg benchmarks.
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

/// The class of an error that is told in words.
pub(super) fn outcome_of(text: &str) -> Outcome {
    // Our own export writes the names.
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
