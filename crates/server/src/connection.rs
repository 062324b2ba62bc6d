//! Accepting connections and speaking HTTP/1.1 on them, until told to stop.

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

use crate::gate::{Gate, Member, Membership, Verdict};
use crate::line::Narrowed;
use crate::pace::Pacer;
use crate::protocol::Front;
use crate::trouble::{Asked, Due, Troubles};
use crate::watched::{Answer, Awaited, WatchedStream};

/// Bytes read or gathered for writing at a time.
const BUFFER_BYTES: usize = 512 << 10;
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// How long a refused connection may take to be told so.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);

/// How long the rest of a refused request is waited for.
const LAST_BYTES: Duration = Duration::from_millis(100);

/// What a server refuses a request with.
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// The HTTP service of one endpoint.
#[derive(Clone)]
pub(crate) struct Http {
    s3: Front,
    slowness: Option<Slowness>,
}

/// The same for one connection.
struct Conversation {
    http: Http,
    member: Arc<Member>,
    /// Whether the connection has had a request.
    used: AtomicBool,
}

/// What makes answers late, and which ones.
#[derive(Clone)]
pub(crate) struct Slowness {
    pub(crate) pacer: Arc<Pacer>,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) endpoint: usize,
}

impl Http {
    pub(crate) fn new(s3: Front, slowness: Option<Slowness>) -> Self {
        Self { s3, slowness }
    }
}

impl Service<Request<Incoming>> for Conversation {
    type Response = Response<Answer>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.member.begin_request();
        let member = Arc::clone(&self.member);
        let s3 = self.http.s3.clone();
        let Some(Slowness { pacer, troubles, endpoint }) = self.http.slowness.clone() else {
            return Box::pin(async move {
                let response = s3.call(request.map(|body| Awaited::body(body.into(), &member))).await?;
                Ok(response.map(|body| Answer::new(body, member)))
            });
        };
        let arrived = Instant::now();
        let first_of_connection = !self.used.swap(true, Ordering::Relaxed);
        let get = request.method() == Method::GET;
        let Due { delay, refuse, close, lines } = troubles.due(Asked { endpoint, get, first_of_connection, arrived });
        Box::pin(async move {
            let response = if refuse {
                refusal()
            } else {
                let received = |body: Incoming| Narrowed::body(Awaited::body(body.into(), &member), &lines, &pacer);
                s3.call(request.map(received)).await?
            };
            let mut response = response.map(|body| Narrowed::body(body, &lines, &pacer));
            if close {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            pacer.first_byte(arrived, delay).await;
            Ok(response.map(|body| Answer::new(body, member)))
        })
    }
}

fn refusal() -> Response<Body> {
    let mut response = Response::new(Body::from(SLOW_DOWN.to_owned()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// What an endpoint accepts connections with.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) http: Http,
    pub(crate) gate: Arc<Gate>,
}

/// Serves connections until `stopped`, then lets those in flight end within `drain`.
pub(crate) async fn serve(door: Door, mut stopped: watch::Receiver<()>, drain: Duration) {
    let Door { listener, http, gate } = door;
    let mut connections = JoinSet::new();
    let mut spare = spare();
    loop {
        tokio::select! {
            // A change and a dropped sender both mean: stop.
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
    // What does not end in time is cut when the set is dropped.
    let _ = timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
}

/// A descriptor that is given up when there is no other, to accept a connection and close it.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Closes the connection that waits, so that its client learns of it instead of waiting for ever.
async fn turn_away(listener: &TcpListener, held: &mut Option<File>) {
    if held.take().is_some() {
        let _ = timeout(ACCEPT_AGAIN, listener.accept()).await;
    } else {
        sleep(ACCEPT_AGAIN).await;
    }
    *held = spare();
}

/// Answers the first request of a connection that there is no room for, whatever it is, and closes.
async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nRetry-After: 1\r\n\
         Connection: close\r\n\r\n{SLOW_DOWN}",
        SLOW_DOWN.len()
    );
    let mut sink = vec![0; 16 << 10];
    // An answer before the request would be taken for a broken connection.
    if stream.read(&mut sink).await? == 0 {
        return Ok(());
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing before the request is read would make the kernel take the answer back.
    while let Ok(read) = timeout(LAST_BYTES, stream.read(&mut sink)).await {
        if read? == 0 {
            break;
        }
    }
    Ok(())
}

async fn converse(stream: TcpStream, http: Http, membership: Membership, mut stopped: watch::Receiver<()>) {
    // Without it a small answer on a kept connection waits 40 ms for an acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let member = &membership.member;
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES);
    let conversation = Conversation { http, member: Arc::clone(member), used: AtomicBool::new(false) };
    let stream = TokioIo::new(WatchedStream::new(stream, Arc::clone(member)));
    let connection = builder.serve_connection(stream, conversation);
    tokio::pin!(connection);
    tokio::select! {
        // An error is the client's, who has hung up.
        _ = connection.as_mut() => return,
        verdict = member.told() => if verdict == Verdict::Cut { return },
        _ = stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let cut = async { while member.told().await != Verdict::Cut {} };
    tokio::select! {
        _ = connection.as_mut() => {}
        () = cut => {}
    }
}
