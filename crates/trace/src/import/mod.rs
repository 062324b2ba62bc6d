//! Traces of other programs become ours: one Parquet file per recorded rank, rows in the columns of `docs/trace-format.md`.
//!
//! Invariants: a source is read once, front to back, in memory that does not grow with its length; every line is a row,
//! or belongs to the source's own bookkeeping, or is counted: lines that cannot be understood by number and with
//! examples, operations that have no equivalent here by name.

mod chrome;
mod columns;
mod csv;
mod darshan;
mod dftracer;
mod dftracer_words;
mod dlio_loop;
mod elbencho;
mod elements;
mod fio;
mod interner;
mod json;
mod kv_cache;
mod labels;
mod neighbours;
mod op_log;
mod open_record;
mod press;
mod remarks;
mod sheets;
mod source;
mod time;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::Error;
use sheets::Sheets;
use source::Lines;
pub use source::source_bytes;

/// Lines that are quoted in messages.
const EXAMPLES: usize = 5;

/// The formats that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceFormat {
    /// dftracer's JSON lines (`.pfw`, `.pfw.gz`), old and new layouts.
    Dftracer,
    /// The operation log of s3dlio and sai3-bench: tab-separated, with a header, or a JSON object per line with the same names.
    OpLog,
    /// The benchmark data of warp (`.csv.zst`): tab-separated, with a header.
    Warp,
    /// elbencho's `--opslog`: JSON lines.
    Elbencho,
    /// fio's iolog, versions 2 and 3.
    Fio,
    /// `--io-trace-log` of MLPerf Storage's KV-cache benchmark: comma-separated, with a header.
    KvCache,
    /// The text that `darshan-dxt-parser` prints.
    DarshanDxt,
    /// Our own export: comma-separated, the columns of a trace, with a header.
    Csv,
    /// Chrome's trace-event JSON, which Perfetto opens: our own export, and events with names that are known here.
    Chrome,
}

impl SourceFormat {
    /// Every format, with the name that it has on the command line.
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

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    /// The names of all, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }

    /// The format of a file, told by how it begins; `None`: it is none of these, or cannot be read.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        let mut lines = Lines::open(path, &Arc::default()).ok()?;
        Self::of(lines.head().ok()?)
    }

    /// The format of a text that begins so: its first line that is no comment tells it.
    fn of(head: &[u8]) -> Option<Self> {
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

    /// An array whose bracket has a line of its own: dftracer's has a line per event, and is told by what only it writes.
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
        // A line each, and none of them begins elsewhere.
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

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Format of the sources; `None`: told by how each begins.
    pub format: Option<SourceFormat>,
    /// Stop at the first line that cannot be understood.
    pub strict: bool,
    /// Command line for the headers.
    pub argv: Vec<String>,
    /// Host name for sources that tell none.
    pub host: String,
    /// Bytes that are read of the sources are added to this.
    pub read: Arc<AtomicU64>,
}

/// A line that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Source file.
    pub path: PathBuf,
    /// Its line, from 1.
    pub line: u64,
    /// What is wrong with it, and how it begins.
    pub reason: String,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Formats that were met.
    pub formats: Vec<&'static str>,
    /// Rows written.
    pub rows: u64,
    /// Ranks: processes or clients of the source.
    pub ranks: u32,
    /// Lines read.
    pub lines: u64,
    /// Lines that could not be understood.
    pub malformed: u64,
    /// The first of them.
    pub examples: Vec<Malformed>,
    /// Operations that have no equivalent here: how many lines of each name.
    pub skipped: BTreeMap<String, u64>,
    /// Operations that had begun and whose end is not in the source.
    pub unfinished: u64,
    /// What to know before believing the trace: what sources say of what they lack, and hours between them.
    pub warnings: Vec<String>,
}

/// Imports files (and the files of folders) into a trace folder, whose earlier traces must be gone. An import that fails
/// leaves nothing there.
///
/// # Errors
/// A target that cannot be written, which is known before anything is read; a source that cannot be read, has no
/// operation, or whose format is not known; a malformed line under `strict`.
pub fn import(sources: &[PathBuf], out: &Path, options: &Options) -> Result<Imported, Error> {
    read(sources, out, options)?.publish()
}

/// An import whose files are whole and have temporary names. Dropped, it leaves nothing.
pub struct Whole {
    done: Imported,
    files: press::Files,
}

impl Whole {
    /// Gives the files their names.
    ///
    /// # Errors
    /// A folder that has become one that nothing can be written to; nothing of the import is left then.
    pub fn publish(self) -> Result<Imported, Error> {
        self.files.publish()?;
        Ok(self.done)
    }
}

/// Does what [`import`] does, but for the names of the files: until [`Whole::publish`], traces may lie in the folder.
///
/// # Errors
/// As [`import`].
pub fn read(sources: &[PathBuf], out: &Path, options: &Options) -> Result<Whole, Error> {
    let (mut files, twice) = source::files_once(sources)?;
    files.sort_by_key(|path| dftracer::Reader::is_worker(path));
    let several = files.len() > 1;
    let mut sheets = Sheets::create(out, options)?;
    let mut done = Imported::default();
    for path in twice {
        sheets.remarks.add(format!("{} is given more than once and imported once", path.display()));
    }
    for path in files {
        // The only file of a folder is what was meant.
        let is_found = several && !sources.contains(&path);
        one((&path, is_found), options, &mut sheets, &mut done)?;
    }
    (done.rows, done.skipped) = (sheets.rows(), sheets.skipped());
    done.warnings = std::mem::take(&mut sheets.remarks).finish();
    if done.rows == 0 {
        let reason =
            sources.iter().find_map(|path| source::nothing_in(path)).unwrap_or_else(|| done.why_nothing(&sheets));
        let sources: Vec<String> = sources.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::NothingImported { sources: sources.join(", "), reason });
    }
    let (ranks, files) = sheets.finish(&done)?;
    done.ranks = ranks;
    Ok(Whole { done, files })
}

impl Imported {
    fn why_nothing(&self, sheets: &Sheets) -> String {
        if let Some(first) = self.examples.first() {
            let Malformed { path, line, reason } = first;
            let formats = if self.formats.is_empty() { "any format".to_owned() } else { self.formats.join(", ") };
            let malformed = self.malformed;
            return format!(
                "none of {} lines is an operation, {malformed} are no lines of {formats}; the first is {}, line {line}: {reason}",
                self.lines,
                path.display()
            );
        }
        match self.skipped.keys().next() {
            Some(name) => format!("none of its operations has an equivalent here, {name} for instance"),
            None if self.unfinished > 0 => format!("none of its {} operations has an end", self.unfinished),
            None => match &sheets.left_out {
                Some(first) if self.lines == 0 => format!("none of its files can be imported; {first}"),
                _ => format!("no operation in {} lines", self.lines),
            },
        }
    }

    fn broken(&mut self, malformed: Malformed, options: &Options) -> Result<(), Error> {
        if options.strict {
            return Err(Error::Malformed(Box::new(malformed)));
        }
        self.malformed += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(malformed);
        }
        Ok(())
    }
}

/// Imports a file; `is_found`: it was found in a folder, and not named.
fn one(
    (path, is_found): (&Path, bool),
    options: &Options,
    sheets: &mut Sheets,
    done: &mut Imported,
) -> Result<(), Error> {
    let mut lines = Lines::open(path, &options.read)?;
    let head = lines.head()?;
    let format = match options.format.or_else(|| SourceFormat::of(head)) {
        Some(format) => format,
        // Processes without an event leave files without a line.
        None if head.trim_ascii().is_empty() => return empty(path, lines, options, done),
        None => {
            let unknown = match neighbours::advice(path, head) {
                Some(advice) => Error::Neighbour { path: path.to_owned(), advice },
                None => Error::UnknownSource { path: path.to_owned() },
            };
            return beside(path, unknown, is_found, sheets);
        }
    };
    if !done.formats.contains(&format.name()) {
        done.formats.push(format.name());
    }
    sheets.remarks.source(path);
    let Some(mut parser) = Parser::new(format, path, options) else {
        return chrome::document(&mut lines, path, options, sheets, done);
    };
    while let Some(line) = lines.next()? {
        done.lines += 1;
        let read = match line {
            Ok(text) => parser.line(text, sheets),
            Err(reason) => {
                parser.lose();
                Err(reason)
            }
        };
        if let Err(reason) = read {
            let line = lines.number();
            done.broken(Malformed { path: path.to_owned(), line, reason }, options)?;
        }
        sheets.check()?;
    }
    if let Err(reason) = parser.end() {
        let line = lines.number();
        done.broken(Malformed { path: path.to_owned(), line, reason }, options)?;
    }
    done.unfinished += parser.unfinished();
    let done_with = match parser {
        Parser::Dftracer(reader) => {
            reader.done(sheets);
            Ok(())
        }
        Parser::OpLog(reader) => reader.done(sheets),
        _ => Ok(()),
    };
    if let Err(reason) = done_with {
        let line = lines.number();
        done.broken(Malformed { path: path.to_owned(), line, reason }, options)?;
    }
    sheets.check()
}

/// A file that cannot be imported: in a folder it may lie beside a trace, which says so of it.
fn beside(path: &Path, unknown: Error, is_found: bool, sheets: &mut Sheets) -> Result<(), Error> {
    if !is_found {
        return Err(unknown);
    }
    let why = match unknown {
        Error::Neighbour { advice, .. } => format!("it is {advice}"),
        _ => "it begins like none of the formats that can be imported".to_owned(),
    };
    let left_out = format!("{} is left out: {why}", path.display());
    sheets.left_out.get_or_insert_with(|| left_out.clone());
    sheets.remarks.add(left_out);
    Ok(())
}

/// A file without a line, unless it is damaged.
fn empty(path: &Path, mut lines: Lines, options: &Options, done: &mut Imported) -> Result<(), Error> {
    while let Some(line) = lines.next()? {
        done.lines += 1;
        if let Err(reason) = line.map(drop) {
            let line = lines.number();
            done.broken(Malformed { path: path.to_owned(), line, reason }, options)?;
        }
    }
    Ok(())
}

/// The state of one source file; one variant per format.
enum Parser {
    Dftracer(Box<dftracer::Reader>),
    OpLog(Box<op_log::Reader>),
    Elbencho(elbencho::Reader),
    Fio(fio::Reader),
    KvCache(kv_cache::Reader),
    Darshan(darshan::Reader),
    Csv(csv::Reader),
}

impl Parser {
    /// `None`: the format is no matter of lines.
    fn new(format: SourceFormat, path: &Path, options: &Options) -> Option<Self> {
        let parser = match format {
            SourceFormat::Dftracer => Self::Dftracer(Box::new(dftracer::Reader::new(path, &options.host))),
            SourceFormat::OpLog | SourceFormat::Warp => Self::OpLog(Box::default()),
            SourceFormat::Elbencho => Self::Elbencho(elbencho::Reader::default()),
            SourceFormat::Fio => Self::Fio(fio::Reader::new(path)),
            SourceFormat::KvCache => Self::KvCache(kv_cache::Reader::default()),
            SourceFormat::DarshanDxt => Self::Darshan(darshan::Reader::new(path)),
            SourceFormat::Csv => Self::Csv(csv::Reader::default()),
            SourceFormat::Chrome => return None,
        };
        Some(parser)
    }

    fn line(&mut self, text: &str, sheets: &mut Sheets) -> Result<(), String> {
        match self {
            Self::Dftracer(reader) => reader.line(text, sheets),
            Self::OpLog(reader) => reader.line(text, sheets),
            Self::Elbencho(reader) => reader.line(text, sheets),
            Self::Fio(reader) => reader.line(text, sheets),
            Self::KvCache(reader) => reader.line(text, sheets),
            Self::Darshan(reader) => reader.line(text, sheets),
            Self::Csv(reader) => reader.line(text, sheets),
        }
    }

    /// A line was no text: what it may have said of those that follow is not known.
    fn lose(&mut self) {
        if let Self::Darshan(reader) = self {
            reader.lose();
        }
    }

    /// What is wrong with how the file ends.
    fn end(&mut self) -> Result<(), String> {
        match self {
            Self::Csv(reader) => reader.end(),
            Self::OpLog(reader) => reader.end(),
            _ => Ok(()),
        }
    }

    /// Operations whose end never came.
    fn unfinished(&self) -> u64 {
        match self {
            Self::Elbencho(reader) => reader.unfinished(),
            _ => 0,
        }
    }
}
