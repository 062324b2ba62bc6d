//! `--io-trace-log` of the KV-cache benchmark of MLPerf Storage: one line per access, with a moment and no duration.

use dlio_event::{Event, Lane, OpKind, Phase, Position};

use super::columns::{Columns, Fields};
use super::sheets::{Names, Sheets, Who};
use super::{Parsed, time};

#[derive(Default)]
pub(super) struct Reader {
    layout: Option<Layout>,
    label: String,
}

struct Layout {
    count: usize,
    timestamp: Option<usize>,
    operation: Option<usize>,
    size: Option<usize>,
    tier: Option<usize>,
    key: Option<usize>,
    phase: Option<usize>,
}

impl Reader {
    pub(super) fn line(&mut self, line: &str, sheets: &mut Sheets) -> Result<Parsed, String> {
        if line.trim().is_empty() {
            return Ok(Parsed::Nothing);
        }
        let Some(layout) = &self.layout else {
            let columns = Columns::of(line, ',', &["Timestamp", "Operation", "Object_Size_Bytes", "Key"])?;
            self.layout = Some(Layout {
                count: columns.count(),
                timestamp: columns.place("Timestamp"),
                operation: columns.place("Operation"),
                size: columns.place("Object_Size_Bytes"),
                tier: columns.place("Tier"),
                key: columns.place("Key"),
                phase: columns.place("Phase"),
            });
            return Ok(Parsed::Nothing);
        };
        let fields = Fields::of(line, b',')?;
        if fields.count() != layout.count {
            return Err(format!("{} fields; the header has {}", fields.count(), layout.count));
        }
        let word = fields.get(layout.operation);
        let kind = match word.to_ascii_lowercase().as_str() {
            "read" | "get" => OpKind::Read,
            "write" | "put" => OpKind::Write,
            "delete" | "evict" | "remove" => OpKind::Delete,
            _ => return Ok(Parsed::Skipped(word.to_owned())),
        };
        let stamp = fields.get(layout.timestamp);
        let at = time::decimal_seconds(stamp)
            .and_then(|at| u64::try_from(at).ok())
            .ok_or_else(|| format!("Timestamp is {stamp:?}; expected seconds since 1970"))?;
        let size = fields.number(layout.size, "Object_Size_Bytes")?;
        let moves = kind != OpKind::Delete;
        let event = Event {
            bytes: if moves { size } else { 0 },
            requested: moves.then_some(size),
            object_size: moves.then_some(size),
            ..Event::span(kind, Lane::MAIN, Position { phase: Phase::Train, ..Position::default() }, at, at)
        };
        // The tier is where it is stored, the phase what it is for; both are labels here.
        self.label.clear();
        for part in [fields.get(layout.tier), fields.get(layout.phase)].into_iter().filter(|part| !part.is_empty()) {
            if !self.label.is_empty() {
                self.label.push(' ');
            }
            self.label.push_str(part);
        }
        let tag = Some(self.label.as_str()).filter(|label| !label.is_empty());
        let names = Names { object: Some(fields.get(layout.key)), endpoint: None, tag };
        sheets.row(Who::Rank(0), Some("0"), event, names)?;
        Ok(Parsed::Row)
    }
}
