//! Recorded requests of other clients: those with signature version 2 are verbatim, because their signature does not
//! expire; the others are signed by curl over the same headers and body.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use dlio_server::ServeConfig;
use dlio_storage::registry::KeyPair;
use support::{BUCKET, World, over_both};

/// Sends bytes and returns the whole response.
fn exchange(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(world.running.endpoints()[0].strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A PUT of a body with headers, signed by curl.
fn put(world: &World, key: &str, headers: &[&str], body: &str) -> String {
    let keys = world.running.credentials();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-X", "PUT", "--data-binary", "@-", "-H", "Transfer-Encoding: chunked"]);
    curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{}:{}", keys.access_key, keys.secret_key)]);
    for header in headers {
        curl.args(["-H", header]);
    }
    curl.arg(format!("{}/{BUCKET}/{key}", world.running.endpoints()[0])).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = curl.spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// `aws-sdk-js` 3.1174: a stream of five bytes, followed by its checksum.
const JAVASCRIPT: [&str; 5] = [
    "x-amz-sdk-checksum-algorithm: CRC32",
    "x-amz-decoded-content-length: 5",
    "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-trailer: x-amz-checksum-crc32",
    "content-type: application/octet-stream",
];
const JAVASCRIPT_BODY: &str = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_javascript_sdk_is_stored_without_its_chunks() {
    over_both(async |world| {
        for (sent, kept) in [("aws-chunked", None), ("gzip,aws-chunked", Some("gzip"))] {
            let encoding = format!("content-encoding: {sent}");
            let headers = [&JAVASCRIPT[..], &[encoding.as_str()]].concat();
            assert_eq!(put(&world, "k", &headers, JAVASCRIPT_BODY), "");
            let head = world.client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
            assert_eq!((head.content_encoding(), head.content_length()), (kept, Some(5)), "{sent}");
            assert_eq!(world.get("k").await.unwrap(), b"hello");
            let refused = put(&world, "k", &headers, &JAVASCRIPT_BODY.replace("hello", "hallo"));
            assert!(refused.contains("<Code>BadDigest</Code>"), "{refused}");
        }
    })
    .await;
}

/// botocore 1.43 with `signature_version='s3'`: it signs `/test-bucket.1/`.
const BOTOCORE: [(&str, &str, &str); 2] = [
    ("list-type=2&encoding-type=url", "Kjjr0M2qNSXP/rZ8D5Iuibiz5c4=", "<ListBucketResult"),
    ("location", "CpgrAfY6GjQC710K62OmI2+AWAs=", "<LocationConstraint"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_signed_with_version_2_may_have_a_slash_behind_it() {
    let credentials = Some(KeyPair { access_key: "testkey".into(), secret_key: "testsecret".into() });
    let world = World::with_bucket(&ServeConfig { credentials, ..ServeConfig::default() }).await;
    for (query, signature, answer) in BOTOCORE {
        let request = |signature: &str| {
            format!(
                "GET /test-bucket.1?{query} HTTP/1.1\r\nHost: 127.0.0.1:38971\r\nAccept-Encoding: identity\r\n\
                 Date: Sun, 29 Nov 2026 18:37:53 GMT\r\nAuthorization: AWS testkey:{signature}\r\nConnection: close\r\n\r\n"
            )
        };
        let answered = exchange(&world, &request(signature));
        assert!(answered.starts_with("HTTP/1.1 200") && answered.contains(answer), "{answered}");
        let forged = exchange(&world, &request("Xjjr0M2qNSXP/rZ8D5Iuibiz5c4="));
        assert!(forged.contains("<Code>SignatureDoesNotMatch</Code>"), "{forged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_told_from_a_wrong_key() {
    let credentials = Some(KeyPair { access_key: "testkey".into(), secret_key: "testsecret".into() });
    let world = World::with_bucket(&ServeConfig { credentials, ..ServeConfig::default() }).await;
    for region in ["us-east-1", "RegionOne"] {
        let answered = exchange(
            &world,
            &format!(
                "GET / HTTP/1.1\r\nHost: s3\r\nx-amz-date: 20130524T000000Z\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n\
                 Authorization: AWS4-HMAC-SHA256 Credential=testkey/20130524/{region}/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={}\r\nConnection: close\r\n\r\n",
                "0".repeat(64)
            ),
        );
        assert!(
            answered.starts_with("HTTP/1.1 403") && answered.contains("<Code>RequestTimeTooSkewed</Code>"),
            "{answered}"
        );
        assert!(answered.contains("clock"), "{answered}");
    }
}
