//! Export of all columns as comma-separated text with a header line.

use std::io::Write;

use dlio_event::{ConnectionId, Lane};

use super::ExportError;
use crate::columns::COLUMNS;
use crate::reader::RankTrace;
use crate::rows::Row;

/// Writes the rows of all traces, rank by rank, and returns their number.
///
/// # Errors
/// [`ExportError`] if a trace cannot be read or `out` cannot be written.
pub fn write(traces: &[RankTrace], out: &mut impl Write) -> Result<u64, ExportError> {
    let header: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    writeln!(out, "{}", header.join(","))?;
    let mut rows = 0;
    for trace in traces {
        for batch in trace.batches()? {
            let batch = batch?;
            for row in batch.views() {
                line(row, trace.header.rank, out)?;
                rows += 1;
            }
        }
    }
    Ok(rows)
}

/// Writes one row in the order of [`COLUMNS`].
fn line(row: Row<'_>, rank: u32, out: &mut impl Write) -> std::io::Result<()> {
    let lane = row.lane();
    let kind = row.kind();
    let lane = if lane == Lane::MAIN { -1 } else { i64::from(lane.0) };
    let sort = if kind.is_storage() { "io" } else { "span" };
    write!(out, "{rank},{lane},{sort},{},{},", kind.name(), row.phase().name())?;
    for position in [row.epoch(), row.block(), row.step()] {
        optional((position > 0).then_some(position), out)?;
    }
    optional(row.sample(), out)?;
    text(row.object(), out)?;
    text(row.endpoint(), out)?;
    write!(out, "{},", row.offset())?;
    optional(row.requested(), out)?;
    write!(out, "{},", row.bytes())?;
    optional(row.due(), out)?;
    write!(out, "{},", row.start())?;
    optional(row.issued(), out)?;
    optional(row.last_byte(), out)?;
    optional(row.first_byte(), out)?;
    write!(out, "{},{},{},{},", row.end(), row.status(), row.outcome().name(), row.attempt())?;
    let connection = row.connection();
    optional((connection != ConnectionId::NONE).then_some(connection.0), out)?;
    optional(row.object_size(), out)?;
    writeln!(out, "{}", quoted(row.tag().unwrap_or_default()))
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

/// Quotes a text that contains a separator, a quote or a line end.
fn quoted(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}
