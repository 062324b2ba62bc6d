//! Limits of a server: connections, memory, and time for a request.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use dlio_server::ServeConfig;
use support::{BUCKET, World, pattern};

const MIB: usize = 1 << 20;

fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(world.running.endpoints()[0].strip_prefix("http://").unwrap()).unwrap();
    // Reached only if the server keeps the connection longer than it should.
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Reads until the server closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the S3 error code and the status of a request that must fail.
async fn refused(world: &World, key: &str, bytes: Vec<u8>) -> (String, u16) {
    let put = world.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes)).send().await;
    let error = put.unwrap_err();
    (support::code(&error), error.raw_response().map_or(0, |response| response.status().as_u16()))
}

fn full() -> (String, u16) {
    ("InsufficientStorage".into(), 507)
}

fn within(memory: usize) -> ServeConfig {
    ServeConfig { memory_limit: Some(memory as u64), ..ServeConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_memory_have_a_limit_and_give_back_what_they_took() {
    let world = World::with_bucket(&within(10 * MIB)).await;
    world.put("one", pattern(6 * MIB)).await;
    assert_eq!(refused(&world, "two", pattern(5 * MIB)).await, full());
    assert_eq!(
        refused(&world, "one", pattern(5 * MIB)).await,
        full(),
        "the old version lives until the new one is whole"
    );
    assert_eq!(world.get("one").await.unwrap(), pattern(6 * MIB));
    assert_eq!(world.keys().await, ["one"]);
    world.put("small", pattern(MIB)).await;
    world.put("small", pattern(2 * MIB)).await;
    world.client.delete_object().bucket(BUCKET).key("one").send().await.unwrap();
    for _ in 0..20 {
        world.put("again", pattern(3 * MIB)).await;
    }
    let copied =
        world.client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/again")).send().await;
    copied.unwrap();
    let second =
        world.client.copy_object().bucket(BUCKET).key("copy2").copy_source(format!("{BUCKET}/again")).send().await;
    assert_eq!(support::code(&second.unwrap_err()), "InsufficientStorage");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_count_and_an_aborted_upload_gives_them_back() {
    let world = World::with_bucket(&within(12 * MIB)).await;
    let begin = async || {
        let begun = world.client.create_multipart_upload().bucket(BUCKET).key("m").send().await.unwrap();
        begun.upload_id.unwrap()
    };
    let part = async |id: &str, number: i32| {
        let part = world.client.upload_part().bucket(BUCKET).key("m").upload_id(id).part_number(number);
        part.body(ByteStream::from(pattern(5 * MIB))).send().await.map_err(|error| support::code(&error))
    };
    let id = begin().await;
    part(&id, 1).await.unwrap();
    part(&id, 2).await.unwrap();
    assert_eq!(part(&id, 3).await.unwrap_err(), "InsufficientStorage");
    assert_eq!(refused(&world, "other", pattern(3 * MIB)).await, full());
    world.client.abort_multipart_upload().bucket(BUCKET).key("m").upload_id(id).send().await.unwrap();
    let id = begin().await;
    let tags = [part(&id, 1).await.unwrap(), part(&id, 2).await.unwrap()].map(|done| done.e_tag.unwrap());
    let numbered = tags
        .into_iter()
        .zip(1..)
        .map(|(tag, number)| aws_sdk_s3::types::CompletedPart::builder().e_tag(tag).part_number(number).build());
    let list = aws_sdk_s3::types::CompletedMultipartUpload::builder().set_parts(Some(numbered.collect())).build();
    let complete =
        world.client.complete_multipart_upload().bucket(BUCKET).key("m").upload_id(id).multipart_upload(list);
    complete.send().await.unwrap();
    assert_eq!(refused(&world, "other", pattern(3 * MIB)).await, full(), "an object of parts counts like any other");
    world.client.delete_object().bucket(BUCKET).key("m").send().await.unwrap();
    world.put("other", pattern(11 * MIB)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_do_not_exceed_the_memory_together() {
    let world = World::with_bucket(&within(10 * MIB)).await;
    let puts = (0..12).map(|number| {
        let put = world.client.put_object().bucket(BUCKET).key(format!("k{number}"));
        put.body(ByteStream::from(pattern(2 * MIB))).send()
    });
    let done = futures::future::join_all(puts).await;
    let codes: Vec<String> = done.iter().filter_map(|put| put.as_ref().err()).map(support::code).collect();
    assert!(codes.iter().all(|code| code == "InsufficientStorage"), "{codes:?}");
    // Writes in flight reserve memory too, so fewer than would finally fit may have succeeded.
    let stored = world.keys().await.len();
    assert_eq!(stored, 12 - codes.len());
    assert!((1..=4).contains(&stored), "{stored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_connections_are_refused_until_others_are_idle() {
    let world = World::start(&ServeConfig { connections: Some(8), ..ServeConfig::default() });
    // Requests that do not end: their body is announced but never sent.
    let head = format!("PUT /{BUCKET}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    let half = "GET /";
    let mut kept: Vec<TcpStream> = (0..8).map(|_| connect(&world)).collect();
    for stream in &mut kept {
        stream.write_all(half.as_bytes()).unwrap();
    }
    let mut next = connect(&world);
    next.write_all(head.as_bytes()).unwrap();
    let answer = rest(next);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("SlowDown"), "{answer}");
    let warnings = world.running.warnings();
    assert!(warnings[0].contains("refused") && warnings[0].contains("ulimit"), "{warnings:?}");
    drop(kept);
    for _ in 0..200 {
        if world.client.list_buckets().send().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server does not take connections again");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_are_closed_and_whole_ones_are_not() {
    let request_timeout = Duration::from_millis(300);
    let world = World::with_bucket(&ServeConfig { request_timeout, ..ServeConfig::default() }).await;
    world.put("k", "kept").await;
    let mut head = connect(&world);
    head.write_all(b"GET /k HTTP/1.1\r\nHost").unwrap();
    assert_eq!(rest(head), "");
    let presigned = aws_sdk_s3::presigning::PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let put = world.client.put_object().bucket(BUCKET).key("half").presigned(presigned).await.unwrap();
    let (address, path) = put.uri().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut body = connect(&world);
    body.write_all(format!("PUT /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\nhalf").as_bytes())
        .unwrap();
    assert_eq!(rest(body), "");
    assert!(world.running.warnings()[0].contains("closed: half a request"));
    assert_eq!(world.get("half").await, None);
    // The SDK's kept connection has been idle for longer than that.
    assert_eq!(world.get("k").await.unwrap(), b"kept");
}
