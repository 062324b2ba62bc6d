//! Features of S3 beyond storing bytes, seen through an independent SDK.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective,
    ObjectAttributes, ObjectIdentifier, Tag, Tagging,
};
use support::{BUCKET, World, code, get, over_both, pattern};

const PART_BYTES: usize = 5 << 20;

/// Creates an upload and returns its id.
async fn begin(world: &World, key: &str) -> String {
    world.client.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap().upload_id.unwrap()
}

/// Uploads a part and returns it as a completion lists it.
async fn part(world: &World, key: &str, id: &str, (number, bytes): (i32, Vec<u8>)) -> CompletedPart {
    let body = ByteStream::from(bytes);
    let sent = world.client.upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number).body(body);
    CompletedPart::builder().part_number(number).e_tag(sent.send().await.unwrap().e_tag.unwrap()).build()
}

/// Completes an upload; returns the object's entity tag or the code of the error.
async fn complete(world: &World, key: &str, id: &str, parts: Vec<CompletedPart>) -> Result<String, String> {
    let list = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let sent = world.client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id).multipart_upload(list);
    sent.send().await.map(|done| done.e_tag.unwrap()).map_err(|error| code(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_as_large_as_s3_wants_them_and_are_found_by_number() {
    over_both(async |world| {
        let id = begin(&world, "k").await;
        let first = part(&world, "k", &id, (1, pattern(PART_BYTES))).await;
        let small = part(&world, "k", &id, (3, b"small".to_vec())).await;
        let last = part(&world, "k", &id, (7, b"last".to_vec())).await;
        let all = vec![first.clone(), small.clone(), last.clone()];
        assert_eq!(complete(&world, "k", &id, all).await.unwrap_err(), "EntityTooSmall");
        let reversed = vec![small.clone(), first.clone()];
        assert_eq!(complete(&world, "k", &id, reversed).await.unwrap_err(), "InvalidPartOrder");
        let absent = CompletedPart::builder().part_number(2).e_tag("\"0\"").build();
        assert_eq!(complete(&world, "k", &id, vec![first.clone(), absent]).await.unwrap_err(), "InvalidPart");
        let chosen = vec![first, last];
        let tag = complete(&world, "k", &id, chosen.clone()).await.unwrap();
        assert_eq!(complete(&world, "k", &id, chosen).await.unwrap(), tag, "a repeated completion is answered alike");
        let seventh = world.client.get_object().bucket(BUCKET).key("k").part_number(7).send().await.unwrap();
        assert_eq!((seventh.parts_count(), seventh.e_tag()), (Some(2), Some(tag.as_str())));
        assert_eq!(seventh.content_range(), Some("bytes 5242880-5242883/5242884"));
        assert_eq!(seventh.body.collect().await.unwrap().to_vec(), b"last");
        let third = world.client.head_object().bucket(BUCKET).key("k").part_number(1).send().await.unwrap();
        assert_eq!(third.content_length(), Some(5 << 20));
        let none = world.client.get_object().bucket(BUCKET).key("k").part_number(3).send().await.unwrap_err();
        assert_eq!(code(&none), "InvalidPart");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_can_be_a_range_of_an_object_that_lies_within_it() {
    over_both(async |world| {
        world.put("source", "0123456789").await;
        let id = begin(&world, "copy").await;
        let copy = |range: &str| {
            let copy = world.client.upload_part_copy().bucket(BUCKET).key("copy").upload_id(&id).part_number(1);
            copy.copy_source(format!("{BUCKET}/source")).copy_source_range(range).send()
        };
        assert_eq!(code(&copy("bytes=5-10").await.unwrap_err()), "InvalidRange");
        assert_eq!(code(&copy("bytes=5-").await.unwrap_err()), "InvalidArgument");
        let tag = copy("bytes=2-4").await.unwrap().copy_part_result.unwrap().e_tag.unwrap();
        let parts = vec![CompletedPart::builder().part_number(1).e_tag(tag).build()];
        complete(&world, "copy", &id, parts).await.unwrap();
        assert_eq!(world.get("copy").await.unwrap(), b"234");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_listed_with_common_prefixes() {
    over_both(async |world| {
        for key in ["a/1", "a/2", "b"] {
            begin(&world, key).await;
        }
        let list = || world.client.list_multipart_uploads().bucket(BUCKET).delimiter("/");
        let page = list().max_uploads(1).send().await.unwrap();
        assert_eq!(page.common_prefixes()[0].prefix(), Some("a/"));
        assert_eq!((page.uploads().len(), page.is_truncated()), (0, Some(true)));
        let rest = list().key_marker(page.next_key_marker().unwrap()).send().await.unwrap();
        assert_eq!((rest.common_prefixes().len(), rest.uploads()[0].key()), (0, Some("b")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_times_and_missing_objects_are_those_of_s3() {
    over_both(async |world| {
        let tag = world.put("k", "1").await;
        let head = world.client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
        let written = head.last_modified().unwrap().secs();
        let at = |offset: i64| DateTime::from_secs(written + offset);
        let get = || world.client.get_object().bucket(BUCKET).key("k");
        let unchanged = get().if_modified_since(at(-1)).if_none_match(&tag).send().await.unwrap_err();
        assert_eq!(unchanged.raw_response().unwrap().status().as_u16(), 304);
        assert_eq!(unchanged.raw_response().unwrap().headers().get("etag"), Some(tag.as_str()));
        let later = get().if_modified_since(at(0)).send().await.unwrap_err();
        assert_eq!(later.raw_response().unwrap().status().as_u16(), 304);
        get().if_modified_since(at(-100)).send().await.unwrap();
        assert_eq!(code(&get().if_unmodified_since(at(-100)).send().await.unwrap_err()), "PreconditionFailed");
        get().if_unmodified_since(at(-100)).if_match(&tag).send().await.unwrap();
        let put = |key: &str| world.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"2"));
        assert_eq!(code(&put("none").if_match("*").send().await.unwrap_err()), "NoSuchKey");
        assert_eq!(code(&put("k").if_none_match(&tag).send().await.unwrap_err()), "PreconditionFailed");
        put("k").if_none_match("\"other\"").send().await.unwrap();
        let delete = |key: &str| world.client.delete_object().bucket(BUCKET).key(key);
        assert_eq!(code(&delete("k").if_match(&tag).send().await.unwrap_err()), "PreconditionFailed");
        delete("none").if_match(&tag).send().await.unwrap();
        delete("k").if_match("*").send().await.unwrap();
        assert_eq!(world.get("k").await, None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_kept_copied_replaced_and_overridden() {
    over_both(async |world| {
        let expires = DateTime::from_secs(1_800_000_000);
        let put = world.client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"x"));
        let put = put.cache_control("no-store").content_disposition("inline").content_language("de");
        put.content_encoding("gzip,aws-chunked").expires(expires).tagging("a=1&b=2").send().await.unwrap();
        let copy = |key: &str| world.client.copy_object().bucket(BUCKET).key(key).copy_source(format!("{BUCKET}/k"));
        copy("copy").send().await.unwrap();
        for key in ["k", "copy"] {
            let head = world.client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
            assert_eq!((head.cache_control(), head.content_disposition()), (Some("no-store"), Some("inline")));
            assert_eq!((head.content_language(), head.content_encoding()), (Some("de"), Some("gzip")));
            assert_eq!(head.expires_string(), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
            let get = world.client.get_object().bucket(BUCKET).key(key).response_cache_control("no-cache");
            let get = get.response_content_type("text/x").send().await.unwrap();
            assert_eq!(
                (get.cache_control(), get.content_type(), get.tag_count()),
                (Some("no-cache"), Some("text/x"), Some(2))
            );
        }
        copy("k").metadata_directive(MetadataDirective::Replace).content_language("fr").send().await.unwrap();
        let head = world.client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
        assert_eq!((head.content_language(), head.cache_control()), (Some("fr"), None));
        assert_eq!(code(&copy("k").send().await.unwrap_err()), "InvalidRequest");
        let large = world.client.put_object().bucket(BUCKET).key("k").metadata("m", "x".repeat(8000)).send().await;
        assert_eq!(code(&large.unwrap_err()), "MetadataTooLarge");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_kept_changed_and_removed() {
    over_both(async |world| {
        world.put("k", "x").await;
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
        // Longer than an extended attribute can be.
        let many: Vec<Tag> =
            (0..10).map(|index| tag(&format!("{index}{}", "k".repeat(126)), &"v".repeat(256))).collect();
        for set in [vec![tag("a", "ü")], many, vec![tag("b", "")]] {
            let tagging = Tagging::builder().set_tag_set(Some(set.clone())).build().unwrap();
            world.client.put_object_tagging().bucket(BUCKET).key("k").tagging(tagging).send().await.unwrap();
            let kept = world.client.get_object_tagging().bucket(BUCKET).key("k").send().await.unwrap();
            assert_eq!(kept.tag_set(), set);
        }
        world.client.delete_object_tagging().bucket(BUCKET).key("k").send().await.unwrap();
        let kept = world.client.get_object_tagging().bucket(BUCKET).key("k").send().await.unwrap();
        assert!(kept.tag_set().is_empty());
        let none = world.client.get_bucket_tagging().bucket(BUCKET).send().await.unwrap_err();
        assert_eq!(code(&none), "NoSuchTagSet");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_are_kept_and_those_of_parts_are_put_together() {
    over_both(async |world| {
        let put = world.client.put_object().bucket(BUCKET).key("whole").body(ByteStream::from_static(b"123456789"));
        put.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
        let head = || world.client.head_object().bucket(BUCKET).key("whole");
        assert_eq!(head().send().await.unwrap().checksum_sha256(), None);
        let kept = head().checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        // printf 123456789 | openssl dgst -sha256 -binary | base64
        assert_eq!(kept.checksum_sha256(), Some("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="));
        assert_eq!(kept.checksum_type(), Some(&ChecksumType::FullObject));
        let create = world.client.create_multipart_upload().bucket(BUCKET).key("parts");
        let create = create.checksum_algorithm(ChecksumAlgorithm::Crc32).checksum_type(ChecksumType::FullObject);
        let id = create.send().await.unwrap().upload_id.unwrap();
        let parts = vec![part(&world, "parts", &id, (1, b"123456789".to_vec())).await];
        complete(&world, "parts", &id, parts).await.unwrap();
        let attributes = world.client.get_object_attributes().bucket(BUCKET).key("parts");
        let asked = [ObjectAttributes::Checksum, ObjectAttributes::ObjectParts, ObjectAttributes::ObjectSize];
        let told = attributes.set_object_attributes(Some(asked.to_vec())).send().await.unwrap();
        // The check value of CRC-32: cbf43926.
        assert_eq!(told.checksum().unwrap().checksum_crc32(), Some("y/Q5Jg=="));
        assert_eq!((told.object_size(), told.object_parts().unwrap().total_parts_count()), (Some(9), Some(1)));
        assert_eq!(told.object_parts().unwrap().parts()[0].checksum_crc32(), Some("y/Q5Jg=="));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_configured_is_answered_as_s3_does() {
    over_both(async |world| {
        world.put("k", "x").await;
        let client = &world.client;
        assert_eq!(client.get_bucket_versioning().bucket(BUCKET).send().await.unwrap().status(), None);
        let acl = client.get_bucket_acl().bucket(BUCKET).send().await.unwrap();
        assert_eq!(acl.owner().unwrap().id(), Some("dlio-rs"));
        assert_eq!(acl.grants()[0].permission().unwrap().as_str(), "FULL_CONTROL");
        let refused = [
            code(&client.get_bucket_policy().bucket(BUCKET).send().await.unwrap_err()),
            code(&client.get_bucket_cors().bucket(BUCKET).send().await.unwrap_err()),
            code(&client.get_bucket_lifecycle_configuration().bucket(BUCKET).send().await.unwrap_err()),
            code(&client.get_object_lock_configuration().bucket(BUCKET).send().await.unwrap_err()),
            code(&client.get_public_access_block().bucket(BUCKET).send().await.unwrap_err()),
            code(&client.get_object().bucket(BUCKET).key("k").version_id("v1").send().await.unwrap_err()),
        ];
        let expected = [
            "NoSuchBucketPolicy",
            "NoSuchCORSConfiguration",
            "NoSuchLifecycleConfiguration",
            "ObjectLockConfigurationNotFoundError",
            "NoSuchPublicAccessBlockConfiguration",
            "NoSuchVersion",
        ];
        assert_eq!(refused, expected);
        let policy = client.put_bucket_policy().bucket(BUCKET).policy("{}").send().await.unwrap_err();
        assert_eq!(policy.raw_response().unwrap().status().as_u16(), 501);
        let versions = client.list_object_versions().bucket(BUCKET).send().await.unwrap();
        let only = &versions.versions()[0];
        assert_eq!((only.key(), only.version_id(), only.is_latest()), (Some("k"), Some("null"), Some(true)));
        client.delete_object().bucket(BUCKET).key("k").version_id("null").send().await.unwrap();
        assert_eq!(world.get("k").await, None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_id_of_their_request() {
    over_both(async |world| {
        let one = world.client.get_object().bucket(BUCKET).key("a").send().await.unwrap_err();
        let two = world.client.get_object().bucket(BUCKET).key("a").send().await.unwrap_err();
        assert!(one.request_id().is_some() && one.request_id() != two.request_id());
        let text = String::from_utf8(one.raw_response().unwrap().body().bytes().unwrap().to_vec()).unwrap();
        assert!(text.contains(&format!("<RequestId>{}</RequestId>", one.request_id().unwrap())), "{text}");
        assert!(text.contains(&format!("<Resource>/{BUCKET}/a</Resource>")), "{text}");
        assert!(world.client.head_bucket().bucket(BUCKET).send().await.unwrap().request_id().is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_xml_cannot_hold_are_removed_without_an_error() {
    over_both(async |world| {
        let keys = ["a\u{1}b", "c\u{7f}d", "e\nf", "g&h<i>"];
        for key in keys {
            world.put(key, "x").await;
        }
        let objects = keys.map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
        let delete = Delete::builder().set_objects(Some(objects.to_vec())).build().unwrap();
        // The SDK cannot parse a response if XML cannot represent a key; the server's response is nevertheless a
        // success.
        match world.client.delete_objects().bucket(BUCKET).delete(delete).send().await {
            Ok(done) => assert_eq!((done.deleted().len(), done.errors().len()), (4, 0)),
            Err(error) => assert_eq!(error.raw_response().unwrap().status().as_u16(), 200),
        }
        assert_eq!(get(&world.client, keys[0], None).await.unwrap_err(), "NoSuchKey");
        assert!(world.keys().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_listed_in_pages() {
    over_both(async |world| {
        for bucket in ["page-a", "page-b", "page-c"] {
            world.client.create_bucket().bucket(bucket).send().await.unwrap();
        }
        let list = || world.client.list_buckets().prefix("page-").max_buckets(2);
        let first = list().send().await.unwrap();
        let names = |page: &aws_sdk_s3::operation::list_buckets::ListBucketsOutput| {
            page.buckets().iter().map(|bucket| bucket.name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&first), ["page-a", "page-b"]);
        let rest = list().continuation_token(first.continuation_token().unwrap()).send().await.unwrap();
        assert_eq!((names(&rest), rest.continuation_token()), (vec!["page-c".to_owned()], None));
    })
    .await;
}
