//! Responses with false lengths or contents: both clients return every requested byte or an error, never fewer bytes.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod stub;

use std::sync::Arc;
use std::time::Duration;

use dlio_storage::s3::sdk::SdkS3;
use dlio_storage::s3::{Credentials, S3, S3Config};
use dlio_storage::{ByteRange, Error, ErrorKind, RangedGet, RangedGetRules, Receipt, Storage};
use stub::{Pattern, Reply, Request, Stub, Ticks, read, refusal, run};

/// Size of the object in bytes.
const SIZE: usize = 1000;

fn clients(server: &Stub) -> [Arc<dyn Storage>; 2] {
    let mut config = S3Config::new(vec![server.url()], "bucket");
    config.credentials = Some(Credentials::new("AKID", "secret"));
    config.retry.backoff = Duration::from_millis(1);
    config.request_timeout = Duration::from_secs(10);
    config.retry.max_attempts = Some(3);
    let time = || Arc::new(Ticks::default());
    [Arc::new(S3::new(config.clone(), time()).unwrap()), Arc::new(SdkS3::new(config, time()).unwrap())]
}

/// A response with these headers and this body, after which the connection closes.
fn cut(request: &Request, code: u16, headers: &[(&'static str, String)], body: &[u8]) -> Reply {
    Reply::Cut(stub::answer(request, code, headers, body))
}

fn size(bytes: usize) -> Reply {
    Reply::Answer(200, vec![("content-length", bytes.to_string())], vec![])
}

fn range(first: usize, last: usize, total: &str) -> (&'static str, String) {
    ("content-range", format!("bytes {first}-{last}/{total}"))
}

/// Responses of the server to the first GET (whole, but cut after 300 bytes), to later ones, and to HEAD.
fn resumed(later: fn(&Request) -> Reply, head: usize) -> Stub {
    Stub::start(move |request| match (request.method.as_str(), request.header("range")) {
        ("HEAD", _) => size(head),
        (_, None) => {
            let headers = [("content-length", SIZE.to_string()), ("etag", "\"v1\"".into())];
            cut(request, 200, &headers, &Pattern::bytes(300))
        }
        _ => later(request),
    })
}

/// Reads with both clients.
fn reads(server: &Stub, range: ByteRange) -> Vec<Result<(Vec<u8>, Receipt), Error>> {
    clients(server).iter().map(|client| run(read(&**client, "a", range))).collect()
}

fn whole(server: &Stub) -> Vec<Result<(Vec<u8>, Receipt), Error>> {
    reads(server, ByteRange::ALL)
}

fn refused(outcomes: Vec<Result<(Vec<u8>, Receipt), Error>>, kind: ErrorKind, words: &str) {
    for outcome in outcomes {
        let error = outcome.map(|(bytes, _)| bytes.len()).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_rest_that_is_refused_as_beyond_the_end_is_an_error() {
    let server = resumed(|_| refusal(416, "InvalidRange"), SIZE);
    refused(whole(&server), ErrorKind::Corrupt, "ended after 300 of 1000 bytes");
    // HEAD returns the length of the truncated body, so the first response was wrong and the bytes were complete.
    for outcome in whole(&resumed(|_| refusal(416, "InvalidRange"), 300)) {
        let (bytes, receipt) = outcome.unwrap();
        assert_eq!((bytes, receipt.bytes), (Pattern::bytes(300), 300));
    }
    let silent = Stub::start(|request| match (request.method.as_str(), request.header("range")) {
        ("HEAD", _) => refusal(403, "AccessDenied"),
        (_, None) => cut(request, 200, &[("content-length", SIZE.to_string())], &[7; 300]),
        _ => refusal(416, "InvalidRange"),
    });
    refused(whole(&silent), ErrorKind::Denied, "asking for the object's size failed");
}

#[test]
fn a_rest_of_another_range_size_or_version_is_an_error() {
    let other = |later| whole(&resumed(later, SIZE));
    let words = "must honour byte ranges";
    refused(other(|request| cut(request, 200, &[], &[7; SIZE])), ErrorKind::Invalid, words);
    refused(other(|request| cut(request, 206, &[range(301, 999, "1000")], &[7; 699])), ErrorKind::Invalid, words);
    refused(other(|request| cut(request, 206, &[], &[7; 700])), ErrorKind::Invalid, words);
    let words = "the endpoint answered with";
    refused(other(|request| cut(request, 206, &[range(300, 999, "1000")], &[7; 600])), ErrorKind::Invalid, words);
    refused(other(|request| cut(request, 206, &[range(300, 1000, "2000")], &[7; 701])), ErrorKind::Invalid, words);
    refused(
        other(|request| cut(request, 206, &[("content-range", "300".into())], &[7; 700])),
        ErrorKind::Invalid,
        words,
    );
    let words = "replaced while it was being read";
    refused(other(|request| cut(request, 206, &[range(300, 799, "800")], &[7; 500])), ErrorKind::Corrupt, words);
    let version =
        |request: &Request| cut(request, 206, &[range(300, 999, "1000"), ("etag", "\"v2\"".into())], &[7; 700]);
    refused(other(version), ErrorKind::Corrupt, words);
}

#[test]
fn ranges_in_small_answers_are_put_together() {
    let server = Stub::start(|request| {
        let asked = request.header("range").unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = asked.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let last = last.min(first + 199).min(SIZE - 1);
        Reply::Answer(206, vec![range(first, last, "1000")], Pattern::bytes(1000)[first..=last].to_vec())
    });
    for (asked, expected) in [(ByteRange::new(100, 500), 100..600), (ByteRange::new(700, 900), 700..1000)] {
        for outcome in reads(&server, asked) {
            assert_eq!(outcome.unwrap().0, Pattern::bytes(1000)[expected.clone()]);
        }
    }
    // More scripted responses than one operation has attempts.
    refused(reads(&server, ByteRange::new(0, 1000)), ErrorKind::Corrupt, "of 1000 bytes");
}

#[test]
fn an_answer_that_tells_no_size_is_compared_with_what_the_server_says_of_the_object() {
    let unknown = |request: &Request| match request.method.as_str() {
        "HEAD" => size(SIZE),
        _ => cut(request, 206, &[range(100, 299, "*")], &Pattern::bytes(300)[100..]),
    };
    let server = Stub::start(unknown);
    for outcome in reads(&server, ByteRange::new(100, 200)) {
        assert_eq!(outcome.unwrap().0, Pattern::bytes(300)[100..]);
    }
    for asked in [ByteRange::new(100, 300), ByteRange { offset: 100, len: None }] {
        for outcome in reads(&server, asked) {
            outcome.map(|(bytes, _)| bytes.len()).unwrap_err();
        }
    }
    // Neither a length nor chunks: the body ends with the connection, wherever that is.
    for (sent, ok) in [(SIZE, true), (500, false)] {
        let server = Stub::start(move |request| match request.method.as_str() {
            "HEAD" => size(SIZE),
            _ if request.header("range").is_some() => refusal(416, "InvalidRange"),
            _ => Reply::Cut(
                [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &Pattern::bytes(SIZE as u64)[..sent]].concat(),
            ),
        });
        for outcome in whole(&server) {
            assert_eq!(outcome.is_ok_and(|(bytes, _)| bytes.len() == SIZE), ok);
        }
    }
}

#[test]
fn a_range_that_is_refused_although_the_object_has_it_is_an_error() {
    let server = |bytes: usize| {
        Stub::start(move |request| if request.method == "HEAD" { size(bytes) } else { refusal(416, "InvalidRange") })
    };
    refused(reads(&server(SIZE), ByteRange::new(100, 50)), ErrorKind::Corrupt, "ended after 0 of 50 bytes");
    for outcome in reads(&server(100), ByteRange::new(100, 50)) {
        assert_eq!(outcome.unwrap().1.bytes, 0);
    }
}

#[test]
fn parts_of_an_object_that_is_replaced_are_an_error() {
    let rules = RangedGetRules { head: true, threshold: Some(1), chunk: Some(400), concurrency: Some(1), cores: 1 };
    let parts = |second: fn(&Request) -> Reply| {
        let server = Stub::start(move |request| match (request.method.as_str(), request.header("range")) {
            ("HEAD", _) => size(SIZE),
            (_, Some("bytes=0-399")) => {
                let headers = vec![range(0, 399, "1000"), ("etag", "\"v1\"".into())];
                Reply::Answer(206, headers, Pattern::bytes(400))
            }
            _ => second(request),
        });
        let outcomes = clients(&server).map(|client| run(read(&RangedGet::new(client, rules), "a", ByteRange::ALL)));
        let rest = server.seen().into_iter().filter(|request| request.header("range") == Some("bytes=400-799"));
        for request in rest {
            assert_eq!(request.header("if-match"), Some("\"v1\""), "the rest must come from the same version");
        }
        Vec::from(outcomes)
    };
    let words = "replaced while it was being read";
    refused(parts(|_| refusal(412, "PreconditionFailed")), ErrorKind::Corrupt, words);
    let version =
        |_: &Request| Reply::Answer(206, vec![range(400, 799, "1000"), ("etag", "\"v2\"".into())], vec![7; 400]);
    refused(parts(version), ErrorKind::Corrupt, words);
    refused(parts(|_| Reply::Answer(206, vec![range(400, 499, "500")], vec![7; 100])), ErrorKind::Corrupt, words);
    let larger = |request: &Request| match request.header("range") {
        Some("bytes=400-799") => Reply::Answer(206, vec![range(400, 799, "2000")], vec![7; 400]),
        _ => Reply::Answer(206, vec![range(800, 999, "2000")], vec![7; 200]),
    };
    for outcome in parts(larger) {
        outcome.map(|(bytes, _)| bytes.len()).unwrap_err();
    }
    for outcome in parts(|_| refusal(416, "InvalidRange")) {
        outcome.map(|(bytes, _)| bytes.len()).unwrap_err();
    }
}
