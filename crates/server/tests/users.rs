//! Access control with several users, through an independent SDK.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketCannedAcl, ObjectCannedAcl, PublicAccessBlockConfiguration};
use dlio_server::{ServeConfig, User};
use dlio_storage::registry::KeyPair;
use support::{BUCKET, World, client, code, get, in_directory};

/// A server on which `ann` has a key pair in addition to the server's own user.
async fn with_ann(config: ServeConfig) -> (World, Client) {
    let pair = KeyPair { access_key: "ANN".into(), secret_key: "ann's".into() };
    let user = User { id: "ann".into(), credentials: pair.clone() };
    let world = World::with_bucket(&ServeConfig { users: vec![user], ..config }).await;
    let ann = client(&world.running.endpoints()[0], &pair);
    (world, ann)
}

/// A client that does not sign requests.
fn anonymous(world: &World) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(&world.running.endpoints()[0])
        .force_path_style(true)
        .allow_no_auth();
    Client::from_conf(config.build())
}

async fn put(client: &Client, bucket: &str, key: &str) -> Result<(), String> {
    let put = client.put_object().bucket(bucket).key(key).body(ByteStream::from_static(b"x")).send().await;
    put.map(drop).map_err(|error| code(&error))
}

async fn over_both_stores(test: impl AsyncFn(World, Client)) {
    let dir = tempfile::tempdir().unwrap();
    for config in [ServeConfig::default(), in_directory(dir.path())] {
        let (world, ann) = with_ann(config).await;
        test(world, ann).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_one_user_is_closed_to_others() {
    over_both_stores(async |world, ann| {
        world.put("k", "x").await;
        for other in [ann.clone(), anonymous(&world)] {
            assert_eq!(get(&other, "k", None).await.unwrap_err(), "AccessDenied");
            assert_eq!(get(&other, "missing", None).await.unwrap_err(), "AccessDenied", "nor what is there");
            assert_eq!(put(&other, BUCKET, "k").await.unwrap_err(), "AccessDenied");
            let list = other.list_objects_v2().bucket(BUCKET).send().await.unwrap_err();
            assert_eq!(code(&list), "AccessDenied");
            let copy = other.copy_object().bucket("anns").key("k").copy_source(format!("{BUCKET}/k")).send().await;
            assert!(copy.is_err());
        }
        let taken = ann.create_bucket().bucket(BUCKET).send().await.unwrap_err();
        assert_eq!(code(&taken), "BucketAlreadyExists");
        ann.create_bucket().bucket("anns").send().await.unwrap();
        let mine = ann.list_buckets().send().await.unwrap();
        assert_eq!(mine.buckets().len(), 1);
        assert_eq!(mine.owner().unwrap().id(), Some("ann"));
        assert_eq!(put(&world.client, "anns", "k").await.unwrap_err(), "AccessDenied");
        assert_eq!(code(&anonymous(&world).create_bucket().bucket("new").send().await.unwrap_err()), "AccessDenied");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canned_lists_open_buckets_and_objects() {
    over_both_stores(async |world, ann| {
        let open = |acl| world.client.put_bucket_acl().bucket(BUCKET).acl(acl).send();
        world.put("closed", "x").await;
        let read = world.client.put_object().bucket(BUCKET).key("open").acl(ObjectCannedAcl::PublicRead);
        read.body(ByteStream::from_static(b"y")).send().await.unwrap();
        assert_eq!(get(&anonymous(&world), "open", None).await.unwrap(), b"y");
        open(BucketCannedAcl::PublicRead).await.unwrap();
        ann.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        assert_eq!(get(&ann, "missing", None).await.unwrap_err(), "NoSuchKey");
        assert_eq!(get(&ann, "closed", None).await.unwrap_err(), "AccessDenied");
        assert_eq!(put(&ann, BUCKET, "new").await.unwrap_err(), "AccessDenied");
        open(BucketCannedAcl::PublicReadWrite).await.unwrap();
        put(&ann, BUCKET, "new").await.unwrap();
        assert_eq!(get(&world.client, "new", None).await.unwrap_err(), "AccessDenied", "it is Ann's");
        let owner = world.client.list_objects_v2().bucket(BUCKET).prefix("new").fetch_owner(true).send().await.unwrap();
        assert_eq!(owner.contents()[0].owner().unwrap().id(), Some("ann"));
        let block = PublicAccessBlockConfiguration::builder().ignore_public_acls(true).block_public_acls(true).build();
        world
            .client
            .put_public_access_block()
            .bucket(BUCKET)
            .public_access_block_configuration(block)
            .send()
            .await
            .unwrap();
        assert_eq!(get(&anonymous(&world), "open", None).await.unwrap_err(), "AccessDenied");
        assert_eq!(code(&open(BucketCannedAcl::PublicRead).await.unwrap_err()), "AccessDenied");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_owner_than_expected_is_refused() {
    over_both_stores(async |world, _| {
        let list = |owner: &str| world.client.list_objects_v2().bucket(BUCKET).expected_bucket_owner(owner).send();
        list("dlio-rs").await.unwrap();
        assert_eq!(code(&list("ann").await.unwrap_err()), "AccessDenied");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_and_lists_outlive_a_server_on_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (world, ann) = with_ann(in_directory(dir.path())).await;
    ann.create_bucket().bucket("anns").send().await.unwrap();
    put(&ann, "anns", "k").await.unwrap();
    world.running.shutdown().await;
    let world = World::start(&in_directory(dir.path()));
    // On a server with one user, everything belongs to that user.
    world.client.get_object().bucket("anns").key("k").send().await.unwrap();
    let owner = world.client.get_bucket_acl().bucket("anns").send().await.unwrap();
    assert_eq!(owner.owner().unwrap().id(), Some("ann"));
}
