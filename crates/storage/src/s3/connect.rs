//! Connections: one pool per thread and client, so that lanes share no connection, buffer or lock.
//!
//! A task on the runtime of the thread that opened a connection drives it. When that runtime ends, the task ends too
//! and the connection counts as closed: the next request opens a new one.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dlio_event::ConnectionId;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::body::{Pool, RequestBody};
use super::client_state::ClientState;
use super::config::Addressing;
use super::credentials::Credentials;
use super::endpoints::Endpoint;
use super::failure::Failure;
use super::sign::Signer;
use super::{resolve, tls, tunnel};

/// Largest single read from a socket; hyper starts with less and grows to it while reads fill the buffer.
const READ_BUFFER: usize = 128 << 10;
/// Longest wait until an idle connection is ready for its next request.
pub(super) const SETTLE: Duration = Duration::from_millis(100);

/// An open connection.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) requests: SendRequest<RequestBody>,
}

/// A thread's state for one client.
struct Lane {
    client: Weak<ClientState>,
    /// Idle connections of each endpoint, the most recently used last.
    idle: Vec<Vec<Connection>>,
    signer: Signer,
    /// Generation and value of the newest credentials that this thread knows.
    renewed: (u64, Option<Arc<Credentials>>),
    pool: Pool,
}

thread_local! {
    static LANES: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
}

/// Runs `with` on this thread's state for the client.
fn lane<T>(client: &Arc<ClientState>, with: impl FnOnce(&mut Lane) -> T) -> T {
    LANES.with_borrow_mut(|lanes| {
        let address = Arc::as_ptr(client);
        let known = lanes.iter().position(|lane| std::ptr::eq(lane.client.as_ptr(), address));
        let index = known.unwrap_or_else(|| {
            lanes.retain(|lane| lane.client.strong_count() > 0);
            let idle = client.endpoints.iter().map(|_| Vec::new()).collect();
            let client = Arc::downgrade(client);
            lanes.push(Lane { client, idle, signer: Signer::new(), renewed: (0, None), pool: Pool::default() });
            lanes.len() - 1
        });
        with(&mut lanes[index])
    })
}

/// Runs `with` on this thread's signer and, if they were renewed, the newest credentials.
pub(super) fn with_signer<T>(
    client: &Arc<ClientState>,
    with: impl FnOnce(&mut Signer, Option<&Credentials>) -> T,
) -> T {
    lane(client, |lane| {
        if let Some(renewal) = &client.config.renewal
            && renewal.generation() != lane.renewed.0
        {
            lane.renewed = (renewal.generation(), Some(renewal.newest().0));
            // Its key is derived from the old secret.
            lane.signer = Signer::new();
        }
        with(&mut lane.signer, lane.renewed.1.as_deref())
    })
}

/// Runs `with` on this thread's frames.
pub(super) fn with_pool<T>(client: &Arc<ClientState>, with: impl FnOnce(&mut Pool) -> T) -> T {
    lane(client, |lane| with(&mut lane.pool))
}

/// Returns an idle connection to this thread's pool.
pub(super) fn release(client: &Arc<ClientState>, endpoint: usize, connection: Connection) {
    if !connection.requests.is_closed() {
        lane(client, |lane| lane.idle[endpoint].push(connection));
    }
}

/// Returns an idle connection that is still open.
pub(super) async fn reuse(client: &Arc<ClientState>, endpoint: usize) -> Option<Connection> {
    loop {
        let mut connection = lane(client, |lane| lane.idle[endpoint].pop())?;
        if connection.requests.is_closed() {
            continue;
        }
        // Its task may not have noticed yet that the last response is complete.
        let requests = &mut connection.requests;
        if requests.is_ready() || matches!(tokio::time::timeout(SETTLE, requests.ready()).await, Ok(Ok(()))) {
            return Some(connection);
        }
    }
}

/// Opens a connection.
pub(super) async fn open(client: &ClientState, endpoint: &Endpoint) -> Result<Connection, Failure> {
    let requests = handshake(client, endpoint).await?;
    let id = ConnectionId(client.connections.fetch_add(1, Ordering::Relaxed));
    Ok(Connection { id, requests })
}

async fn handshake(client: &ClientState, endpoint: &Endpoint) -> Result<SendRequest<RequestBody>, Failure> {
    match stream(client, endpoint).await? {
        Stream::Plain(socket) => drive(TokioIo::new(socket)).await,
        Stream::Tls(stream) => drive(TokioIo::new(*stream)).await,
        Stream::Nested(stream) => drive(TokioIo::new(*stream)).await,
    }
}

/// A stream to an endpoint.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// TLS through a proxy that itself uses TLS.
    Nested(Box<TlsStream<TlsStream<TcpStream>>>),
}

/// A stream to an endpoint before the TLS handshake with it.
pub(super) enum Path {
    Direct(TcpStream),
    /// Through a proxy that uses TLS.
    Secure(Box<TlsStream<TcpStream>>),
}

/// Opens a stream to an endpoint.
pub(super) async fn stream(client: &ClientState, endpoint: &Endpoint) -> Result<Stream, Failure> {
    let path = path(client, endpoint).await?;
    secure(client, endpoint, path).await
}

/// Opens a socket to an endpoint or to its proxy, which opens a tunnel for https.
pub(super) async fn path(client: &ClientState, endpoint: &Endpoint) -> Result<Path, Failure> {
    let Some(proxy) = &endpoint.proxy else {
        let socket = socket(&endpoint.host, endpoint.port).await;
        return socket.map(Path::Direct).map_err(|error| unreachable(client, endpoint, &error));
    };
    let no_proxy = |error| {
        let name = &endpoint.host;
        Failure::unreachable(format!("{error}; check that the proxy is up, or put {name} into NO_PROXY"))
    };
    let socket = socket(&proxy.host, proxy.port).await.map_err(no_proxy)?;
    let mut path = match client.tls.as_ref().filter(|_| proxy.tls) {
        None => Path::Direct(socket),
        Some(tls) => {
            let stream = tls.connect(server_name(&proxy.host)?, socket).await;
            Path::Secure(Box::new(stream.map_err(|error| tls::failure(&proxy.host, proxy.port, &error))?))
        }
    };
    if endpoint.tls {
        let to = (endpoint.host.as_str(), endpoint.port);
        match &mut path {
            Path::Direct(socket) => tunnel::open(socket, proxy, to).await?,
            Path::Secure(stream) => tunnel::open(stream, proxy, to).await?,
        }
    }
    Ok(path)
}

/// Performs the TLS handshake with an https endpoint.
pub(super) async fn secure(client: &ClientState, endpoint: &Endpoint, path: Path) -> Result<Stream, Failure> {
    let Some(tls) = client.tls.as_ref().filter(|_| endpoint.tls) else {
        return Ok(match path {
            Path::Direct(socket) => Stream::Plain(socket),
            Path::Secure(stream) => Stream::Tls(stream),
        });
    };
    let name = server_name(&endpoint.host)?;
    let failed = |error| tls::failure(&endpoint.host, endpoint.port, &error);
    match path {
        Path::Direct(socket) => Ok(Stream::Tls(Box::new(tls.connect(name, socket).await.map_err(failed)?))),
        Path::Secure(stream) => Ok(Stream::Nested(Box::new(tls.connect(name, *stream).await.map_err(failed)?))),
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(host.to_owned()).map_err(Failure::connect)
}

async fn socket(host: &str, port: u16) -> Result<TcpStream, std::io::Error> {
    let addresses = resolve::addresses(host, port).await?;
    let socket = TcpStream::connect(addresses.as_slice()).await?;
    // Without it a request that takes two segments waits for the delayed acknowledgement of the first: 40 ms.
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn unreachable(client: &ClientState, endpoint: &Endpoint, error: &std::io::Error) -> Failure {
    let bucket = &client.config.bucket;
    if client.config.addressing == Addressing::Virtual && endpoint.host.starts_with(bucket.as_str()) {
        return Failure::connect(format!(
            "{}: {error} (the bucket is part of the host name; for one in the path set \
             storage.storage_options.s3_force_path_style=true)",
            endpoint.host
        ));
    }
    Failure::connect(error)
}

/// Performs the HTTP handshake on a stream.
pub(super) async fn drive<T, B>(io: T) -> Result<SendRequest<B>, Failure>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    B: hyper::body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let handshake = Builder::new().max_buf_size(READ_BUFFER).handshake(io).await;
    let (sender, connection) = handshake.map_err(|error| Failure::broken(&error))?;
    // The request in flight gets its error; an idle connection may close without one.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
