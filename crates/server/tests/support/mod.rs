//! Test servers on their own ports, with an independent SDK as the client.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials as SdkCredentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use dlio_server::{Running, ServeConfig, Server, Store};
use dlio_storage::registry::KeyPair;

pub(crate) const BUCKET: &str = "test-bucket.1";

pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) client: Client,
}

impl World {
    pub(crate) fn start(config: &ServeConfig) -> Self {
        let running = Server::start(config).unwrap();
        let client = client(&running.endpoints()[0], running.credentials());
        Self { running, client }
    }

    pub(crate) async fn with_bucket(config: &ServeConfig) -> Self {
        let world = Self::start(config);
        world.client.create_bucket().bucket(BUCKET).send().await.unwrap();
        world
    }

    pub(crate) async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) -> String {
        let body = ByteStream::from(bytes.into());
        let put = self.client.put_object().bucket(BUCKET).key(key).body(body).send().await;
        put.unwrap_or_else(|error| panic!("putting {key:?}: {error:?}")).e_tag.unwrap()
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        get(&self.client, key, None).await.ok()
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let (mut keys, mut pages) = (Vec::new(), self.client.list_objects_v2().bucket(BUCKET).into_paginator().send());
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents.unwrap_or_default().into_iter().map(|object| object.key.unwrap()));
        }
        keys
    }
}

/// Reads an object, or returns the code of the error.
pub(crate) async fn get(client: &Client, key: &str, range: Option<&str>) -> Result<Vec<u8>, String> {
    let get = client.get_object().bucket(BUCKET).key(key).set_range(range.map(str::to_owned)).send().await;
    let body = get.map_err(|error| code(&error))?.body.collect().await.map_err(|error| error.to_string())?;
    Ok(body.to_vec())
}

pub(crate) fn code<E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(error: &SdkError<E, R>) -> String {
    error.code().map_or_else(|| format!("{error:?}"), str::to_owned)
}

pub(crate) fn client(endpoint: &str, credentials: &KeyPair) -> Client {
    let keys = SdkCredentials::new(&credentials.access_key, &credentials.secret_key, None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(keys)
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

pub(crate) fn in_directory(path: &Path) -> ServeConfig {
    // Durability is the default in production; syncing every small object would dominate these tests.
    ServeConfig { store: Store::Directory(path.to_path_buf()), durable: false, ..ServeConfig::default() }
}

/// Runs a test over both kinds of store.
pub(crate) async fn over_both<F: AsyncFn(World)>(test: F) {
    test(World::with_bucket(&ServeConfig::default()).await).await;
    let dir = tempfile::tempdir().unwrap();
    test(World::with_bucket(&in_directory(dir.path())).await).await;
}

/// Bytes that differ from position to position.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)).to_le_bytes()[0]).collect()
}

/// Returns every file below a directory, by its path relative to it.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}
