//! One request from its description to its answer, and the bookkeeping of its tries.
//!
//! Invariant: every request that was handed to a connection is one [`Attempt`]; none is tried again silently.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dlio_event::{OpKind, Outcome};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::body::{Outgoing, Sent};
use super::connect::{self, Connection};
use super::endpoints::{Endpoint, InFlight, mix};
use super::failure::{Failure, Refusal, Retry};
use super::sign::{EMPTY_SHA256, Signed};
use super::{Shared, encode};
use crate::{Attempt, Attempts, ByteRange, Error, ErrorKind, Receipt};

/// Most bytes of a refusal or listing that are kept.
const TEXT_LIMIT: usize = 16 << 20;
/// Pauses between tries double up to this many times the first.
const BACKOFF_GROWTH: u32 = 100;

/// What is asked for; the same in every try.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    /// For messages: `reading`, `writing`, …
    pub(super) doing: &'static str,
    pub(super) kind: OpKind,
    pub(super) method: Method,
    /// Key relative to the root; `None`: the bucket.
    pub(super) key: Option<&'a str>,
    /// Percent-encoded and sorted.
    pub(super) query: String,
    pub(super) range: Option<ByteRange>,
    /// Percent-encoded.
    path: String,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        client: &Shared,
        doing: &'static str,
        kind: OpKind,
        method: Method,
        key: Option<&'a str>,
    ) -> Self {
        let config = &client.config;
        let mut path = String::with_capacity(96);
        if config.path_style {
            path.push('/');
            path.push_str(&config.bucket);
        }
        if let Some(key) = key {
            path.push('/');
            if !config.prefix.is_empty() {
                encode::path(&mut path, config.prefix.trim_end_matches('/'));
                path.push('/');
            }
            encode::path(&mut path, key);
        } else if path.is_empty() {
            path.push('/');
        }
        Self { doing, kind, method, key, query: String::new(), range: None, path }
    }

    /// The operation failed.
    pub(super) fn error(&self, client: &Shared, kind: ErrorKind, message: impl Into<String>) -> Error {
        let object = match self.key {
            Some(key) => client.config.uri(key),
            None => format!("s3://{}", client.config.bucket),
        };
        Error {
            kind,
            doing: self.doing,
            object,
            range: self.range,
            endpoint: None,
            message: message.into(),
            attempts: Attempts::new(),
        }
    }

    /// Refuses keys that name nothing below the root.
    pub(super) fn check(&self, client: &Shared) -> Result<(), Error> {
        let Some(key) = self.key else { return Ok(()) };
        crate::check_key(key).map_err(|why| self.error(client, ErrorKind::Invalid, why))
    }
}

/// An operation that failed for good, with the server's code.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) failure: Failure,
}

impl From<Box<Failed>> for Error {
    fn from(failed: Box<Failed>) -> Self {
        failed.error
    }
}

/// One try.
pub(super) struct Try<'a> {
    pub(super) record: Attempt,
    pub(super) endpoint: &'a Endpoint,
    _guard: InFlight<'a>,
}

/// The tries of one request.
pub(super) struct Tries<'a> {
    client: &'a Arc<Shared>,
    call: &'a Call<'a>,
    log: Attempts,
    counted: u32,
    freed: bool,
    avoid: Option<usize>,
}

impl<'a> Tries<'a> {
    pub(super) fn new(client: &'a Arc<Shared>, call: &'a Call<'a>) -> Self {
        Self { client, call, log: Attempts::new(), counted: 0, freed: false, avoid: None }
    }

    /// Starts a try for a part of the object.
    pub(super) fn begin(&self, kind: OpKind, offset: u64, requested: Option<u64>) -> Try<'a> {
        let endpoint = self.client.endpoints.pick(self.avoid);
        let start = self.client.time.now();
        let record = Attempt {
            offset,
            requested,
            endpoint: Some(Arc::clone(&endpoint.name)),
            number: u8::try_from(self.log.len()).unwrap_or(u8::MAX),
            ..Attempt::started(kind, start)
        };
        Try { record, endpoint, _guard: endpoint.enter() }
    }

    /// The last try did it.
    pub(super) fn succeed(mut self, mut attempt: Try<'_>, bytes: u64) -> Receipt {
        attempt.record.end = self.client.time.now();
        self.log.push(attempt.record);
        Receipt { bytes, attempts: self.log }
    }

    /// Waits until the next try may start, or gives up.
    pub(super) async fn failed(&mut self, mut attempt: Try<'_>, failure: Failure) -> Result<(), Box<Failed>> {
        attempt.record.end = self.client.time.now();
        attempt.record.outcome = failure.outcome;
        if failure.status != 0 {
            attempt.record.status = failure.status;
        }
        let endpoint = attempt.endpoint;
        self.log.push(attempt.record);
        if failure.retry == Retry::Free && !self.freed {
            self.freed = true;
            return Ok(());
        }
        self.counted += 1;
        if failure.retry == Retry::Never || self.counted >= self.client.config.max_attempts.max(1) {
            let mut error = self.call.error(self.client, failure.kind, &*failure.message);
            error.endpoint = Some(endpoint.name.to_string());
            error.attempts = std::mem::take(&mut self.log);
            return Err(Box::new(Failed { error, failure }));
        }
        self.avoid = Some(endpoint.index);
        tokio::time::sleep(self.pause()).await;
        Ok(())
    }

    fn pause(&self) -> Duration {
        let config = &self.client.config;
        let growth = 2_u32.saturating_pow(self.counted - 1).min(BACKOFF_GROWTH);
        let draw = mix(config.seed ^ mix(self.client.time.now() ^ u64::from(self.counted)));
        let factor = 0.5 + (draw >> 11) as f64 / (1_u64 << 54) as f64;
        (config.backoff * growth).mul_f64(factor)
    }
}

/// Head of an answer, with the body still to come.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    pub(super) body: Incoming,
    connection: Connection,
    /// Whether the request had been sent whole when the answer came.
    reusable: bool,
}

/// The whole of a short answer.
pub(super) struct Text {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) receipt: Receipt,
}

impl Text {
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Shared {
    /// A signed request.
    pub(super) fn request(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        call: &Call<'_>,
        payload: &str,
        body: Outgoing,
    ) -> Result<Request<Outgoing>, Failure> {
        let mut target = String::with_capacity(call.path.len() + call.query.len() + 1);
        target.push_str(&call.path);
        if !call.query.is_empty() {
            target.push('?');
            target.push_str(&call.query);
        }
        let mut request = Request::builder().method(call.method.clone()).uri(target);
        let Some(headers) = request.headers_mut() else { return Err(invalid("the key makes no valid address")) };
        headers.reserve(8);
        headers.insert(header::HOST, endpoint.authority.clone());
        if call.method == Method::PUT || call.method == Method::POST {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if let Some(credentials) = &self.config.credentials {
            let host = endpoint.host_header();
            let signed = Signed { method: call.method.as_str(), path: &call.path, query: &call.query, host, payload };
            connect::with_signer(self, |signer| {
                let (date, authorization) = signer.sign(credentials, &self.config.region, &signed);
                put_header(headers, HeaderName::from_static("x-amz-content-sha256"), payload)?;
                put_header(headers, HeaderName::from_static("x-amz-date"), date)?;
                put_header(headers, header::AUTHORIZATION, &authorization)?;
                match &credentials.session_token {
                    Some(token) => put_header(headers, HeaderName::from_static("x-amz-security-token"), token.expose()),
                    None => Ok(()),
                }
            })?;
        }
        request.body(body).map_err(|error| invalid(format!("the key makes no valid address: {error}")))
    }

    /// Sends a request and waits for the head of its answer. A connection that the server closed while it was idle is
    /// replaced.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        attempt: &mut Try<'_>,
        mut request: Request<Outgoing>,
    ) -> Result<Answer, Failure> {
        let endpoint = attempt.endpoint;
        let limit = self.config.request_timeout;
        let len = request.body().len();
        let sent = (len > 0).then(|| request.body_mut().watch(&self.time));
        loop {
            let idle = connect::reuse(self, endpoint.index).await;
            let reused = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                None => connect::open(self, endpoint).await?,
            };
            attempt.record.connection = connection.id;
            attempt.record.issued = Some(self.time.now());
            let outcome = while_moving(limit, sent.as_deref(), connection.requests.try_send_request(request)).await;
            attempt.record.last_byte = sent.as_deref().and_then(Sent::ended);
            let outcome = outcome?;
            match outcome {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    attempt.record.status = i16::try_from(head.status.as_u16()).unwrap_or(0);
                    let reusable = sent.is_none_or(|sent| sent.bytes() == len);
                    return Ok(Answer { head, body, connection, reusable });
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => request = unsent,
                    _ => {
                        let mut failure = Failure::broken(error.error());
                        if reused {
                            failure.retry = Retry::Free;
                        }
                        return Err(failure);
                    }
                },
            }
        }
    }

    /// Gives the connection of a completely received answer back.
    pub(super) fn finish(self: &Arc<Self>, attempt: &Try<'_>, answer: Answer) {
        if answer.reusable {
            connect::release(self, attempt.endpoint.index, answer.connection);
        }
    }

    /// The text of an answer.
    pub(super) async fn text(
        self: &Arc<Self>,
        attempt: &Try<'_>,
        answer: Answer,
    ) -> Result<(response::Parts, Bytes), Failure> {
        let Answer { head, mut body, connection, reusable } = answer;
        let limit = self.config.request_timeout;
        let mut text = BytesMut::new();
        loop {
            match tokio::time::timeout(limit, body.frame()).await {
                Err(_) => return Err(Failure::timeout("no byte moved", limit)),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(Failure::broken(&error)),
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    if text.len() + data.len() > TEXT_LIMIT {
                        return Err(invalid("the answer is too long to be S3's"));
                    }
                    text.extend_from_slice(&data);
                }
            }
        }
        if reusable {
            connect::release(self, attempt.endpoint.index, connection);
        }
        Ok((head, text.freeze()))
    }

    /// What an answer that is no success means.
    pub(super) async fn refusal(self: &Arc<Self>, attempt: &Try<'_>, answer: Answer) -> Failure {
        match self.text(attempt, answer).await {
            Ok((head, body)) => self.judge(head.status, &head.headers, &body),
            Err(failure) => failure,
        }
    }

    pub(super) fn judge(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let body = &String::from_utf8_lossy(body);
        let config = &self.config;
        let signed = config.credentials.is_some();
        Refusal { bucket: &config.bucket, region: &config.region, signed, status, headers, body }.failure()
    }

    /// A request with a short body and a short answer, with its tries.
    pub(super) async fn simple(self: &Arc<Self>, call: &Call<'_>, body: Bytes) -> Result<Text, Box<Failed>> {
        let hash = if body.is_empty() { EMPTY_SHA256.to_owned() } else { super::sign::sha256([&body[..]]) };
        let mut tries = Tries::new(self, call);
        loop {
            let mut attempt = tries.begin(call.kind, 0, None);
            let outgoing = if body.is_empty() { Outgoing::empty() } else { Outgoing::frames([body.clone()]) };
            match self.simple_once(&mut attempt, call, &hash, outgoing).await {
                Ok((head, body)) => {
                    let body = String::from_utf8_lossy(&body).into_owned();
                    return Ok(Text { headers: head.headers, body, receipt: tries.succeed(attempt, 0) });
                }
                Err(failure) => tries.failed(attempt, failure).await?,
            }
        }
    }

    async fn simple_once(
        self: &Arc<Self>,
        attempt: &mut Try<'_>,
        call: &Call<'_>,
        hash: &str,
        body: Outgoing,
    ) -> Result<(response::Parts, Bytes), Failure> {
        let request = self.request(attempt.endpoint, call, hash, body)?;
        let answer = self.exchange(attempt, request).await?;
        attempt.record.first_byte = Some(self.time.now());
        if !answer.head.status.is_success() {
            return Err(self.refusal(attempt, answer).await);
        }
        let (head, body) = self.text(attempt, answer).await?;
        // S3 may find out that it failed after it has sent the head.
        if call.method == Method::POST && body.windows(7).any(|window| window == b"<Error>") {
            return Err(self.judge(StatusCode::INTERNAL_SERVER_ERROR, &head.headers, &body));
        }
        Ok((head, body))
    }
}

/// Waits for an answer as long as bytes of the request move.
pub(super) async fn while_moving<T>(
    limit: Duration,
    sent: Option<&Sent>,
    answer: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut answer = std::pin::pin!(answer);
    let mut before = 0;
    loop {
        if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
            return Ok(answer);
        }
        let now = sent.map_or(0, Sent::bytes);
        if now == before {
            return Err(Failure::timeout("no byte moved", limit));
        }
        before = now;
    }
}

pub(super) fn put_header(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Failure> {
    let value = HeaderValue::from_str(value).map_err(|_| {
        invalid(format!("the value for {name} has characters that no header may have; check the credentials"))
    })?;
    headers.insert(name, value);
    Ok(())
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Invalid, Outcome::ClientError, message)
}
