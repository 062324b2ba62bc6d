//! One request to a service that hands out credentials: a connection for each, as there are few of them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::s3::{S3Config, resolve, tls};

/// Largest answer that is read.
const MOST: usize = 1 << 20;

/// What to ask.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Longest wait for a connection, and then for the whole answer.
    pub(super) limit: Duration,
    /// Certificates that count besides the system's.
    pub(super) ca_bundle: Option<&'a Path>,
}

impl<'a> Query<'a> {
    pub(super) fn get(url: &'a str, limit: Duration) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: Vec::new(), limit, ca_bundle: None }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Why nothing did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The address is none.
    Address(String),
    /// No connection was made.
    Unconnected(String),
    /// The connection gave no complete answer.
    Unanswered(String),
}

impl Silence {
    /// The reason, in words.
    pub(super) fn why(self) -> String {
        let (Self::Address(why) | Self::Unconnected(why) | Self::Unanswered(why)) = self;
        why
    }
}

/// Sends a request and reads the answer.
///
/// # Errors
/// When there is no answer; one that refuses is an answer.
pub(super) async fn ask(query: &Query<'_>) -> Result<Answer, Silence> {
    let uri: Uri = query.url.parse().map_err(|error| Silence::Address(format!("{:?}: {error}", query.url)))?;
    let wrong = || Silence::Address(format!("expected http://host or https://host, found {:?}", query.url));
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong()),
    };
    let host = uri.host().ok_or_else(wrong)?;
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let late = |_| Silence::Unconnected(format!("no connection to {host}:{port} within {:?}", query.limit));
    let socket = tokio::time::timeout(query.limit, connect(host, port)).await.map_err(late)?;
    let socket = socket.map_err(|error| Silence::Unconnected(format!("no connection to {host}:{port}: {error}")))?;
    let late = |_| Silence::Unanswered(format!("no answer from {host}:{port} within {:?}", query.limit));
    let answering = async {
        if !tls {
            return exchange(TokioIo::new(socket), query, &uri).await;
        }
        let config = S3Config { ca_bundle: query.ca_bundle.map(Path::to_owned), ..S3Config::new(Vec::new(), "") };
        let tls = tls::connector(&config)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|error| error.to_string())?;
        let stream = tls.connect(name, socket).await.map_err(|error| format!("TLS: {error}"))?;
        exchange(TokioIo::new(stream), query, &uri).await
    };
    let answered = tokio::time::timeout(query.limit, answering).await.map_err(late)?;
    answered.map_err(|why| Silence::Unanswered(format!("{host}:{port}: {why}")))
}

async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let addresses = resolve::addresses(host, port).await?;
    TcpStream::connect(addresses.as_slice()).await
}

/// Sends the request over an open connection.
async fn exchange<T>(io: T, query: &Query<'_>, uri: &Uri) -> Result<Answer, String>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(io).await.map_err(|error| error.to_string())?;
    // Its error reaches the request.
    tokio::spawn(async move { drop(connection.await) });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::builder().method(&query.method).uri(path).header(header::HOST, host);
    request = request.header(header::USER_AGENT, concat!("dlio-rs/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &query.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::from(query.body.clone()))).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MOST).collect().await.map_err(|error| error.to_string())?;
    Ok(Answer { status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
}
