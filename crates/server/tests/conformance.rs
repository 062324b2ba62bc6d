//! The conformance suite of all storages, run with this workspace's client against this server, for both kinds of
//! store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::Arc;

use dlio_server::{Running, ServeConfig, Server};
use dlio_storage::conformance::{self, Capabilities, Ticks};
use dlio_storage::s3::{Credentials, S3, S3Config};
use support::in_directory;

/// Sizes that cross the thresholds set below, and listings of more than one page.
const CAPABILITIES: Capabilities = Capabilities { folders: false, updates: false, large: (11 << 20) + 17, many: 1203 };

fn storage(running: &Running) -> S3Config {
    let mut config = S3Config::new(running.endpoints().to_vec(), "conformance");
    let pair = running.credentials();
    config.credentials = Some(Credentials::new(&pair.access_key, &pair.secret_key));
    config.multipart_threshold = 5 << 20;
    config.part_size = 5 << 20;
    config
}

async fn check(config: &ServeConfig, change: impl FnOnce(&mut S3Config)) {
    let running = Server::start(config).unwrap();
    let mut client = storage(&running);
    change(&mut client);
    conformance::check(&S3::new(client, Arc::new(Ticks::default())).unwrap(), CAPABILITIES).await;
    running.shutdown().await;
}

#[tokio::test]
async fn the_client_conforms_over_memory() {
    check(&ServeConfig::default(), |_| {}).await;
}

#[tokio::test]
async fn the_client_conforms_over_a_directory_and_leaves_nothing_in_it() {
    let dir = tempfile::tempdir().unwrap();
    check(&in_directory(dir.path()), |client| client.prefix = "some/prefix".into()).await;
    assert_eq!(support::files(dir.path()), [std::path::Path::new(".dlio-rs/lock")]);
}

#[tokio::test]
async fn the_client_conforms_over_endpoints_of_one_directory_with_signed_payloads() {
    let dir = tempfile::tempdir().unwrap();
    let config = ServeConfig { endpoints: 3, ..in_directory(dir.path()) };
    check(&config, |client| client.unsigned_payload = false).await;
}
