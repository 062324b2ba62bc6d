//! Entity tags seen through an independent SDK: digests as S3 defines them, or opaque ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, Tag, Tagging};
use dlio_server::{EntityTags, ServeConfig};
use support::{BUCKET, World, code, in_directory, over_both, pattern};

/// `printf hello | md5sum`
const HELLO: &str = "\"5d41402abc4b2a76b9719d911017c592\"";
/// `printf hello | md5sum`, in base64.
const HELLO_BASE64: &str = "XUFAKrxLKna5cZ2REBfFkg==";
const PART_BYTES: usize = 5 << 20;
/// MD5 of the MD5s of two parts of [`pattern`] bytes: `(for i in 0 1; do part $i | md5sum | xxd -r -p; done) |
/// md5sum`.
const TWO_PARTS: &str = "\"5279ab22979aac10cbd96010fd505933-2\"";

/// Uploads [`PART_BYTES`] of the pattern and one more byte in two parts; returns the tag of the object.
async fn upload(world: &World, key: &str) -> String {
    let client = &world.client;
    let begun = client.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
    let id = begun.upload_id.unwrap();
    let bytes = pattern(PART_BYTES + 1);
    let mut parts = Vec::new();
    for (number, part) in (1..).zip(bytes.chunks(PART_BYTES)) {
        let send = || {
            let body = ByteStream::from(part.to_vec());
            client.upload_part().bucket(BUCKET).key(key).upload_id(&id).part_number(number).body(body).send()
        };
        send().await.unwrap();
        let again = send().await.unwrap().e_tag.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(again).build());
    }
    let listed = client.list_parts().bucket(BUCKET).key(key).upload_id(&id).send().await.unwrap();
    let tags: Vec<_> = listed.parts().iter().map(|part| part.e_tag().unwrap().to_owned()).collect();
    assert_eq!(tags, parts.iter().map(|part| part.e_tag().unwrap().to_owned()).collect::<Vec<_>>());
    let list = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id).multipart_upload(list);
    complete.send().await.unwrap().e_tag.unwrap()
}

/// Returns what HEAD, GET and a listing report for an object, which must be the same.
async fn tag_of(world: &World, key: &str) -> String {
    let head = world.client.head_object().bucket(BUCKET).key(key).send().await.unwrap().e_tag.unwrap();
    let get = world.client.get_object().bucket(BUCKET).key(key).send().await.unwrap().e_tag.unwrap();
    let list = world.client.list_objects_v2().bucket(BUCKET).prefix(key).send().await.unwrap();
    assert_eq!((get.as_str(), list.contents()[0].e_tag().unwrap()), (head.as_str(), head.as_str()));
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_the_md5_of_the_object_or_of_the_md5s_of_its_parts() {
    over_both(async |world| {
        assert_eq!(world.put("whole", "hello").await, HELLO);
        assert_eq!(tag_of(&world, "whole").await, HELLO);
        assert_eq!(upload(&world, "parts").await, TWO_PARTS);
        assert_eq!(tag_of(&world, "parts").await, TWO_PARTS);
        let copy = world.client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/whole"));
        assert_eq!(copy.send().await.unwrap().copy_object_result.unwrap().e_tag.unwrap(), HELLO);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_a_directory_outlive_the_server_and_only_the_content_that_they_are_of() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with_bucket(&in_directory(dir.path())).await;
    world.put("whole", "hello").await;
    world.put("changed", "hello").await;
    upload(&world, "parts").await;
    world.running.shutdown().await;
    std::fs::write(dir.path().join(BUCKET).join("changed"), "by another program").unwrap();
    let world = World::start(&in_directory(dir.path()));
    assert_eq!(tag_of(&world, "whole").await, HELLO);
    assert_eq!(tag_of(&world, "parts").await, TWO_PARTS);
    assert!(tag_of(&world, "changed").await.starts_with("\"dlio-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_goes_with_the_content_that_it_is_of() {
    for tags in [EntityTags::Md5, EntityTags::Opaque] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::with_bucket(&ServeConfig { tags, ..in_directory(dir.path()) }).await;
        let client = &world.client;
        let get = async |key| {
            let got = client.get_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled).send().await;
            let got = got.unwrap();
            let (checksum, kind) = (got.checksum_crc32().map(str::to_owned), got.content_type().map(str::to_owned));
            // The client verifies the tag.
            (got.body.collect().await.unwrap().to_vec(), checksum, kind)
        };
        for key in ["changed", "kept"] {
            let put = client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"hello"));
            put.content_type("text/x").checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap();
        }
        upload(&world, "parts").await;
        for key in ["changed", "parts"] {
            std::fs::write(dir.path().join(BUCKET).join(key), "other").unwrap();
        }
        let tag = Tag::builder().key("a").value("b").build().unwrap();
        let tagging = Tagging::builder().tag_set(tag).build().unwrap();
        client.put_object_tagging().bucket(BUCKET).key("kept").tagging(tagging).send().await.unwrap();
        let kind = Some("text/x".to_owned());
        assert_eq!(get("changed").await, (b"other".to_vec(), None, kind.clone()));
        assert_eq!(get("kept").await, (b"hello".to_vec(), Some("NhCmhg==".to_owned()), kind));
        let part = client.get_object().bucket(BUCKET).key("parts").part_number(1).send().await.unwrap();
        assert_eq!(part.parts_count(), None);
        assert_eq!(part.body.collect().await.unwrap().to_vec(), b"other");
        let copy = client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/kept"));
        copy.send().await.unwrap();
        assert_eq!(get("copy").await.1.as_deref(), Some("NhCmhg=="));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opaque_tags_are_no_digests_and_differ_between_versions() {
    let dir = tempfile::tempdir().unwrap();
    for config in [ServeConfig::default(), in_directory(dir.path())] {
        let world = World::with_bucket(&ServeConfig { tags: EntityTags::Opaque, ..config }).await;
        let first = world.put("whole", "hello").await;
        assert!(first.starts_with("\"dlio-"), "{first}");
        assert_eq!(tag_of(&world, "whole").await, first);
        assert_ne!(world.put("whole", "hello").await, first);
        assert!(upload(&world, "parts").await.starts_with("\"dlio-"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_md5_is_verified_whatever_the_tags() {
    for tags in [EntityTags::Md5, EntityTags::Opaque] {
        let world = World::with_bucket(&ServeConfig { tags, ..ServeConfig::default() }).await;
        let put = |bytes: &'static [u8]| {
            let put = world.client.put_object().bucket(BUCKET).key("k").content_md5(HELLO_BASE64);
            put.body(ByteStream::from_static(bytes)).send()
        };
        assert_eq!(code(&put(b"hallo").await.unwrap_err()), "BadDigest");
        assert_eq!(world.get("k").await, None);
        put(b"hello").await.unwrap();
    }
}
