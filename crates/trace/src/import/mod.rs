//! Traces of other programs become ours: one Parquet file per recorded rank, rows in the columns of `docs/trace-format.md`.
//!
//! Invariants: a source is read once, front to back, in memory that does not grow with its length; every line is a row,
//! or belongs to the source's own bookkeeping, or is counted: lines that cannot be understood by number and with
//! examples, operations that have no equivalent here by name.

mod columns;
mod darshan;
mod dftracer;
mod elbencho;
mod fio;
mod kv_cache;
mod op_log;
mod sheets;
mod source;
mod time;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Error;
use sheets::Sheets;
use source::Lines;

/// Lines that are quoted in messages.
const EXAMPLES: usize = 5;

/// The formats that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceFormat {
    /// dftracer's JSON lines (`.pfw`, `.pfw.gz`), old and new layouts.
    Dftracer,
    /// The operation log of s3dlio and sai3-bench: tab-separated, with a header.
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
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    /// The format whose files begin so.
    fn of(line: &str) -> Option<Self> {
        let line = line.trim_start_matches('\u{feff}').trim();
        let has = |word: &str| line.contains(word);
        match line {
            _ if line == "[" => Some(Self::Dftracer),
            _ if line.starts_with('{') && has("worker_rank") => Some(Self::Elbencho),
            _ if line.starts_with('{') && has("\"name\"") => Some(Self::Dftracer),
            _ if line.starts_with("idx\t") && has("last_byte") => Some(Self::Warp),
            _ if line.starts_with("idx\t") => Some(Self::OpLog),
            _ if line.starts_with("fio version") => Some(Self::Fio),
            _ if line.starts_with("Timestamp,Operation") => Some(Self::KvCache),
            _ if line.starts_with("# darshan") || line.starts_with("# DXT") || line.starts_with("# ****") => {
                Some(Self::DarshanDxt)
            }
            _ => None,
        }
    }
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
}

/// Imports files (and the files of folders) into a trace folder, whose earlier traces must be gone.
///
/// # Errors
/// A source that cannot be read or whose format is not known, a malformed line under `strict`, a target that cannot
/// be written.
pub fn import(sources: &[PathBuf], out: &Path, options: &Options) -> Result<Imported, Error> {
    let files = source::files(sources)?;
    let mut sheets = Sheets::new(out, options);
    let mut done = Imported::default();
    for path in files {
        one(&path, options, &mut sheets, &mut done)?;
    }
    (done.rows, done.ranks) = sheets.finish(&done)?;
    Ok(done)
}

fn one(path: &Path, options: &Options, sheets: &mut Sheets, done: &mut Imported) -> Result<(), Error> {
    let mut lines = Lines::open(path)?;
    let format = match options.format {
        Some(format) => format,
        None => {
            lines.peek()?.and_then(SourceFormat::of).ok_or_else(|| Error::UnknownSource { path: path.to_owned() })?
        }
    };
    if !done.formats.contains(&format.name()) {
        done.formats.push(format.name());
    }
    let mut parser = Parser::new(format, path, options);
    loop {
        let Some(line) = lines.next()? else { break };
        done.lines += 1;
        match line.and_then(|text| parser.line(text, sheets)) {
            Ok(Parsed::Row | Parsed::Nothing) => {}
            Ok(Parsed::Skipped(name)) => *done.skipped.entry(name).or_default() += 1,
            Err(reason) => {
                let malformed = Malformed { path: path.to_owned(), line: lines.number(), reason };
                if options.strict {
                    return Err(Error::Malformed(Box::new(malformed)));
                }
                done.malformed += 1;
                if done.examples.len() < EXAMPLES {
                    done.examples.push(malformed);
                }
            }
        }
        sheets.breathe();
    }
    done.unfinished += parser.unfinished();
    Ok(())
}

/// What a line was.
enum Parsed {
    /// It led to a row.
    Row,
    /// It is of the source's own bookkeeping.
    Nothing,
    /// An operation without an equivalent.
    Skipped(String),
}

/// The state of one source file; one variant per format.
enum Parser {
    Dftracer(Box<dftracer::Reader>),
    OpLog(op_log::Reader),
    Elbencho(elbencho::Reader),
    Fio(fio::Reader),
    KvCache(kv_cache::Reader),
    Darshan(darshan::Reader),
}

impl Parser {
    fn new(format: SourceFormat, path: &Path, options: &Options) -> Self {
        match format {
            SourceFormat::Dftracer => Self::Dftracer(Box::new(dftracer::Reader::new(path, &options.host))),
            SourceFormat::OpLog | SourceFormat::Warp => Self::OpLog(op_log::Reader::default()),
            SourceFormat::Elbencho => Self::Elbencho(elbencho::Reader::default()),
            SourceFormat::Fio => Self::Fio(fio::Reader::new(path)),
            SourceFormat::KvCache => Self::KvCache(kv_cache::Reader::default()),
            SourceFormat::DarshanDxt => Self::Darshan(darshan::Reader::default()),
        }
    }

    fn line(&mut self, text: &str, sheets: &mut Sheets) -> Result<Parsed, String> {
        match self {
            Self::Dftracer(reader) => reader.line(text, sheets),
            Self::OpLog(reader) => reader.line(text, sheets),
            Self::Elbencho(reader) => reader.line(text, sheets),
            Self::Fio(reader) => reader.line(text, sheets),
            Self::KvCache(reader) => reader.line(text, sheets),
            Self::Darshan(reader) => reader.line(text, sheets),
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
