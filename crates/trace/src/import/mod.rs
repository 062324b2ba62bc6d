//! Import of foreign traces: one Parquet file per recorded rank, with the columns of `docs/trace-format.md`.
//!
//! Invariants: a source is read once, front to back, in memory that does not grow with its length. Every line becomes a row,
//! belongs to the source's own metadata, or is counted: unparsable lines by number and with examples, operations without an
//! equivalent by name.

mod chrome;
mod columns;
mod csv;
mod darshan;
mod dftracer;
mod dftracer_names;
mod dlio_loop;
mod elbencho;
mod event_scanner;
mod fio;
mod format;
mod import_writer;
mod interner;
mod json;
mod kv_cache;
mod labels;
mod multiline_record;
mod op_log;
mod options;
mod parser;
mod rank_buffers;
mod sources;
mod time;
mod unsupported;
mod warnings;

use std::path::{Path, PathBuf};

use crate::error::Error;
use parser::Parser;
use rank_buffers::RankBuffers;
use sources::LineReader;

pub use crate::error::Malformed;
pub use format::SourceFormat;
pub use options::{Imported, Options};
pub use sources::source_bytes;

/// Imports files, and the files in folders, into a trace folder that holds no earlier traces. A failed import leaves nothing
/// there.
///
/// # Errors
/// The target cannot be written, which is checked before anything is read; a source cannot be read, contains no operation, or has
/// an unknown format; a line is malformed and `strict` is set.
pub fn import(sources: &[PathBuf], out: &Path, options: &Options) -> Result<Imported, Error> {
    prepare(sources, out, options)?.publish()
}

/// A finished import whose files still have temporary names. Dropping it removes them.
pub struct PreparedImport {
    done: Imported,
    files: import_writer::Files,
}

impl PreparedImport {
    /// Gives the files their final names.
    ///
    /// # Errors
    /// [`Error::ImportTarget`] if the folder cannot be written any more; nothing of the import is left then.
    pub fn publish(self) -> Result<Imported, Error> {
        self.files.publish()?;
        Ok(self.done)
    }
}

/// Imports like [`import`] but leaves the files under temporary names until [`PreparedImport::publish`], so that the folder may
/// hold other traces until then.
///
/// # Errors
/// As [`import`].
pub fn prepare(sources: &[PathBuf], out: &Path, options: &Options) -> Result<PreparedImport, Error> {
    let (mut files, twice) = sources::files_once(sources)?;
    files.sort_by_key(|path| dftracer::Reader::is_worker(path));
    let several = files.len() > 1;
    let mut buffers = RankBuffers::create(out, options)?;
    let mut done = Imported::default();
    for path in twice {
        buffers.warnings.add(format!("{} is given more than once and imported once", path.display()));
    }
    for path in files {
        // If a folder holds only one file, the user meant that file.
        let is_found = several && !sources.contains(&path);
        import_file((&path, is_found), options, &mut buffers, &mut done)?;
    }
    (done.rows, done.skipped) = (buffers.rows(), buffers.skipped());
    done.warnings = std::mem::take(&mut buffers.warnings).finish();
    if done.rows == 0 {
        let reason = sources
            .iter()
            .find_map(|path| sources::reason_for_nothing(path))
            .unwrap_or_else(|| done.reason_for_no_rows(buffers.left_out.as_deref()));
        let sources: Vec<String> = sources.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::NothingImported { sources: sources.join(", "), reason });
    }
    let (ranks, files) = buffers.finish(&done)?;
    done.ranks = ranks;
    Ok(PreparedImport { done, files })
}

/// Imports one file. `is_found` means that it was found in a folder rather than named by the user.
fn import_file(
    (path, is_found): (&Path, bool),
    options: &Options,
    buffers: &mut RankBuffers,
    done: &mut Imported,
) -> Result<(), Error> {
    let mut lines = LineReader::open(path, &options.read)?;
    let head = lines.head()?;
    let format = match options.format.or_else(|| SourceFormat::of(head)) {
        Some(format) => format,
        // A process without events leaves an empty file.
        None if head.trim_ascii().is_empty() => return read_empty(path, lines, options, done),
        None => {
            let unknown = match unsupported::advice(path, head) {
                Some(advice) => Error::Unsupported { path: path.to_owned(), advice },
                None => Error::UnknownSource { path: path.to_owned(), formats: SourceFormat::names() },
            };
            return leave_out(path, unknown, is_found, buffers);
        }
    };
    if !done.formats.contains(&format.name()) {
        done.formats.push(format.name());
    }
    buffers.warnings.source(path);
    let Some(mut parser) = Parser::new(format, path, options) else {
        return chrome::document(&mut lines, path, options, buffers, done);
    };
    while let Some(line) = lines.next()? {
        done.lines += 1;
        let read = match line {
            Ok(text) => parser.line(text, buffers),
            Err(reason) => {
                parser.lose_line();
                Err(reason)
            }
        };
        if let Err(reason) = read {
            let line = lines.number();
            done.add_malformed(Malformed { path: path.to_owned(), line, reason }, options)?;
        }
        buffers.take_error()?;
    }
    if let Err(reason) = parser.end() {
        let line = lines.number();
        done.add_malformed(Malformed { path: path.to_owned(), line, reason }, options)?;
    }
    done.unfinished += parser.unfinished();
    let done_with = match parser {
        Parser::Dftracer(reader) => {
            reader.finish(buffers);
            Ok(())
        }
        Parser::OpLog(reader) => reader.finish(buffers),
        _ => Ok(()),
    };
    if let Err(reason) = done_with {
        let line = lines.number();
        done.add_malformed(Malformed { path: path.to_owned(), line, reason }, options)?;
    }
    buffers.take_error()
}

/// Handles a file that cannot be imported: an error if the user named it, a warning if it was found in a folder.
fn leave_out(path: &Path, unknown: Error, is_found: bool, buffers: &mut RankBuffers) -> Result<(), Error> {
    if !is_found {
        return Err(unknown);
    }
    let why = match unknown {
        Error::Unsupported { advice, .. } => format!("it is {advice}"),
        _ => "its format is not recognised".to_owned(),
    };
    let left_out = format!("{} is left out: {why}", path.display());
    buffers.left_out.get_or_insert_with(|| left_out.clone());
    buffers.warnings.add(left_out);
    Ok(())
}

/// Reads a file without lines, which may still be damaged.
fn read_empty(path: &Path, mut lines: LineReader, options: &Options, done: &mut Imported) -> Result<(), Error> {
    while let Some(line) = lines.next()? {
        done.lines += 1;
        if let Err(reason) = line.map(drop) {
            let line = lines.number();
            done.add_malformed(Malformed { path: path.to_owned(), line, reason }, options)?;
        }
    }
    Ok(())
}
