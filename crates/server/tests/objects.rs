//! Operations on buckets and objects through an independent SDK, over both kinds of store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use support::{BUCKET, World, code, files, get, in_directory, over_both, pattern};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_reads_back_whole_and_in_ranges() {
    over_both(async |world| {
        let bytes = pattern(3_000_001);
        world.put("train/img_0_of_8.npz", bytes.clone()).await;
        let read = async |range| get(&world.client, "train/img_0_of_8.npz", range).await;
        assert_eq!(read(None).await.unwrap(), bytes);
        assert_eq!(read(Some("bytes=0-0")).await.unwrap(), bytes[..1]);
        assert_eq!(read(Some("bytes=1048570-1048590")).await.unwrap(), bytes[1_048_570..=1_048_590]);
        assert_eq!(read(Some("bytes=2999999-9999999")).await.unwrap(), bytes[2_999_999..]);
        assert_eq!(read(Some("bytes=2500000-")).await.unwrap(), bytes[2_500_000..]);
        assert_eq!(read(Some("bytes=-7")).await.unwrap(), bytes[bytes.len() - 7..]);
        assert_eq!(read(Some("bytes=3000001-")).await.unwrap_err(), "InvalidRange");
        let partial = world.client.get_object().bucket(BUCKET).key("train/img_0_of_8.npz").range("bytes=5-9");
        assert_eq!(partial.send().await.unwrap().content_range.unwrap(), "bytes 5-9/3000001");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_object_is_an_object() {
    over_both(async |world| {
        world.put("empty", "").await;
        assert_eq!(world.get("empty").await.unwrap(), b"");
        assert_eq!(get(&world.client, "empty", Some("bytes=0-0")).await.unwrap_err(), "InvalidRange");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_named() {
    over_both(async |world| {
        assert_eq!(get(&world.client, "nothing", None).await.unwrap_err(), "NoSuchKey");
        let elsewhere = world.client.get_object().bucket("no-such-bucket").key("k").send().await;
        assert_eq!(code(&elsewhere.unwrap_err()), "NoSuchBucket");
        let body = ByteStream::from(pattern(5 << 20));
        let put = world.client.put_object().bucket("no-such-bucket").key("k").body(body).send().await;
        assert_eq!(code(&put.unwrap_err()), "NoSuchBucket", "also when a long body comes with the request");
        let head = world.client.head_object().bucket(BUCKET).key("nothing").send().await.unwrap_err();
        assert!(head.into_service_error().is_not_found());
        world.client.delete_object().bucket(BUCKET).key("nothing").send().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_made_found_and_removed_when_empty() {
    over_both(async |world| {
        let again = world.client.create_bucket().bucket(BUCKET).send().await;
        again.unwrap();
        world.client.head_bucket().bucket(BUCKET).send().await.unwrap();
        world.client.get_bucket_location().bucket(BUCKET).send().await.unwrap();
        let buckets = world.client.list_buckets().send().await.unwrap();
        let names: Vec<_> = buckets.buckets().iter().filter_map(|bucket| bucket.name()).collect();
        assert_eq!(names, [BUCKET]);
        world.put("deep/er/object", "x").await;
        let full = world.client.delete_bucket().bucket(BUCKET).send().await;
        assert_eq!(code(&full.unwrap_err()), "BucketNotEmpty");
        world.client.delete_object().bucket(BUCKET).key("deep/er/object").send().await.unwrap();
        world.client.delete_bucket().bucket(BUCKET).send().await.unwrap();
        world.client.create_bucket().bucket("DLIO_data").send().await.unwrap();
        assert!(world.client.head_bucket().bucket(BUCKET).send().await.is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_stays_with_the_object_and_its_copy() {
    over_both(async |world| {
        let put = world.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"abc"));
        let tag = put.content_type("text/plain").metadata("rank", "3").send().await.unwrap().e_tag.unwrap();
        let source = format!("{BUCKET}/a");
        world.client.copy_object().bucket(BUCKET).key("x/b").copy_source(source).send().await.unwrap();
        for key in ["a", "x/b"] {
            let head = world.client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
            assert_eq!(head.content_type(), Some("text/plain"));
            assert_eq!(head.metadata().unwrap()["rank"], "3");
            assert_eq!(head.content_length(), Some(3));
            assert_eq!(head.e_tag(), Some(tag.as_str()));
        }
        assert_eq!(world.get("x/b").await.unwrap(), b"abc");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_hold_or_refuse() {
    over_both(async |world| {
        let first = world.put("k", "1").await;
        let second = world.put("k", "2").await;
        assert_ne!(first, second);
        let put = || world.client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"3"));
        assert_eq!(code(&put().if_none_match("*").send().await.unwrap_err()), "PreconditionFailed");
        assert_eq!(code(&put().if_match(&first).send().await.unwrap_err()), "PreconditionFailed");
        put().if_match(&second).send().await.unwrap();
        let absent = world.client.put_object().bucket(BUCKET).key("new/k").body(ByteStream::from_static(b"4"));
        absent.if_none_match("*").send().await.unwrap();
        let read = || world.client.get_object().bucket(BUCKET).key("k");
        assert_eq!(code(&read().if_match(&first).send().await.unwrap_err()), "PreconditionFailed");
        let now = read().send().await.unwrap().e_tag.unwrap();
        let same = read().if_none_match(&now).send().await.unwrap_err();
        assert_eq!(same.raw_response().unwrap().status().as_u16(), 304);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_are_verified_and_a_wrong_one_leaves_nothing() {
    over_both(async |world| {
        let put = || world.client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"hello"));
        let put_crc = put().checksum_crc32_c("AAAAAA==").send().await;
        assert_eq!(code(&put_crc.unwrap_err()), "BadDigest");
        let put_md5 = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await;
        assert_eq!(code(&put_md5.unwrap_err()), "BadDigest");
        assert_eq!(world.get("k").await, None);
        // The MD5 of "hello", and the checksum that the SDK adds by itself.
        put().content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.unwrap();
        assert_eq!(world.get("k").await.unwrap(), b"hello");
    })
    .await;
}

/// Keys that look like paths out of the bucket, like other files, or like nothing.
const STRANGE: [&str; 14] = [
    "../../etc/x",
    "..",
    ".",
    "/abs",
    "a//b",
    "a/./b",
    "a/../b",
    "a/b/",
    "%2e%2e/x",
    "%",
    "a b+c&d=e?f#g",
    "日本語/é.npz",
    ".dlio-rs/drafts/x",
    "~tilde*'()!",
];

#[tokio::test(flavor = "multi_thread")]
async fn strange_keys_are_objects_like_any_other() {
    over_both(async |world| {
        for key in STRANGE {
            world.put(key, key).await;
        }
        for key in STRANGE {
            assert_eq!(world.get(key).await.as_deref(), Some(key.as_bytes()), "{key:?}");
        }
        let mut sorted = STRANGE;
        sorted.sort_unstable();
        assert_eq!(world.keys().await, sorted);
        for key in STRANGE {
            world.client.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
        }
        assert_eq!(world.keys().await, [""; 0]);
        world.client.delete_bucket().bucket(BUCKET).send().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_keys_never_leave_their_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with_bucket(&in_directory(dir.path())).await;
    for key in STRANGE {
        world.put(key, key).await;
    }
    let outside = files(dir.path());
    let outside: Vec<_> = outside.iter().filter(|path| !path.starts_with(BUCKET) && !path.ends_with("alive")).collect();
    assert_eq!(outside, [std::path::Path::new(".dlio-rs/lock")], "no draft stays, nothing escapes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_may_have_the_name_of_a_folder() {
    over_both(async |world| {
        for order in [["a", "a/b", "a/b/c"], ["a/b/c", "a/b", "a"]] {
            for key in order {
                world.put(key, key).await;
            }
            world.put("a", "second").await;
            assert_eq!(world.get("a").await.unwrap(), b"second");
            assert_eq!(world.get("a/b").await.unwrap(), b"a/b");
            assert_eq!(world.get("a/b/c").await.unwrap(), b"a/b/c");
            assert_eq!(world.keys().await, ["a", "a/b", "a/b/c"]);
            world.client.delete_object().bucket(BUCKET).key("a/b/c").send().await.unwrap();
            assert_eq!(world.get("a/b").await.unwrap(), b"a/b");
            for key in order {
                world.client.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
            }
            assert_eq!(world.keys().await, [""; 0]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_deleted_at_once() {
    over_both(async |world| {
        for key in ["x/1", "x/2", "y"] {
            world.put(key, "").await;
        }
        let objects = ["x/1", "x/2", "z"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
        let delete = Delete::builder().set_objects(Some(objects.into())).build().unwrap();
        let deleted = world.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
        assert_eq!(deleted.deleted().len(), 3);
        assert_eq!(world.keys().await, ["y"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_the_version_that_it_opened() {
    over_both(async |world| {
        let old = pattern(9 << 20);
        world.put("k", old.clone()).await;
        let reading = world.client.get_object().bucket(BUCKET).key("k").send().await.unwrap();
        world.put("k", "new").await;
        world.client.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        assert_eq!(reading.body.collect().await.unwrap().to_vec(), old);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_directory_is_a_bucket() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(BUCKET).join("train")).unwrap();
    std::fs::write(dir.path().join(BUCKET).join("train/img_0_of_1.npz"), "npz").unwrap();
    let world = World::start(&in_directory(dir.path()));
    assert_eq!(world.get("train/img_0_of_1.npz").await.unwrap(), b"npz");
    assert_eq!(world.keys().await, ["train/img_0_of_1.npz"]);
    world.put("valid/img_0_of_1.npz", "out").await;
    assert_eq!(std::fs::read(dir.path().join(BUCKET).join("valid/img_0_of_1.npz")).unwrap(), b"out");
}
