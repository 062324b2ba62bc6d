//! Detects an endpoint that uses another scheme than its address: TLS at an `http://` port, or the reverse.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::endpoints::Endpoint;
use super::failure::{Failure, Retry};
use super::{resolve, tls};

/// Time limit of the detection.
const LIMIT: Duration = Duration::from_secs(2);
/// Bytes of a response that are examined.
const HEAD: usize = 1024;

/// Returns the failure to report instead of the original one, if the endpoint uses the other scheme.
pub(super) async fn mismatch(endpoint: &Endpoint) -> Option<Failure> {
    // Behind a proxy, the proxy would answer.
    if endpoint.proxy.is_some() || endpoint.looked_at.load(Ordering::Relaxed) {
        return None;
    }
    let found = async {
        let addresses = resolve::addresses(&endpoint.host, endpoint.port).await.ok()?;
        let socket = TcpStream::connect(addresses.as_slice()).await.ok()?;
        endpoint.looked_at.store(true, Ordering::Relaxed);
        if endpoint.tls { probe_http(socket, endpoint).await } else { probe_tls(socket, endpoint).await }
    };
    let Ok(found) = tokio::time::timeout(LIMIT, found).await else {
        endpoint.looked_at.store(true, Ordering::Relaxed);
        return None;
    };
    found?;
    let (here, there) = if endpoint.tls { ("plain HTTP, not TLS", "http") } else { ("TLS, not plain HTTP", "https") };
    let rest = endpoint.name.split_once("://").map_or(&*endpoint.name, |(_, rest)| rest);
    let address = if has_port(rest) { rest.to_owned() } else { with_port(rest, endpoint.port) };
    let text = format!("port {} speaks {here}: write {there}://{address} (storage.endpoint_uris)", endpoint.port);
    Some(Failure { retry: Retry::Never, ..Failure::unreachable(text) })
}

fn has_port(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn with_port(rest: &str, port: u16) -> String {
    match rest.split_once('/') {
        Some((host, path)) => format!("{host}:{port}/{path}"),
        None => format!("{rest}:{port}"),
    }
}

async fn probe_tls(socket: TcpStream, endpoint: &Endpoint) -> Option<()> {
    let name = ServerName::try_from(endpoint.host.clone()).ok()?;
    match tls::unverified().ok()?.connect(name, socket).await {
        Ok(_) => Some(()),
        Err(error) => tls::is_tls(&error).then_some(()),
    }
}

async fn probe_http(mut socket: TcpStream, endpoint: &Endpoint) -> Option<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", endpoint.host_header());
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::with_capacity(HEAD);
    while answer.len() < HEAD {
        match socket.read_buf(&mut answer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&answer);
    // Servers with TLS answer plain HTTP in this way.
    let complains = text.contains(" 400 ") && ["HTTPS", "SSL", "TLS"].iter().any(|word| text.contains(word));
    (text.starts_with("HTTP/") && !complains).then_some(())
}
