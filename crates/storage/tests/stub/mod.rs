//! A scripted HTTP/1.1 server on its own thread: a handler determines the response to every request.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "every user needs another part of it")]
#![allow(clippy::unwrap_used, reason = "a test server that cannot start is a failed test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dlio_event::Outcome;
use dlio_storage::{ByteRange, Error, Receipt, Storage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Number of the request, from 0.
    pub nth: usize,
    /// Number of the connection.
    pub connection: usize,
}

impl Request {
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Debug, Clone)]
pub enum Reply {
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Sends these bytes of head and body, then closes the connection.
    Cut(Vec<u8>),
    /// Never answers.
    Silence,
    /// Closes the connection.
    Close,
    /// Answers, then closes the connection without announcing it.
    AnswerAndClose(u16, Vec<u8>),
}

pub fn status(code: u16) -> Reply {
    Reply::Answer(code, vec![], vec![])
}

pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
    Reply::Answer(200, vec![], body.into())
}

pub fn refusal(status: u16, code: &str) -> Reply {
    Reply::Answer(status, vec![], format!("<Error><Code>{code}</Code><Message>no</Message></Error>").into_bytes())
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

pub struct Stub {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::new(true, handler)
    }

    /// Starts a server whose handler has no state.
    pub fn forgetful(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::new(false, handler)
    }

    /// Starts a server on a listening socket.
    pub fn on(listener: std::net::TcpListener, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listening(listener, true, handler)
    }

    fn new(remember: bool, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listening(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), remember, handler)
    }

    fn listening(
        listener: std::net::TcpListener,
        remember: bool,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (handler, seen): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&log));
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                for connection in 0.. {
                    let (socket, _) = listener.accept().await.unwrap();
                    socket.set_nodelay(true).unwrap();
                    let (handler, seen) = (Arc::clone(&handler), remember.then(|| Arc::clone(&seen)));
                    tokio::spawn(async move {
                        let _ = serve(socket, connection, &*handler, seen.as_deref()).await;
                    });
                }
            });
        });
        Self { address, log }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Request::line).collect()
    }
}

async fn serve(
    mut socket: TcpStream,
    connection: usize,
    handler: &Handler,
    log: Option<&Mutex<Vec<Request>>>,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some((mut request, used)) = receive(&mut socket, &mut buffer).await? {
        buffer.drain(..used);
        request.connection = connection;
        if let Some(log) = log {
            let mut log = log.lock().unwrap();
            request.nth = log.len();
            log.push(request.clone());
        }
        match handler(&request) {
            Reply::Answer(code, headers, body) => {
                let bytes = answer(&request, code, &headers, &body);
                socket.write_all(&bytes).await?;
            }
            Reply::AnswerAndClose(code, body) => {
                let bytes = answer(&request, code, &[], &body);
                return socket.write_all(&bytes).await;
            }
            Reply::Cut(bytes) => return socket.write_all(&bytes).await,
            Reply::Silence => std::future::pending().await,
            Reply::Close => return Ok(()),
        }
    }
    Ok(())
}

pub fn answer(request: &Request, code: u16, headers: &[(&'static str, String)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {code} Something\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") && code != 204 {
        let _ = write!(text, "content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    if request.method != "HEAD" {
        bytes.extend_from_slice(body);
    }
    bytes
}

async fn receive(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<(Request, usize)>> {
    let mut body_start = None;
    let mut length = 0;
    loop {
        if body_start.is_none()
            && let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n")
        {
            body_start = Some(end + 4);
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let found = head.lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
            length = found.map_or(0, |text| text.trim().parse().unwrap());
        }
        if let Some(start) = body_start
            && buffer.len() >= start + length
        {
            return Ok(Some((parse(&buffer[..start], &buffer[start..start + length]), start + length)));
        }
        buffer.reserve(256 << 10);
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(head: &[u8], body: &[u8]) -> Request {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let mut word = || first.next().unwrap_or_default().to_owned();
    let (method, target) = (word(), word());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Request { method, target, headers, body: body.to_vec(), nth: 0, connection: 0 }
}

/// The runtime's clock, which also advances whenever it is read.
#[derive(Debug)]
pub struct Ticks(AtomicU64, tokio::time::Instant);

impl Default for Ticks {
    fn default() -> Self {
        Self(AtomicU64::new(0), tokio::time::Instant::now())
    }
}

impl dlio_event::TimeSource for Ticks {
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.1.elapsed().as_nanos()).unwrap();
        elapsed + self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Produces `len` bytes with the value `k mod 251` at position k.
#[derive(Debug)]
pub struct Pattern {
    pub len: u64,
    pub at: u64,
}

impl Pattern {
    pub fn new(len: u64) -> Self {
        Self { len, at: 0 }
    }

    pub fn bytes(len: u64) -> Vec<u8> {
        (0..len).map(|k| u8::try_from(k % 251).unwrap()).collect()
    }
}

impl dlio_storage::ChunkSource for Pattern {
    fn len(&self) -> u64 {
        self.len
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        for slot in buffer {
            if self.at == self.len {
                break;
            }
            *slot = u8::try_from(self.at % 251).unwrap();
            self.at += 1;
            filled += 1;
        }
        filled
    }
}

/// Creates a runtime for the requests of one test.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Reads a whole range.
pub async fn read(s3: &dyn Storage, key: &str, range: ByteRange) -> Result<(Vec<u8>, Receipt), Error> {
    let mut bytes = Vec::new();
    let mut sink = |chunk: &[u8]| {
        bytes.extend_from_slice(chunk);
        Ok(())
    };
    let receipt = s3.open(key).await?.read(range, &mut sink).await?;
    Ok((bytes, receipt))
}

/// Returns the outcome of each attempt.
pub fn outcomes(receipt: &Receipt) -> Vec<Outcome> {
    receipt.attempts.iter().map(|attempt| attempt.outcome).collect()
}
