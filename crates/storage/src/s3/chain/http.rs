//! Sends a request to a service that issues credentials, on a new connection each time because there are few
//! requests.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::services::Services;
use crate::s3::config::S3Config;
use crate::s3::proxy::{self, Proxies, Proxy};
use crate::s3::{resolve, tls, tunnel};

/// Largest response body in bytes.
const MOST: usize = 1 << 20;

/// A request to a credential service.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Longest wait for a connection, and then for the whole response.
    pub(super) limit: Duration,
    /// Certificates that are trusted in addition to the system's.
    pub(super) ca_bundle: Option<&'a Path>,
    /// Environment variables that name proxies.
    pub(super) proxies: &'a [(String, String)],
}

impl<'a> Query<'a> {
    /// Creates a request that is sent directly, for services on this machine.
    pub(super) fn get(url: &'a str, limit: Duration) -> Self {
        let (method, headers, body) = (Method::GET, Vec::new(), Vec::new());
        Self { method, url, headers, body, limit, ca_bundle: None, proxies: &[] }
    }

    /// Creates a request to a service, which is sent through its proxy if it has one.
    pub(super) fn of(services: &'a Services, url: &'a str, limit: Duration) -> Self {
        let Services { ca_bundle, proxies, .. } = services;
        Self { ca_bundle: ca_bundle.as_deref(), proxies, ..Self::get(url, limit) }
    }
}

/// The response to a request.
#[derive(Debug)]
pub(super) struct ServiceResponse {
    pub(super) status: u16,
    pub(super) body: String,
}

/// The reason why there was no response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoResponse {
    /// The URL is invalid.
    Address(String),
    /// No connection was made.
    Unconnected(String),
    /// The connection broke before the response was complete.
    Unanswered(String),
}

impl NoResponse {
    /// Returns the message.
    pub(super) fn why(self) -> String {
        let (Self::Address(why) | Self::Unconnected(why) | Self::Unanswered(why)) = self;
        why
    }
}

/// Sends a request and reads the response.
///
/// # Errors
/// When there is no response; an error status is a response.
pub(super) async fn ask(query: &Query<'_>) -> Result<ServiceResponse, NoResponse> {
    let uri: Uri = query.url.parse().map_err(|error| NoResponse::Address(format!("{:?}: {error}", query.url)))?;
    let wrong = || NoResponse::Address(format!("expected http://host or https://host, found {:?}", query.url));
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong()),
    };
    let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']);
    let port = proxy::port(&uri, tls)
        .ok_or_else(|| NoResponse::Address(format!("{:?}: no port from 1 to 65535", query.url)))?;
    let variable = |name: &str| query.proxies.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let proxies = Proxies::from_variables(variable);
    let proxy = proxies.to(tls, host, port).map_err(NoResponse::Address)?;
    let way = Way { tls, host, port, proxy, uri: &uri };
    let unconnected =
        |why: String| NoResponse::Unconnected(way.with_proxy(&format!("no connection to {}{why}", way.first())));
    let connecting = async {
        let (host, port) = way.proxy.map_or((host, port), |proxy| (proxy.host.as_str(), proxy.port));
        TcpStream::connect(resolve::addresses(host, port).await?.as_slice()).await
    };
    let limit = query.limit;
    let connected = tokio::time::timeout(limit, connecting).await;
    let socket = connected.map_err(|_| unconnected(format!(" within {limit:?}")))?;
    let socket = socket.map_err(|error| unconnected(format!(": {error}")))?;
    let late = |_| NoResponse::Unanswered(way.with_proxy(&format!("no answer from {host}:{port} within {limit:?}")));
    let answered = tokio::time::timeout(limit, way.answer(socket, query)).await.map_err(late)?;
    answered.map_err(|why| NoResponse::Unanswered(way.with_proxy(&format!("{host}:{port}: {why}"))))
}

/// The target of a connection.
struct Way<'a> {
    tls: bool,
    /// Host name without brackets.
    host: &'a str,
    port: u16,
    proxy: Option<&'a Proxy>,
    uri: &'a Uri,
}

impl Way<'_> {
    /// Returns the address to connect to.
    fn first(&self) -> String {
        let (host, port) = self.proxy.map_or((self.host, self.port), |proxy| (&proxy.host, proxy.port));
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Adds the proxy's name to a message.
    fn with_proxy(&self, why: &str) -> String {
        let Some(proxy) = self.proxy else { return why.to_owned() };
        format!("through the proxy {proxy}: {why}; where {} is reached directly, put it into NO_PROXY", self.host)
    }

    /// Sends the request on a connection to the host or its proxy, and reads the response.
    async fn answer(&self, socket: TcpStream, query: &Query<'_>) -> Result<ServiceResponse, String> {
        let proxy = self.proxy.filter(|proxy| proxy.tls);
        if !self.tls && proxy.is_none() {
            return exchange(socket, query, self).await;
        }
        let config = S3Config { ca_bundle: query.ca_bundle.map(Path::to_owned), ..S3Config::new(Vec::new(), "") };
        let tls = tls::connector(&config)?;
        match proxy {
            None => self.beyond(socket, query, &tls).await,
            Some(proxy) => self.beyond(secured(&tls, &proxy.host, socket).await?, query, &tls).await,
        }
    }

    /// Sends the request on a stream to the host or its proxy, and reads the response.
    async fn beyond<T: Stream>(
        &self,
        mut stream: T,
        query: &Query<'_>,
        tls: &TlsConnector,
    ) -> Result<ServiceResponse, String> {
        if !self.tls {
            return exchange(stream, query, self).await;
        }
        if let Some(proxy) = self.proxy {
            tunnel::open(&mut stream, proxy, (self.host, self.port)).await.map_err(|failure| failure.message)?;
        }
        exchange(secured(tls, self.host, stream).await?, query, self).await
    }
}

/// A stream that can carry a request.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Performs the TLS handshake with a host.
async fn secured<T: Stream>(tls: &TlsConnector, host: &str, stream: T) -> Result<TlsStream<T>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    tls.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))
}

/// Sends the request over an open connection.
async fn exchange<T: Stream>(stream: T, query: &Query<'_>, way: &Way<'_>) -> Result<ServiceResponse, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // The request gets the connection's error.
    tokio::spawn(async move { drop(connection.await) });
    let uri = way.uri;
    // A proxy for plain HTTP requires absolute URLs.
    let proxy = way.proxy.filter(|_| !way.tls);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let target = if proxy.is_some() { format!("http://{host}{path}") } else { path.to_owned() };
    let mut request = Request::builder().method(&query.method).uri(target).header(header::HOST, host);
    request = request.header(header::USER_AGENT, concat!("dlio-rs/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = proxy.and_then(Proxy::authorization) {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    for (name, value) in &query.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::from(query.body.clone()))).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    if let (407, Some(proxy)) = (status, proxy) {
        return Err(tunnel::unauthorized(proxy));
    }
    let body = Limited::new(response.into_body(), MOST).collect().await.map_err(|error| error.to_string())?;
    Ok(ServiceResponse { status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
}
