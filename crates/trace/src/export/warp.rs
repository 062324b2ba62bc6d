//! Export to the benchmark data of warp: tab-separated, one line per request, RFC 3339 times, compressed with zstd, which `warp
//! analyze` requires.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

use dlio_event::{Lane, OpKind, Outcome};
use jiff::Timestamp;

use super::ExportError;
use crate::header::Header;
use crate::reader::RankTrace;
use crate::rows::Row;

const HEADER: &str = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tlast_byte\tend\tduration_ns\tcat";

/// Writes the storage operations of all traces. Returns their number and, for each kind of row that warp does not have, the
/// number of rows skipped.
///
/// # Errors
/// [`ExportError`] if a trace cannot be read or `out` cannot be written.
pub fn write(traces: &[RankTrace], out: &mut impl Write) -> Result<(u64, BTreeMap<&'static str, u64>), ExportError> {
    let mut packed = zstd::stream::write::Encoder::new(&mut *out, 0)?;
    let written = write_lines(traces, &mut packed)?;
    packed.finish()?;
    Ok(written)
}

fn write_lines(traces: &[RankTrace], out: &mut impl Write) -> Result<(u64, BTreeMap<&'static str, u64>), ExportError> {
    writeln!(out, "{HEADER}")?;
    let (mut index, mut skipped) = (0, BTreeMap::new());
    // Thread numbers are unique across all clients.
    let mut first_thread = 0;
    for trace in traces {
        let mut threads = 0;
        for batch in trace.batches()? {
            let batch = batch?;
            for row in batch.views() {
                let lane = row.lane();
                let thread = if lane == Lane::MAIN { 0 } else { u64::from(lane.0) + 1 };
                threads = threads.max(thread + 1);
                match word(row.kind()) {
                    Some(op) => {
                        line(row, &trace.header, (index, first_thread + thread, op), out)?;
                        index += 1;
                    }
                    None => *skipped.entry(row.kind().name()).or_default() += 1,
                }
            }
        }
        first_thread += threads;
    }
    Ok((index, skipped))
}

fn word(kind: OpKind) -> Option<&'static str> {
    match kind {
        OpKind::Get | OpKind::GetRange | OpKind::Read => Some("GET"),
        OpKind::Put | OpKind::MultipartPart | OpKind::Write => Some("PUT"),
        OpKind::Head | OpKind::Stat => Some("STAT"),
        OpKind::List => Some("LIST"),
        OpKind::Delete => Some("DELETE"),
        _ => None,
    }
}

fn line(
    row: Row<'_>,
    header: &Header,
    (index, thread, op): (u64, u64, &str),
    out: &mut impl Write,
) -> std::io::Result<()> {
    let clock = &header.clock;
    let to_wall =
        i128::from(clock.wall_unix_ns) - i128::from(clock.monotonic_ns) - i128::from(clock.offset_to_rank0_ns);
    let stamp = |at: i64| calendar(i64::try_from(i128::from(at) + to_wall).unwrap_or(0));
    let optional = |at: Option<i64>| at.map(stamp).unwrap_or_default();
    let outcome = row.outcome();
    let error = if outcome == Outcome::Ok { "" } else { outcome.name() };
    writeln!(
        out,
        "{index}\t{thread}\t{op}\trank-{}\t1\t{}\t{}\t{}\t{error}\t{}\t{}\t{}\t{}\t{}\t0",
        header.rank,
        row.bytes(),
        field(row.endpoint().unwrap_or("local")),
        field(row.object().unwrap_or_default()),
        stamp(row.start()),
        optional(row.first_byte()),
        optional(row.last_byte()),
        stamp(row.end()),
        row.duration(),
    )
}

/// Quotes a text that contains a separator, a quote or a line end.
fn field(text: &str) -> Cow<'_, str> {
    if text.contains(['\t', '\n', '\r', '"']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(text)
    }
}

/// Formats a time since 1970 as RFC 3339 in UTC with nine decimals.
fn calendar(unix_ns: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    format!("{time:.9}")
}

#[cfg(test)]
mod tests {
    use super::calendar;

    #[test]
    fn unix_times_become_rfc_3339_times() {
        assert_eq!(calendar(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(calendar(1_709_251_199_123_456_789), "2024-02-29T23:59:59.123456789Z");
        assert_eq!(calendar(1_795_245_321_412_861_000), "2026-11-21T07:15:21.412861000Z");
    }
}
