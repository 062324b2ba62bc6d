//! Import of `--io-trace-log` of MLPerf Storage's KV-cache benchmark: one line per access, with a time and no duration.

use dlio_event::{Event, Lane, OpKind, Phase, Position};

use super::columns::{Columns, Splitter};
use super::multiline_record::{UNIT, without_quotes};
use super::rank_buffers::{Process, RankBuffers, RowNames};
use super::time;

#[derive(Default)]
pub(super) struct Reader {
    layout: Option<Layout>,
    splitter: Splitter,
    label: String,
}

struct Layout {
    header: String,
    count: usize,
    timestamp: Option<usize>,
    operation: Option<usize>,
    size: Option<usize>,
    tier: Option<usize>,
    key: Option<usize>,
    phase: Option<usize>,
}

impl Reader {
    pub(super) fn line(&mut self, line: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let layout = match &self.layout {
            // Concatenated files repeat their header.
            Some(layout) if line != layout.header => layout,
            _ => {
                self.layout = Some(Layout::of(line)?);
                return Ok(());
            }
        };
        let unquoted;
        let fields = if line.contains('"') {
            unquoted = without_quotes(line, ',').ok_or("a field in quotes has no end")?;
            self.splitter.split(&unquoted, UNIT as u8)
        } else {
            self.splitter.split(line, b',')
        };
        if fields.count() != layout.count {
            return Err(format!("{} fields; the header has {}", fields.count(), layout.count));
        }
        let word = fields.get(layout.operation);
        let is = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
        let kind = match () {
            () if is(&["read", "get"]) => OpKind::Read,
            () if is(&["write", "put"]) => OpKind::Write,
            () if is(&["delete", "evict", "remove"]) => OpKind::Delete,
            () => {
                buffers.skip(word, "");
                return Ok(());
            }
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
        // The tier, where the object is stored, and the phase, its purpose, become labels.
        self.label.clear();
        for part in [fields.get(layout.tier), fields.get(layout.phase)].into_iter().filter(|part| !part.is_empty()) {
            if !self.label.is_empty() {
                self.label.push(' ');
            }
            self.label.push_str(part);
        }
        let tag = Some(self.label.as_str()).filter(|label| !label.is_empty());
        let names = RowNames { object: Some(fields.get(layout.key)), endpoint: None, tag };
        buffers.row(Process::Rank(0), Some("0"), event, names)
    }
}

impl Layout {
    fn of(header: &str) -> Result<Self, String> {
        let columns = Columns::of(header, ',', &["Timestamp", "Operation", "Object_Size_Bytes", "Key"])?;
        Ok(Self {
            header: header.to_owned(),
            count: columns.count(),
            timestamp: columns.place("Timestamp"),
            operation: columns.place("Operation"),
            size: columns.place("Object_Size_Bytes"),
            tier: columns.place("Tier"),
            key: columns.place("Key"),
            phase: columns.place("Phase"),
        })
    }
}
