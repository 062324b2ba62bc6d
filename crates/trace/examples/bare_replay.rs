//! Baseline for replay: one thread per recorded lane sleeps until an operation is due and then reads its file.
//!
//! `bare_replay TRACE_DIR` prints percentiles of lateness in microseconds. `scripts/bench/replay` runs it next to the replay.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement of this machine, not a run")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

type Lanes = BTreeMap<(u32, u16), Vec<(i64, String, u64, usize)>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("expected a folder with a trace")?;
    let mut lanes = Lanes::new();
    for trace in dlio_trace::read_dir(Path::new(&folder))? {
        for batch in trace.batches()? {
            let batch = batch?;
            for row in batch.views().filter(|row| row.kind().is_read()) {
                let name = row.object().unwrap_or_default().to_owned();
                let len = usize::try_from(row.bytes())?;
                let lane = lanes.entry((trace.header.rank, row.lane().0)).or_default();
                lane.push((row.start(), name, row.offset(), len));
            }
        }
    }
    let origin = lanes.values().flatten().map(|(start, ..)| *start).min().unwrap_or(0);
    let start = Instant::now() + Duration::from_millis(100);
    let threads: Vec<_> =
        lanes.into_values().map(|lane| std::thread::spawn(move || run(lane, origin, start))).collect();
    let mut late: Vec<Duration> = threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect();
    late.sort_unstable();
    let at = |share: usize| late.get((late.len() * share / 100).min(late.len().saturating_sub(1)));
    let micros = |share| at(share).map_or(0.0, |late| late.as_secs_f64() * 1e6);
    println!(
        "{} reads late by p50 {:.1} us, p99 {:.1} us, max {:.1} us",
        late.len(),
        micros(50),
        micros(99),
        micros(100)
    );
    Ok(())
}

fn run(mut lane: Vec<(i64, String, u64, usize)>, origin: i64, start: Instant) -> Vec<Duration> {
    lane.sort_unstable();
    let mut buffer = Vec::new();
    let mut delays = Vec::with_capacity(lane.len());
    for (at, name, offset, len) in lane {
        let due = start + Duration::from_nanos(u64::try_from(at - origin).unwrap_or(0));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        delays.push(Instant::now().saturating_duration_since(due));
        buffer.resize(len, 0);
        if let Ok(file) = File::open(&name) {
            // Short and failed reads are ignored: only lateness is measured.
            drop(file.read_at(&mut buffer, offset));
        }
    }
    delays
}
