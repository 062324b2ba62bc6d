//! The trace-event JSON of Chrome, which Perfetto opens: a process per rank, a thread per lane.

use std::io::Write;

use dlio_event::{ConnectionId, Lane, Outcome};
use serde_json::{Map, Value, json};

use crate::batch::Batch;
use crate::reader::RankTrace;

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

/// An event as JSON. Times are written digit by digit: those since 1970 do not fit into a floating-point number.
fn event(batch: &Batch, row: usize, rank: u32) -> String {
    let (lane, kind) = (batch.lane[row], batch.kind[row]);
    let category = if kind.is_storage() { "io" } else { "span" };
    // The training loop is thread 0, lanes follow.
    let tid = if lane == Lane::MAIN { 0 } else { u32::from(lane.0) + 1 };
    let (start, took) = (micros(batch.start[row]), micros(batch.end[row].saturating_sub(batch.start[row])));
    let args = serde_json::Value::Object(arguments(batch, row));
    format!(
        "{{\"name\":\"{}\",\"cat\":\"{category}\",\"ph\":\"X\",\"pid\":{rank},\"tid\":{tid},\"ts\":{start},\"dur\":{took},\"args\":{args}}}",
        kind.name()
    )
}

/// All that a row says beside its time and place; what most rows lack is left out.
fn arguments(batch: &Batch, row: usize) -> Map<String, Value> {
    let mut args = Map::new();
    let counted = |value: u32| (value > 0).then(|| u64::from(value));
    let connection = batch.connection[row];
    let first_byte =
        batch.first_byte[row].and_then(|at| serde_json::from_str(&micros(at.saturating_sub(batch.start[row]))).ok());
    let outcome = batch.outcome[row];
    let values = [
        ("epoch", counted(batch.epoch[row]).map(Value::from)),
        ("block", counted(batch.block[row]).map(Value::from)),
        ("step", counted(batch.step[row]).map(Value::from)),
        ("bytes", (batch.bytes[row] > 0).then(|| batch.bytes[row].into())),
        ("phase", Some(batch.phase[row].name().into())),
        ("sample_idx", batch.sample[row].map(Value::from)),
        ("uri", batch.object.get(row).map(Value::from)),
        ("endpoint", batch.endpoint.get(row).map(Value::from)),
        ("tag", batch.tag.get(row).map(Value::from)),
        ("offset", batch.kind[row].is_storage().then(|| batch.offset[row].into())),
        ("req_bytes", batch.requested[row].map(Value::from)),
        ("object_size", batch.object_size[row].map(Value::from)),
        ("first_byte_us", first_byte),
        ("outcome", (batch.kind[row].is_storage() || outcome != Outcome::Ok).then(|| outcome.name().into())),
        ("status", (batch.status[row] != 0).then(|| batch.status[row].into())),
        ("attempt", (batch.attempt[row] > 0).then(|| batch.attempt[row].into())),
        ("conn_id", (connection != ConnectionId::NONE).then(|| connection.0.into())),
    ];
    args.extend(values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    args
}

/// Microseconds of nanoseconds, all digits.
fn micros(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", ns.unsigned_abs() / 1_000, ns.unsigned_abs() % 1_000)
}
