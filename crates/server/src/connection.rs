//! Accepts connections and serves HTTP/1.1 on them until the server is told to stop.

use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::{Body, HttpError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::connection_limiter::{CloseMode, ConnectionLimiter, ConnectionSlot, TrackedConnection};
use crate::fault_rule::{FaultEffect, FaultRules, RequestFacts};
use crate::latency::LatencyTimer;
use crate::protocol::S3HttpService;
use crate::token_bucket::ThrottledBody;
use crate::tracking::{TrackedRequestBody, TrackedResponseBody, TrackedStream};

/// Size of the read buffer, and bytes gathered for one write.
const BUFFER_BYTES: usize = 512 << 10;
/// Pause after a failed accept (for example, no file descriptors left), so that the accept loop does not spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Longest time spent on answering a connection that is refused.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);

/// Longest wait for the rest of a request that is refused.
const LAST_BYTES: Duration = Duration::from_millis(100);

/// The 503 response to a refused connection.
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// The HTTP service of one endpoint.
#[derive(Clone)]
pub(crate) struct Http {
    s3: S3HttpService,
    injection: Option<FaultInjection>,
}

/// The HTTP service of one connection.
struct ServedConnection {
    http: Http,
    member: Arc<TrackedConnection>,
    /// Whether the connection has already carried a request.
    used: AtomicBool,
}

/// Artificial latency and fault rules of one endpoint.
#[derive(Clone)]
pub(crate) struct FaultInjection {
    pub(crate) timer: Arc<LatencyTimer>,
    pub(crate) fault_rules: Arc<FaultRules>,
    pub(crate) endpoint: usize,
}

impl Http {
    pub(crate) fn new(s3: S3HttpService, injection: Option<FaultInjection>) -> Self {
        Self { s3, injection }
    }
}

impl Service<Request<Incoming>> for ServedConnection {
    type Response = Response<TrackedResponseBody>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.member.begin_request();
        let member = Arc::clone(&self.member);
        let s3 = self.http.s3.clone();
        let Some(FaultInjection { timer, fault_rules, endpoint }) = self.http.injection.clone() else {
            return Box::pin(async move {
                let response = s3.call(request.map(|body| TrackedRequestBody::body(body.into(), &member))).await?;
                Ok(response.map(|body| TrackedResponseBody::new(body, member)))
            });
        };
        let arrived = Instant::now();
        let first_of_connection = !self.used.swap(true, Ordering::Relaxed);
        let get = request.method() == Method::GET;
        let FaultEffect { delay, refuse, close, buckets } =
            fault_rules.due(RequestFacts { endpoint, get, first_of_connection, arrived });
        Box::pin(async move {
            let response = if refuse {
                refusal()
            } else {
                let received = |body: Incoming| {
                    ThrottledBody::body(TrackedRequestBody::body(body.into(), &member), &buckets, &timer)
                };
                s3.call(request.map(received)).await?
            };
            let mut response = response.map(|body| ThrottledBody::body(body, &buckets, &timer));
            if close {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            timer.first_byte(arrived, delay).await;
            Ok(response.map(|body| TrackedResponseBody::new(body, member)))
        })
    }
}

fn refusal() -> Response<Body> {
    let mut response = Response::new(Body::from(SLOW_DOWN.to_owned()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Everything an endpoint needs to accept connections.
pub(crate) struct ListeningEndpoint {
    pub(crate) listener: TcpListener,
    pub(crate) http: Http,
    pub(crate) gate: Arc<ConnectionLimiter>,
}

/// Serves connections until `stopped` changes, then gives requests in flight the time `drain` to end.
pub(crate) async fn serve(door: ListeningEndpoint, mut stopped: watch::Receiver<()>, drain: Duration) {
    let ListeningEndpoint { listener, http, gate } = door;
    let mut connections = JoinSet::new();
    let mut spare = spare();
    loop {
        tokio::select! {
            // A change and a dropped sender both mean that the server stops.
            _ = stopped.changed() => break,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    gate.could_not_accept();
                    turn_away(&listener, &mut spare).await;
                    continue;
                };
                if let Some(membership) = gate.admit() {
                    connections.spawn(converse(stream, http.clone(), membership, stopped.clone()));
                } else {
                    let permit = gate.begin_refusal().await;
                    connections.spawn(async move {
                        let _ = timeout(REFUSE_WITHIN, refuse(stream)).await;
                        drop(permit);
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    // Connections that have not ended by then are closed when the set is dropped.
    let _ = timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
}

/// A spare descriptor, closed when no other is left, so that a waiting connection can be accepted and closed.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Closes the connection that waits to be accepted, so that its client gets an error instead of waiting forever.
async fn turn_away(listener: &TcpListener, held: &mut Option<File>) {
    if held.take().is_some() {
        let _ = timeout(ACCEPT_AGAIN, listener.accept()).await;
    } else {
        sleep(ACCEPT_AGAIN).await;
    }
    *held = spare();
}

/// Answers the first request on a connection that exceeds the limit with 503 and closes the connection.
async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nRetry-After: 1\r\n\
         Connection: close\r\n\r\n{SLOW_DOWN}",
        SLOW_DOWN.len()
    );
    let mut sink = vec![0; 16 << 10];
    // Clients take a response that arrives before their request for a broken connection.
    if stream.read(&mut sink).await? == 0 {
        return Ok(());
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // If the socket is closed with unread data, the kernel resets the connection and the client never sees the
    // response.
    while let Ok(read) = timeout(LAST_BYTES, stream.read(&mut sink)).await {
        if read? == 0 {
            break;
        }
    }
    Ok(())
}

async fn converse(stream: TcpStream, http: Http, membership: ConnectionSlot, mut stopped: watch::Receiver<()>) {
    // Without TCP_NODELAY a small response on a kept connection waits 40 ms for a delayed acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let member = &membership.member;
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES);
    let conversation = ServedConnection { http, member: Arc::clone(member), used: AtomicBool::new(false) };
    let stream = TokioIo::new(TrackedStream::new(stream, Arc::clone(member)));
    let connection = builder.serve_connection(stream, conversation);
    tokio::pin!(connection);
    tokio::select! {
        // An error here means that the client has closed the connection.
        _ = connection.as_mut() => return,
        verdict = member.close_requested() => if verdict == CloseMode::Cut { return },
        _ = stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let cut = async { while member.close_requested().await != CloseMode::Cut {} };
    tokio::select! {
        _ = connection.as_mut() => {}
        () = cut => {}
    }
}
