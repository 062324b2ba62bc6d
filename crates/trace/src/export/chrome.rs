//! The trace-event JSON of Chrome, which Perfetto opens: a process per rank, a thread per lane.

use std::io::Write;

use dlio_event::Lane;
use serde_json::json;

use crate::{Batch, RankTrace};

/// Writes traces as one JSON document.
///
/// # Errors
/// When a trace cannot be read or `out` takes no more.
pub fn write(traces: &[RankTrace], out: &mut impl Write) -> Result<u64, super::Failed> {
    writeln!(out, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut rows = 0;
    for trace in traces {
        let rank = trace.header.rank;
        let name = format!("rank {rank} on {}", trace.header.host);
        let process = json!({"name": "process_name", "ph": "M", "pid": rank, "tid": 0, "args": {"name": name}});
        writeln!(out, "{}{process}", if rows == 0 && rank == traces[0].header.rank { "" } else { "," })?;
        for batch in trace.batches()? {
            let batch = batch?;
            for row in 0..batch.len() {
                writeln!(out, ",{}", event(&batch, row, rank))?;
                rows += 1;
            }
        }
    }
    writeln!(out, "]}}")?;
    Ok(rows)
}

fn event(batch: &Batch, row: usize, rank: u32) -> serde_json::Value {
    let lane = batch.lane[row];
    let kind = batch.kind[row];
    let mut args = serde_json::Map::new();
    let numbers = [
        ("epoch", u64::from(batch.epoch[row])),
        ("block", u64::from(batch.block[row])),
        ("step", u64::from(batch.step[row])),
        ("bytes", batch.bytes[row]),
    ];
    for (name, value) in numbers.into_iter().filter(|(_, value)| *value > 0) {
        args.insert(name.to_owned(), json!(value));
    }
    let texts = [("uri", batch.object.get(row)), ("endpoint", batch.endpoint.get(row)), ("tag", batch.tag.get(row))];
    for (name, text) in texts {
        if let Some(text) = text {
            args.insert(name.to_owned(), json!(text));
        }
    }
    if kind.is_storage() {
        args.insert("offset".to_owned(), json!(batch.offset[row]));
        args.insert("outcome".to_owned(), json!(batch.outcome[row].name()));
    }
    json!({
        "name": kind.name(),
        "cat": if kind.is_storage() { "io" } else { "span" },
        "ph": "X",
        "pid": rank,
        // The training loop is thread 0, lanes follow.
        "tid": if lane == Lane::MAIN { 0 } else { u32::from(lane.0) + 1 },
        "ts": micros(batch.start[row]),
        "dur": micros(batch.end[row].saturating_sub(batch.start[row])),
        "args": args,
    })
}

fn micros(ns: i64) -> f64 {
    ns as f64 / 1_000.0
}
