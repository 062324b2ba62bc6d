//! Accepting connections and speaking HTTP/1.1 on them, until told to stop.

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
use s3s::service::S3Service;
use s3s::{Body, HttpError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::line::Narrowed;
use crate::pace::Pacer;
use crate::trouble::{Asked, Due, Troubles};

/// Bytes read or gathered for writing at a time.
const BUFFER_BYTES: usize = 512 << 10;
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// What a server refuses a request with.
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// The HTTP service of one endpoint.
#[derive(Clone)]
pub(crate) struct Http {
    s3: S3Service,
    slowness: Option<Slowness>,
    /// Whether the connection has had a request.
    used: Arc<AtomicBool>,
}

/// What makes answers late, and which ones.
#[derive(Clone)]
pub(crate) struct Slowness {
    pub(crate) pacer: Arc<Pacer>,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) endpoint: usize,
}

impl Http {
    pub(crate) fn new(s3: S3Service, slowness: Option<Slowness>) -> Self {
        Self { s3, slowness, used: Arc::default() }
    }

    /// The service of a new connection.
    fn of_connection(&self) -> Self {
        Self { used: Arc::default(), ..self.clone() }
    }
}

impl Service<Request<Incoming>> for Http {
    type Response = Response<Body>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Some(Slowness { pacer, troubles, endpoint }) = self.slowness.clone() else {
            return Service::call(&self.s3, request);
        };
        let arrived = Instant::now();
        let first_of_connection = !self.used.swap(true, Ordering::Relaxed);
        let get = request.method() == Method::GET;
        let Due { delay, refuse, close, lines } = troubles.due(Asked { endpoint, get, first_of_connection, arrived });
        let s3 = self.s3.clone();
        Box::pin(async move {
            let response = if refuse {
                refusal()
            } else {
                s3.call(request.map(|body| Narrowed::body(body.into(), &lines, &pacer))).await?
            };
            let mut response = response.map(|body| Narrowed::body(body, &lines, &pacer));
            if close {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            pacer.first_byte(arrived, delay).await;
            Ok(response)
        })
    }
}

fn refusal() -> Response<Body> {
    let mut response = Response::new(Body::from(SLOW_DOWN.to_owned()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Serves connections until `stopped`, then lets those in flight end within `drain`.
pub(crate) async fn serve(listener: TcpListener, http: Http, mut stopped: watch::Receiver<()>, drain: Duration) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A change and a dropped sender both mean: stop.
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, http.of_connection(), stopped.clone()));
                }
                Err(_) => sleep(ACCEPT_AGAIN).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    // What does not end in time is cut when the set is dropped.
    let _ = timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
}

async fn converse(stream: TcpStream, http: Http, mut stopped: watch::Receiver<()>) {
    // Without it a small answer on a kept connection waits 40 ms for an acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), http);
    tokio::pin!(connection);
    tokio::select! {
        // An error is the client's, who has hung up.
        _ = connection.as_mut() => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
