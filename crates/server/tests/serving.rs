//! The server as a process: access, shared directories, and what a restart and an interruption leave.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use dlio_server::{LatencyModel, Running, ServeConfig, Server};
use dlio_storage::registry::{self, KeyPair};
use support::{BUCKET, World, client, files, get, in_directory, pattern};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_key_pair_is_let_in() {
    let world = World::with_bucket(&ServeConfig::default()).await;
    world.put("k", "secret").await;
    let endpoint = &world.running.endpoints()[0];
    let right = world.running.credentials().clone();
    let wrong_secret = KeyPair { secret_key: "wrong".into(), ..right.clone() };
    let refused = get(&client(endpoint, &wrong_secret), "k", None).await;
    assert_eq!(refused.unwrap_err(), "SignatureDoesNotMatch");
    let unknown = KeyPair { access_key: "AKIDUNKNOWN".into(), ..right };
    assert_eq!(get(&client(endpoint, &unknown), "k", None).await.unwrap_err(), "InvalidAccessKeyId");
    let answer = raw(endpoint, &format!("GET /{BUCKET}/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("AccessDenied"), "{answer}");
}

/// Sends a raw request and reads the response until the server closes the connection.
fn raw(endpoint: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with_bucket(&in_directory(dir.path())).await;
    let before = files(dir.path());
    let presigned = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let put = world.client.put_object().bucket(BUCKET).key("deep/k").presigned(presigned).await.unwrap();
    let (address, path) = put.uri().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("PUT /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 8000000\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&pattern(3_000_000)).unwrap();
    wait_until("the write has begun", || files(dir.path()).len() > before.len()).await;
    drop(stream);
    wait_until("the draft is gone", || files(dir.path()) == before).await;
    assert_eq!(world.get("deep/k").await, None);
    assert_eq!(world.keys().await, [""; 0]);
}

async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_on_one_directory_see_the_same_objects() {
    let dir = tempfile::tempdir().unwrap();
    let one = World::with_bucket(&in_directory(dir.path())).await;
    let two = World::start(&in_directory(dir.path()));
    let bytes = pattern(2_500_000);
    one.put("train/x", bytes.clone()).await;
    assert_eq!(two.get("train/x").await.unwrap(), bytes);
    two.put("train/y", "from two").await;
    assert_eq!(one.keys().await, ["train/x", "train/y"]);
    let head = async |world: &World| {
        let head = world.client.head_object().bucket(BUCKET).key("train/x").send().await.unwrap();
        (head.e_tag, head.last_modified)
    };
    assert_eq!(head(&one).await, head(&two).await, "both tell the same tag and time");
    two.client.delete_object().bucket(BUCKET).key("train/x").send().await.unwrap();
    assert_eq!(one.get("train/x").await, None);
    // An upload that is created at one server is completed at another.
    let begun = one.client.create_multipart_upload().bucket(BUCKET).key("m").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let part = two.client.upload_part().bucket(BUCKET).key("m").upload_id(id).part_number(1);
    part.body(ByteStream::from_static(b"part")).send().await.unwrap();
    one.client.abort_multipart_upload().bucket(BUCKET).key("m").upload_id(id).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_objects_and_removes_what_was_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let durable = ServeConfig { durable: true, ..in_directory(dir.path()) };
    let world = World::with_bucket(&durable).await;
    world.put("train/x", "kept").await;
    let tag = world.put("train/y", pattern(2_000_000)).await;
    world.running.shutdown().await;
    // Files as a killed server leaves them.
    let left = dir.path().join(".dlio-rs/drafts/dead");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("0"), "half an object").unwrap();
    let world = World::start(&durable);
    assert_eq!(world.get("train/x").await.unwrap(), b"kept");
    let head = world.client.head_object().bucket(BUCKET).key("train/y").send().await.unwrap();
    assert_eq!(head.e_tag, Some(tag));
    assert!(!left.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_one_server_share_their_objects_unless_separate() {
    for separate in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        for config in [ServeConfig::default(), in_directory(dir.path())] {
            let world = World::with_bucket(&ServeConfig { endpoints: 3, separate, ..config }).await;
            world.put("k", "x").await;
            assert_eq!(world.running.notices().len(), usize::from(separate));
            for endpoint in &world.running.endpoints()[1..] {
                let found = get(&client(endpoint, world.running.credentials()), "k", None).await;
                assert_eq!(found.is_ok(), !separate, "{found:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_announce_themselves_and_take_their_announcements_away() {
    let dir = tempfile::tempdir().unwrap();
    let registry_dir = dir.path().join("registry");
    let serve = |rank| {
        let config = ServeConfig {
            rank,
            ranks: 2,
            endpoints: 2,
            registry: Some(registry_dir.clone()),
            job: Some("one".into()),
            ..ServeConfig::default()
        };
        Server::start(&config).unwrap()
    };
    let servers = [serve(0), serve(1)];
    let found = registry::wait(&registry_dir, Duration::from_secs(10), |_| ()).await.unwrap();
    let announced: Vec<_> = found.endpoints.iter().map(|one| one.endpoint.as_str()).collect();
    let expected: Vec<_> = servers.iter().flat_map(Running::endpoints).collect();
    assert_eq!(announced, expected);
    let credentials = found.credentials.unwrap();
    assert!(servers.iter().all(|server| *server.credentials() == credentials), "one pair for all");
    client(announced[3], &credentials).create_bucket().bucket(BUCKET).send().await.unwrap();
    for server in servers {
        server.shutdown().await;
    }
    assert_eq!(registry::read(&registry_dir).unwrap().endpoints, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_a_request_in_flight_end_and_accepts_no_other() {
    let pace = LatencyModel { first_byte: Duration::ZERO, bytes_per_second: NonZeroU64::new(20_000_000) };
    let world = World::with_bucket(&ServeConfig { latency: pace, ..ServeConfig::default() }).await;
    let bytes = pattern(4_000_000);
    world.put("k", bytes.clone()).await;
    let endpoint = world.running.endpoints()[0].clone();
    let reading = world.client.get_object().bucket(BUCKET).key("k").send().await.unwrap();
    let (read, ()) = tokio::join!(reading.body.collect(), world.running.shutdown());
    assert_eq!(read.unwrap().to_vec(), bytes);
    assert!(TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_at_least_as_slow_as_asked() {
    let pace = LatencyModel { first_byte: Duration::from_millis(60), bytes_per_second: NonZeroU64::new(10_000_000) };
    let world = World::with_bucket(&ServeConfig { latency: pace, ..ServeConfig::default() }).await;
    world.put("k", pattern(1_000_000)).await;
    #[expect(clippy::disallowed_methods, reason = "the wall time of a request is what is tested")]
    let begin = Instant::now();
    world.get("k").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(160), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_an_endpoint_share_its_narrow_line_in_both_directions() {
    let fault_rules = vec!["bytes=1000000,endpoint=1".parse().unwrap()];
    let world = World::with_bucket(&ServeConfig { endpoints: 2, fault_rules, ..ServeConfig::default() }).await;
    let narrow = client(&world.running.endpoints()[1], world.running.credentials());
    let bytes = pattern(100_000);
    #[expect(clippy::disallowed_methods, reason = "the wall time of requests is what is tested")]
    let begin = Instant::now();
    let put =
        |key: &'static str| narrow.put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes.clone())).send();
    let (one, other) = tokio::join!(put("one"), put("other"));
    assert!(one.is_ok() && other.is_ok());
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());
    let (one, other) = tokio::join!(get(&narrow, "one", None), get(&narrow, "other", Some("bytes=1000-50999")));
    assert!(one.unwrap() == bytes && other.unwrap() == bytes[1000..51_000]);
    assert!(begin.elapsed() >= Duration::from_millis(350), "{:?}", begin.elapsed());
    assert!(world.get("one").await.unwrap() == bytes, "the other endpoint has all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_served_says_what_to_change() {
    let none = Server::start(&ServeConfig { endpoints: 0, ..ServeConfig::default() }).unwrap_err();
    assert!(none.to_string().contains("--endpoints"));
    let first = Server::start(&ServeConfig::default()).unwrap();
    let taken = first.endpoints()[0].strip_prefix("http://").unwrap().parse().unwrap();
    let error = Server::start(&ServeConfig { bind: taken, ..ServeConfig::default() }).unwrap_err();
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Server::start(&in_directory(file.path())).unwrap_err();
    assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
}
