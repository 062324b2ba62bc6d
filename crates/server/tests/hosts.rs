//! Requests that name their bucket in the host, as raw HTTP signed by curl.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::process::Command;

use dlio_server::ServeConfig;
use support::{BUCKET, World};

fn curl(world: &World, host: &str, path: &str, more: &[&str]) -> String {
    let endpoint = world.running.endpoints()[0].strip_prefix("http://127.0.0.1:").unwrap().to_owned();
    let keys = world.running.credentials();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--aws-sigv4", "aws:amz:RegionOne:s3", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    curl.args(["--user", &format!("{}:{}", keys.access_key, keys.secret_key), "--resolve"]);
    curl.args([&format!("{host}:{endpoint}:127.0.0.1"), &format!("http://{host}:{endpoint}{path}")]).args(more);
    String::from_utf8(curl.output().unwrap().stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_may_be_named_by_the_host() {
    let config = ServeConfig { domains: vec!["s3.example.org".into()], ..ServeConfig::default() };
    let world = World::with_bucket(&config).await;
    world.put("folder/k", "hello").await;
    for domain in ["s3.example.org", "localhost"] {
        let host = format!("{BUCKET}.{domain}");
        assert_eq!(curl(&world, &host, "/folder/k", &[]), "hello");
        assert!(curl(&world, &host, "/?list-type=2", &[]).contains("<Key>folder/k</Key>"));
        assert_eq!(curl(&world, domain, &format!("/{BUCKET}/folder/k"), &[]), "hello", "by the path as well");
    }
    let new = format!("new-bucket.{}", "s3.example.org");
    assert_eq!(curl(&world, &new, "/", &["-X", "PUT"]), "");
    assert!(world.client.head_bucket().bucket("new-bucket").send().await.is_ok());
}
