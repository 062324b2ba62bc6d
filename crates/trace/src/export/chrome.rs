//! Export to Chrome's trace-event JSON, which Perfetto opens: one process per rank, one thread per lane.

use std::io::Write;

use dlio_event::{ConnectionId, Lane, Outcome};
use serde_json::{Map, Value, json};

use super::ExportError;
use crate::reader::RankTrace;
use crate::rows::Row;

/// Writes traces as one JSON document and returns the number of rows.
///
/// # Errors
/// [`ExportError`] if a trace cannot be read or `out` cannot be written.
pub fn write(traces: &[RankTrace], out: &mut impl Write) -> Result<u64, ExportError> {
    writeln!(out, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut rows = 0;
    for trace in traces {
        let rank = trace.header.rank;
        let name = format!("rank {rank} on {}", trace.header.host);
        let process = json!({"name": "process_name", "ph": "M", "pid": rank, "tid": 0, "args": {"name": name}});
        writeln!(out, "{}{process}", if rows == 0 && rank == traces[0].header.rank { "" } else { "," })?;
        for batch in trace.batches()? {
            let batch = batch?;
            for row in batch.views() {
                writeln!(out, ",{}", event(row, rank))?;
                rows += 1;
            }
        }
    }
    writeln!(out, "]}}")?;
    Ok(rows)
}

/// Returns an event as JSON. Times are written as decimal text because times since 1970 do not fit into a floating-point number.
fn event(row: Row<'_>, rank: u32) -> String {
    let (lane, kind) = (row.lane(), row.kind());
    let category = if kind.is_storage() { "io" } else { "span" };
    // The training loop is thread 0; lanes follow.
    let tid = if lane == Lane::MAIN { 0 } else { u32::from(lane.0) + 1 };
    let (start, took) = (micros(row.start()), micros(row.end().saturating_sub(row.start())));
    let args = serde_json::Value::Object(arguments(row));
    format!(
        "{{\"name\":\"{}\",\"cat\":\"{category}\",\"ph\":\"X\",\"pid\":{rank},\"tid\":{tid},\"ts\":{start},\"dur\":{took},\"args\":{args}}}",
        kind.name()
    )
}

/// Returns all fields of a row except time and thread; values that most rows lack are omitted.
fn arguments(row: Row<'_>) -> Map<String, Value> {
    let mut args = Map::new();
    let counted = |value: u32| (value > 0).then(|| u64::from(value));
    let connection = row.connection();
    let first_byte = row.first_byte().and_then(|at| serde_json::from_str(&micros(at.saturating_sub(row.start()))).ok());
    let outcome = row.outcome();
    let values = [
        ("epoch", counted(row.epoch()).map(Value::from)),
        ("block", counted(row.block()).map(Value::from)),
        ("step", counted(row.step()).map(Value::from)),
        ("bytes", (row.bytes() > 0).then(|| row.bytes().into())),
        ("phase", Some(row.phase().name().into())),
        ("sample_idx", row.sample().map(Value::from)),
        ("uri", row.object().map(Value::from)),
        ("endpoint", row.endpoint().map(Value::from)),
        ("tag", row.tag().map(Value::from)),
        ("offset", row.kind().is_storage().then(|| row.offset().into())),
        ("req_bytes", row.requested().map(Value::from)),
        ("object_size", row.object_size().map(Value::from)),
        ("first_byte_us", first_byte),
        ("outcome", (row.kind().is_storage() || outcome != Outcome::Ok).then(|| outcome.name().into())),
        ("status", (row.status() != 0).then(|| row.status().into())),
        ("attempt", (row.attempt() > 0).then(|| row.attempt().into())),
        ("conn_id", (connection != ConnectionId::NONE).then(|| connection.0.into())),
    ];
    args.extend(values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    args
}

/// Converts nanoseconds to microseconds with three decimals.
fn micros(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", ns.unsigned_abs() / 1_000, ns.unsigned_abs() % 1_000)
}
