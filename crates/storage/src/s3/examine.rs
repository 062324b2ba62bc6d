//! What one endpoint says when it is asked the questions of a run, one after the other: for a diagnosis, not for a run.
//!
//! Invariant: nothing is changed, every step has a deadline, and a step that failed ends those that build on it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dlio_event::{Nanos, OpKind};
use http::{Method, Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use super::bucket::is_whole_listing;
use super::connect::{self, Stream};
use super::endpoints::Endpoint;
use super::failure::Failure;
use super::request::{Call, Failed, invalid};
use super::{S3, Shared, encode, scheme, tunnel, xml};
use crate::ErrorKind;

/// Begins the reason why it is not known whether a bucket is there, where the server says it to nobody with these credentials.
pub const LOOKUP_REFUSED: &str = "looking it up is refused";

/// How one step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// As it should.
    Done(T),
    /// Why not.
    Failed(String),
    /// It was not tried; why.
    Skipped(String),
}

/// The answer to an unsigned request for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Status of the answer; a refusal is an answer.
    pub status: u16,
    /// Value of its `Date` header.
    pub date: Option<String>,
    /// From the request to the head of the answer, nanoseconds.
    pub latency: Nanos,
}

/// What one endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// The endpoint.
    pub endpoint: String,
    /// Opening a TCP connection, nanoseconds.
    pub connect: Step<Nanos>,
    /// TLS on it, nanoseconds.
    pub tls: Step<Nanos>,
    /// HTTP on that.
    pub answer: Step<Answered>,
    /// A signed request.
    pub credentials: Step<()>,
    /// The bucket.
    pub bucket: Step<()>,
    /// A listing of one key below the prefix; the key, if there is one.
    pub listing: Step<Option<String>>,
    /// Size of the object that was asked for, bytes.
    pub object: Step<u64>,
}

impl S3 {
    /// Examines every endpoint, all at the same time; `object` is a key that should exist. Each step may take `limit`.
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
                found.tls = Step::Failed(through(endpoint, told(endpoint, why).await));
                return found;
            }
        };
        match self.timed(limit, ask(stream, endpoint)).await {
            Ok(((status, date), latency)) => found.answer = Step::Done(Answered { status, date, latency }),
            Err(why) => {
                found.answer = Step::Failed(through(endpoint, told(endpoint, why).await));
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

    /// Waits for a step at most this long; returns what it gave and how long it took, or why it failed.
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

/// The failure of a step, or the reason that is behind it: the endpoint speaks the other scheme.
async fn told(endpoint: &Endpoint, why: String) -> String {
    scheme::mismatch(endpoint).await.map_or(why, |failure| failure.message)
}

/// A failure, with the proxy that the endpoint is behind.
fn through(endpoint: &Endpoint, why: String) -> String {
    match &endpoint.proxy {
        Some(proxy) => format!("through the proxy {proxy}: {why}"),
        None => why,
    }
}

/// An unsigned request for nothing: status and date of the answer.
async fn ask(stream: Stream, endpoint: &Endpoint) -> Result<(u16, Option<String>), Failure> {
    let mut requests = match stream {
        Stream::Plain(socket) => connect::drive(TokioIo::new(socket)).await?,
        Stream::Tls(stream) => connect::drive(TokioIo::new(*stream)).await?,
        Stream::Nested(stream) => connect::drive(TokioIo::new(*stream)).await?,
    };
    let mut request = Request::new(Empty::<Bytes>::new());
    let target = format!("{}/", &endpoint.base[..endpoint.origin]);
    *request.uri_mut() = target.parse().map_err(|_| invalid("the endpoint makes no valid address"))?;
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

impl Shared {
    /// Asks signed questions: a listing of one key, the bucket where that is refused, an object.
    async fn ask_signed(self: &Arc<Self>, found: &mut Examination, object: Option<&str>, limit: Duration) {
        let mut call = Call::new(self, "listing", OpKind::List, Method::GET, None);
        call.query.push_str("encoding-type=url&list-type=2&max-keys=1&prefix=");
        encode::query(&mut call.query, &self.config.full_key(""));
        match tokio::time::timeout(limit, self.simple(&call, Bytes::new())).await {
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

    /// A listing was refused: whether for the credentials, the bucket, or the permission.
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
                    // Who may not list a bucket may still read what is in it. The answer to HEAD has no reason; that to the listing had.
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
