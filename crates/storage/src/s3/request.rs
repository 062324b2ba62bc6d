//! One request from its description to its answer.
//!
//! Invariant: every request that was handed to a connection is one [`Attempt`]; none is tried again silently.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dlio_event::{OpKind, Outcome, S3Uri};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::body::{Outgoing, Sent};
use super::connect::{self, Connection};
use super::endpoints::Endpoint;
use super::failure::{Failure, Refusal, Retry};
use super::health::{EndpointNotice, Evidence, NOTICE};
use super::retry::nanos;
use super::sign::{EMPTY_SHA256, Signed};
pub(super) use super::tries::{Tries, Try};
use super::{Shared, encode};
use crate::{Attempt, Attempts, ByteRange, Error, ErrorKind, Receipt};

/// Most bytes of a refusal or listing that are kept.
const TEXT_LIMIT: usize = 16 << 20;
/// Longest silence of an endpoint that is asked whether it is back while others take its requests.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

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
    /// Percent-encoded; what stands before it is the endpoint's.
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
        if let Some(key) = key {
            path.push('/');
            if !config.prefix.is_empty() {
                encode::path(&mut path, config.prefix.trim_end_matches('/'));
                path.push('/');
            }
            encode::path(&mut path, key);
        }
        Self { doing, kind, method, key, query: String::new(), range: None, path }
    }

    /// Full name of the object, or of the bucket.
    fn object(&self, client: &Shared) -> String {
        self.key.map_or_else(|| S3Uri::of_bucket(&client.config.bucket).to_string(), |key| client.config.uri(key))
    }

    /// The operation failed.
    pub(super) fn error(&self, client: &Shared, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            doing: self.doing,
            object: self.object(client),
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
        let mut target = String::with_capacity(endpoint.base.len() + call.path.len() + call.query.len() + 2);
        target.push_str(&endpoint.base);
        target.push_str(&call.path);
        if target.len() == endpoint.origin {
            target.push('/');
        }
        let end = target.len();
        if !call.query.is_empty() {
            target.push('?');
            target.push_str(&call.query);
        }
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::HOST, endpoint.authority.clone());
        if let Some(authorization) = &endpoint.proxy_authorization {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        if call.method == Method::PUT || call.method == Method::POST {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if let Some(credentials) = &self.config.credentials {
            let (host, path) = (endpoint.host_header(), &target[endpoint.origin..end]);
            let signed = Signed { method: call.method.as_str(), path, query: &call.query, host, payload };
            connect::with_signer(self, |signer, renewed| {
                let credentials = renewed.unwrap_or(credentials);
                let (date, authorization) = signer.sign(credentials, &self.config.region, &signed);
                let headers = &mut headers;
                put_header(headers, HeaderName::from_static("x-amz-content-sha256"), payload)?;
                put_header(headers, HeaderName::from_static("x-amz-date"), date)?;
                put_header(headers, header::AUTHORIZATION, &authorization)?;
                match &credentials.session_token {
                    Some(token) => put_header(headers, HeaderName::from_static("x-amz-security-token"), token.expose()),
                    None => Ok(()),
                }
            })?;
        }
        let uri = target.try_into().map_err(|error| invalid(format!("the key makes no valid address: {error}")))?;
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (call.method.clone(), uri, headers);
        Ok(request)
    }

    /// Sends a request and waits for the head of its answer. A connection that the server closed while it was idle is
    /// replaced.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        attempt: &mut Try<'_>,
        mut request: Request<Outgoing>,
    ) -> Result<Answer, Failure> {
        let endpoint = attempt.endpoint;
        let len = request.body().len();
        let sent = (len > 0).then(|| request.body_mut().watch(&self.time));
        loop {
            let idle = connect::reuse(self, endpoint.index).await;
            let reused = idle.is_some();
            let mut connection = if let Some(connection) = idle {
                connection
            } else {
                let limit = self.config.connect_timeout.min(attempt.limit);
                match self.patient(attempt, limit, connect::open(self, endpoint)).await {
                    Some(opened) => opened?,
                    None => return Err(Failure::timeout("no connection was made", limit)),
                }
            };
            attempt.record.connection = connection.id;
            attempt.record.issued = Some(self.time.now());
            let answer = connection.requests.try_send_request(request);
            let outcome = self.while_moving(attempt, sent.as_deref(), answer).await;
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
            match self.patient(attempt, limit, body.frame()).await {
                None => return Err(Failure::timeout("no byte moved", limit)),
                Some(None) => break,
                Some(Some(Err(error))) => return Err(Failure::broken(&error)),
                Some(Some(Ok(frame))) => {
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

    /// Asks an endpoint whether it is back while others take its requests.
    pub(super) async fn ask_whether_back(self: Arc<Self>, index: usize) {
        let endpoint = self.endpoints.get(index);
        let start = self.time.now();
        let Some(probe) = endpoint.health.probe(start) else { return };
        let call = Call::new(&self, "asking for", OpKind::Head, Method::HEAD, None);
        let record = Attempt::started(OpKind::Head, start);
        let guard = endpoint.enter();
        let mut attempt = Try { record, endpoint, limit: PROBE_LIMIT, call: &call, probe: Some(probe), _guard: guard };
        let asked = self.simple_once(&mut attempt, &call, EMPTY_SHA256, Outgoing::empty()).await;
        let now = self.time.now();
        let notice = match asked {
            Err(failure) if failure.status == 0 => {
                endpoint.health.probe_failed(now);
                endpoint.health.failed(&endpoint.name, Evidence::Refused, (start, now), &failure.message)
            }
            _ => endpoint.health.answered(&endpoint.name, now),
        };
        self.tell(notice);
    }

    /// A request with a short body and a short answer, with its tries.
    pub(super) async fn simple(self: &Arc<Self>, call: &Call<'_>, body: Bytes) -> Result<Text, Box<Failed>> {
        let hash = if body.is_empty() { EMPTY_SHA256.to_owned() } else { super::sign::sha256([&body[..]]) };
        let mut tries = Tries::new(self, call);
        loop {
            let mut attempt = tries.begin(call.kind, 0, None).await?;
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

    /// Waits for something of an attempt, `None`: longer than `limit`; where nothing has come for a while, that is reported.
    pub(super) async fn patient<T>(
        &self,
        attempt: &Try<'_>,
        limit: Duration,
        something: impl Future<Output = T>,
    ) -> Option<T> {
        let mut something = std::pin::pin!(something);
        let (first, rest) = (limit.min(NOTICE), limit.saturating_sub(NOTICE));
        if let Ok(done) = tokio::time::timeout(first, &mut something).await {
            return Some(done);
        }
        if first == NOTICE {
            self.report_silence(attempt);
        }
        if rest.is_zero() { None } else { tokio::time::timeout(rest, something).await.ok() }
    }

    #[cold]
    fn report_silence(&self, attempt: &Try<'_>) {
        let now = self.time.now();
        let start = now.saturating_sub(nanos(NOTICE)).max(attempt.record.start);
        let Try { endpoint, call, .. } = attempt;
        let waiting = || format!("{} {}", call.doing, call.object(self));
        self.tell(endpoint.health.silent(&endpoint.name, (start, now), waiting));
    }

    /// Waits for an answer as long as bytes of the request move.
    pub(super) async fn while_moving<T>(
        &self,
        attempt: &Try<'_>,
        sent: Option<&Sent>,
        answer: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut answer = std::pin::pin!(answer);
        let (mut before, mut limit) = (0, attempt.limit);
        loop {
            if let Some(answer) = self.patient(attempt, limit, &mut answer).await {
                return Ok(answer);
            }
            let now = sent.map_or(0, Sent::bytes);
            if now == before {
                return Err(Failure::timeout("no byte moved", limit));
            }
            (before, limit) = (now, self.config.request_timeout);
        }
    }

    /// Passes a notice on.
    pub(super) fn tell(&self, notice: Option<EndpointNotice>) {
        if let (Some(notice), Some(sink)) = (notice, self.notices.get()) {
            sink(notice);
        }
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
