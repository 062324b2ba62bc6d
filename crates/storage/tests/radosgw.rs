//! Both S3 clients against Debian's radosgw, a server that is independent of this project.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Region};
use dlio_event::OpKind;
use dlio_storage::conformance::{self, Capabilities, Pattern, Ticks, read};
use dlio_storage::s3::sdk::SdkS3;
use dlio_storage::s3::{Credentials, Preflight, S3, S3Config};
use dlio_storage::{ByteRange, Error, ErrorKind, Storage};

const BUCKET: &str = "interoperability";
/// Smallest part that S3 accepts.
const PART: u64 = 5 << 20;

/// A server that ends when this value is dropped or this process ends.
struct Radosgw {
    script: Child,
    folder: tempfile::TempDir,
    endpoint: String,
}

impl Radosgw {
    fn start() -> Self {
        let program = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/radosgw"));
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(&program);
        command.arg("run").arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut endpoint = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
        let endpoint = endpoint.trim_end().to_owned();
        if endpoint.is_empty() {
            let status = script.wait().unwrap();
            panic!("no radosgw ({status}); the reason is above. If programs are missing: scripts/test installs them");
        }
        Self { script, folder, endpoint }
    }

    /// The access key id and the secret key.
    fn keys(&self) -> (String, String) {
        let keys = std::fs::read_to_string(self.folder.path().join("keys")).unwrap();
        let (access, secret) = keys.trim_end().split_once(' ').unwrap();
        (access.to_owned(), secret.to_owned())
    }

    fn config(&self, prefix: &str) -> S3Config {
        let (access, secret) = self.keys();
        let mut config = S3Config::new(vec![self.endpoint.clone()], BUCKET);
        config.credentials = Some(Credentials::new(access, secret));
        prefix.clone_into(&mut config.prefix);
        config.multipart_threshold = 2 * PART;
        config.part_size = PART;
        config
    }
}

impl Drop for Radosgw {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

fn hyper(config: S3Config) -> S3 {
    S3::new(config, Arc::new(Ticks::default())).unwrap()
}

fn sdk(config: S3Config) -> SdkS3 {
    SdkS3::new(config, Arc::new(Ticks::default())).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Writes an object of several parts, the last of them shorter, with one client and reads it with the other.
async fn parts_join_to_the_object(writer: &dyn Storage, reader: &dyn Storage) {
    let key = "parts/größe 10%.npz";
    let pattern = Pattern::new(2 * PART + 4097, 7);
    let receipt = writer.write(key, &mut pattern.clone()).await.unwrap();
    let of = |kind| receipt.attempts.iter().filter(|attempt| attempt.kind == kind).count();
    let kinds = [OpKind::MultipartCreate, OpKind::MultipartPart, OpKind::MultipartComplete, OpKind::Put];
    assert_eq!(kinds.map(of), [1, 3, 1, 0], "{:?}", receipt.attempts);
    assert_eq!(reader.stat(key).await.unwrap().0.size, 2 * PART + 4097);
    for range in [ByteRange::ALL, ByteRange::new(PART - 5, 10), ByteRange::new(2 * PART + 4090, 100)] {
        let (content, _) = read(reader, key, range).await.unwrap();
        assert!(content == pattern.range(range), "{range:?}: other bytes than were written");
    }
    writer.delete(key).await.unwrap();
}

fn is_denied<T>(result: Result<T, Error>, endpoint: &str, what: &str) {
    let Err(error) = result else { panic!("{what} should be refused") };
    assert_eq!(error.kind, ErrorKind::Denied, "{what}: {error}");
    // A HEAD that is refused without a reason is followed by a request that returns it.
    assert!((1..=2).contains(&error.attempts.len()), "{what}: asking again does not help: {error}");
    let text = error.to_string();
    for told in ["403", endpoint, "AWS_"] {
        assert!(text.contains(told), "{what}: the message lacks {told}: {text}");
    }
}

/// Requests with a wrong key, an unknown key and no key.
async fn strangers_are_refused(server: &Radosgw) {
    let (access, _) = server.keys();
    let wrong = [Some(Credentials::new(access, "wrong")), Some(Credentials::new("NOBODY", "dlio-rados-secret")), None];
    for credentials in wrong {
        let config = S3Config { credentials, ..server.config("strangers") };
        let who = format!("{:?}", config.credentials);
        let clients: [Box<dyn Storage>; 2] = [Box::new(hyper(config.clone())), Box::new(sdk(config.clone()))];
        for client in clients {
            is_denied(client.write("x", &mut Pattern::new(10, 1)).await, &server.endpoint, &who);
            is_denied(client.create_root().await, &server.endpoint, &who);
            is_denied(client.stat("x").await, &server.endpoint, &who);
            is_denied(read(&*client, "x", ByteRange::ALL).await, &server.endpoint, &who);
        }
        is_denied(hyper(config).preflight(Preflight::Write).await, &server.endpoint, &who);
    }
}

/// Uploads that are neither completed nor aborted would occupy paid storage forever.
async fn unfinished_uploads(server: &Radosgw) -> usize {
    let (access, secret) = server.keys();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&server.endpoint)
        .force_path_style(true)
        .region(Region::new("us-east-1"))
        .credentials_provider(aws_sdk_s3::config::Credentials::new(access, secret, None, None, "test"))
        .build();
    let answer = aws_sdk_s3::Client::from_conf(config).list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    answer.uploads().len()
}

// A single test function, because starting the server takes seconds.
#[test]
fn radosgw_keeps_what_the_storage_trait_promises_to_both_clients() {
    let server = Radosgw::start();
    run(async {
        let missing = hyper(server.config("")).stat("x").await.unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound, "no bucket: {missing}");
        hyper(server.config("")).create_root().await.unwrap();
        hyper(server.config("with hyper+")).preflight(Preflight::Write).await.unwrap();
    });
    std::thread::scope(|scope| {
        scope.spawn(|| run(conformance::check(&hyper(server.config("with hyper+")), Capabilities::default())));
        scope.spawn(|| run(conformance::check(&sdk(server.config("with sdk+")), Capabilities::default())));
    });
    run(async {
        let hashed = S3Config { unsigned_payload: false, ..server.config("shared") };
        let (hyper, hashing, sdk) = (hyper(server.config("shared")), hyper(hashed), sdk(server.config("shared")));
        parts_join_to_the_object(&hyper, &sdk).await;
        parts_join_to_the_object(&sdk, &hyper).await;
        parts_join_to_the_object(&hashing, &hyper).await;
        strangers_are_refused(&server).await;
        assert_eq!(unfinished_uploads(&server).await, 0, "uploads are left behind");
        assert!(conformance::list(&hyper, "").await.unwrap().is_empty(), "objects are left behind");
    });
}
