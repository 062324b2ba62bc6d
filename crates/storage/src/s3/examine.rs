//! Examines single endpoints for a diagnosis, step by step, with the requests that a run would send.
//!
//! Invariant: nothing is changed, every step has a deadline, and a failed step ends those that depend on it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dlio_event::{Nanos, OpKind};
use http::{Method, Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use super::bucket::is_whole_listing;
use super::client::S3;
use super::client_state::ClientState;
use super::connect::{self, Stream};
use super::endpoints::Endpoint;
use super::failure::Failure;
use super::request_spec::{Failed, RequestSpec};
use super::{encode, scheme, tunnel, xml};
use crate::ErrorKind;

/// Beginning of the reason if the server does not tell these credentials whether a bucket exists.
pub const LOOKUP_REFUSED: &str = "looking it up is refused";

/// Result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// Successful.
    Done(T),
    /// Failed, with the reason.
    Failed(String),
    /// Not tried, with the reason.
    Skipped(String),
}

/// The response to an unsigned request without a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedResponse {
    /// Status of the response; any response counts.
    pub status: u16,
    /// Value of its `Date` header.
    pub date: Option<String>,
    /// Time from the request to the head of the response, in nanoseconds.
    pub latency: Nanos,
}

/// Results of the examination of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// Name of the endpoint.
    pub endpoint: String,
    /// Time to open a TCP connection, in nanoseconds.
    pub connect: Step<Nanos>,
    /// Time of the TLS handshake, in nanoseconds.
    pub tls: Step<Nanos>,
    /// An unsigned HTTP request.
    pub answer: Step<UnsignedResponse>,
    /// A signed request.
    pub credentials: Step<()>,
    /// The bucket.
    pub bucket: Step<()>,
    /// A listing of one key below the prefix; the key, if there is one.
    pub listing: Step<Option<String>>,
    /// Size of the requested object in bytes.
    pub object: Step<u64>,
}

impl S3 {
    /// Examines all endpoints concurrently; `object` is a key that should exist. Each step may take `limit`.
    pub async fn examine(&self, object: Option<&str>, limit: Duration) -> Vec<Examination> {
        let endpoints = self.shared.endpoints.iter();
        futures::future::join_all(endpoints.map(|endpoint| self.examine_one(endpoint, object, limit))).await
    }

    async fn examine_one(&self, endpoint: &Endpoint, object: Option<&str>, limit: Duration) -> Examination {
        let mut found = Examination {
            endpoint: endpoint.name.to_string(),
            connect: Step::Skipped(String::new()),
            tls: Step::Skipped("http has no TLS".to_owned()),
            answer: Step::Skipped("there is no connection".to_owned()),
            credentials: Step::Skipped("there is no HTTP answer".to_owned()),
            bucket: Step::Skipped("there is no HTTP answer".to_owned()),
            listing: Step::Skipped("there is no HTTP answer".to_owned()),
            object: Step::Skipped("there is no HTTP answer".to_owned()),
        };
        let path = match self.timed(limit, connect::path(&self.shared, endpoint)).await {
            Ok((path, took)) => {
                found.connect = Step::Done(took);
                path
            }
            Err(why) => {
                found.connect = Step::Failed(through(endpoint, why));
                return found;
            }
        };
        let stream = match self.timed(limit, connect::secure(&self.shared, endpoint, path)).await {
            Ok((stream, took)) => {
                if endpoint.tls {
                    found.tls = Step::Done(took);
                }
                stream
            }
            Err(why) => {
                found.tls = Step::Failed(through(endpoint, with_proxy(endpoint, why).await));
                return found;
            }
        };
        match self.timed(limit, ask(stream, endpoint)).await {
            Ok(((status, date), latency)) => found.answer = Step::Done(UnsignedResponse { status, date, latency }),
            Err(why) => {
                found.answer = Step::Failed(through(endpoint, with_proxy(endpoint, why).await));
                return found;
            }
        }
        let before = "the step before it failed".to_owned();
        (found.credentials, found.bucket) = (Step::Skipped(before.clone()), Step::Skipped(before.clone()));
        (found.listing, found.object) = (Step::Skipped(before.clone()), Step::Skipped(before));
        match self.only(&endpoint.name) {
            Ok(alone) => alone.shared.ask_signed(&mut found, object, limit).await,
            Err(error) => found.credentials = Step::Failed(error.message),
        }
        found
    }

    /// Waits for a step for at most `limit`, and returns its result and duration, or the reason of its failure.
    async fn timed<T>(
        &self,
        limit: Duration,
        step: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(T, Nanos), String> {
        let start = self.shared.time.now();
        match tokio::time::timeout(limit, step).await {
            Ok(Ok(given)) => Ok((given, self.shared.time.now().saturating_sub(start))),
            Ok(Err(failure)) => Err(failure.message),
            Err(_) => Err(format!("no answer within {} s", limit.as_secs_f64())),
        }
    }
}

/// Returns the failure of a step, or its underlying reason: the endpoint uses the other scheme.
async fn with_proxy(endpoint: &Endpoint, why: String) -> String {
    scheme::mismatch(endpoint).await.map_or(why, |failure| failure.message)
}

/// Returns a failure that names the proxy of the endpoint.
fn through(endpoint: &Endpoint, why: String) -> String {
    match &endpoint.proxy {
        Some(proxy) => format!("through the proxy {proxy}: {why}"),
        None => why,
    }
}

/// Sends an unsigned request without a bucket; returns status and date of the response.
async fn ask(stream: Stream, endpoint: &Endpoint) -> Result<(u16, Option<String>), Failure> {
    let mut requests = match stream {
        Stream::Plain(socket) => connect::drive(TokioIo::new(socket)).await?,
        Stream::Tls(stream) => connect::drive(TokioIo::new(*stream)).await?,
        Stream::Nested(stream) => connect::drive(TokioIo::new(*stream)).await?,
    };
    let mut request = Request::new(Empty::<Bytes>::new());
    let target = format!("{}/", &endpoint.base[..endpoint.origin]);
    *request.uri_mut() = target.parse().map_err(|_| Failure::invalid("the endpoint makes no valid address"))?;
    request.headers_mut().insert(header::HOST, endpoint.authority.clone());
    if let Some(authorization) = &endpoint.proxy_authorization {
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
    }
    let answer = requests.send_request(request).await.map_err(|error| Failure::broken(&error))?;
    if let (407, Some(proxy)) = (answer.status().as_u16(), &endpoint.proxy) {
        return Err(Failure::unreachable(tunnel::unauthorized(proxy)));
    }
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    Ok((answer.status().as_u16(), date))
}

impl ClientState {
    /// Sends signed requests: a listing of one key; the bucket, if the listing is refused; an object.
    async fn ask_signed(self: &Arc<Self>, found: &mut Examination, object: Option<&str>, limit: Duration) {
        let mut spec = RequestSpec::new(self, "listing", OpKind::List, Method::GET, None);
        spec.query.push_str("encoding-type=url&list-type=2&max-keys=1&prefix=");
        encode::query(&mut spec.query, &self.config.full_key(""));
        match tokio::time::timeout(limit, self.simple(&spec, Bytes::new())).await {
            Err(_) => found.credentials = Step::Failed(format!("no answer within {} s", limit.as_secs_f64())),
            Ok(Ok(answer)) if !is_whole_listing(&answer.body) => {
                let why =
                    "the answer to a listing is not a ListBucketResult, or only a part of one: is this an S3 endpoint?";
                found.credentials = Step::Failed(why.to_owned());
            }
            Ok(Ok(answer)) => {
                (found.credentials, found.bucket) = (Step::Done(()), Step::Done(()));
                let key = xml::each(&answer.body, "Contents").next().and_then(|content| xml::text(content, "Key"));
                found.listing = Step::Done(key);
            }
            Ok(Err(failed)) => self.refused(found, *failed, limit).await,
        }
        if found.credentials == Step::Done(()) && !matches!(found.bucket, Step::Failed(_)) {
            found.object = self.ask_for(object, limit).await;
        }
    }

    /// Determines whether a listing was refused because of the credentials, the bucket, or the permission.
    async fn refused(self: &Arc<Self>, found: &mut Examination, failed: Failed, limit: Duration) {
        let Failed { error, failure } = failed;
        match (failure.status, failure.code.as_str()) {
            (404, _) => {
                found.credentials = Step::Done(());
                found.bucket = Step::Failed(error.message);
            }
            (403, "AccessDenied") if self.config.credentials.is_some() => {
                found.credentials = Step::Done(());
                let refused = error.message.clone();
                found.listing = Step::Failed(error.message);
                found.bucket = match tokio::time::timeout(limit, self.head_bucket()).await {
                    Ok(Ok(_)) => Step::Done(()),
                    Ok(Err(failed)) if failed.error.kind == ErrorKind::NotFound => Step::Failed(failed.error.message),
                    // Credentials that may not list a bucket may still be allowed to read from it. The response to
                    // HEAD contains no reason; that to the listing did.
                    Ok(Err(failed)) => {
                        let told = if failed.failure.lacks_reason() { refused } else { failed.error.message };
                        Step::Skipped(format!("{LOOKUP_REFUSED}: {told}"))
                    }
                    Err(_) => Step::Skipped(format!("no answer within {} s", limit.as_secs_f64())),
                };
            }
            (300..400, _) => found.bucket = Step::Failed(error.message),
            _ => found.credentials = Step::Failed(error.message),
        }
    }

    async fn ask_for(self: &Arc<Self>, object: Option<&str>, limit: Duration) -> Step<u64> {
        let Some(key) = object else { return Step::Skipped("nothing is read".to_owned()) };
        match tokio::time::timeout(limit, self.head(key)).await {
            Err(_) => Step::Failed(format!("{}: no answer within {} s", self.config.uri(key), limit.as_secs_f64())),
            Ok(Ok((metadata, _))) => Step::Done(metadata.size),
            Ok(Err(error)) => Step::Failed(format!("{}: {}", error.object, error.message)),
        }
    }
}
