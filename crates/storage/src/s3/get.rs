//! Reads. Invariant: every byte is delivered once and in order, however often the request had to be repeated.

use std::sync::Arc;

use dlio_event::OpKind;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt;

use super::Shared;
use super::body::Outgoing;
use super::failure::Failure;
use super::request::{Answer, Call, Tries, Try, invalid};
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
        Box::pin(self.client.get(self.key, range, sink))
    }
}

/// How far a read has come.
struct Reading<'a> {
    range: ByteRange,
    /// Next byte to deliver.
    next: u64,
    /// End of what is to be delivered, once known.
    end: Option<u64>,
    /// Version that the first answer came from.
    etag: Option<HeaderValue>,
    sink: &'a mut dyn ChunkSink,
}

impl Reading<'_> {
    fn delivered(&self) -> u64 {
        self.next - self.range.offset
    }

    fn left(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.next))
    }

    fn is_whole(&self) -> bool {
        self.range == ByteRange::ALL && self.next == 0
    }

    /// Value of the `Range` header.
    fn header(&self) -> Result<HeaderValue, Failure> {
        let text = match self.end {
            Some(end) => format!("bytes={}-{}", self.next, end - 1),
            None => format!("bytes={}-", self.next),
        };
        HeaderValue::from_str(&text).map_err(|error| invalid(error.to_string()))
    }
}

impl Shared {
    /// Streams a range into the sink.
    pub(super) async fn get(
        self: &Arc<Self>,
        key: &str,
        range: ByteRange,
        sink: &mut dyn ChunkSink,
    ) -> Result<Receipt, Error> {
        let mut call = Call::new(self, "reading", OpKind::Get, Method::GET, Some(key));
        call.check(self)?;
        if range.len == Some(0) {
            return Ok(Receipt::default());
        }
        call.range = (range != ByteRange::ALL).then_some(range);
        let end = range.len.map(|len| range.offset.saturating_add(len));
        let mut reading = Reading { range, next: range.offset, end, etag: None, sink };
        let mut tries = Tries::new(self, &call);
        loop {
            let kind = if reading.is_whole() { OpKind::Get } else { OpKind::GetRange };
            let mut attempt = tries.begin(kind, reading.next, reading.left());
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
        if !reading.is_whole() {
            request.headers_mut().insert(header::RANGE, reading.header()?);
        }
        if let Some(etag) = &reading.etag {
            request.headers_mut().insert(header::IF_MATCH, etag.clone());
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
        let expected = check(&answer, reading)?;
        if let Some(expected) = expected {
            reading.end = Some(reading.next + expected);
        }
        if reading.etag.is_none() {
            reading.etag = answer.head.headers.get(header::ETAG).cloned();
        }
        self.deliver(attempt, &mut answer, reading, expected).await?;
        self.finish(attempt, answer);
        Ok(())
    }

    /// Passes the body on as it comes.
    async fn deliver(
        &self,
        attempt: &mut Try<'_>,
        answer: &mut Answer,
        reading: &mut Reading<'_>,
        expected: Option<u64>,
    ) -> Result<(), Failure> {
        let limit = self.config.request_timeout;
        let mut got = 0_u64;
        while expected != Some(got) {
            let frame = match tokio::time::timeout(limit, answer.body.frame()).await {
                Err(_) => return Err(Failure::timeout("no byte moved", limit)),
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    return Err(match expected {
                        Some(expected) if got > 0 || error.is_incomplete_message() => Failure::short(expected, got),
                        _ => Failure::broken(&error),
                    });
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            if attempt.record.first_byte.is_none() {
                attempt.record.first_byte = Some(self.time.now());
            }
            got += data.len() as u64;
            attempt.record.bytes = got;
            reading.next += data.len() as u64;
            reading
                .sink
                .chunk(&data)
                .map_err(|why| Failure::new(ErrorKind::Corrupt, dlio_event::Outcome::Corrupt, why))?;
        }
        if attempt.record.first_byte.is_none() {
            attempt.record.first_byte = Some(self.time.now());
        }
        match expected {
            Some(expected) if expected != got => Err(Failure::short(expected, got)),
            _ => Ok(()),
        }
    }
}

/// Length of the body, after checking that it is the part that was asked for.
fn check(answer: &Answer, reading: &Reading<'_>) -> Result<Option<u64>, Failure> {
    let text = |name| answer.head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let length: Option<u64> = text(header::CONTENT_LENGTH).and_then(|value| value.parse().ok());
    let start = match answer.head.status {
        StatusCode::PARTIAL_CONTENT => {
            let range = text(header::CONTENT_RANGE).and_then(|value| value.strip_prefix("bytes "));
            range.and_then(|range| range.split('-').next()?.trim().parse().ok()).unwrap_or(reading.next)
        }
        _ => 0,
    };
    if start != reading.next {
        return Err(invalid(format!(
            "the endpoint answered HTTP {} with bytes from {start} instead of {}: it must honour byte ranges",
            answer.head.status.as_u16(),
            reading.next
        )));
    }
    match (length, reading.left()) {
        (Some(length), Some(left)) if length > left => {
            Err(invalid(format!("the endpoint answered with {length} bytes instead of {left}")))
        }
        _ => Ok(length),
    }
}
