//! The SDK's client behaves like the other one: the same attempts, bytes and messages.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod stub;

use std::sync::Arc;
use std::time::Duration;

use dlio_event::{OpKind, Outcome};
use dlio_storage::s3::sdk::SdkS3;
use dlio_storage::s3::{Credentials, S3Config};
use dlio_storage::{ByteRange, ErrorKind, ListEntry, Storage};
use stub::{Pattern, Reply, Stub, Ticks, ok, outcomes, read, refusal, run, status};

const MIB: u64 = 1 << 20;

fn config(server: &Stub) -> S3Config {
    let mut config = S3Config::new(vec![server.url()], "bucket");
    config.credentials = Some(Credentials::new("AKID", "secret"));
    config.retry.backoff = Duration::from_millis(1);
    config.request_timeout = Duration::from_secs(10);
    config.retry.max_attempts = Some(3);
    config.prefix = "data".into();
    config
}

fn impatient(server: &Stub) -> S3Config {
    S3Config { request_timeout: Duration::from_millis(200), ..config(server) }
}

fn client(config: S3Config) -> SdkS3 {
    SdkS3::new(config, Arc::new(Ticks::default())).unwrap()
}

#[test]
fn a_refused_read_is_tried_again_and_every_try_is_told() {
    let server = Stub::start(|request| if request.nth == 0 { refusal(503, "SlowDown") } else { ok("hello") });
    let (bytes, receipt) = run(read(&client(config(&server)), "a b", ByteRange::ALL)).unwrap();
    assert_eq!(bytes, b"hello");
    assert_eq!(outcomes(&receipt), [Outcome::Throttled, Outcome::Ok]);
    assert_eq!(receipt.attempts[1].kind, OpKind::Get);
    assert!(server.lines()[0].starts_with("GET /bucket/data/a%20b"));
}

#[test]
fn a_range_is_cut_at_the_end_of_the_object() {
    let server = Stub::start(|request| match request.header("range") {
        _ if request.method == "HEAD" => Reply::Answer(200, vec![("content-length", "5".into())], vec![]),
        Some("bytes=2-9") => Reply::Answer(206, vec![("content-range", "bytes 2-4/5".into())], b"llo".to_vec()),
        _ => refusal(416, "InvalidRange"),
    });
    let s3 = client(config(&server));
    run(async {
        assert_eq!(read(&s3, "a", ByteRange::new(2, 8)).await.unwrap().0, b"llo");
        assert_eq!(read(&s3, "a", ByteRange::new(7, 8)).await.unwrap().0, b"");
    });
}

#[test]
fn a_silent_server_times_out() {
    let server = Stub::start(|request| if request.nth == 0 { Reply::Silence } else { ok("x") });
    let (_, receipt) = run(read(&client(impatient(&server)), "a", ByteRange::ALL)).unwrap();
    assert_eq!(outcomes(&receipt), [Outcome::Timeout, Outcome::Ok]);
}

#[test]
fn a_write_sends_every_byte_unsigned_and_again_when_refused() {
    for len in [0, 5, 2 * MIB + 7] {
        let server = Stub::start(|request| if request.nth == 0 { refusal(503, "SlowDown") } else { status(200) });
        let receipt = run(client(config(&server)).write("a", &mut Pattern::new(len))).unwrap();
        let seen = server.seen();
        assert!(seen[1].body == Pattern::bytes(len), "{len}");
        assert_eq!(seen[1].header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
        assert_eq!((receipt.bytes, outcomes(&receipt)), (len, vec![Outcome::Throttled, Outcome::Ok]));
    }
}

#[test]
fn parts_are_completed_in_order_or_aborted() {
    for fails in [false, true] {
        let server = Stub::start(move |request| match request.method.as_str() {
            "POST" if request.target.contains("uploads") => {
                ok("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
            }
            "POST" => ok("<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"),
            "PUT" if fails && request.target.contains("partNumber=2") => refusal(403, "AccessDenied"),
            "PUT" => Reply::Answer(200, vec![("etag", "\"e\"".into())], vec![]),
            _ => status(204),
        });
        let mut config = config(&server);
        (config.multipart_threshold, config.part_size, config.part_concurrency) = (8 * MIB, 5 * MIB, 2);
        let result = run(client(config).write("a", &mut Pattern::new(12 * MIB)));
        assert_eq!(result.is_err(), fails);
        let last = server.seen().pop().unwrap();
        assert_eq!(last.method, if fails { "DELETE" } else { "POST" });
        if !fails {
            let body = String::from_utf8(last.body).unwrap();
            assert!(body.find("<PartNumber>1<") < body.find("<PartNumber>2<"), "{body}");
        }
    }
}

#[test]
fn errors_say_what_to_do() {
    let server = Stub::start(|_| refusal(403, "SignatureDoesNotMatch"));
    let error = run(read(&client(config(&server)), "a", ByteRange::ALL)).unwrap_err();
    assert_eq!((error.kind, error.attempts.len()), (ErrorKind::Denied, 1));
    assert!(error.to_string().contains("secret_access_key"), "{error}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = config(&server);
    config.endpoints = vec![format!("http://{free}")];
    let error = run(client(config).stat("a")).unwrap_err();
    assert_eq!((error.kind, error.outcome()), (ErrorKind::Unreachable, Outcome::Connect));
}

#[test]
fn listing_looking_up_and_deleting_work() {
    let server = Stub::start(|request| match request.method.as_str() {
        "HEAD" if request.target.contains("gone") => status(404),
        "HEAD" => Reply::Answer(200, vec![("content-length", "77".into())], vec![]),
        "GET" => ok("<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>data/t/a</Key><Size>3</Size>\
                     </Contents></ListBucketResult>"),
        _ => status(204),
    });
    let s3 = client(config(&server));
    run(async {
        assert_eq!(s3.stat("a").await.unwrap().0.size, 77);
        assert_eq!(s3.stat("gone").await.unwrap_err().kind, ErrorKind::NotFound);
        let mut found = Vec::new();
        s3.list("t/", &mut |page| found.extend_from_slice(page)).await.unwrap();
        assert_eq!(found, [ListEntry { key: "t/a".into(), size: 3 }]);
        s3.delete("a").await.unwrap();
        s3.create_root().await.unwrap();
    });
}
