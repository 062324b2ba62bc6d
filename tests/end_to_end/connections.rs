//! Connections to endpoints: proxies, servers without TLS, and the messages of `validate`, `doctor` and a run for the same mistake.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::{Said, Server, solo_with};

const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];

/// Environment variables.
type Variables<'a> = &'a [(&'a str, &'a str)];

fn yaml(folder: &Path) -> String {
    let path = folder.join("my.yaml");
    let text = "model: {name: t}\nframework: pytorch\n\
         workflow: {generate_data: true, train: true}\n\
         dataset: {data_folder: 's3://bkt/p', format: npz, num_files_train: 4, num_samples_per_file: 1, record_length_bytes: 4096}\n\
         reader: {data_loader: pytorch, batch_size: 2, read_threads: 1}\n\
         train: {epochs: 1, computation_time: 0.001}\n";
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs a command with keys, an endpoint and further environment variables.
fn with_endpoint(endpoint: &str, env: &[(&str, &str)], words: &[&str]) -> Said {
    let env = [&CREDENTIALS[..], &[("AWS_ENDPOINT_URL", endpoint)], env].concat();
    solo_with(&env, words)
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 65536];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// A proxy for plain HTTP that forwards everything to one server and records the first line of every connection.
fn proxy(to: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, lines) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&lines);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(mut client), Ok(mut server)) = (client, TcpStream::connect(&to)) else { break };
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut head = [0; 8192];
                let Ok(count) = client.read(&mut head) else { return };
                let line = String::from_utf8_lossy(&head[..count]).lines().next().unwrap_or_default().to_owned();
                seen.lock().unwrap().push(line);
                let _ = server.write_all(&head[..count]);
                let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || copy(up, down));
                copy(server, client);
            });
        }
    });
    (address, lines)
}

#[test]
fn both_clients_go_through_the_proxy_of_the_environment_and_past_it_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(1, &["--access-key", "AKID", "--secret-key", "secret"]);
    let endpoint = server.endpoints().remove(0);
    let (address, lines) = proxy(endpoint.trim_start_matches("http://").to_owned());
    let address = format!("http://{address}");
    let (path, out) = (yaml(folder.path()), folder.path().join("out"));
    let words = |client: &'static str| {
        ["-v", "run", &path, "--output", out.to_str().unwrap(), "--overwrite", client].map(str::to_owned)
    };
    let sdk = cfg!(feature = "sdk").then_some("++dlio_rs.s3_client=sdk");
    for client in std::iter::once("++dlio_rs.s3_client=hyper").chain(sdk) {
        let words = words(client);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let before = lines.lock().unwrap().len();
        let said = with_endpoint(&endpoint, &[("HTTP_PROXY", &address)], &words).ok();
        let through = format!("{endpoint} is reached through the proxy {address} (HTTP_PROXY)");
        assert!(said.err.contains(&through), "{}", said.err);
        let seen = lines.lock().unwrap().len();
        assert!(seen > before, "no connection came through the proxy");
        with_endpoint(&endpoint, &[("HTTP_PROXY", &address), ("NO_PROXY", "127.0.0.0/8")], &words).ok();
        assert_eq!(lines.lock().unwrap().len(), seen, "a connection came through the proxy");
    }
    // A connection attempt without a request has no line.
    let lines = lines.lock().unwrap();
    assert!(lines.iter().filter(|line| !line.is_empty()).all(|line| line.contains(&format!(" {endpoint}/bkt"))));
}

#[test]
fn a_run_validate_and_doctor_agree_on_what_is_wrong_with_an_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path());
    let out = folder.path().join("out");
    let run: Vec<&str> = vec!["replay", &path, "--output", out.to_str().unwrap(), "--overwrite"];
    let missing = "/nowhere/bundle.pem";
    let cases: [(&str, Variables<'_>, i32, &str); 6] = [
        ("http://127.0.0.1:1/?a=b", &[], 3, "has a query"),
        ("127.0.0.1:1", &[], 2, "AWS_ENDPOINT_URL: expected http://host:port"),
        ("http://127.0.0.1:1", &[("ALL_PROXY", "socks5://proxy:1")], 2, "ALL_PROXY: the proxy has the scheme socks5"),
        ("https://127.0.0.1:1", &[("AWS_CA_BUNDLE", missing)], 3, missing),
        ("https://127.0.0.1:1", &[("REQUESTS_CA_BUNDLE", missing)], 3, missing),
        ("http://127.0.0.1:99999", &[("ALL_PROXY", "socks5://p"), ("NO_PROXY", "*")], 3, "none from 1 to 65535"),
    ];
    for (endpoint, env, code, text) in cases {
        for words in [&run[..], &["validate", &path]] {
            with_endpoint(endpoint, env, words).failed(code, &[text]);
        }
        let said = with_endpoint(endpoint, env, &["doctor", &path]);
        assert!(said.code == Some(code) && said.out.contains(text), "{:?}\n{}{}", said.code, said.out, said.err);
    }
}

#[test]
fn https_at_a_plain_port_is_named_by_a_run_and_by_doctor_and_unchecked_certificates_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(1, &["--access-key", "AKID", "--secret-key", "secret"]);
    let plain = server.endpoints().remove(0);
    let secure = plain.replace("http://", "https://");
    let (path, out) = (yaml(folder.path()), folder.path().join("out"));
    let words = ["replay", &path, "--output", out.to_str().unwrap(), "--no-verify-ssl"];
    let said = with_endpoint(&secure, &[], &words);
    said.failed(3, &[&plain, "certificates are NOT checked", &secure]);
    let said = with_endpoint(&secure, &[], &["doctor", &path, "--no-verify-ssl"]);
    assert!(said.code == Some(3) && said.out.contains(&plain), "{}", said.out);
}

#[test]
fn a_missing_bucket_ends_a_replay_with_the_code_of_storage() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(1, &["--access-key", "AKID", "--secret-key", "secret"]);
    let endpoint = server.endpoints().remove(0);
    let (path, out) = (yaml(folder.path()), folder.path().join("out"));
    let words = ["replay", &path, "--output", out.to_str().unwrap(), "--overwrite"];
    with_endpoint(&endpoint, &[], &words).failed(3, &["HTTP 404 NoSuchBucket", &endpoint]);
    with_endpoint(&endpoint, &[], &[&words[..], &["--no-preflight"]].concat())
        .failed(3, &["HTTP 404 NoSuchBucket", &endpoint]);
}
