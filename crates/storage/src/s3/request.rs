//! Sends one request and receives its response.
//!
//! Invariant: every request that was handed to a connection is one [`Attempt`]; none is repeated silently.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dlio_event::OpKind;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::body::{RequestBody, SendProgress};
use super::client_state::ClientState;
use super::connect::{self, Connection};
use super::endpoints::Endpoint;
use super::failure::{Failure, S3Error};
use super::health::{EndpointNotice, Evidence, NOTICE};
use super::request_spec::{Failed, RequestSpec};
use super::retry::{self, nanos};
use super::retry_loop::{ActiveAttempt, RetryLoop};
use super::sign::{EMPTY_SHA256, Signed};
use crate::{Attempt, Receipt};

/// Most bytes of an error response or a listing that are kept.
const TEXT_LIMIT: usize = 16 << 20;
/// Longest silence of an endpoint that is probed while others take its requests.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Head of a response, with the body still to come.
pub(super) struct ResponseHead {
    pub(super) head: response::Parts,
    pub(super) body: Incoming,
    connection: Connection,
    /// Whether the whole request had been sent when the response arrived.
    reusable: bool,
}

/// A short response, received completely.
pub(super) struct TextResponse {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) receipt: Receipt,
}

impl TextResponse {
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl ClientState {
    /// Builds a signed request.
    pub(super) fn request(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        spec: &RequestSpec<'_>,
        payload: &str,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Failure> {
        let mut target = String::with_capacity(endpoint.base.len() + spec.path.len() + spec.query.len() + 2);
        target.push_str(&endpoint.base);
        target.push_str(&spec.path);
        if target.len() == endpoint.origin {
            target.push('/');
        }
        let end = target.len();
        if !spec.query.is_empty() {
            target.push('?');
            target.push_str(&spec.query);
        }
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::HOST, endpoint.authority.clone());
        if let Some(authorization) = &endpoint.proxy_authorization {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        if spec.method == Method::PUT || spec.method == Method::POST {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if let Some(credentials) = &self.config.credentials {
            let (host, path) = (endpoint.host_header(), &target[endpoint.origin..end]);
            let signed = Signed { method: spec.method.as_str(), path, query: &spec.query, host, payload };
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
        let uri =
            target.try_into().map_err(|error| Failure::invalid(format!("the key makes no valid address: {error}")))?;
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (spec.method.clone(), uri, headers);
        Ok(request)
    }

    /// Sends a request and waits for the head of its response. A connection that the server closed while it was idle
    /// is replaced.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        attempt: &mut ActiveAttempt<'_>,
        mut request: Request<RequestBody>,
    ) -> Result<ResponseHead, Failure> {
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
            let response = connection.requests.try_send_request(request);
            let outcome = self.while_moving(attempt, sent.as_deref(), response).await;
            attempt.record.last_byte = sent.as_deref().and_then(SendProgress::ended);
            let outcome = outcome?;
            match outcome {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    attempt.record.status = i16::try_from(head.status.as_u16()).unwrap_or(0);
                    let reusable = sent.is_none_or(|sent| sent.bytes() == len);
                    return Ok(ResponseHead { head, body, connection, reusable });
                }
                Err(error) => request = retry::unsent(error, reused)?,
            }
        }
    }

    /// Returns the connection of a completely received response to the pool.
    pub(super) fn finish(self: &Arc<Self>, attempt: &ActiveAttempt<'_>, response: ResponseHead) {
        if response.reusable {
            connect::release(self, attempt.endpoint.index, response.connection);
        }
    }

    /// Receives the body of a response.
    pub(super) async fn text(
        self: &Arc<Self>,
        attempt: &ActiveAttempt<'_>,
        response: ResponseHead,
    ) -> Result<(response::Parts, Bytes), Failure> {
        let ResponseHead { head, mut body, connection, reusable } = response;
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
                        return Err(Failure::invalid("the response is too long to be S3's"));
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

    /// Converts a response other than success into a failure.
    pub(super) async fn refusal(self: &Arc<Self>, attempt: &ActiveAttempt<'_>, response: ResponseHead) -> Failure {
        match self.text(attempt, response).await {
            Ok((head, body)) => self.judge(head.status, &head.headers, &body),
            Err(failure) => failure,
        }
    }

    pub(super) fn judge(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let body = &String::from_utf8_lossy(body);
        let config = &self.config;
        let signed = config.credentials.is_some();
        S3Error { bucket: &config.bucket, region: &config.region, signed, status, headers, body }.failure()
    }

    /// Probes an endpoint that is down while others take its requests.
    pub(super) async fn ask_whether_back(self: Arc<Self>, index: usize) {
        let endpoint = self.endpoints.get(index);
        let start = self.time.now();
        let Some(probe) = endpoint.health.probe(start) else { return };
        let spec = RequestSpec::new(&self, "asking for", OpKind::Head, Method::HEAD, None);
        let record = Attempt::started(OpKind::Head, start);
        let guard = endpoint.enter();
        let mut attempt =
            ActiveAttempt { record, endpoint, limit: PROBE_LIMIT, spec: &spec, probe: Some(probe), _guard: guard };
        let asked = self.simple_once(&mut attempt, &spec, EMPTY_SHA256, RequestBody::empty()).await;
        let now = self.time.now();
        let notice = match asked {
            Err(failure) if failure.status == 0 => {
                endpoint.health.probe_failed(now);
                endpoint.health.failed(&endpoint.name, Evidence::Refused, (start, now), &failure.message)
            }
            _ => endpoint.health.answered(&endpoint.name, now),
        };
        self.notify(notice);
    }

    /// Sends a request with a short body and a short response, with retries.
    pub(super) async fn simple(
        self: &Arc<Self>,
        spec: &RequestSpec<'_>,
        body: Bytes,
    ) -> Result<TextResponse, Box<Failed>> {
        let hash = if body.is_empty() { EMPTY_SHA256.to_owned() } else { super::sign::sha256([&body[..]]) };
        let mut retries = RetryLoop::new(self, spec);
        loop {
            let mut attempt = retries.begin(spec.kind, 0, None).await?;
            let outgoing = if body.is_empty() { RequestBody::empty() } else { RequestBody::frames([body.clone()]) };
            match self.simple_once(&mut attempt, spec, &hash, outgoing).await {
                Ok((head, body)) => {
                    let body = String::from_utf8_lossy(&body).into_owned();
                    return Ok(TextResponse { headers: head.headers, body, receipt: retries.succeed(attempt, 0) });
                }
                Err(failure) => retries.failed(attempt, failure).await?,
            }
        }
    }

    async fn simple_once(
        self: &Arc<Self>,
        attempt: &mut ActiveAttempt<'_>,
        spec: &RequestSpec<'_>,
        hash: &str,
        body: RequestBody,
    ) -> Result<(response::Parts, Bytes), Failure> {
        let request = self.request(attempt.endpoint, spec, hash, body)?;
        let response = self.exchange(attempt, request).await?;
        attempt.record.first_byte = Some(self.time.now());
        if !response.head.status.is_success() {
            return Err(self.refusal(attempt, response).await);
        }
        let (head, body) = self.text(attempt, response).await?;
        // S3 may report an error after it has sent a success status.
        if spec.method == Method::POST && body.windows(7).any(|window| window == b"<Error>") {
            return Err(self.judge(StatusCode::INTERNAL_SERVER_ERROR, &head.headers, &body));
        }
        Ok((head, body))
    }

    /// Waits for a part of an attempt, for at most `limit`. If nothing arrives for a while, the silence is reported.
    pub(super) async fn patient<T>(
        &self,
        attempt: &ActiveAttempt<'_>,
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
    fn report_silence(&self, attempt: &ActiveAttempt<'_>) {
        let now = self.time.now();
        let start = now.saturating_sub(nanos(NOTICE)).max(attempt.record.start);
        let ActiveAttempt { endpoint, spec, .. } = attempt;
        let waiting = || format!("{} {}", spec.doing, spec.object(self));
        self.notify(endpoint.health.silent(&endpoint.name, (start, now), waiting));
    }

    /// Waits for a response as long as bytes of the request are being sent.
    pub(super) async fn while_moving<T>(
        &self,
        attempt: &ActiveAttempt<'_>,
        sent: Option<&SendProgress>,
        response: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut response = std::pin::pin!(response);
        let (mut before, mut limit) = (0, attempt.limit);
        loop {
            if let Some(response) = self.patient(attempt, limit, &mut response).await {
                return Ok(response);
            }
            let now = sent.map_or(0, SendProgress::bytes);
            if now == before {
                return Err(Failure::timeout("no byte moved", limit));
            }
            (before, limit) = (now, self.config.request_timeout);
        }
    }

    /// Passes a notice to the sink.
    pub(super) fn notify(&self, notice: Option<EndpointNotice>) {
        if let (Some(notice), Some(sink)) = (notice, self.notices.get()) {
            sink(notice);
        }
    }
}

pub(super) fn put_header(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Failure> {
    let value = HeaderValue::from_str(value).map_err(|_| {
        Failure::invalid(format!("the value for {name} has characters that no header may have; check the credentials"))
    })?;
    headers.insert(name, value);
    Ok(())
}
