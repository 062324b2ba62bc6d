//! Runs the conformance suite against an independent server.
//!
//! `cargo run --release -p dlio-storage --example s3_conformance -- http://host:port bucket access-key secret-key [sdk]`
#![allow(clippy::print_stdout, reason = "it says that it is done")]

use std::sync::Arc;

use dlio_storage::Storage;
use dlio_storage::conformance::{self, Capabilities, Ticks};
use dlio_storage::s3::sdk::SdkS3;
use dlio_storage::s3::{Credentials, Preflight, S3, S3Config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, bucket, key, secret, client @ ..] = arguments.as_slice() else {
        return Err("expected: http://host:port bucket access-key secret-key [sdk]".into());
    };
    let mut config = S3Config::new(vec![endpoint.clone()], bucket);
    config.credentials = Some(Credentials::new(key, secret));
    config.prefix.push_str("dlio-rs conformance+");
    config.multipart_threshold = 16 << 20;
    config.part_size = 8 << 20;
    let time = || Arc::new(Ticks::default());
    let hyper = S3::new(config.clone(), time())?;
    let storage: Box<dyn Storage> = match client.first().map(String::as_str) {
        Some("sdk") => Box::new(SdkS3::new(config, time())?),
        _ => Box::new(hyper.clone()),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        storage.create_root().await?;
        hyper.preflight(Preflight::Write).await?;
        conformance::check(&*storage, Capabilities::default()).await;
        println!("{endpoint} keeps what the storage trait promises");
        Ok(())
    })
}
