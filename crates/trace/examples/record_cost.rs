//! Cost of recording one event on the recording thread, with one lane and with two.
//!
//! `cargo run --release -p dlio-trace --example record_cost`

#![expect(clippy::disallowed_methods, reason = "a measurement of this machine, not a run")]

use std::path::Path;
use std::time::{Duration, Instant};

use dlio_event::{Event, EventSink, Lane, OpKind, Position};
use dlio_trace::{Header, TraceWriter, file_name};

const EVENTS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join("dlio-record-cost");
    for lanes in [1, 2] {
        measure(&folder, lanes)?;
    }
    bursts(&folder)?;
    names(&folder)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn measure(folder: &Path, lanes: u16) -> Result<(), Box<dyn std::error::Error>> {
    let writer = TraceWriter::create(&folder.join(file_name(0)), &Header::default())?;
    let object = writer.object("data/train/img_0.npz");
    let record = |lane: u16| {
        let (start, cpu) = (Instant::now(), thread_cpu());
        for i in 0..EVENTS {
            let span = Event::span(OpKind::Read, Lane(lane), Position::default(), i * 1_000, i * 1_000 + 700);
            writer.record(Event { object, bytes: i, ..span });
        }
        (start.elapsed(), thread_cpu().saturating_sub(cpu))
    };
    let (slowest, cpu) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..lanes).map(|lane| scope.spawn(move || record(lane))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
    });
    let start = Instant::now();
    let summary = writer.finish()?;
    eprintln!(
        "{lanes} lanes: {:.0} ns per event recorded, {:.0} of them on a core; finish {:.2} s; {:.1} B per event; {} MiB queued at most",
        slowest.as_nanos() as f64 / EVENTS as f64,
        cpu.as_nanos() as f64 / EVENTS as f64,
        start.elapsed().as_secs_f64(),
        summary.file_bytes as f64 / summary.rows as f64,
        summary.queued_bytes_max >> 20
    );
    Ok(())
}

/// Returns the CPU time of this thread; zero if the kernel does not count it.
fn thread_cpu() -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(counted.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or_default())
}

/// Records in bursts, as a run does: the writer thread keeps up, and buffers are reused.
fn bursts(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    const BURST: u64 = 10_000;
    let writer = TraceWriter::create(&folder.join(file_name(2)), &Header::default())?;
    let mut spent = Duration::ZERO;
    for burst in 0..EVENTS / BURST {
        let start = Instant::now();
        for i in 0..BURST {
            let at = (burst * BURST + i) * 1_000;
            writer.record(Event::span(OpKind::Read, Lane(0), Position::default(), at, at + 700));
        }
        spent += start.elapsed();
        while writer.health().queued_bytes > 0 {
            std::thread::yield_now();
        }
    }
    writer.finish()?;
    eprintln!("bursts of {BURST}: {:.0} ns per event recorded", spent.as_nanos() as f64 / EVENTS as f64);
    Ok(())
}

fn names(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let writer = TraceWriter::create(&folder.join(file_name(1)), &Header::default())?;
    let start = Instant::now();
    for i in 0..EVENTS {
        writer.object(&format!("data/train/img_{i:08}_of_10000000.npz"));
    }
    eprintln!("names: {:.0} ns per new name", start.elapsed().as_nanos() as f64 / EVENTS as f64);
    Ok(())
}
