//! Reads. Invariant: every byte is delivered once and in order, however often the request had to be repeated, and a read that
//! succeeds has delivered all that was asked for, or all up to the end of the object. Where no answer tells that end, the object's
//! size is asked for.

use std::sync::{Arc, OnceLock};

use dlio_event::{OpKind, Outcome};
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt;

use super::Shared;
use super::body::Outgoing;
use super::content_range::ContentRange;
use super::failure::Failure;
use super::request::{Call, Failed, Tries, Try, invalid, put_header};
use super::sign::EMPTY_SHA256;
use crate::{Attempts, ByteRange, ChunkSink, Error, ErrorKind, Future, Metadata, Object, Receipt, Version};

/// An object of a bucket; opening it asked the server nothing.
pub(super) struct S3Object {
    pub(super) client: Arc<Shared>,
    pub(super) key: Box<str>,
    pub(super) opened: Attempts,
}

impl Object for S3Object {
    fn size(&self) -> Option<u64> {
        None
    }

    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.client.get(&self.key, Reading::new(range, sink)))
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.client.get(&self.key, Reading::first(limit, sink)))
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        Box::pin(self.client.get(&self.key, Reading::new(range, sink).of(version)))
    }
}

/// How far a read has come.
pub(super) struct Reading<'a> {
    range: ByteRange,
    /// Next byte to deliver.
    next: u64,
    /// End of what is to be delivered: of the range, or of the object once an answer has told it.
    end: Option<u64>,
    /// Size of the object, as the first answer told it.
    total: Option<u64>,
    /// Length of the answer that is being delivered, and what came of it.
    expected: Option<u64>,
    got: u64,
    /// Version that the first answer came from.
    etag: Option<String>,
    /// That of the other reads of this object.
    version: Option<&'a Version>,
    /// All of an object is asked for, and what comes from here on is not wanted.
    limit: Option<u64>,
    /// More comes than is wanted: the connection is of no more use.
    cut: bool,
    sink: &'a mut dyn ChunkSink,
}

/// What the head of an answer says of its body.
pub(super) struct Promise<'a> {
    pub(super) length: Option<u64>,
    /// `bytes 0-99/200`, in answers to range requests.
    pub(super) content_range: Option<&'a str>,
    pub(super) etag: Option<&'a str>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(range: ByteRange, sink: &'a mut dyn ChunkSink) -> Self {
        let end = range.len.map(|len| range.offset.saturating_add(len));
        let (next, total, expected, etag) = (range.offset, None, None, None);
        Self { range, next, end, total, expected, got: 0, etag, version: None, limit: None, cut: false, sink }
    }

    /// What is read must come from the version that others read.
    pub(super) fn of(self, version: &'a Version) -> Self {
        Self { version: Some(version), ..self }
    }

    /// The beginning of an object of which all is asked for.
    pub(super) fn first(limit: u64, sink: &'a mut dyn ChunkSink) -> Self {
        Self { limit: Some(limit), ..Self::new(ByteRange::ALL, sink) }
    }

    /// Which range is asked for.
    pub(super) fn range(&self) -> ByteRange {
        self.range
    }

    pub(super) async fn begin<'t>(&self, tries: &mut Tries<'t>) -> Result<Try<'t>, Box<Failed>> {
        let kind = if self.is_whole() { OpKind::Get } else { OpKind::GetRange };
        let left = self.end.map(|end| end.saturating_sub(self.next));
        tries.begin(kind, self.next, left).await
    }

    pub(super) fn delivered(&self) -> u64 {
        self.next - self.range.offset
    }

    pub(super) fn is_whole(&self) -> bool {
        self.range == ByteRange::ALL && self.next == 0
    }

    /// Value of the `Range` header, where one is needed.
    pub(super) fn header(&self) -> Option<String> {
        match self.end {
            _ if self.is_whole() => None,
            // Servers refuse positions beyond a signed 64-bit number; no object reaches that far.
            Some(end) if i64::try_from(end).is_ok() => Some(format!("bytes={}-{}", self.next, end - 1)),
            _ => Some(format!("bytes={}-", self.next)),
        }
    }

    /// The version that the rest must come from.
    pub(super) fn version(&self) -> Option<&str> {
        self.etag.as_deref().or_else(|| self.version.and_then(OnceLock::get).map(String::as_str))
    }

    /// Checks that the answer is the part that was asked for.
    pub(super) fn expect(&mut self, promise: &Promise<'_>) -> Result<(), Failure> {
        self.compare_version(promise)?;
        let part = promise.content_range.map(|text| ContentRange::parse(text).ok_or(text));
        let part =
            part.transpose().map_err(|text| invalid(format!("the endpoint answered with the range {text:?}")))?;
        let start = part.map_or(0, |part| part.first);
        if start != self.next {
            return Err(invalid(format!(
                "the endpoint answered with bytes from {start} instead of {}: it must honour byte ranges",
                self.next
            )));
        }
        if let (Some(part), Some(length)) = (part, promise.length)
            && part.len != length
        {
            return Err(invalid(format!("the endpoint answered with {length} bytes as a range of {}", part.len)));
        }
        let length = part.map_or(promise.length, |part| Some(part.len));
        let left = self.end.map(|end| end - self.next);
        if let (Some(length), Some(left)) = (length, left)
            && length > left
        {
            return Err(invalid(format!("the endpoint answered with {length} bytes instead of {left}")));
        }
        self.compare_size(part.map_or(promise.length, |part| part.total))?;
        let wanted = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.next));
        let short = length.map(|length| length.min(wanted));
        (self.expected, self.got, self.cut) = (short, 0, short != length);
        Ok(())
    }

    /// All answers must come from one version of the object.
    fn compare_version(&mut self, promise: &Promise<'_>) -> Result<(), Failure> {
        let Some(told) = promise.etag else { return Ok(()) };
        let first = match self.version {
            Some(version) => Some(version.get_or_init(|| told.to_owned()).as_str()),
            None => self.etag.as_deref(),
        };
        if first.is_some_and(|first| first != told) {
            return Err(replaced("its entity tag is another one"));
        }
        self.etag.get_or_insert_with(|| told.to_owned());
        Ok(())
    }

    /// All answers must tell the same size; nothing is wanted beyond it.
    fn compare_size(&mut self, told: Option<u64>) -> Result<(), Failure> {
        let Some(told) = told else { return Ok(()) };
        let total = *self.total.get_or_insert(told);
        if total != told {
            return Err(replaced(&format!("it had {total} bytes and now has {told}")));
        }
        self.end = Some(self.end.map_or(total, |end| end.min(total)));
        Ok(())
    }

    /// There is nothing where it was asked; the answer may say how large the object is.
    pub(super) fn nothing_there(&mut self, content_range: Option<&str>) -> Result<(), Failure> {
        self.expected = None;
        match content_range.and_then(ContentRange::size_refused) {
            // Of an object that was being read, only another request can tell.
            Some(size) if self.delivered() == 0 && size <= self.next => self.compare_size(Some(size)),
            _ => Ok(()),
        }
    }

    /// Where the caller wants no more, whatever there is.
    fn goal(&self) -> u64 {
        self.end.into_iter().chain(self.limit).min().unwrap_or(u64::MAX)
    }

    /// Whether less has come than was asked for, and no answer said that the object ends there.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.next < self.goal()
    }

    /// Settles the doubt by what the object's size is now.
    pub(super) fn settle(&self, told: Result<(Metadata, Receipt), Error>, asked: &mut Attempts) -> Result<(), Failure> {
        match told {
            Ok((Metadata { size }, receipt)) => {
                asked.extend(receipt.attempts);
                let wanted = self.range.len.map_or(size, |len| self.range.offset.saturating_add(len).min(size));
                let wanted = wanted.min(self.limit.unwrap_or(u64::MAX)).saturating_sub(self.range.offset);
                if wanted == self.delivered() { Ok(()) } else { Err(Failure::short(wanted, self.delivered())) }
            }
            Err(error) => {
                let text =
                    format!("less came than was asked for, and asking for the object's size failed: {}", error.message);
                Err(Failure::new(error.kind, error.outcome(), text))
            }
        }
    }

    /// Whether a part of the answer is left.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether the whole answer was delivered.
    pub(super) fn is_complete(&self) -> bool {
        self.expected == Some(self.got)
    }

    /// Passes bytes on.
    pub(super) fn deliver(&mut self, attempt: &mut Try<'_>, client: &Shared, data: &[u8]) -> Result<(), Failure> {
        attempt.record.first_byte.get_or_insert_with(|| client.time.now());
        let left = self.expected.map_or(self.goal() - self.next, |expected| expected.saturating_sub(self.got));
        let wanted = &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        // Of an object of which all is asked for, what comes beyond the beginning that is wanted does not matter.
        if wanted.len() < data.len() && self.limit.is_none() {
            return Err(invalid(format!(
                "the endpoint answered with more than the {left} bytes that were left to come"
            )));
        }
        let data = wanted;
        self.got += data.len() as u64;
        attempt.record.bytes = self.got;
        self.next += data.len() as u64;
        self.sink.chunk(data).map_err(|why| Failure::new(ErrorKind::Corrupt, Outcome::Corrupt, why))
    }

    /// The answer is over.
    pub(super) fn end(&mut self, attempt: &mut Try<'_>, client: &Shared) -> Result<(), Failure> {
        attempt.record.first_byte.get_or_insert_with(|| client.time.now());
        match self.expected {
            Some(expected) if expected != self.got => Err(Failure::short(expected, self.got)),
            // A part of what was asked for: the rest is asked for next.
            _ if self.total.is_some() && self.is_in_doubt() => {
                Err(Failure::short(self.goal() - self.range.offset, self.delivered()))
            }
            _ => Ok(()),
        }
    }

    /// The connection broke in the middle of the answer.
    pub(super) fn broke(&self, error: &dyn std::error::Error) -> Failure {
        self.expected.map_or_else(|| Failure::broken(error), |expected| Failure::short(expected, self.got))
    }
}

/// Answers of one read that come from different objects.
fn replaced(how: &str) -> Failure {
    let text = format!("the object was replaced while it was being read: {how}");
    Failure::new(ErrorKind::Corrupt, Outcome::Corrupt, text)
}

/// The size of the whole object: what follows the slash of `Content-Range`, else `Content-Length`.
fn object_size(headers: &http::HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match text(header::CONTENT_RANGE) {
        Some(range) => range.rsplit_once('/')?.1.trim().parse().ok(),
        None => text(header::CONTENT_LENGTH)?.parse().ok(),
    }
}

impl Shared {
    /// Streams a range into the sink.
    pub(super) async fn get(self: &Arc<Self>, key: &str, mut reading: Reading<'_>) -> Result<Receipt, Error> {
        let range = reading.range();
        let mut call = Call::new(self, "reading", OpKind::Get, Method::GET, Some(key));
        call.check(self)?;
        if range.len == Some(0) {
            return Ok(Receipt::default());
        }
        call.range = (range != ByteRange::ALL).then_some(range);
        let (mut tries, mut asked) = (Tries::new(self, &call), Attempts::new());
        loop {
            let mut attempt = reading.begin(&mut tries).await?;
            let outcome = match self.get_once(&mut attempt, &call, &mut reading).await {
                Ok(()) if reading.is_in_doubt() => reading.settle(self.head(key).await, &mut asked),
                outcome => outcome,
            };
            match outcome {
                Ok(()) => {
                    let mut receipt = tries.succeed(attempt, reading.delivered());
                    receipt.attempts.extend(asked);
                    return Ok(receipt);
                }
                Err(failure) => tries.failed(attempt, failure).await?,
            }
        }
    }

    async fn get_once(
        self: &Arc<Self>,
        attempt: &mut Try<'_>,
        call: &Call<'_>,
        reading: &mut Reading<'_>,
    ) -> Result<(), Failure> {
        let mut request = self.request(attempt.endpoint, call, EMPTY_SHA256, Outgoing::empty())?;
        if let Some(range) = reading.header() {
            put_header(request.headers_mut(), header::RANGE, &range)?;
        }
        if let Some(etag) = reading.version() {
            put_header(request.headers_mut(), header::IF_MATCH, etag)?;
        }
        let mut answer = self.exchange(attempt, request).await?;
        if answer.head.status == StatusCode::RANGE_NOT_SATISFIABLE && !reading.is_whole() {
            // Beyond the end there is nothing to read, which is no error.
            attempt.record.first_byte = Some(self.time.now());
            let (head, _) = self.text(attempt, answer).await?;
            return reading
                .nothing_there(head.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()));
        }
        if !answer.head.status.is_success() {
            return Err(self.refusal(attempt, answer).await);
        }
        attempt.record.object_size = object_size(&answer.head.headers);
        let text = |name| answer.head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        reading.expect(&Promise {
            length: text(header::CONTENT_LENGTH).and_then(|value| value.parse().ok()),
            content_range: text(header::CONTENT_RANGE),
            etag: text(header::ETAG),
        })?;
        let limit = self.config.request_timeout;
        while !reading.is_complete() {
            match self.patient(attempt, limit, answer.body.frame()).await {
                None => return Err(Failure::timeout("no byte moved", limit)),
                Some(None) => break,
                Some(Some(Err(error))) => return Err(reading.broke(&error)),
                Some(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        reading.deliver(attempt, self, &data)?;
                    }
                }
            }
        }
        reading.end(attempt, self)?;
        if !reading.is_cut() {
            self.finish(attempt, answer);
        }
        Ok(())
    }
}
