//! How both clients reach an endpoint: TLS, proxies, the place of the bucket, and the messages for a wrong address.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod stub;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dlio_storage::s3::chain::{self, ChainOptions, Profiles};
use dlio_storage::s3::sdk::SdkS3;
use dlio_storage::s3::{Addressing, Credentials, Preflight, Proxies, S3, S3Config, Step};
use dlio_storage::{ByteRange, Error, ErrorKind, Storage};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use stub::{Pattern, Reply, Stub, Ticks, ok, read, refusal, run, status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

fn config(endpoint: impl Into<String>) -> S3Config {
    let mut config = S3Config::new(vec![endpoint.into()], "bucket");
    config.credentials = Some(Credentials::new("AKID", "secret"));
    config.retry.backoff = Duration::from_millis(1);
    config.retry.max_attempts = Some(3);
    config.retry.retry_for = Duration::from_secs(3);
    config.request_timeout = Duration::from_secs(10);
    config
}

/// Both clients with the same settings.
fn both(config: &S3Config) -> [Box<dyn Storage>; 2] {
    let time = || Arc::new(Ticks::default());
    let own = S3::new(config.clone(), time()).unwrap();
    [Box::new(own), Box::new(SdkS3::new(config.clone(), time()).unwrap())]
}

/// Reads an object with both clients, which must succeed.
fn both_read(config: &S3Config) {
    for client in both(config) {
        let (bytes, _) = run(read(&*client, "a", ByteRange::ALL)).unwrap();
        assert_eq!(bytes, b"hello");
    }
}

/// Returns the messages of both clients when they cannot read.
fn both_fail(config: &S3Config) -> [Error; 2] {
    both(config).map(|client| run(read(&*client, "a", ByteRange::ALL)).unwrap_err())
}

/// Runs a server on its own thread.
fn background<F>(accept: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(accept(socket));
            }
        });
    });
    address
}

/// A certificate and its key.
struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

/// Creates a self-signed certificate for these names.
fn self_signed(names: &[&str], change: impl Fn(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Identity { certificate: params.self_signed(&key).unwrap(), key }
}

fn authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// Puts TLS in front of a plain server.
fn tls(identity: &Identity, behind: SocketAddr) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificates = vec![identity.certificate.der().clone()];
    let config = builder.with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    background(move |socket| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(socket).await else { return };
            let mut server = TcpStream::connect(behind).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
        }
    })
}

/// Writes a PEM file with this certificate.
fn bundle(folder: &tempfile::TempDir, certificate: &Certificate) -> PathBuf {
    let path = folder.path().join("bundle.pem");
    std::fs::write(&path, format!("# ours\n{}", certificate.pem())).unwrap();
    path
}

fn trusting(address: SocketAddr, certificate: &Certificate) -> (S3Config, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca_bundle = Some(bundle(&folder, certificate));
    (S3Config { ca_bundle, ..config(format!("https://{address}")) }, folder)
}

#[test]
fn a_certificate_that_is_its_own_authority_is_accepted_where_the_bundle_holds_it() {
    let server = Stub::start(|_| ok("hello"));
    // The last one has its host only as the common name, as `openssl req -x509 -subj /CN=HOST` creates it.
    let bare = |params: &mut CertificateParams| {
        authority(params);
        params.subject_alt_names.clear();
        params.distinguished_name.push(rcgen::DnType::CommonName, "127.0.0.1");
    };
    for change in [authority as fn(&mut CertificateParams), |_| {}, bare] {
        let identity = self_signed(&["127.0.0.1"], change);
        let (config, _folder) = trusting(tls(&identity, server.address), &identity.certificate);
        both_read(&config);
    }
}

#[test]
fn a_certificate_is_accepted_where_the_bundle_holds_its_authority_or_itself() {
    let server = Stub::start(|_| ok("hello"));
    let mut params = CertificateParams::new(vec![]).unwrap();
    authority(&mut params);
    let signer = KeyPair::generate().unwrap();
    let root = params.self_signed(&signer).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &Issuer::new(params, signer)).unwrap();
    let identity = Identity { certificate, key };
    let address = tls(&identity, server.address);
    let (config, _folder) = trusting(address, &root);
    both_read(&config);
    let (config, _folder) = trusting(address, &identity.certificate);
    both_read(&config);
}

#[test]
fn a_certificate_that_nobody_known_signed_is_refused_with_the_remedy_and_passes_unchecked() {
    let server = Stub::start(|_| ok("hello"));
    let identity = self_signed(&["127.0.0.1"], authority);
    let other = self_signed(&["127.0.0.1"], authority);
    let address = tls(&identity, server.address);
    let (config, _folder) = trusting(address, &other.certificate);
    for error in both_fail(&config) {
        assert_eq!((error.kind, error.attempts.len()), (ErrorKind::Unreachable, 1), "{error}");
        assert!(error.message.contains("authority that is not known here") && error.message.contains("AWS_CA_BUNDLE"));
        assert_eq!(error.endpoint.as_deref(), Some(config.endpoints[0].as_str()));
    }
    both_read(&S3Config { verify: false, ..config });
}

type Change = fn(&mut CertificateParams);

#[test]
fn names_and_ends_of_a_trusted_certificate_are_checked_all_the_same() {
    let server = Stub::start(|_| ok("hello"));
    let expire = |params: &mut CertificateParams| {
        authority(params);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    };
    let future = |params: &mut CertificateParams| {
        authority(params);
        params.not_before = rcgen::date_time_ymd(3000, 1, 1);
    };
    let cases: [(&str, Change, &str); 4] = [
        ("127.0.0.1", expire, "has expired"),
        ("127.0.0.1", future, "is not valid yet"),
        ("other.example", authority, "is for other names (other.example)"),
        ("other.example", |_| {}, "is for other names (other.example)"),
    ];
    for (name, change, text) in cases {
        let identity = self_signed(&[name], change);
        let (config, _folder) = trusting(tls(&identity, server.address), &identity.certificate);
        for error in both_fail(&config) {
            assert!(error.message.contains(text), "{text}: {error}");
            assert_eq!(error.attempts.len(), 1);
        }
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_bundle_is_nothing_to_plain_http_and_one_that_cannot_be_read_is_named() {
    let server = Stub::start(|_| ok("hello"));
    let missing = Some(PathBuf::from("/nowhere/bundle.pem"));
    both_read(&S3Config { ca_bundle: missing.clone(), ..config(server.url()) });
    let secure = S3Config { ca_bundle: missing, ..config("https://127.0.0.1:1") };
    let error = S3::new(secure, Arc::new(Ticks::default())).err().unwrap();
    assert!(error.message.contains("/nowhere/bundle.pem cannot be read"), "{error}");
}

#[test]
fn plain_http_at_a_tls_port_is_named_at_once() {
    let server = Stub::start(|_| ok("hello"));
    let address = tls(&self_signed(&["127.0.0.1"], authority), server.address);
    // Servers differ in their response to plain HTTP.
    let polite = background(|mut socket| async move {
        let mut first = [0; 1];
        let Ok(1) = socket.peek(&mut first).await else { return };
        if first[0] == 0x16 {
            let _ = socket.write_all(&[0x15, 3, 3, 0, 2, 2, 40]).await;
        } else {
            let mut ignored = [0; 4096];
            let _ = socket.read(&mut ignored).await;
            let body = "Client sent an HTTP request to an HTTPS server.\n";
            let head = format!("HTTP/1.0 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = socket.write_all(head.as_bytes()).await;
        }
    });
    for address in [address, polite] {
        for error in both_fail(&config(format!("http://{address}"))) {
            let text = format!("port {} speaks TLS, not plain HTTP: write https://{address}", address.port());
            assert!(error.message.starts_with(&text), "{error}");
            assert_eq!((error.kind, error.attempts.len()), (ErrorKind::Unreachable, 1));
        }
    }
}

#[test]
fn tls_at_a_plain_port_is_named_at_once() {
    let server = Stub::start(|_| ok("hello"));
    // One server closes the connection when it receives TLS, another waits for the end of a line.
    let mute = background(|mut socket| async move {
        let mut first = [0; 1];
        let Ok(1) = socket.peek(&mut first).await else { return };
        if first[0] == b'G' {
            let _ = socket.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        } else {
            std::future::pending::<()>().await;
        }
    });
    let closing = background(|mut socket| async move {
        let mut head = [0; 64];
        let Ok(count) = socket.read(&mut head).await else { return };
        if head[..count].starts_with(b"GET") {
            let _ = socket.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let answering = background(|mut socket| async move {
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    });
    drop(server);
    for address in [mute, closing, answering] {
        let mut config = config(format!("https://{address}"));
        (config.verify, config.connect_timeout) = (false, Duration::from_millis(300));
        for error in both_fail(&config) {
            assert!(error.message.contains(&format!("http://{address}")), "{error}");
            assert_eq!((error.kind, error.attempts.len()), (ErrorKind::Unreachable, 1), "{error}");
        }
    }
}

/// A proxy that opens tunnels to one server for every host, and records the heads of requests.
fn tunnels(to: SocketAddr, refuse: Option<&'static str>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    let address = background(move |mut socket| {
        let seen = Arc::clone(&seen);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = socket.read_u8().await else { return };
                head.push(byte);
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap());
            if let Some(status) = refuse {
                let _ = socket.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
                return;
            }
            socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let mut server = TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut socket, &mut server).await;
        }
    });
    (address, log)
}

fn proxies(variables: &[(&str, String)]) -> Proxies {
    Proxies::from_variables(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
}

#[test]
fn https_goes_through_a_tunnel_of_its_proxy() {
    let server = Stub::start(|_| ok("hello"));
    let identity = self_signed(&["s3.invalid"], authority);
    let (proxy, heads) = tunnels(tls(&identity, server.address), None);
    let (mut config, _folder) = trusting(proxy, &identity.certificate);
    config.endpoints = vec!["https://s3.invalid:9443".into()];
    config.proxies = proxies(&[("https_proxy", format!("http://user:p%40ss@{proxy}"))]);
    both_read(&config);
    let heads = heads.lock().unwrap();
    assert!(heads[0].starts_with("CONNECT s3.invalid:9443 HTTP/1.1\r\nHost: s3.invalid:9443\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n"), "{}", heads[0]);
    assert_eq!(server.seen()[0].target, "/bucket/a");
    assert_eq!(server.seen()[0].header("proxy-authorization"), None);
    let told = S3::new(config, Arc::new(Ticks::default())).unwrap().proxied();
    assert_eq!(told, [("https://s3.invalid:9443".to_owned(), format!("http://{proxy} (https_proxy)"))]);
}

#[test]
fn a_proxy_may_be_spoken_to_through_tls() {
    let server = Stub::start(|_| ok("hello"));
    let identity = self_signed(&["s3.invalid", "127.0.0.1"], authority);
    let (tunnel, heads) = tunnels(tls(&identity, server.address), None);
    let proxy = tls(&identity, tunnel);
    let (mut config, _folder) = trusting(proxy, &identity.certificate);
    config.endpoints = vec!["https://s3.invalid:9443".into()];
    config.proxies = proxies(&[("all_proxy", format!("https://{proxy}"))]);
    both_read(&config);
    assert_eq!(heads.lock().unwrap().len(), 2);
}

/// Assumes a role at an https service through a proxy.
fn take_role(proxy: &str, ca_bundle: PathBuf) -> Result<String, Error> {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "T").unwrap();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:r"),
        ("AWS_ENDPOINT_URL_STS", "https://s3.invalid:9443"),
        ("https_proxy", proxy),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let options = ChainOptions {
        variables: &variables,
        profiles: &Profiles::default(),
        ca_bundle: Some(ca_bundle),
        before: Vec::new(),
        no_metadata: None,
    };
    Ok(run(chain::find(options, &|_| {}))?.0.credentials.access_key_id)
}

#[test]
fn credentials_come_through_the_tunnel_of_their_services_proxy() {
    let server = Stub::start(|_| {
        ok("<R><AccessKeyId>STS</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken></R>")
    });
    let identity = self_signed(&["s3.invalid", "127.0.0.1"], authority);
    let (tunnel, heads) = tunnels(tls(&identity, server.address), None);
    let (config, _folder) = trusting(tunnel, &identity.certificate);
    let bundle = config.ca_bundle.unwrap();
    assert_eq!(take_role(&format!("http://user:pass@{tunnel}"), bundle.clone()).unwrap(), "STS");
    assert_eq!(take_role(&format!("https://user:pass@{}", tls(&identity, tunnel)), bundle.clone()).unwrap(), "STS");
    for head in heads.lock().unwrap().iter() {
        assert!(head.starts_with("CONNECT s3.invalid:9443 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{head}");
    }
    assert_eq!((heads.lock().unwrap().len(), server.seen()[0].header("proxy-authorization")), (2, None));
    let (forbidding, _) = tunnels(tunnel, Some("403 Forbidden"));
    let failure = take_role(&format!("http://{forbidding}"), bundle).unwrap_err().to_string();
    assert!(failure.contains("opens no tunnel to s3.invalid:9443 (HTTP/1.1 403 Forbidden)"), "{failure}");
}

#[test]
fn plain_http_goes_to_its_proxy_with_the_whole_address() {
    let proxy = Stub::start(|_| ok("hello"));
    let mut config = config("http://s3.invalid:9000/base");
    config.proxies = proxies(&[("HTTP_PROXY", format!("http://user:pass@{}", proxy.address))]);
    both_read(&config);
    for request in proxy.seen() {
        assert!(request.target.starts_with("http://s3.invalid:9000/base/bucket/a"), "{}", request.target);
        assert_eq!(request.header("host"), Some("s3.invalid:9000"));
        assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    }
    let direct = Stub::start(|_| ok("hello"));
    config.endpoints = vec![direct.url()];
    config.proxies = proxies(&[("HTTP_PROXY", "http://127.0.0.1:1".into()), ("no_proxy", "x, 127.0.0.0/8".into())]);
    both_read(&config);
    assert!(direct.seen()[0].target.starts_with("/bucket/a"));
}

#[test]
fn what_a_proxy_does_wrong_names_the_proxy() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (forbidding, _) = tunnels(closed, Some("403 Forbidden"));
    let (asking, _) = tunnels(closed, Some("407 Proxy Authentication Required"));
    let cases = [
        (closed, "https://s3.invalid", "put s3.invalid into NO_PROXY"),
        (forbidding, "https://s3.invalid", "opens no tunnel to s3.invalid:443 (HTTP/1.1 403 Forbidden)"),
        (asking, "https://s3.invalid", "wants a user and a password"),
        (asking, "http://s3.invalid", "wants a user and a password"),
        (closed, "http://s3.invalid", "put s3.invalid into NO_PROXY"),
        (forbidding, "http://s3.invalid", "or the proxy refuses it: put s3.invalid into NO_PROXY"),
    ];
    for (proxy, endpoint, text) in cases {
        let mut config = S3Config { verify: false, ..config(endpoint) };
        config.retry.retry_for = Duration::from_millis(100);
        config.proxies = proxies(&[("ALL_PROXY", format!("http://{proxy}"))]);
        for error in both_fail(&config) {
            let through = format!("through the proxy http://{proxy} (ALL_PROXY): ");
            assert!(error.message.starts_with(&through) && error.message.contains(text), "{text}: {error}");
        }
    }
}

#[test]
fn both_clients_name_the_bucket_in_the_same_place() {
    let proxy = Stub::start(|request| match request.method.as_str() {
        "PUT" => Reply::Answer(200, vec![("etag", "\"x\"".into())], vec![]),
        _ if request.target.contains("list-type") => ok("<ListBucketResult></ListBucketResult>"),
        _ => ok("hello"),
    });
    for (addressing, endpoint, host, path) in [
        (Addressing::Auto, "http://s3.invalid:9000", "s3.invalid:9000", "/bucket"),
        (Addressing::Auto, "http://s3.invalid:9000/base/path", "s3.invalid:9000", "/base/path/bucket"),
        (Addressing::Virtual, "http://s3.invalid:9000", "bucket.s3.invalid:9000", ""),
        (Addressing::Virtual, "http://s3.invalid/base", "bucket.s3.invalid", "/base"),
        (Addressing::Virtual, "http://bucket.s3.invalid", "bucket.s3.invalid", ""),
        (Addressing::Host, "http://cdn.invalid", "cdn.invalid", ""),
    ] {
        let mut config = S3Config { addressing, ..config(endpoint) };
        config.region = "RegionOne".into();
        config.proxies = proxies(&[("http_proxy", proxy.url())]);
        for client in both(&config) {
            let before = proxy.seen().len();
            run(async {
                client.write("k/ö", &mut Pattern::new(7)).await.unwrap();
                read(&*client, "k/ö", ByteRange::ALL).await.unwrap();
                client.list("k", &mut |_| {}).await.unwrap();
            });
            for request in &proxy.seen()[before..] {
                let target = request.target.strip_prefix(&format!("http://{host}")).unwrap_or_else(|| {
                    panic!("{addressing:?} {endpoint}: {}", request.target);
                });
                let key = target.split('?').next().unwrap().strip_prefix(path).unwrap();
                assert!(key == "/k/%C3%B6" || key.trim_matches('/').is_empty(), "{endpoint}: {target}");
                assert_eq!(request.header("host"), Some(host));
                let signed = request.header("authorization").unwrap();
                assert!(signed.contains("/RegionOne/s3/aws4_request"), "{signed}");
            }
        }
    }
}

/// Returns whether a signature is valid according to the SDK's signer.
fn is_signed_for(request: &stub::Request, path: &str) -> bool {
    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    let date = request.header("x-amz-date").unwrap();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let identity = aws_credential_types::Credentials::new("AKID", "secret", None, None, "test").into();
    let time = aws_sdk_s3::primitives::DateTime::from_str(
        &format!(
            "{}-{}-{}T{}:{}:{}Z",
            &date[..4],
            &date[4..6],
            &date[6..8],
            &date[9..11],
            &date[11..13],
            &date[13..15]
        ),
        aws_sdk_s3::primitives::DateTimeFormat::DateTime,
    );
    let params = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(time.unwrap().try_into().unwrap())
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("http://{}{path}", request.header("host").unwrap());
    let bytes = SignableBody::Bytes(&[]);
    let signed = sign(SignableRequest::new("GET", &uri, std::iter::empty(), bytes).unwrap(), &params).unwrap();
    request.header("authorization").unwrap().ends_with(signed.signature())
}

#[test]
fn the_path_of_an_endpoint_is_signed() {
    let server = Stub::start(|_| ok("hello"));
    let config = config(format!("{}/base/path", server.url()));
    let own = S3::new(config, Arc::new(Ticks::default())).unwrap();
    run(read(&own, "a b", ByteRange::ALL)).unwrap();
    let request = &server.seen()[0];
    assert_eq!(request.target, "/base/path/bucket/a%20b");
    assert!(is_signed_for(request, "/base/path/bucket/a%20b"), "{request:?}");
}

#[test]
fn a_refused_look_up_has_the_reason_of_a_read() {
    for (code, text, expected) in [
        (403, "AccessDenied", "HTTP 403 AccessDenied: no; these credentials may not do this"),
        (400, "AuthorizationHeaderMalformed", "HTTP 400 AuthorizationHeaderMalformed: no"),
        (301, "PermanentRedirect", "HTTP 301 PermanentRedirect: no"),
    ] {
        let server = Stub::start(move |request| match request.method.as_str() {
            "HEAD" => status(code),
            _ => refusal(code, text),
        });
        for client in both(&config(server.url())) {
            let error = run(client.stat("a")).unwrap_err();
            assert!(error.message.starts_with(expected), "{error}");
            assert_eq!(error.attempts.len(), 2, "both requests are told");
        }
        assert_eq!(server.seen()[1].header("range"), Some("bytes=0-0"));
    }
    let server = Stub::start(|request| if request.method == "HEAD" { status(403) } else { ok("h") });
    for client in both(&config(server.url())) {
        let error = run(client.stat("a")).unwrap_err();
        assert!(error.message.ends_with("reading the object is allowed, looking it up (HEAD) is not"), "{error}");
    }
}

#[test]
fn a_missing_object_is_looked_up_once() {
    let server = Stub::start(|_| status(404));
    for client in both(&config(server.url())) {
        assert_eq!(run(client.stat("a")).unwrap_err().kind, ErrorKind::NotFound);
    }
    assert_eq!(server.lines(), ["HEAD /bucket/a"; 2]);
}

#[test]
fn a_wrong_clock_is_told_from_a_wrong_key_before_generating_and_before_reading() {
    let old = || vec![("date", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned())];
    for code in ["RequestTimeTooSkewed", "SignatureDoesNotMatch"] {
        let server = Stub::start(move |request| {
            let body = if request.method == "HEAD" { String::new() } else { format!("<Code>{code}</Code>") };
            Reply::Answer(403, old(), body.into_bytes())
        });
        let client = S3::new(config(server.url()), Arc::new(Ticks::default())).unwrap();
        for mode in [Preflight::Write, Preflight::Read("a")] {
            let error = run(client.preflight(mode)).unwrap_err();
            let (clock, code) = ("ahead of the server's: synchronise it", format!("HTTP 403 {code}"));
            assert!(error.message.contains(clock) && error.message.starts_with(&code), "{mode:?}: {error}");
        }
        for client in both(&config(server.url())) {
            assert!(run(client.create_root()).unwrap_err().message.contains("synchronise it"));
        }
    }
}

#[test]
fn an_examination_finds_the_wrong_scheme_and_the_untrusted_certificate_too() {
    let server = Stub::start(|_| status(403));
    let address = tls(&self_signed(&["127.0.0.1"], authority), server.address);
    let examined = |endpoint: String| {
        let client = S3::new(config(endpoint), Arc::new(Ticks::default())).unwrap();
        run(client.examine(None, Duration::from_secs(5))).remove(0)
    };
    let found = examined(format!("http://{address}"));
    assert!(matches!(&found.answer, Step::Failed(why) if why.contains("speaks TLS")), "{found:?}");
    let (config, _folder) = trusting(address, &self_signed(&["x"], authority).certificate);
    let client = S3::new(config, Arc::new(Ticks::default())).unwrap();
    let found = run(client.examine(None, Duration::from_secs(5))).remove(0);
    assert!(matches!(&found.tls, Step::Failed(why) if why.contains("AWS_CA_BUNDLE")), "{found:?}");
    let found = examined(server.url());
    assert!(matches!(found.answer, Step::Done(_)), "{found:?}");
}

#[test]
fn a_completion_that_was_lost_is_known_by_the_tag_of_its_parts() {
    // The MD5 of the pattern is not needed, because the stub defines the tags of parts.
    const PART: &str = "\"0cc175b9c0f1b6a831c399e269772661\"";
    for (tag, completed) in [("\"3bb1a4d6ca1ad6ad1d2c4d2d3dd3f4e0-2\"", false), ("\"opaque\"", true)] {
        let server = Stub::start(move |request| match (request.method.as_str(), request.nth) {
            ("POST", 0) => ok("<UploadId>u</UploadId>"),
            ("PUT", _) => Reply::Answer(200, vec![("etag", PART.to_owned())], vec![]),
            ("POST", 3) => Reply::Close,
            ("POST", _) => refusal(404, "NoSuchUpload"),
            ("HEAD", _) => {
                Reply::Answer(200, vec![("etag", tag.to_owned()), ("content-length", (6 << 20).to_string())], vec![])
            }
            _ => status(204),
        });
        let mut config = config(server.url());
        (config.multipart_threshold, config.part_size, config.part_concurrency) = (1, 5 << 20, 1);
        let client = S3::new(config, Arc::new(Ticks::default())).unwrap();
        let written = run(client.write("a", &mut Pattern::new(6 << 20)));
        assert_eq!(written.is_ok(), completed, "{tag}: {:?}", written.err().map(|error| error.to_string()));
    }
}
