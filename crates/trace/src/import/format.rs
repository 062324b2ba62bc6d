//! Formats of foreign traces, and their detection from the beginning of a file.

use std::path::Path;
use std::sync::Arc;

use super::sources::LineReader;

/// A format that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceFormat {
    /// dftracer's JSON lines (`.pfw`, `.pfw.gz`), old and new layouts.
    Dftracer,
    /// Operation log of s3dlio and sai3-bench: tab-separated with a header, or one JSON object per line with the same names.
    OpLog,
    /// Benchmark data of warp (`.csv.zst`): tab-separated with a header.
    Warp,
    /// elbencho's `--opslog`: JSON lines.
    Elbencho,
    /// fio's iolog, versions 2 and 3.
    Fio,
    /// `--io-trace-log` of MLPerf Storage's KV-cache benchmark: comma-separated with a header.
    KvCache,
    /// Text output of `darshan-dxt-parser`.
    DarshanDxt,
    /// CSV export of this program: comma-separated, the columns of a trace, with a header.
    Csv,
    /// Chrome's trace-event JSON, which Perfetto opens: the export of this program, and events of other programs with known
    /// names.
    Chrome,
}

impl SourceFormat {
    /// All formats with their names on the command line.
    pub const ALL: &[(SourceFormat, &str)] = &[
        (SourceFormat::Dftracer, "dftracer"),
        (SourceFormat::OpLog, "op-log"),
        (SourceFormat::Warp, "warp"),
        (SourceFormat::Elbencho, "elbencho"),
        (SourceFormat::Fio, "fio"),
        (SourceFormat::KvCache, "kv-cache"),
        (SourceFormat::DarshanDxt, "darshan-dxt"),
        (SourceFormat::Csv, "csv"),
        (SourceFormat::Chrome, "chrome"),
    ];

    /// Returns the name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    /// Returns the comma-separated names of all formats, for messages.
    pub(super) fn names() -> String {
        Self::ALL.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Detects the format of a file from its beginning; `None` if it is unknown or the file cannot be read.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        let mut lines = LineReader::open(path, &Arc::default()).ok()?;
        Self::of(lines.head().ok()?)
    }

    /// Detects the format of a text from its beginning: the first line that is not a comment decides.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let mut bracket = false;
        for line in head.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            match line {
                _ if line.starts_with("# darshan") || line.starts_with("# DXT") => return Some(Self::DarshanDxt),
                "" => {}
                "[" => bracket = true,
                _ if line.starts_with('#') => {}
                _ if bracket => return Some(Self::of_array(head)),
                _ if line.starts_with('[') => return Some(Self::Chrome),
                _ if line.starts_with('{') && holds(head, "\"traceEvents\"") => return Some(Self::Chrome),
                _ => return Self::of_line(line),
            }
        }
        bracket.then_some(Self::Dftracer)
    }

    /// Detects the format of a JSON array whose bracket has a line of its own. dftracer writes one event per line and uses words
    /// that no other program does.
    fn of_array(head: &[u8]) -> Self {
        let words = [
            "hash\"",
            "\"dftracer\"",
            "\"POSIX\"",
            "\"STDIO\"",
            "\"p_idx\"",
            "\"fname\"",
            "\"hostname\"",
            "\"ph\":1",
            "\"ph\":4",
        ];
        let other = ["\"ph\":\"B\"", "\"ph\": \"B\"", "\"process_name\""];
        let has = |words: &[&str]| words.iter().any(|word| holds(head, word));
        let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        // Every line is one object and no object continues on the next line.
        let objects = lines.filter(|line| !line.is_empty()).skip(1).all(|line| matches!(line[0], b'{' | b']' | b'#'));
        if objects && !has(&other) || has(&words) { Self::Dftracer } else { Self::Chrome }
    }

    fn of_line(line: &str) -> Option<Self> {
        let has = |word: &str| line.contains(word);
        let columns = |separator: char, names: &[&str]| {
            let has = |name: &&str| line.split(separator).any(|column| column.trim().trim_matches('"') == *name);
            names.iter().all(has)
        };
        match () {
            () if line.starts_with('{') && has("\"worker_rank\"") => Some(Self::Elbencho),
            () if line.starts_with('{') && has("\"op\"") && has("\"start\"") => Some(Self::OpLog),
            () if line.starts_with('{') && has("\"name\"") => Some(Self::Dftracer),
            () if columns('\t', &["op", "bytes", "start", "last_byte"]) => Some(Self::Warp),
            () if columns('\t', &["op", "bytes", "start"]) => Some(Self::OpLog),
            () if line.starts_with("fio version") => Some(Self::Fio),
            () if columns(',', &["op", "t_start_ns", "t_end_ns"]) => Some(Self::Csv),
            () if columns(',', &["Timestamp", "Operation", "Object_Size_Bytes"]) => Some(Self::KvCache),
            () if line.starts_with("X_POSIX ") || line.starts_with("X_MPIIO ") => Some(Self::DarshanDxt),
            () => None,
        }
    }
}

fn holds(text: &[u8], word: &str) -> bool {
    memchr::memmem::find(text, word.as_bytes()).is_some()
}
