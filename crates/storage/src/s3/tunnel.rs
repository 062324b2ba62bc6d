//! Opens a tunnel through a proxy to an https endpoint: one CONNECT request and its response.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::failure::{Failure, Retry};
use super::proxy::Proxy;

/// Most bytes of the head of a proxy's response.
const HEAD: usize = 16 << 10;

/// Asks a proxy for a tunnel to a host; afterwards the stream belongs to the host.
pub(super) async fn open<T>(stream: &mut T, proxy: &Proxy, (host, port): (&str, u16)) -> Result<(), Failure>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = proxy.authorization() {
        for part in ["Proxy-Authorization: ", authorization.to_str().unwrap_or_default(), "\r\n"] {
            request.push_str(part);
        }
    }
    request.push_str("\r\n");
    let broken = |error: std::io::Error| Failure::unreachable(format!("asking for a tunnel to {target}: {error}"));
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut head = Vec::with_capacity(256);
    // The host sends nothing before it receives something, so none of its bytes are read here.
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(broken(error)),
        }
    }
    judge(&String::from_utf8_lossy(&head), &target, proxy)
}

/// Returns whether the tunnel is open; otherwise a failure with advice.
fn judge(head: &str, target: &str, proxy: &Proxy) -> Result<(), Failure> {
    let status = head.lines().next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..300) => Ok(()),
        Some(407) => Err(Failure { retry: Retry::Never, ..Failure::unreachable(unauthorized(proxy)) }),
        Some(code) => {
            let text = format!(
                "the proxy opens no tunnel to {target} ({}); have it allow this, or put the host into NO_PROXY",
                status.trim_end()
            );
            let retry = if code >= 500 { Retry::Later } else { Retry::Never };
            Err(Failure { retry, ..Failure::unreachable(text) })
        }
        None => {
            let text = format!("the answer to CONNECT {target} is none of an HTTP proxy; check its address");
            Err(Failure::unreachable(text))
        }
    }
}

/// Returns the failure for a proxy that requires authentication.
pub(super) fn unauthorized(proxy: &Proxy) -> String {
    let what = if proxy.has_user() { "refuses the user or the password" } else { "wants a user and a password" };
    format!("the proxy {what} (HTTP 407): write http://USER:PASSWORD@HOST:PORT into the variable")
}

#[cfg(test)]
mod tests {
    use super::super::proxy::Proxies;
    use super::*;

    fn judged(head: &str, address: &str) -> Result<(), Failure> {
        let proxies = Proxies::from_variables(|name| (name == "https_proxy").then(|| address.to_owned()));
        judge(head, "s3.local:443", proxies.to(true, "s3.local", 443).unwrap().unwrap())
    }

    #[test]
    fn a_tunnel_is_open_or_the_reason_is_told() {
        assert_eq!(judged("HTTP/1.0 200 Connection established\r\n\r\n", "http://p"), Ok(()));
        let failure = judged("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "http://p").unwrap_err();
        assert!(failure.message.contains("wants a user") && failure.retry == Retry::Never, "{failure:?}");
        let failure = judged("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "http://u:p@p").unwrap_err();
        assert!(failure.message.contains("refuses the user"), "{failure:?}");
        let failure = judged("HTTP/1.1 403 Forbidden\r\n\r\n", "http://p").unwrap_err();
        assert!(failure.message.contains("s3.local:443 (HTTP/1.1 403 Forbidden)"), "{failure:?}");
        assert_eq!(judged("HTTP/1.1 502 Bad Gateway\r\n\r\n", "http://p").unwrap_err().retry, Retry::Later);
        assert!(judged("SSH-2.0-OpenSSH_9.2", "http://p").unwrap_err().message.contains("none of an HTTP proxy"));
    }
}
