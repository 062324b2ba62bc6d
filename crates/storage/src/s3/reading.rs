//! Reads. Invariant: every byte is delivered once and in order, however often the request was repeated, and a
//! successful read has delivered everything that was requested, or everything up to the end of the object. If no
//! response contains the size of the object, it is looked up.

use std::sync::{Arc, OnceLock};

use dlio_event::{OpKind, Outcome};
use http::Method;

use super::client_state::ClientState;
use super::content_range::ContentRange;
use super::failure::Failure;
use super::request_spec::{Failed, RequestSpec};
use super::retry_loop::{ActiveAttempt, RetryLoop};
use crate::{Attempts, ByteRange, ChunkSink, Error, ErrorKind, Future, Metadata, Object, Receipt, Version};

/// Sends the requests of a read.
pub(super) trait Reader: Send + Sync {
    fn client(&self) -> &Arc<ClientState>;
    /// Makes one attempt to read what is left.
    async fn get_once(
        &self,
        attempt: &mut ActiveAttempt<'_>,
        spec: &RequestSpec<'_>,
        reading: &mut Reading<'_>,
    ) -> Result<(), Failure>;
    /// Returns the size of an object.
    async fn size(&self, key: &str) -> Result<(Metadata, Receipt), Error>;
}

/// An object of a bucket; opening it sends no request.
pub(super) struct RemoteObject<R> {
    reader: R,
    key: Box<str>,
    opened: Attempts,
}

impl<R> RemoteObject<R> {
    pub(super) fn new(reader: R, key: &str) -> Self {
        Self { reader, key: key.into(), opened: Attempts::new() }
    }
}

impl<R: Reader> Object for RemoteObject<R> {
    fn size(&self) -> Option<u64> {
        None
    }

    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(get(&self.reader, &self.key, Reading::new(range, sink)))
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(get(&self.reader, &self.key, Reading::first(limit, sink)))
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        Box::pin(get(&self.reader, &self.key, Reading::new(range, sink).of(version)))
    }
}

/// Streams a range into the sink, with retries.
async fn get<R: Reader>(reader: &R, key: &str, mut reading: Reading<'_>) -> Result<Receipt, Error> {
    let client = reader.client();
    let range = reading.range;
    let mut spec = RequestSpec::new(client, "reading", OpKind::Get, Method::GET, Some(key));
    spec.check(client)?;
    if range.len == Some(0) {
        return Ok(Receipt::default());
    }
    spec.range = (range != ByteRange::ALL).then_some(range);
    let (mut retries, mut asked) = (RetryLoop::new(client, &spec), Attempts::new());
    loop {
        let mut attempt = reading.begin(&mut retries).await?;
        let outcome = match reader.get_once(&mut attempt, &spec, &mut reading).await {
            Ok(()) if reading.is_in_doubt() => reading.settle(reader.size(key).await, &mut asked),
            outcome => outcome,
        };
        match outcome {
            Ok(()) => {
                let mut receipt = retries.succeed(attempt, reading.delivered());
                receipt.attempts.extend(asked);
                return Ok(receipt);
            }
            Err(failure) => retries.failed(attempt, failure).await?,
        }
    }
}

/// Progress of a read.
pub(super) struct Reading<'a> {
    range: ByteRange,
    /// Position of the next byte to deliver.
    next: u64,
    /// End of the bytes to deliver: of the range, or of the object once a response has contained its size.
    end: Option<u64>,
    /// Size of the object in the first response.
    total: Option<u64>,
    /// Length of the current response body, and the bytes received of it.
    expected: Option<u64>,
    got: u64,
    /// Entity tag of the first response.
    etag: Option<String>,
    /// Version that the other reads of this object have seen.
    version: Option<&'a Version>,
    /// The whole object is requested, but only bytes up to here are wanted.
    limit: Option<u64>,
    /// Whether the response has more bytes than are wanted, so that the connection cannot be reused.
    cut: bool,
    sink: &'a mut dyn ChunkSink,
}

/// The headers of a response that describe its body.
pub(super) struct BodyHeaders<'a> {
    pub(super) length: Option<u64>,
    /// `bytes 0-99/200`, in responses to range requests.
    pub(super) content_range: Option<&'a str>,
    pub(super) etag: Option<&'a str>,
}

impl<'a> Reading<'a> {
    fn new(range: ByteRange, sink: &'a mut dyn ChunkSink) -> Self {
        let end = range.len.map(|len| range.offset.saturating_add(len));
        let (next, total, expected, etag) = (range.offset, None, None, None);
        Self { range, next, end, total, expected, got: 0, etag, version: None, limit: None, cut: false, sink }
    }

    /// Requires the version that other reads have seen.
    fn of(self, version: &'a Version) -> Self {
        Self { version: Some(version), ..self }
    }

    /// Reads the beginning of an object with a request for the whole object.
    fn first(limit: u64, sink: &'a mut dyn ChunkSink) -> Self {
        Self { limit: Some(limit), ..Self::new(ByteRange::ALL, sink) }
    }

    async fn begin<'t>(&self, retries: &mut RetryLoop<'t>) -> Result<ActiveAttempt<'t>, Box<Failed>> {
        let kind = if self.is_whole() { OpKind::Get } else { OpKind::GetRange };
        let left = self.end.map(|end| end.saturating_sub(self.next));
        retries.begin(kind, self.next, left).await
    }

    fn delivered(&self) -> u64 {
        self.next - self.range.offset
    }

    pub(super) fn is_whole(&self) -> bool {
        self.range == ByteRange::ALL && self.next == 0
    }

    /// Returns the value of the `Range` header, if one is needed.
    pub(super) fn header(&self) -> Option<String> {
        match self.end {
            _ if self.is_whole() => None,
            // Servers refuse positions that exceed a signed 64-bit number; no object is that large.
            Some(end) if i64::try_from(end).is_ok() => Some(format!("bytes={}-{}", self.next, end - 1)),
            _ => Some(format!("bytes={}-", self.next)),
        }
    }

    /// Returns the entity tag that the remaining responses must have.
    pub(super) fn version(&self) -> Option<&str> {
        self.etag.as_deref().or_else(|| self.version.and_then(OnceLock::get).map(String::as_str))
    }

    /// Checks that the response is the requested part.
    pub(super) fn expect(&mut self, headers: &BodyHeaders<'_>) -> Result<(), Failure> {
        self.compare_version(headers)?;
        let part = headers.content_range.map(|text| ContentRange::parse(text).ok_or(text));
        let part = part
            .transpose()
            .map_err(|text| Failure::invalid(format!("the endpoint answered with the range {text:?}")))?;
        let start = part.map_or(0, |part| part.first);
        if start != self.next {
            return Err(Failure::invalid(format!(
                "the endpoint answered with bytes from {start} instead of {}: it must honour byte ranges",
                self.next
            )));
        }
        if let (Some(part), Some(length)) = (part, headers.length)
            && part.len != length
        {
            return Err(Failure::invalid(format!(
                "the endpoint answered with {length} bytes as a range of {}",
                part.len
            )));
        }
        let length = part.map_or(headers.length, |part| Some(part.len));
        let left = self.end.map(|end| end - self.next);
        if let (Some(length), Some(left)) = (length, left)
            && length > left
        {
            return Err(Failure::invalid(format!("the endpoint answered with {length} bytes instead of {left}")));
        }
        self.compare_size(part.map_or(headers.length, |part| part.total))?;
        let wanted = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.next));
        let short = length.map(|length| length.min(wanted));
        (self.expected, self.got, self.cut) = (short, 0, short != length);
        Ok(())
    }

    /// Checks that all responses are from one version of the object.
    fn compare_version(&mut self, headers: &BodyHeaders<'_>) -> Result<(), Failure> {
        let Some(told) = headers.etag else { return Ok(()) };
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

    /// Checks that all responses contain the same size, and limits the read to it.
    fn compare_size(&mut self, told: Option<u64>) -> Result<(), Failure> {
        let Some(told) = told else { return Ok(()) };
        let total = *self.total.get_or_insert(told);
        if total != told {
            return Err(replaced(&format!("it had {total} bytes and now has {told}")));
        }
        self.end = Some(self.end.map_or(total, |end| end.min(total)));
        Ok(())
    }

    /// Handles a 416 response, which may contain the size of the object.
    pub(super) fn nothing_there(&mut self, content_range: Option<&str>) -> Result<(), Failure> {
        self.expected = None;
        match content_range.and_then(ContentRange::size_refused) {
            // If part of the object was already read, only another request can tell.
            Some(size) if self.delivered() == 0 && size <= self.next => self.compare_size(Some(size)),
            _ => Ok(()),
        }
    }

    /// Returns the end of the wanted bytes, whatever the size of the object.
    fn goal(&self) -> u64 {
        self.end.into_iter().chain(self.limit).min().unwrap_or(u64::MAX)
    }

    /// Returns whether fewer bytes arrived than were requested, and no response showed that the object ends there.
    fn is_in_doubt(&self) -> bool {
        self.next < self.goal()
    }

    /// Compares the delivered bytes with the object's current size.
    fn settle(&self, told: Result<(Metadata, Receipt), Error>, asked: &mut Attempts) -> Result<(), Failure> {
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

    /// Returns whether a part of the response is left unread.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Returns whether the whole response was delivered.
    pub(super) fn is_complete(&self) -> bool {
        self.expected == Some(self.got)
    }

    /// Delivers received bytes to the sink.
    pub(super) fn deliver(
        &mut self,
        attempt: &mut ActiveAttempt<'_>,
        client: &ClientState,
        data: &[u8],
    ) -> Result<(), Failure> {
        attempt.record.first_byte.get_or_insert_with(|| client.time.now());
        let left = self.expected.map_or(self.goal() - self.next, |expected| expected.saturating_sub(self.got));
        let wanted = &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        // In a request for the whole object, bytes after the wanted beginning are ignored.
        if wanted.len() < data.len() && self.limit.is_none() {
            return Err(Failure::invalid(format!(
                "the endpoint answered with more than the {left} bytes that were left to come"
            )));
        }
        let data = wanted;
        self.got += data.len() as u64;
        attempt.record.bytes = self.got;
        self.next += data.len() as u64;
        self.sink.chunk(data).map_err(|why| Failure::new(ErrorKind::Corrupt, Outcome::Corrupt, why))
    }

    /// Handles the end of a response.
    pub(super) fn end(&mut self, attempt: &mut ActiveAttempt<'_>, client: &ClientState) -> Result<(), Failure> {
        attempt.record.first_byte.get_or_insert_with(|| client.time.now());
        match self.expected {
            Some(expected) if expected != self.got => Err(Failure::short(expected, self.got)),
            // The response was only a part of what was requested; the next attempt requests the rest.
            _ if self.total.is_some() && self.is_in_doubt() => {
                Err(Failure::short(self.goal() - self.range.offset, self.delivered()))
            }
            _ => Ok(()),
        }
    }

    /// Handles a connection that broke within the response.
    pub(super) fn broke(&self, error: &dyn std::error::Error) -> Failure {
        self.expected.map_or_else(|| Failure::broken(error), |expected| Failure::short(expected, self.got))
    }
}

/// The failure for responses that come from different versions of an object.
fn replaced(how: &str) -> Failure {
    let text = format!("the object was replaced while it was being read: {how}");
    Failure::new(ErrorKind::Corrupt, Outcome::Corrupt, text)
}
