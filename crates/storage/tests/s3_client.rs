//! The behaviour of the S3 client with a misbehaving server, tested with a server whose responses are scripted.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod stub;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dlio_event::{ConnectionId, OpKind, Outcome, Secret};
use dlio_storage::s3::{
    Addressing, CredentialSource, Credentials, EndpointNotice, LoadBalance, Preflight, Renewal, RetryPolicy, S3,
    S3Config, Temporary,
};
use dlio_storage::{ByteRange, ErrorKind, ListEntry, Storage};
use stub::{Pattern, Reply, Request, Stub, Ticks, ok, outcomes, read, refusal, run, status};

const MIB: u64 = 1 << 20;

fn config(servers: &[&Stub]) -> S3Config {
    let mut config = S3Config::new(servers.iter().map(|server| server.url()).collect(), "bucket");
    config.credentials = Some(Credentials::new("AKID", "secret"));
    config.retry.backoff = Duration::from_millis(1);
    config.request_timeout = Duration::from_secs(10);
    config.retry.max_attempts = Some(3);
    config
}

fn impatient(server: &Stub) -> S3Config {
    S3Config { request_timeout: Duration::from_millis(200), ..config(&[server]) }
}

fn client(config: S3Config) -> S3 {
    S3::new(config, Arc::new(Ticks::default())).unwrap()
}

#[test]
fn a_read_is_one_signed_request_with_an_escaped_key() {
    let server = Stub::start(|_| ok("hello"));
    let mut config = config(&[&server]);
    config.prefix = "data".into();
    let (bytes, receipt) = run(read(&client(config), "train/ä b+%=&.npz", ByteRange::ALL)).unwrap();
    assert_eq!((bytes.as_slice(), receipt.bytes), (&b"hello"[..], 5));
    let seen = server.seen();
    assert_eq!(seen[0].line(), "GET /bucket/data/train/%C3%A4%20b%2B%25%3D%26.npz");
    assert!(seen[0].header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 Credential=AKID/"));
    assert_eq!(seen[0].header("range"), None);
    let attempt = &receipt.attempts[0];
    assert_eq!((attempt.kind, attempt.status, attempt.bytes, attempt.number), (OpKind::Get, 200, 5, 0));
    assert_eq!(attempt.endpoint.as_deref(), Some(server.url().as_str()));
    assert!(attempt.start < attempt.first_byte.unwrap() && attempt.first_byte.unwrap() < attempt.end);
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let server = Stub::start(|_| ok(vec![7; 100_000]));
    let s3 = client(config(&[&server]));
    run(async {
        for _ in 0..5 {
            read(&s3, "a", ByteRange::ALL).await.unwrap();
            s3.delete("a").await.unwrap();
        }
    });
    assert!(server.seen().iter().all(|request| request.connection == 0));
}

#[test]
fn a_new_runtime_opens_a_new_connection_without_a_failed_attempt() {
    let server = Stub::start(|_| ok("x"));
    let s3 = client(config(&[&server]));
    for _ in 0..2 {
        let (_, receipt) = run(read(&s3, "a", ByteRange::ALL)).unwrap();
        assert_eq!(outcomes(&receipt), [Outcome::Ok]);
    }
    assert_eq!(server.seen().iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_connection_that_the_server_closed_while_idle_costs_no_attempt_of_the_budget() {
    let server = Stub::start(|_| Reply::AnswerAndClose(200, b"x".to_vec()));
    let mut config = config(&[&server]);
    config.retry.max_attempts = Some(1);
    let s3 = client(config);
    run(async {
        for _ in 0..4 {
            assert_eq!(read(&s3, "a", ByteRange::ALL).await.unwrap().0, b"x");
        }
    });
}

#[test]
fn threads_have_their_own_connections() {
    let server = Stub::start(|_| ok("x"));
    let s3 = client(config(&[&server]));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                run(async {
                    for _ in 0..3 {
                        read(&s3, "a", ByteRange::ALL).await.unwrap();
                    }
                });
            });
        }
    });
    let mut connections: Vec<_> = server.seen().iter().map(|request| request.connection).collect();
    connections.sort_unstable();
    assert_eq!(connections, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
}

#[test]
fn a_range_asks_for_its_bytes_only() {
    let server =
        Stub::start(|_| Reply::Answer(206, vec![("content-range", "bytes 10-13/100".into())], b"abcd".to_vec()));
    let (bytes, receipt) = run(read(&client(config(&[&server])), "a", ByteRange::new(10, 4))).unwrap();
    assert_eq!(bytes, b"abcd");
    assert_eq!(server.seen()[0].header("range"), Some("bytes=10-13"));
    let attempt = &receipt.attempts[0];
    assert_eq!((attempt.kind, attempt.offset, attempt.requested), (OpKind::GetRange, 10, Some(4)));
}

#[test]
fn a_range_beyond_the_end_reads_nothing() {
    let server = Stub::start(|request| match request.method.as_str() {
        "HEAD" => Reply::Answer(200, vec![("content-length", "10".into())], vec![]),
        _ => refusal(416, "InvalidRange"),
    });
    let (bytes, receipt) = run(read(&client(config(&[&server])), "a", ByteRange::new(10, 4))).unwrap();
    assert_eq!((bytes.len(), receipt.bytes, receipt.attempts[0].status), (0, 0, 416));
}

#[test]
fn a_server_that_ignores_ranges_is_refused() {
    let server = Stub::start(|_| ok(vec![0; 100]));
    let error = run(read(&client(config(&[&server])), "a", ByteRange::new(10, 4))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.to_string().contains("must honour byte ranges"), "{error}");
}

/// Serves `Pattern::bytes(1000)`, but breaks off every response to a whole GET after 300 bytes.
fn breaking(request: &Request) -> Reply {
    let whole = Pattern::bytes(1000);
    let head = |first: usize| {
        let range = format!("bytes {first}-999/1000");
        let headers = [("content-range", range), ("etag", "\"v1\"".into())];
        stub::answer(request, if first == 0 { 200 } else { 206 }, &headers, &whole[first..])
    };
    let first: usize = request.header("range").map_or(0, |range| range[6..range.find('-').unwrap()].parse().unwrap());
    let mut bytes = head(first);
    if request.nth < 2 {
        let end = bytes.len() - (1000 - first) + 300;
        bytes.truncate(end);
    }
    Reply::Cut(bytes)
}

#[test]
fn a_short_answer_is_continued_where_it_broke_off() {
    let server = Stub::start(breaking);
    let (bytes, receipt) = run(read(&client(config(&[&server])), "a", ByteRange::ALL)).unwrap();
    assert_eq!(bytes, Pattern::bytes(1000));
    assert_eq!(receipt.bytes, 1000);
    assert_eq!(outcomes(&receipt), [Outcome::ShortRead, Outcome::ShortRead, Outcome::Ok]);
    let moved: Vec<_> = receipt.attempts.iter().map(|a| (a.offset, a.requested, a.bytes, a.number)).collect();
    assert_eq!(moved, [(0, None, 300, 0), (300, Some(700), 300, 1), (600, Some(400), 400, 2)]);
    let seen = server.seen();
    assert_eq!(seen[1].header("range"), Some("bytes=300-999"));
    assert_eq!(seen[1].header("if-match"), Some("\"v1\""), "the rest must come from the same version");
}

#[test]
fn an_answer_that_stays_short_is_an_error_that_says_how_short() {
    let server = Stub::start(|request| {
        let mut bytes = stub::answer(request, 200, &[], &[0; 50]);
        bytes.truncate(bytes.len() - 50);
        Reply::Cut(bytes)
    });
    let error = run(read(&client(config(&[&server])), "a", ByteRange::ALL)).unwrap_err();
    assert_eq!((error.kind, error.outcome(), error.attempts.len()), (ErrorKind::Corrupt, Outcome::ShortRead, 3));
    assert!(error.to_string().contains("after 0 of 50 bytes"), "{error}");
}

#[test]
fn a_server_that_asks_for_less_is_asked_again_later() {
    let server = Stub::start(|request| match request.nth {
        0 => refusal(503, "SlowDown"),
        1 => status(500),
        _ => ok("x"),
    });
    let (_, receipt) = run(read(&client(config(&[&server])), "a", ByteRange::ALL)).unwrap();
    assert_eq!(outcomes(&receipt), [Outcome::Throttled, Outcome::ServerError, Outcome::Ok]);
    let statuses: Vec<_> = receipt.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [503, 500, 200]);
    assert!(server.seen().iter().all(|request| request.connection == 0), "a refusal leaves the connection usable");
}

#[test]
fn a_server_that_never_recovers_is_given_up_after_the_attempts_allowed() {
    let server = Stub::start(|_| refusal(503, "SlowDown"));
    let error = run(read(&client(config(&[&server])), "train/x.npz", ByteRange::new(0, 8))).unwrap_err();
    assert_eq!((error.kind, error.attempts.len(), server.seen().len()), (ErrorKind::Server, 3, 3));
    assert_eq!(
        error.to_string(),
        format!(
            "reading s3://bucket/train/x.npz bytes 0..8 at {}: HTTP 503 SlowDown: no (after 3 attempts)",
            server.url()
        )
    );
}

#[test]
fn a_silent_server_times_out() {
    let server = Stub::start(|request| if request.nth == 0 { Reply::Silence } else { ok("x") });
    let (_, receipt) = run(read(&client(impatient(&server)), "a", ByteRange::ALL)).unwrap();
    assert_eq!(outcomes(&receipt), [Outcome::Timeout, Outcome::Ok]);
}

#[test]
fn an_answer_that_stalls_midway_times_out_and_is_continued() {
    let server = Stub::start(|request| {
        if request.nth > 0 {
            return Reply::Answer(206, vec![("content-range", "bytes 2-3/4".into())], b"cd".to_vec());
        }
        Reply::Answer(200, vec![("content-length", "4".into())], b"ab".to_vec())
    });
    let (bytes, receipt) = run(read(&client(impatient(&server)), "a", ByteRange::ALL)).unwrap();
    assert_eq!(bytes, b"abcd");
    assert_eq!(outcomes(&receipt), [Outcome::Timeout, Outcome::Ok]);
}

#[test]
fn wrong_credentials_are_not_tried_again_and_name_the_key_to_check() {
    let server = Stub::start(|_| refusal(403, "InvalidAccessKeyId"));
    let error = run(read(&client(config(&[&server])), "a", ByteRange::ALL)).unwrap_err();
    assert_eq!((error.kind, error.attempts.len()), (ErrorKind::Denied, 1));
    assert!(error.to_string().contains("storage.storage_options.access_key_id"), "{error}");
}

#[test]
fn a_missing_bucket_says_what_to_do() {
    let server = Stub::start(|_| refusal(404, "NoSuchBucket"));
    let error = run(client(config(&[&server])).write("a", &mut Pattern::new(4))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoBucket);
    assert!(error.to_string().contains("check the bucket name `bucket`"), "{error}");
}

#[test]
fn an_endpoint_that_is_down_says_where_endpoints_are_set() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = S3Config::new(vec![format!("http://{free}")], "bucket");
    config.retry.backoff = Duration::from_millis(1);
    config.retry.retry_for = Duration::from_millis(200);
    let error = run(read(&client(config), "a", ByteRange::ALL)).unwrap_err();
    assert_eq!((error.kind, error.outcome()), (ErrorKind::Unreachable, Outcome::Connect));
    assert!(error.to_string().contains("storage.endpoint_uris"), "{error}");
}

#[test]
fn a_retry_goes_to_another_endpoint_where_that_is_asked_for() {
    let (broken, sound) = (Stub::start(|_| Reply::Close), Stub::start(|_| ok("x")));
    let mut config = config(&[&broken, &sound]);
    (config.load_balance, config.failover) = (LoadBalance::RoundRobin, true);
    let (_, receipt) = run(read(&client(config), "a", ByteRange::ALL)).unwrap();
    let used: Vec<_> = receipt.attempts.iter().map(|a| a.endpoint.as_deref().unwrap().to_owned()).collect();
    assert_eq!(used, [broken.url(), sound.url()]);
    assert_eq!(outcomes(&receipt), [Outcome::Connect, Outcome::Ok]);
}

#[test]
fn a_sink_that_refuses_the_bytes_ends_the_read() {
    let server = Stub::start(|_| ok("x"));
    let s3 = client(config(&[&server]));
    let error = run(async {
        let mut sink = |_: &[u8]| Err("expected the magic bytes".to_owned());
        s3.open("a").await.unwrap().read(ByteRange::ALL, &mut sink).await.unwrap_err()
    });
    assert_eq!((error.kind, error.attempts.len()), (ErrorKind::Corrupt, 1));
    assert!(error.to_string().ends_with("expected the magic bytes"));
}

#[test]
fn a_write_sends_every_byte_in_one_request() {
    for len in [0, 5, 300_000, 3 * MIB + 7] {
        let server = Stub::start(|_| status(200));
        let receipt = run(client(config(&[&server])).write("a", &mut Pattern::new(len))).unwrap();
        let seen = server.seen();
        assert_eq!(seen[0].line(), "PUT /bucket/a");
        assert!(seen[0].body == Pattern::bytes(len), "{len}");
        assert_eq!(seen[0].header("content-length"), Some(len.to_string().as_str()));
        assert_eq!(seen[0].header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
        assert_eq!((receipt.bytes, receipt.attempts[0].bytes, receipt.attempts[0].kind), (len, len, OpKind::Put));
    }
}

#[test]
fn a_write_that_failed_is_sent_again_from_its_first_byte() {
    for len in [1000, 2 * MIB] {
        let server = Stub::start(|request| if request.nth < 2 { refusal(503, "SlowDown") } else { status(200) });
        let receipt = run(client(config(&[&server])).write("a", &mut Pattern::new(len))).unwrap();
        assert_eq!(outcomes(&receipt), [Outcome::Throttled, Outcome::Throttled, Outcome::Ok]);
        assert!(server.seen().iter().all(|request| request.body == Pattern::bytes(len)));
    }
}

#[test]
fn a_body_that_is_too_long_to_keep_is_sent_once_and_the_error_says_so() {
    let server = Stub::start(|_| refusal(503, "SlowDown"));
    let mut config = config(&[&server]);
    (config.multipart_threshold, config.part_size, config.part_concurrency) = (u64::MAX, MIB, 1);
    let error = run(client(config).write("a", &mut Pattern::new(4 * MIB))).unwrap_err();
    assert_eq!(error.attempts.len(), 1);
    assert!(error.to_string().contains("not tried again"), "{error}");
}

#[test]
fn a_signed_payload_carries_its_hash() {
    let server = Stub::start(|_| status(200));
    let mut config = config(&[&server]);
    config.unsigned_payload = false;
    run(client(config).write("a", &mut Pattern::new(3))).unwrap();
    let hash = "ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc";
    assert_eq!(server.seen()[0].header("x-amz-content-sha256"), Some(hash));
}

fn multipart(request: &Request) -> Reply {
    match (request.method.as_str(), request.target.contains("uploads=")) {
        ("POST", true) => ok("<R><UploadId>id/1</UploadId></R>"),
        ("PUT", _) => {
            let number: String = request.target.split(['=', '&']).nth(1).unwrap().into();
            Reply::Answer(200, vec![("etag", format!("\"{number}\""))], vec![])
        }
        ("POST", false) => ok("<CompleteMultipartUploadResult/>"),
        _ => status(204),
    }
}

fn in_parts(server: &Stub) -> S3Config {
    let mut config = config(&[server]);
    (config.multipart_threshold, config.part_size, config.part_concurrency) = (8 * MIB, 5 * MIB, 2);
    config
}

#[test]
fn a_large_object_is_written_in_parts() {
    let server = Stub::start(multipart);
    let len = 12 * MIB + 5;
    let receipt = run(client(in_parts(&server)).write("a", &mut Pattern::new(len))).unwrap();
    let mut seen = server.seen();
    assert_eq!(seen.remove(0).line(), "POST /bucket/a?uploads=");
    let last = seen.pop().unwrap();
    assert_eq!(last.line(), "POST /bucket/a?uploadId=id%2F1");
    assert_eq!(
        String::from_utf8(last.body).unwrap().matches("<PartNumber>").count(),
        3,
        "every part is named when the upload is completed"
    );
    seen.sort_by(|a, b| a.target.cmp(&b.target));
    assert_eq!(seen[2].line(), "PUT /bucket/a?partNumber=3&uploadId=id%2F1");
    assert!(seen.into_iter().flat_map(|request| request.body).eq(Pattern::bytes(len)));
    let kinds: Vec<_> = receipt.attempts.iter().map(|attempt| attempt.kind).collect();
    assert_eq!((kinds.len(), kinds[0], kinds[4]), (5, OpKind::MultipartCreate, OpKind::MultipartComplete));
    assert_eq!(receipt.bytes, len);
    assert_eq!(receipt.attempts.iter().map(|attempt| attempt.bytes).sum::<u64>(), len);
}

#[test]
fn a_part_that_fails_for_good_aborts_the_upload() {
    let server = Stub::start(|request| {
        if request.target.contains("partNumber=2") { refusal(403, "AccessDenied") } else { multipart(request) }
    });
    let error = run(client(in_parts(&server)).write("a", &mut Pattern::new(12 * MIB))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    let lines = server.lines();
    let abort = "DELETE /bucket/a?uploadId=id%2F1";
    assert!(
        lines.iter().any(|line| line == abort),
        "not the last line where another part is still on its way: {lines:?}"
    );
    assert_eq!(error.attempts.last().unwrap().kind, OpKind::MultipartAbort);
}

#[test]
fn a_write_that_is_dropped_midway_aborts_its_upload() {
    let server = Stub::start(|request| if request.method == "PUT" { Reply::Silence } else { multipart(request) });
    let s3 = client(in_parts(&server));
    run(async {
        let mut source = Pattern::new(12 * MIB);
        let write = s3.write("a", &mut source);
        let begun = async {
            while !server.lines().iter().any(|line| line.starts_with("PUT")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { biased; () = begun => {}, _ = write => unreachable!("the parts are never answered") }
        while !server.lines().iter().any(|line| line.starts_with("DELETE")) {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_lost_answer_to_the_completion_is_no_failure_when_the_object_is_there() {
    let server = Stub::start(|request| match request.method.as_str() {
        "POST" if request.target.contains("uploadId") => refusal(404, "NoSuchUpload"),
        "HEAD" => Reply::Answer(200, vec![("content-length", (12 * MIB).to_string())], vec![]),
        _ => multipart(request),
    });
    // The first response says that the upload does not exist: this client completed nothing, so it is an error.
    run(client(in_parts(&server)).write("a", &mut Pattern::new(12 * MIB))).unwrap_err();

    let server = Stub::start(|request| match request.method.as_str() {
        "POST" if request.target.contains("uploadId") && request.nth == 4 => Reply::Close,
        "POST" if request.target.contains("uploadId") => refusal(404, "NoSuchUpload"),
        "HEAD" => Reply::Answer(200, vec![("content-length", (12 * MIB).to_string())], vec![]),
        _ => multipart(request),
    });
    run(client(in_parts(&server)).write("a", &mut Pattern::new(12 * MIB))).unwrap();
}

#[test]
fn an_error_inside_a_successful_completion_is_an_error() {
    let server = Stub::start(|request| {
        if request.method == "POST" && request.target.contains("uploadId") {
            return ok("<Error><Code>InvalidPart</Code><Message>gone</Message></Error>");
        }
        multipart(request)
    });
    let error = run(client(in_parts(&server)).write("a", &mut Pattern::new(12 * MIB))).unwrap_err();
    assert!(error.to_string().contains("InvalidPart"), "{error}");
}

#[test]
fn a_listing_goes_on_until_its_last_page() {
    let server = Stub::start(|request| {
        let page = |more: &str, key: &str| {
            ok(format!(
                "<ListBucketResult><EncodingType>url</EncodingType>{more}<Contents><Key>run/{key}</Key><Size>3</Size>\
                 </Contents></ListBucketResult>"
            ))
        };
        if request.target.contains("continuation-token=t%2B1") {
            page("<IsTruncated>false</IsTruncated>", "train/b+c")
        } else {
            page("<IsTruncated>true</IsTruncated><NextContinuationToken>t+1</NextContinuationToken>", "train/a")
        }
    });
    let mut config = config(&[&server]);
    config.prefix = "run".into();
    let mut found = Vec::new();
    let receipt = run(client(config).list("train/", &mut |page| found.extend_from_slice(page))).unwrap();
    let names = ["train/a", "train/b c"].map(|key| ListEntry { key: key.into(), size: 3 });
    assert_eq!(found, names);
    assert_eq!(receipt.attempts.len(), 2);
    assert_eq!(server.lines()[0], "GET /bucket?encoding-type=url&list-type=2&max-keys=1000&prefix=run%2Ftrain%2F");
}

#[test]
fn a_listing_whose_server_repeats_itself_is_an_error_that_names_it() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
    let cut = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    for (answer, words, requests) in [(page, "does not end", 2), (cut, "no NextContinuationToken", 1)] {
        let server = Stub::start(move |_| ok(answer));
        let error = run(client(config(&[&server])).list("train/", &mut |_| {})).unwrap_err();
        let text = error.to_string();
        assert_eq!((error.kind, server.seen().len()), (ErrorKind::Server, requests));
        assert!(text.contains(words) && text.contains("s3://bucket/train/") && text.contains(&server.url()), "{text}");
    }
}

#[test]
fn sizes_come_from_head() {
    let server = Stub::start(|request| match request.target.as_str() {
        "/bucket/a" => Reply::Answer(200, vec![("content-length", "77".into())], vec![]),
        _ => status(404),
    });
    let s3 = client(config(&[&server]));
    run(async {
        assert_eq!(s3.stat("a").await.unwrap().0.size, 77);
        assert_eq!(s3.stat("b").await.unwrap_err().kind, ErrorKind::NotFound);
    });
}

#[test]
fn deleting_what_is_not_there_is_no_error() {
    let server = Stub::start(|request| match request.target.as_str() {
        "/bucket/a" => status(204),
        "/bucket/b" => refusal(404, "NoSuchKey"),
        _ => refusal(404, "NoSuchBucket"),
    });
    let s3 = client(config(&[&server]));
    run(async {
        s3.delete("a").await.unwrap();
        s3.delete("b").await.unwrap();
        assert!(s3.delete("c").await.unwrap_err().to_string().contains("NoSuchBucket"));
    });
}

#[test]
fn a_bucket_is_created_only_if_it_is_missing() {
    let there = Stub::start(|_| status(200));
    run(client(config(&[&there])).create_root()).unwrap();
    assert_eq!(there.lines(), ["HEAD /bucket"]);

    let raced =
        Stub::start(
            |request| {
                if request.method == "HEAD" { status(404) } else { refusal(409, "BucketAlreadyOwnedByYou") }
            },
        );
    run(client(config(&[&raced])).create_root()).unwrap();
    assert_eq!(raced.lines(), ["HEAD /bucket", "PUT /bucket"]);

    let taken =
        Stub::start(|request| if request.method == "HEAD" { status(404) } else { refusal(409, "BucketAlreadyExists") });
    let error = run(client(config(&[&taken])).create_root()).unwrap_err();
    assert!(error.to_string().contains("BucketAlreadyExists"), "{error}");
}

#[test]
fn a_refused_look_at_the_bucket_is_told_with_its_reason() {
    let skewed = Stub::start(
        |request| {
            if request.method == "HEAD" { status(403) } else { refusal(403, "RequestTimeTooSkewed") }
        },
    );
    let error = run(client(config(&[&skewed])).create_root()).unwrap_err();
    assert!(error.to_string().contains("the clock of this node"), "{error}");
    let listed = Stub::start(|request| if request.method == "HEAD" { status(403) } else { ok("<ListBucketResult/>") });
    run(client(config(&[&listed])).create_root()).unwrap();
}

#[test]
fn a_key_that_leaves_the_root_is_never_sent() {
    let server = Stub::start(|_| ok("x"));
    let s3 = client(config(&[&server]));
    run(async {
        assert_eq!(read(&s3, "../other", ByteRange::ALL).await.unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(s3.delete("").await.unwrap_err().kind, ErrorKind::Invalid);
    });
    assert!(server.seen().is_empty());
}

#[test]
fn without_credentials_requests_are_not_signed() {
    let server = Stub::start(|_| status(403));
    let mut config = config(&[&server]);
    config.credentials = None;
    let error = run(read(&client(config), "a", ByteRange::ALL)).unwrap_err();
    assert_eq!(server.seen()[0].header("authorization"), None);
    assert!(error.to_string().contains("not signed"), "{error}");
}

#[test]
fn the_preflight_of_a_generation_writes_reads_and_deletes_at_every_endpoint() {
    let bucket = || {
        let stored = std::sync::Mutex::new(Vec::new());
        Stub::start(move |request| match request.method.as_str() {
            "PUT" => {
                stored.lock().unwrap().clone_from(&request.body);
                status(200)
            }
            "GET" => ok(stored.lock().unwrap().clone()),
            _ => status(204),
        })
    };
    let (first, second) = (bucket(), bucket());
    run(client(config(&[&first, &second])).preflight(Preflight::Write)).unwrap();
    for server in [&first, &second] {
        let methods: Vec<_> = server.seen().into_iter().map(|request| request.method).collect();
        assert_eq!(methods, ["HEAD", "PUT", "GET", "DELETE"], "the bucket is looked up, then the probe goes through");
        assert!(server.lines()[1].starts_with("PUT /bucket/.dlio-rs-probe-"));
    }
}

#[test]
fn the_preflight_names_the_endpoint_that_is_wrong() {
    let (sound, wrong) = (Stub::start(|_| status(200)), Stub::start(|_| status(403)));
    let s3 = client(config(&[&sound, &wrong]));
    let error = run(s3.preflight(Preflight::Read("train/a"))).unwrap_err();
    assert_eq!((error.kind, error.endpoint.clone()), (ErrorKind::Denied, Some(wrong.url())));
    let missing = Stub::start(|_| status(404));
    let error = run(client(config(&[&missing])).preflight(Preflight::Read("train/a"))).unwrap_err();
    assert!(error.to_string().contains("generate the dataset first"), "{error}");
}

#[test]
fn a_probe_that_comes_back_different_is_an_error() {
    let server = Stub::start(|request| if request.method == "GET" { ok("other") } else { status(200) });
    let error = run(client(config(&[&server])).preflight(Preflight::Write)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert_eq!(server.seen().last().unwrap().method, "DELETE", "the probe does not stay behind");
}

#[test]
fn every_attempt_knows_its_connection_and_the_moments_in_between() {
    let range = || Reply::Answer(206, vec![("content-range", "bytes 10-13/100".into())], b"abcd".to_vec());
    let server = Stub::start(move |request| match (&*request.method, request.header("range")) {
        ("PUT", _) => status(200),
        (_, Some(_)) => range(),
        _ => ok(vec![7; 1000]),
    });
    let s3 = client(config(&[&server]));
    run(async {
        let (_, whole) = read(&s3, "a", ByteRange::ALL).await.unwrap();
        let (_, part) = read(&s3, "a", ByteRange::new(10, 4)).await.unwrap();
        let put = s3.write("a", &mut Pattern::new(300_000)).await.unwrap();
        let (whole, part, put) = (&whole.attempts[0], &part.attempts[0], &put.attempts[0]);
        assert_eq!((whole.object_size, part.object_size, put.object_size), (Some(1000), Some(100), None));
        assert!([whole, part, put].iter().all(|attempt| attempt.connection == ConnectionId(0)));
        for attempt in [whole, part, put] {
            let issued = attempt.issued.unwrap();
            assert!(attempt.start < issued && issued < attempt.first_byte.unwrap());
        }
        assert_eq!((whole.last_byte, part.last_byte), (None, None));
        let sent = put.last_byte.unwrap();
        assert!(put.issued.unwrap() < sent && sent < put.first_byte.unwrap());
    });
    let (_, later) = run(read(&s3, "a", ByteRange::ALL)).unwrap();
    assert_eq!(later.attempts[0].connection, ConnectionId(1), "a new runtime opens a connection of its own");
}

/// Creates a client with failover, and returns the notices that it gives.
fn telling(config: S3Config) -> (S3, Arc<Mutex<Vec<EndpointNotice>>>) {
    let (s3, told) = (client(config), Arc::new(Mutex::new(Vec::new())));
    let notices = Arc::clone(&told);
    s3.on_notice(Arc::new(move |notice| notices.lock().unwrap().push(notice)));
    (s3, told)
}

/// Returns an address on which nothing listens.
fn nobody() -> (String, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (format!("http://{}", socket.local_addr().unwrap()), socket)
}

#[test]
fn an_outage_is_ridden_out_and_told() {
    let (address, socket) = nobody();
    let mut config = config(&[]);
    (config.endpoints, config.addressing) = (vec![address.clone()], Addressing::Path);
    config.retry = RetryPolicy { max_attempts: None, ..RetryPolicy::default() };
    let (s3, told) = telling(config);
    run(async {
        let back = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            Stub::on(socket.listen(16).unwrap().into_std().unwrap(), |_| ok("x"))
        };
        let (first, second, server) =
            tokio::join!(read(&s3, "a", ByteRange::ALL), read(&s3, "b", ByteRange::ALL), back);
        let attempts = first.unwrap().1.attempts.len() + second.unwrap().1.attempts.len();
        assert!(attempts > 2 && server.seen().len() == 2, "{attempts} attempts");
    });
    let outages = s3.problems().outages;
    assert_eq!((outages.len(), &*outages[0].endpoint, outages[0].affected), (1, &*address, 2));
    let told = told.lock().unwrap();
    assert!(
        matches!(&told[..], [EndpointNotice::Down { .. }, EndpointNotice::Recovered { affected: 2, .. }]),
        "{told:?}"
    );
}

#[test]
fn without_an_answer_the_error_names_the_endpoint_and_the_time() {
    let (address, _socket) = nobody();
    let mut config = config(&[]);
    (config.endpoints, config.addressing) = (vec![address.clone()], Addressing::Path);
    config.retry = RetryPolicy { retry_for: Duration::from_secs(1), ..RetryPolicy::default() };
    let error = run(read(&client(config), "a", ByteRange::ALL)).unwrap_err().to_string();
    assert!(error.contains(&address) && error.contains("given up after 1 s without a byte"), "{error}");
}

#[test]
fn a_dead_endpoint_costs_one_request_where_others_stand_in() {
    let sound = Stub::start(|_| ok("x"));
    let mut config = config(&[&sound]);
    let (dead, _socket) = nobody();
    config.endpoints.push(dead);
    config.failover = true;
    let (s3, _) = telling(config);
    run(async {
        let mut failed = 0;
        for _ in 0..40 {
            let (_, receipt) = read(&s3, "a", ByteRange::ALL).await.unwrap();
            failed += receipt.attempts.len() - 1;
        }
        assert_eq!(failed, 1, "only the first request found it out");
    });
    assert_eq!(s3.problems().elsewhere, 20);
}

#[test]
fn spares_take_the_requests_of_an_endpoint_that_is_down() {
    let spare = Stub::start(|_| ok("x"));
    let (dead, _socket) = nobody();
    let mut config = config(&[&spare]);
    config.endpoints.insert(0, dead);
    (config.failover, config.spares) = (true, 1);
    let s3 = client(config);
    run(async {
        for _ in 0..3 {
            read(&s3, "a", ByteRange::ALL).await.unwrap();
        }
    });
    assert_eq!(spare.seen().len(), 3);
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let server = Stub::start(|request| match request.nth {
        0 => Reply::Answer(503, vec![("retry-after", "1".into())], vec![]),
        _ => ok("x"),
    });
    let (_, receipt) = run(read(&client(config(&[&server])), "a", ByteRange::ALL)).unwrap();
    assert!(receipt.attempts[1].start - receipt.attempts[0].end >= 1_000_000_000);
}

/// Returns credentials number `number`, which expire immediately.
fn temporary(number: u64) -> Temporary {
    let token = Some(Secret::new(format!("token-{number}")));
    let credentials = Credentials { session_token: token, ..Credentials::new("AKID", "secret") };
    Temporary { credentials, ends: Some(Duration::from_secs(1)) }
}

#[test]
fn credentials_that_are_over_are_renewed_and_the_request_is_sent_again() {
    let newest = Arc::new(AtomicU64::new(1));
    let accepted = Arc::clone(&newest);
    let server = Stub::start(move |request| {
        let wanted = format!("token-{}", accepted.load(Ordering::Relaxed));
        if request.header("x-amz-security-token") == Some(&wanted) { ok("x") } else { refusal(400, "ExpiredToken") }
    });
    let issued = Arc::clone(&newest);
    let source: CredentialSource = Box::new(move || {
        let found = temporary(issued.load(Ordering::Relaxed));
        Box::pin(std::future::ready(Ok(Temporary { ends: None, ..found })))
    });
    let mut config = config(&[&server]);
    config.credentials = Some(temporary(1).credentials);
    config.renewal = Some(Renewal::start(Temporary { ends: None, ..temporary(1) }, source).unwrap());
    let s3 = client(config);
    run(async {
        for number in 1..4 {
            newest.store(number, Ordering::Relaxed);
            assert_eq!(read(&s3, "a", ByteRange::ALL).await.unwrap().0, b"x", "{number}");
            assert_eq!(read(&s3, "a", ByteRange::ALL).await.unwrap().1.attempts.len(), 1, "known from then on");
        }
    });
}

#[test]
fn credentials_that_end_soon_are_renewed_before_a_request_is_refused() {
    let server = Stub::start(|_| ok("x"));
    let source: CredentialSource =
        Box::new(|| Box::pin(std::future::ready(Ok(Temporary { ends: None, ..temporary(2) }))));
    let mut config = config(&[&server]);
    config.credentials = Some(temporary(1).credentials);
    config.renewal = Some(Renewal::start(temporary(1), source).unwrap());
    let s3 = client(config);
    run(async {
        while server.seen().last().and_then(|request| request.header("x-amz-security-token").map(str::to_owned))
            != Some("token-2".to_owned())
        {
            assert_eq!(read(&s3, "a", ByteRange::ALL).await.unwrap().1.attempts.len(), 1);
        }
    });
}
