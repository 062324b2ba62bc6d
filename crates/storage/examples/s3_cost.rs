//! Measures the CPU time per request of both S3 clients, against a trivial server in the same process.
//!
//! `cargo run --release -p dlio-storage --example s3_cost`. The client runs on its own thread, and the kernel's
//! accounting of that thread (`/proc/thread-self/schedstat`) is used, so the server's cost and other load do not
//! count.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement that prints; it stops when it cannot run")]

#[path = "../tests/stub/mod.rs"]
mod stub;

use std::sync::Arc;

use dlio_storage::s3::sdk::SdkS3;
use dlio_storage::s3::{Credentials, S3, S3Config};
use dlio_storage::{ByteRange, ChunkSource, Storage};
use futures::stream::{FuturesUnordered, StreamExt};
use stub::{Stub, Ticks, ok, status};

const IN_FLIGHT: usize = 8;

/// A source whose frames cost nothing.
struct Anything(u64);

impl ChunkSource for Anything {
    fn len(&self) -> u64 {
        self.0
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        buffer.len()
    }
}

#[derive(Clone, Copy)]
enum Op {
    Get,
    Put(u64),
}

/// Returns the CPU time of this thread in nanoseconds.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

async fn once(storage: &dyn Storage, op: Op) {
    let receipt = match op {
        Op::Get => match storage.open("data/object").await {
            Ok(object) => object.read(ByteRange::ALL, &mut |_: &[u8]| Ok(())).await,
            Err(error) => Err(error),
        },
        Op::Put(len) => storage.write("data/object", &mut Anything(len)).await,
    };
    if let Err(error) = receipt {
        println!("{error}");
    }
}

async fn many(storage: &dyn Storage, op: Op, count: u32) {
    let mut running = FuturesUnordered::new();
    for _ in 0..count {
        if running.len() >= IN_FLIGHT {
            running.next().await;
        }
        running.push(once(storage, op));
    }
    while running.next().await.is_some() {}
}

/// Returns the CPU time per request in microseconds.
fn measure(make: impl FnOnce() -> Box<dyn Storage> + Send + 'static, op: Op, count: u32) -> f64 {
    let thread = std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 0.0 };
        let storage = make();
        runtime.block_on(many(&*storage, op, count / 10));
        let before = cpu_ns();
        runtime.block_on(many(&*storage, op, count));
        (cpu_ns() - before) as f64 / 1000.0 / f64::from(count)
    });
    thread.join().unwrap_or(0.0)
}

fn main() {
    println!("{:14}{:>12}{:>12}{:>8}", "operation", "hyper µs", "SDK µs", "ratio");
    for (name, op, bytes, count) in [
        ("GET 4 KiB", Op::Get, 4 << 10, 20_000),
        ("GET 128 KiB", Op::Get, 128 << 10, 10_000),
        ("GET 16 MiB", Op::Get, 16 << 20, 200),
        ("PUT 4 KiB", Op::Put(4 << 10), 0, 20_000),
        ("PUT 1 MiB", Op::Put(1 << 20), 0, 1_000),
        ("PUT 16 MiB", Op::Put(16 << 20), 0, 100),
    ] {
        let server =
            Stub::forgetful(move |request| if request.method == "GET" { ok(vec![7; bytes]) } else { status(200) });
        let mut config = S3Config::new(vec![server.url()], "bucket");
        config.credentials = Some(Credentials::new("AKID", "secret"));
        let again = config.clone();
        let time = || Arc::new(Ticks::default());
        let hyper = measure(move || Box::new(S3::new(config, time()).unwrap()), op, count);
        let sdk = measure(move || Box::new(SdkS3::new(again, time()).unwrap()), op, count);
        println!("{name:14}{hyper:12.1}{sdk:12.1}{:8.1}", sdk / hyper);
    }
}
