//! Every column as comma-separated text, with a header line.

use std::io::Write;

use dlio_event::{ConnectionId, Lane};

use crate::batch::Batch;
use crate::columns::COLUMNS;
use crate::reader::RankTrace;

/// Writes the rows of all traces, rank by rank.
///
/// # Errors
/// When a trace cannot be read or `out` takes no more.
pub fn write(traces: &[RankTrace], out: &mut impl Write) -> Result<u64, super::Failed> {
    let header: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    writeln!(out, "{}", header.join(","))?;
    let mut rows = 0;
    for trace in traces {
        for batch in trace.batches()? {
            let batch = batch?;
            for row in 0..batch.len() {
                line(&batch, row, trace.header.rank, out)?;
                rows += 1;
            }
        }
    }
    Ok(rows)
}

/// One row, in the order of [`COLUMNS`].
fn line(batch: &Batch, row: usize, rank: u32, out: &mut impl Write) -> std::io::Result<()> {
    let lane = batch.lane[row];
    let kind = batch.kind[row];
    let lane = if lane == Lane::MAIN { -1 } else { i64::from(lane.0) };
    let sort = if kind.is_storage() { "io" } else { "span" };
    write!(out, "{rank},{lane},{sort},{},{},", kind.name(), batch.phase[row].name())?;
    for position in [batch.epoch[row], batch.block[row], batch.step[row]] {
        optional((position > 0).then_some(position), out)?;
    }
    optional(batch.sample[row], out)?;
    text(batch.object.get(row), out)?;
    text(batch.endpoint.get(row), out)?;
    write!(out, "{},", batch.offset[row])?;
    optional(batch.requested[row], out)?;
    write!(out, "{},", batch.bytes[row])?;
    optional(batch.due[row], out)?;
    write!(out, "{},", batch.start[row])?;
    optional(batch.issued[row], out)?;
    optional(batch.last_byte[row], out)?;
    optional(batch.first_byte[row], out)?;
    write!(out, "{},{},{},{},", batch.end[row], batch.status[row], batch.outcome[row].name(), batch.attempt[row])?;
    let connection = batch.connection[row];
    optional((connection != ConnectionId::NONE).then_some(connection.0), out)?;
    optional(batch.object_size[row], out)?;
    writeln!(out, "{}", quoted(batch.tag.get(row).unwrap_or_default()))
}

fn optional(value: Option<impl std::fmt::Display>, out: &mut impl Write) -> std::io::Result<()> {
    match value {
        Some(value) => write!(out, "{value},"),
        None => write!(out, ","),
    }
}

fn text(value: Option<&str>, out: &mut impl Write) -> std::io::Result<()> {
    write!(out, "{},", quoted(value.unwrap_or_default()))
}

/// In quotes where the text holds what would end a field.
fn quoted(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}
