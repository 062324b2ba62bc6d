//! Listings and multipart uploads through an independent SDK, over both kinds of store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use support::{BUCKET, World, code, files, in_directory, over_both, pattern};

/// One page, as (keys, common prefixes, next token).
async fn page(
    world: &World,
    prefix: &str,
    delimiter: Option<&str>,
    token: Option<String>,
) -> (Vec<String>, Vec<String>, Option<String>) {
    let list = world.client.list_objects_v2().bucket(BUCKET).prefix(prefix).max_keys(2);
    let list = list.set_delimiter(delimiter.map(str::to_owned)).set_continuation_token(token);
    let page = list.send().await.unwrap();
    assert_eq!(page.is_truncated(), Some(page.next_continuation_token.is_some()));
    let keys = page.contents().iter().filter_map(|object| object.key.clone()).collect();
    let prefixes = page.common_prefixes().iter().filter_map(|common| common.prefix.clone()).collect();
    (keys, prefixes, page.next_continuation_token)
}

/// Returns all pages of two entries each, keys and prefixes in the order in which they were listed.
async fn all(world: &World, prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let (keys, prefixes, next) = page(world, prefix, delimiter, token).await;
        assert!(keys.len() + prefixes.len() <= 2);
        let mut both = [keys, prefixes].concat();
        both.sort();
        found.extend(both);
        match next {
            Some(next) => token = Some(next),
            None => return found,
        }
    }
}

const KEYS: [&str; 11] = ["a", "a-b", "a.b", "a/", "a/b/1", "a/b/2", "a/c", "a0", "b//x", "train/img_0", "train/img_1"];

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_in_key_order() {
    over_both(async |world| {
        for key in KEYS {
            world.put(key, key).await;
        }
        assert_eq!(all(&world, "", None).await, KEYS);
        assert_eq!(all(&world, "a/", None).await, ["a/", "a/b/1", "a/b/2", "a/c"]);
        assert_eq!(all(&world, "a/b", None).await, ["a/b/1", "a/b/2"]);
        assert_eq!(all(&world, "train/img_1", None).await, ["train/img_1"]);
        assert_eq!(all(&world, "zzz", None).await, [""; 0]);
        assert_eq!(all(&world, "a/b/1/2", None).await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delimiter_folds_keys_into_common_prefixes() {
    over_both(async |world| {
        for key in KEYS {
            world.put(key, key).await;
        }
        assert_eq!(all(&world, "", Some("/")).await, ["a", "a-b", "a.b", "a/", "a0", "b/", "train/"]);
        assert_eq!(all(&world, "a/", Some("/")).await, ["a/", "a/b/", "a/c"]);
        assert_eq!(all(&world, "a", Some("/")).await, ["a", "a-b", "a.b", "a/", "a0"]);
        assert_eq!(all(&world, "b/", Some("/")).await, ["b//"]);
        assert_eq!(all(&world, "train", Some("img_")).await, ["train/img_"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_starts_after_a_key_or_a_marker() {
    over_both(async |world| {
        for key in KEYS {
            world.put(key, key).await;
        }
        let list = world.client.list_objects_v2().bucket(BUCKET).start_after("a/b/1").send().await.unwrap();
        let keys: Vec<_> = list.contents().iter().filter_map(|object| object.key()).collect();
        assert_eq!(keys, &KEYS[5..]);
        let first = world.client.list_objects().bucket(BUCKET).delimiter("/").max_keys(4).send().await.unwrap();
        assert_eq!(first.next_marker(), Some("a/"));
        let then = world.client.list_objects().bucket(BUCKET).delimiter("/").marker("a/").send().await.unwrap();
        let keys: Vec<_> = then.contents().iter().filter_map(|object| object.key()).collect();
        let prefixes: Vec<_> = then.common_prefixes().iter().filter_map(|common| common.prefix()).collect();
        assert_eq!((keys, prefixes), (vec!["a0"], vec!["b/", "train/"]));
        let none = world.client.list_objects_v2().bucket(BUCKET).max_keys(0).send().await.unwrap();
        assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_longer_than_a_file_name_are_listed_in_order() {
    over_both(async |world| {
        // Long components with a common beginning, one of them as a folder, as an object, and as part of a name.
        let stem = "n".repeat(239);
        let mut keys = vec![
            stem.clone(),
            format!("{stem}n"),
            format!("{stem}n/x"),
            format!("{stem}n-"),
            format!("{stem}é"),
            format!("{stem}/x"),
            "m".repeat(1024),
            format!("{}/{}", "o".repeat(500), "é".repeat(250)),
        ];
        for key in &keys {
            world.put(key, key.as_str()).await;
        }
        keys.sort();
        assert_eq!(all(&world, "", None).await, keys);
        for key in &keys {
            assert_eq!(world.get(key).await.unwrap(), key.as_bytes());
        }
    })
    .await;
}

/// Creates an upload and sends parts of these sizes; returns its id and the list that completes it.
async fn upload(world: &World, key: &str, parts: &[&[u8]]) -> (String, Vec<CompletedPart>) {
    let begun = world.client.create_multipart_upload().bucket(BUCKET).key(key).content_type("a/b").send().await;
    let id = begun.unwrap().upload_id.unwrap();
    let mut list = Vec::new();
    for (number, bytes) in (1..).zip(parts) {
        let body = ByteStream::from(bytes.to_vec());
        let part = world.client.upload_part().bucket(BUCKET).key(key).upload_id(&id).part_number(number).body(body);
        let tag = part.send().await.unwrap().e_tag.unwrap();
        list.push(CompletedPart::builder().part_number(number).e_tag(tag).build());
    }
    (id, list)
}

async fn complete(world: &World, key: &str, id: &str, parts: Vec<CompletedPart>) -> Result<String, String> {
    let list = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id);
    let done = complete.multipart_upload(list).send().await;
    done.map(|done| done.e_tag.unwrap()).map_err(|error| code(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_object_at_once() {
    over_both(async |world| {
        let bytes = pattern(7_000_000);
        let (id, parts) = upload(&world, "dir/big", &[&bytes[..5 << 20], &bytes[5 << 20..]]).await;
        assert_eq!(world.get("dir/big").await, None, "nothing appears before completion");
        assert_eq!(world.keys().await, [""; 0]);
        let listed = world.client.list_parts().bucket(BUCKET).key("dir/big").upload_id(&id).send().await.unwrap();
        assert_eq!(listed.parts().iter().map(|part| part.size.unwrap()).collect::<Vec<_>>(), [5 << 20, 1_757_120]);
        let uploads = world.client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
        assert_eq!(uploads.uploads().iter().map(|one| one.key().unwrap()).collect::<Vec<_>>(), ["dir/big"]);
        let tag = complete(&world, "dir/big", &id, parts.clone()).await.unwrap();
        assert_eq!(world.get("dir/big").await.unwrap(), bytes);
        let head = world.client.head_object().bucket(BUCKET).key("dir/big").send().await.unwrap();
        assert_eq!((head.e_tag(), head.content_type()), (Some(tag.as_str()), Some("a/b")));
        assert_eq!(
            complete(&world, "dir/big", &id, parts.clone()).await.unwrap(),
            tag,
            "the answer may have been lost"
        );
        world.put("dir/big", "other").await;
        assert_eq!(complete(&world, "dir/big", &id, parts).await.unwrap_err(), "NoSuchUpload");
        let uploads = world.client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
        assert_eq!(uploads.uploads().len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_list_of_parts_is_refused_and_the_right_one_still_works() {
    over_both(async |world| {
        let one = pattern(5 << 20);
        let (id, parts) = upload(&world, "k", &[&one, b"two", b"three"]).await;
        let mut turned = parts.clone();
        turned.reverse();
        assert_eq!(complete(&world, "k", &id, turned).await.unwrap_err(), "InvalidPartOrder");
        let mut foreign = parts.clone();
        foreign[1] = CompletedPart::builder().part_number(2).e_tag("\"0123-1\"").build();
        assert_eq!(complete(&world, "k", &id, foreign).await.unwrap_err(), "InvalidPart");
        assert_eq!(complete(&world, "k", &id, Vec::new()).await.unwrap_err(), "MalformedXML");
        assert_eq!(complete(&world, "other", &id, parts.clone()).await.unwrap_err(), "NoSuchUpload");
        assert_eq!(complete(&world, "k", "../../x", parts.clone()).await.unwrap_err(), "NoSuchUpload");
        complete(&world, "k", &id, vec![parts[0].clone(), parts[2].clone()]).await.unwrap();
        assert_eq!(world.get("k").await.unwrap(), [&one[..], b"three"].concat());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_may_be_a_range_of_another_object() {
    over_both(async |world| {
        world.put("source", "0123456789").await;
        let first = pattern(5 << 20);
        let (id, mut parts) = upload(&world, "k", &[&first]).await;
        let copy = world.client.upload_part_copy().bucket(BUCKET).key("k").upload_id(&id).part_number(2);
        let copied = copy.copy_source(format!("{BUCKET}/source")).copy_source_range("bytes=2-4").send().await.unwrap();
        let tag = copied.copy_part_result.unwrap().e_tag.unwrap();
        parts.push(CompletedPart::builder().part_number(2).e_tag(tag).build());
        complete(&world, "k", &id, parts).await.unwrap();
        assert_eq!(world.get("k").await.unwrap(), [&first[..], b"234"].concat());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_upload_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with_bucket(&in_directory(dir.path())).await;
    let before = files(dir.path());
    let (id, _) = upload(&world, "k", &[b"one", &pattern(3 << 20)]).await;
    assert!(files(dir.path()).len() > before.len());
    let abort = || world.client.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(&id).send();
    abort().await.unwrap();
    assert_eq!(files(dir.path()), before);
    assert_eq!(code(&abort().await.unwrap_err()), "NoSuchUpload");
}
