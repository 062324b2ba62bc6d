//! Resolves host names. The C library's resolver blocks, so it gets its own thread; tokio would start a thread too,
//! and panic if the system allows no more threads.

use std::io::Error;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use tokio::sync::oneshot;

/// Returns the addresses of a host, in the order in which they should be tried.
///
/// # Errors
/// When no thread can be started, or the host is unknown.
pub(super) async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (answer, answered) = oneshot::channel();
    let name = host.to_owned();
    let look = move || drop(answer.send((name.as_str(), port).to_socket_addrs().map(Vec::from_iter)));
    std::thread::Builder::new().name("resolver".to_owned()).spawn(look).map_err(|error| {
        let text = format!("starting a thread that resolves {host}: {error}; allow more threads (ulimit -u)");
        Error::new(error.kind(), text)
    })?;
    answered.await.map_err(|_| Error::other("the thread that resolves names has ended"))?
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[tokio::test]
    async fn an_address_needs_no_resolver_and_a_name_has_one() {
        assert_eq!(addresses("127.0.0.1", 80).await.unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(addresses("[::1]", 80).await.unwrap(), ["[::1]:80".parse().unwrap()]);
        assert!(addresses("localhost", 80).await.unwrap().iter().all(|address| address.ip().is_loopback()));
    }
}
