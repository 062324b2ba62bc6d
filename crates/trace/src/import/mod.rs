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
mod format;
mod import_writer;
mod interner;
mod json;
mod kv_cache;
mod labels;
mod multiline_record;
mod neighbours;
mod op_log;
mod options;
mod parser;
mod rank_buffers;
mod remarks;
mod source;
mod time;

use std::path::{Path, PathBuf};

use crate::error::Error;
use parser::Parser;
use rank_buffers::RankBuffers;
use source::Lines;

pub use crate::error::Malformed;
pub use format::SourceFormat;
pub use options::{Imported, Options};
pub use source::source_bytes;

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
    files: import_writer::Files,
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
    let mut buffers = RankBuffers::create(out, options)?;
    let mut done = Imported::default();
    for path in twice {
        buffers.remarks.add(format!("{} is given more than once and imported once", path.display()));
    }
    for path in files {
        // The only file of a folder is what was meant.
        let is_found = several && !sources.contains(&path);
        one((&path, is_found), options, &mut buffers, &mut done)?;
    }
    (done.rows, done.skipped) = (buffers.rows(), buffers.skipped());
    done.warnings = std::mem::take(&mut buffers.remarks).finish();
    if done.rows == 0 {
        let reason = sources
            .iter()
            .find_map(|path| source::nothing_in(path))
            .unwrap_or_else(|| done.why_nothing(buffers.left_out.as_deref()));
        let sources: Vec<String> = sources.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::NothingImported { sources: sources.join(", "), reason });
    }
    let (ranks, files) = buffers.finish(&done)?;
    done.ranks = ranks;
    Ok(Whole { done, files })
}

/// Imports a file; `is_found`: it was found in a folder, and not named.
fn one(
    (path, is_found): (&Path, bool),
    options: &Options,
    buffers: &mut RankBuffers,
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
                None => Error::UnknownSource { path: path.to_owned(), formats: SourceFormat::names() },
            };
            return beside(path, unknown, is_found, buffers);
        }
    };
    if !done.formats.contains(&format.name()) {
        done.formats.push(format.name());
    }
    buffers.remarks.source(path);
    let Some(mut parser) = Parser::new(format, path, options) else {
        return chrome::document(&mut lines, path, options, buffers, done);
    };
    while let Some(line) = lines.next()? {
        done.lines += 1;
        let read = match line {
            Ok(text) => parser.line(text, buffers),
            Err(reason) => {
                parser.lose();
                Err(reason)
            }
        };
        if let Err(reason) = read {
            let line = lines.number();
            done.broken(Malformed { path: path.to_owned(), line, reason }, options)?;
        }
        buffers.check()?;
    }
    if let Err(reason) = parser.end() {
        let line = lines.number();
        done.broken(Malformed { path: path.to_owned(), line, reason }, options)?;
    }
    done.unfinished += parser.unfinished();
    let done_with = match parser {
        Parser::Dftracer(reader) => {
            reader.done(buffers);
            Ok(())
        }
        Parser::OpLog(reader) => reader.done(buffers),
        _ => Ok(()),
    };
    if let Err(reason) = done_with {
        let line = lines.number();
        done.broken(Malformed { path: path.to_owned(), line, reason }, options)?;
    }
    buffers.check()
}

/// A file that cannot be imported: in a folder it may lie beside a trace, which says so of it.
fn beside(path: &Path, unknown: Error, is_found: bool, buffers: &mut RankBuffers) -> Result<(), Error> {
    if !is_found {
        return Err(unknown);
    }
    let why = match unknown {
        Error::Neighbour { advice, .. } => format!("it is {advice}"),
        _ => "it begins like none of the formats that can be imported".to_owned(),
    };
    let left_out = format!("{} is left out: {why}", path.display());
    buffers.left_out.get_or_insert_with(|| left_out.clone());
    buffers.remarks.add(left_out);
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
