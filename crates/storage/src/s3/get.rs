//! Reads. Invariant: every byte is delivered once and in order, however often the request had to be repeated.

use std::sync::Arc;

use dlio_event::{OpKind, Outcome};
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt;

use super::Shared;
use super::body::Outgoing;
use super::failure::Failure;
use super::request::{Call, Tries, Try, invalid, put_header};
use super::sign::EMPTY_SHA256;
use crate::{Attempts, ByteRange, ChunkSink, Error, ErrorKind, Future, Object, Receipt};

/// An object of a bucket; opening it asked the server nothing.
pub(super) struct S3Object<'a> {
    pub(super) client: &'a Arc<Shared>,
    pub(super) key: &'a str,
    pub(super) opened: Attempts,
}

impl Object for S3Object<'_> {
    fn size(&self) -> Option<u64> {
        None
    }

    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.client.get(self.key, Reading::new(range, sink)))
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.client.get(self.key, Reading::first(limit, sink)))
    }
}

/// How far a read has come.
pub(super) struct Reading<'a> {
    range: ByteRange,
    /// Next byte to deliver.
    next: u64,
    /// End of what is to be delivered, once known.
    end: Option<u64>,
    /// Length of the answer that is being delivered, and what came of it.
    expected: Option<u64>,
    got: u64,
    /// Version that the first answer came from.
    etag: Option<String>,
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
        Self { range, next: range.offset, end, expected: None, got: 0, etag: None, limit: None, cut: false, sink }
    }

    /// The beginning of an object of which all is asked for.
    pub(super) fn first(limit: u64, sink: &'a mut dyn ChunkSink) -> Self {
        Self { limit: Some(limit), ..Self::new(ByteRange::ALL, sink) }
    }

    /// Which range is asked for.
    pub(super) fn range(&self) -> ByteRange {
        self.range
    }

    pub(super) fn begin<'t>(&self, tries: &Tries<'t>) -> Try<'t> {
        let kind = if self.is_whole() { OpKind::Get } else { OpKind::GetRange };
        let left = self.end.map(|end| end.saturating_sub(self.next));
        tries.begin(kind, self.next, left)
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
        self.etag.as_deref()
    }

    /// Checks that the answer is the part that was asked for.
    pub(super) fn expect(&mut self, promise: &Promise<'_>) -> Result<(), Failure> {
        let start = promise.content_range.map_or(Some(0), |text| {
            let (first, _) = text.strip_prefix("bytes ")?.split_once('-')?;
            first.trim().parse().ok()
        });
        if start != Some(self.next) {
            return Err(invalid(format!(
                "the endpoint answered with bytes from {} instead of {}: it must honour byte ranges",
                start.map_or("somewhere".to_owned(), |start| start.to_string()),
                self.next
            )));
        }
        let left = self.end.map(|end| end - self.next);
        if let (Some(length), Some(left)) = (promise.length, left)
            && length > left
        {
            return Err(invalid(format!("the endpoint answered with {length} bytes instead of {left}")));
        }
        let wanted = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.next));
        let length = promise.length.map(|length| length.min(wanted));
        (self.expected, self.got, self.cut) = (length, 0, length != promise.length);
        if let Some(length) = length {
            self.end = Some(self.next + length);
        }
        if self.etag.is_none() {
            self.etag = promise.etag.map(str::to_owned);
        }
        Ok(())
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
        let left = self.expected.map_or(u64::MAX, |expected| expected.saturating_sub(self.got));
        // A longer answer than promised is refused, but for one of which only the beginning is wanted.
        let data = if self.limit.is_some() {
            &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))]
        } else {
            data
        };
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
            _ => Ok(()),
        }
    }

    /// The connection broke in the middle of the answer.
    pub(super) fn broke(&self, error: &dyn std::error::Error) -> Failure {
        self.expected.map_or_else(|| Failure::broken(error), |expected| Failure::short(expected, self.got))
    }
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
        let mut tries = Tries::new(self, &call);
        loop {
            let mut attempt = reading.begin(&tries);
            match self.get_once(&mut attempt, &call, &mut reading).await {
                Ok(()) => return Ok(tries.succeed(attempt, reading.delivered())),
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
            return self.text(attempt, answer).await.map(drop);
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
            match tokio::time::timeout(limit, answer.body.frame()).await {
                Err(_) => return Err(Failure::timeout("no byte moved", limit)),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(reading.broke(&error)),
                Ok(Some(Ok(frame))) => {
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
