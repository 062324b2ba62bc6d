//! Connections: one pool per thread and client, so that no connection, buffer or lock is shared between lanes.
//!
//! A connection is driven by a task on the runtime of the thread that opened it. When that runtime ends, the task ends
//! with it and the connection counts as closed: the next request opens a new one.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dlio_event::ConnectionId;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::body::{Outgoing, Pool};
use super::endpoints::Endpoint;
use super::failure::{Failure, Retry};
use super::sign::Signer;
use super::{Credentials, S3Config, Shared, resolve};

/// Largest read from a socket in one go; hyper starts small and grows to it while reads fill the buffer.
const READ_BUFFER: usize = 128 << 10;
/// Longest wait for an idle connection to be ready for its next request.
const SETTLE: Duration = Duration::from_millis(100);

/// An open connection.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) requests: SendRequest<Outgoing>,
}

/// What one thread keeps for one client.
struct Lane {
    client: Weak<Shared>,
    /// Idle connections per endpoint, the last used on top.
    idle: Vec<Vec<Connection>>,
    signer: Signer,
    /// The newest credentials that this thread knows, and which they are.
    renewed: (u64, Option<Arc<Credentials>>),
    pool: Pool,
}

thread_local! {
    static LANES: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
}

/// Runs `with` on this thread's part of the client.
fn lane<T>(client: &Arc<Shared>, with: impl FnOnce(&mut Lane) -> T) -> T {
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

/// This thread's signer, and the credentials to use instead of the first ones.
pub(super) fn with_signer<T>(client: &Arc<Shared>, with: impl FnOnce(&mut Signer, Option<&Credentials>) -> T) -> T {
    lane(client, |lane| {
        if let Some(renewal) = &client.config.renewal
            && renewal.generation() != lane.renewed.0
        {
            lane.renewed = (renewal.generation(), Some(renewal.newest().0));
            // Its key is made of the old secret.
            lane.signer = Signer::new();
        }
        with(&mut lane.signer, lane.renewed.1.as_deref())
    })
}

/// This thread's frames.
pub(super) fn with_pool<T>(client: &Arc<Shared>, with: impl FnOnce(&mut Pool) -> T) -> T {
    lane(client, |lane| with(&mut lane.pool))
}

/// Puts a connection that has nothing left to send or receive back for the next request of this thread.
pub(super) fn release(client: &Arc<Shared>, endpoint: usize, connection: Connection) {
    if !connection.requests.is_closed() {
        lane(client, |lane| lane.idle[endpoint].push(connection));
    }
}

/// An idle connection that still lives.
pub(super) async fn reuse(client: &Arc<Shared>, endpoint: usize) -> Option<Connection> {
    loop {
        let mut connection = lane(client, |lane| lane.idle[endpoint].pop())?;
        if connection.requests.is_closed() {
            continue;
        }
        // Its task may still have to notice that the last answer was complete.
        let requests = &mut connection.requests;
        if requests.is_ready() || matches!(tokio::time::timeout(SETTLE, requests.ready()).await, Ok(Ok(()))) {
            return Some(connection);
        }
    }
}

/// Opens a connection.
pub(super) async fn open(client: &Shared, endpoint: &Endpoint) -> Result<Connection, Failure> {
    let requests = handshake(client, endpoint).await?;
    let id = ConnectionId(client.connections.fetch_add(1, Ordering::Relaxed));
    Ok(Connection { id, requests })
}

async fn handshake(client: &Shared, endpoint: &Endpoint) -> Result<SendRequest<Outgoing>, Failure> {
    let addresses = resolve::addresses(&endpoint.host, endpoint.port).await.map_err(Failure::connect)?;
    let socket = TcpStream::connect(addresses.as_slice()).await.map_err(Failure::connect)?;
    // Without it a request that takes two segments waits for the delayed acknowledgement of the first: 40 ms.
    socket.set_nodelay(true).map_err(Failure::connect)?;
    match &client.tls {
        Some(tls) if endpoint.tls => {
            let name = ServerName::try_from(endpoint.host.clone()).map_err(Failure::connect)?;
            let stream = tls.connect(name, socket).await.map_err(|error| {
                let failure = Failure::connect(format!(
                    "TLS: {error} (a private authority's certificate goes into AWS_CA_BUNDLE)"
                ));
                // A certificate does not get better by asking again.
                let certain = error.kind() == std::io::ErrorKind::InvalidData;
                if certain { Failure { retry: Retry::Never, ..failure } } else { failure }
            })?;
            drive(TokioIo::new(stream)).await
        }
        _ => drive(TokioIo::new(socket)).await,
    }
}

async fn drive<T>(io: T) -> Result<SendRequest<Outgoing>, Failure>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let handshake = Builder::new().max_buf_size(READ_BUFFER).handshake(io).await;
    let (sender, connection) = handshake.map_err(|error| Failure::broken(&error))?;
    // Its error reaches the request that is under way; an idle connection may close in peace.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// TLS for https endpoints; the system's authorities, and those of `ca_bundle`.
pub(super) fn tls(config: &S3Config) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &config.ca_bundle {
        let wrong = |why: String| format!("the CA bundle {} {why}; expected certificates in PEM", path.display());
        let bundle = CertificateDer::pem_file_iter(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        for certificate in bundle {
            let certificate = certificate.map_err(|error| wrong(format!("is malformed: {error}")))?;
            roots.add(certificate).map_err(|error| wrong(format!("holds no usable certificate: {error}")))?;
        }
    }
    if roots.is_empty() {
        return Err("no certificate authority is known to this system; name a PEM file in AWS_CA_BUNDLE".to_owned());
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}
