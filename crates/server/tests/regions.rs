//! Requests signed for regions of every name, through an independent SDK.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use dlio_server::ServeConfig;
use dlio_storage::registry::KeyPair;
use support::{BUCKET, World, client, code, get, pattern};

fn in_region(world: &World, region: &'static str, credentials: &KeyPair) -> Client {
    let client = client(&world.running.endpoints()[0], credentials);
    Client::from_conf(client.config().to_builder().region(Region::new(region)).build())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_be_signed_for_any_region() {
    let world = World::with_bucket(&ServeConfig::default()).await;
    let own = world.running.credentials().clone();
    for region in ["US", "RegionOne", "us_east", "default", "us-east-1"] {
        let client = in_region(&world, region, &own);
        let bytes = pattern(200_000);
        let key = format!("a b+c/{region}=ü");
        let put = client.put_object().bucket(BUCKET).key(&key).body(ByteStream::from(bytes.clone())).send().await;
        put.unwrap_or_else(|error| panic!("{region}: {error:?}"));
        assert_eq!(get(&client, &key, None).await.unwrap(), bytes, "{region}");
        let listed = client.list_objects_v2().bucket(BUCKET).prefix("a b+c/").send().await.unwrap();
        assert!(listed.contents().iter().any(|object| object.key() == Some(&key)), "{region}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_refused_in_every_region() {
    let world = World::with_bucket(&ServeConfig::default()).await;
    let own = world.running.credentials().clone();
    for region in ["US", "us-east-1"] {
        let wrong = KeyPair { secret_key: "wrong".into(), ..own.clone() };
        let refused = in_region(&world, region, &wrong).list_objects_v2().bucket(BUCKET).send().await.unwrap_err();
        assert_eq!(code(&refused), "SignatureDoesNotMatch", "{region}");
        assert!(format!("{refused:?}").contains("secret key"), "{refused:?}");
        let stranger = KeyPair { access_key: "stranger".into(), ..own.clone() };
        let refused = in_region(&world, region, &stranger).list_objects_v2().bucket(BUCKET).send().await.unwrap_err();
        assert_eq!(code(&refused), "InvalidAccessKeyId", "{region}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_may_name_any_region() {
    let world = World::with_bucket(&ServeConfig::default()).await;
    let own = world.running.credentials().clone();
    world.put("k", "hello").await;
    for region in ["RegionOne", "eu-west-2"] {
        let for_an_hour = PresigningConfig::expires_in(Duration::from_hours(1)).unwrap();
        let url = in_region(&world, region, &own).get_object().bucket(BUCKET).key("k").presigned(for_an_hour).await;
        let url = url.unwrap().uri().to_owned();
        let get = |url: &str| std::process::Command::new("curl").args(["-s", url]).output().unwrap().stdout;
        assert_eq!(get(&url), b"hello", "{region}");
        let forged = get(&url.replace("/k?", "/l?"));
        assert!(String::from_utf8(forged).unwrap().contains("SignatureDoesNotMatch"), "{region}");
    }
}
