//! Source files: listing, decompression, and reading line by line.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::{folder, regular_file};

/// Maximum length of a line, bytes; object names have at most 1 KiB.
const LONGEST: usize = 1 << 20;
/// Trace folders in the output folder of a run.
const OF_RUNS: [&str; 2] = ["trace", "trace-generate"];
/// Maximum number of folders named in a message.
const FOLDERS: usize = 5;
/// Bytes read at a time.
const BLOCK: usize = 256 << 10;

/// Returns the files at these paths; those in a folder are sorted by name.
pub(super) fn files(sources: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for source in sources {
        let read_error = |source_error| Error::Read { path: source.clone(), source: source_error };
        if !std::fs::metadata(source).map_err(read_error)?.is_dir() {
            found.push(source.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(source).map_err(read_error)? {
            let path = entry.map_err(read_error)?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let is_text = path.extension().is_some_and(|extension| extension == "txt" || extension == "md");
            let is_ignored = hidden || (is_text && is_origin(&path)) || is_manifest(&path);
            if path.is_file() && !is_ignored {
                inside.push(path);
            }
        }
        inside.sort();
        found.append(&mut inside);
    }
    Ok(found)
}

/// Returns the different files at these paths, and the files that were given more than once.
pub(super) fn files_once(sources: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Error> {
    let mut met = HashSet::new();
    let is_new = |path: &PathBuf| std::fs::canonicalize(path).map_or(true, |path| met.insert(path));
    Ok(files(sources)?.into_iter().partition(is_new))
}

/// Returns the reason why a folder contains nothing to import, as far as its file names show it: it is empty, contains only
/// folders, or is the output folder of a run of this program.
pub(super) fn reason_for_nothing(folder: &Path) -> Option<String> {
    let is_traced = |inner: &Path| folder::list_dir(inner).is_ok_and(|found| !found.is_empty());
    if let Some(traces) = OF_RUNS.iter().map(|name| folder.join(name)).find(|inner| is_traced(inner)) {
        return Some(format!(
            "{} holds traces of dlio-rs, which need no import: analyze and replay read them",
            traces.display()
        ));
    }
    let (mut folders, mut files) = (Vec::new(), false);
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        if entry.path().is_dir() {
            folders.push(entry.file_name().to_string_lossy().into_owned());
        } else {
            files = true;
        }
    }
    folders.sort();
    let others = folders.len().saturating_sub(FOLDERS);
    folders.truncate(FOLDERS);
    let more = if others > 0 { format!(" or one of {others} more") } else { String::new() };
    match folders.join(", ") {
        _ if files => None,
        names if names.is_empty() => Some(format!("{} is an empty folder", folder.display())),
        names => Some(format!("{} holds folders only, which are not searched: name {names}{more}", folder.display())),
    }
}

/// Whether the file describes the origin of the traces next to it.
fn is_origin(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("origin") || stem.eq_ignore_ascii_case("readme"))
}

/// Whether the file is the `run.json` that lists the exports of this program. A trace may have the same name.
fn is_manifest(path: &Path) -> bool {
    let mut head = String::new();
    let is_named = path.file_name().is_some_and(|name| name == "run.json");
    let opened = if is_named { regular_file::open(path).ok() } else { None };
    opened.is_some_and(|file| file.take(64).read_to_string(&mut head).is_ok())
        && head.contains("\"program\": \"dlio-rs\"")
}

/// Returns the total size of all files at these paths in bytes. Pipes count as empty.
///
/// # Errors
/// [`Error::Read`] if a path cannot be examined.
pub fn source_bytes(sources: &[PathBuf]) -> Result<u64, Error> {
    let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Ok(files_once(sources)?.0.iter().map(size).sum())
}

/// A file that counts the bytes read from it.
struct CountedFile {
    file: std::fs::File,
    read: Arc<AtomicU64>,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads the lines of one plain, gzip or zstd file.
///
/// Lines are borrowed from the buffer. Compressed data that end early, as those of a killed process do, yield the lines before
/// the damage and then one malformed line that describes it.
pub(super) struct LineReader {
    path: PathBuf,
    input: Box<dyn Read>,
    compressed: bool,
    /// Bytes read from the file. The lines not yet returned are in `from..to`.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    ended: bool,
    /// Reason why the data end early.
    torn: Option<String>,
    number: u64,
}

/// Result of the search for a line.
enum Found {
    Line(usize, usize),
    Broken(String),
    End,
}

impl LineReader {
    /// Opens a source. The bytes read from the file, compressed or not, are added to `read`.
    pub(super) fn open(path: &Path, read: &Arc<AtomicU64>) -> Result<Self, Error> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let mut file = CountedFile { file: regular_file::open_source(path)?, read: Arc::clone(read) };
        let mut magic = [0_u8; 4];
        let mut known = 0;
        while known < magic.len() {
            match file.read(&mut magic[known..]).map_err(read_error)? {
                0 => break,
                read => known += read,
            }
        }
        let magic = &magic[..known];
        // The bytes that were examined are put in front again, which works for pipes as well.
        let input = std::io::Cursor::new(magic.to_vec()).chain(file);
        let input = std::io::BufReader::with_capacity(BLOCK, input);
        let (input, compressed): (Box<dyn Read>, bool) = if magic.starts_with(&[0x1f, 0x8b]) {
            (Box::new(flate2::bufread::MultiGzDecoder::new(input)), true)
        } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            (Box::new(zstd::stream::read::Decoder::with_buffer(input).map_err(read_error)?), true)
        } else {
            (Box::new(input), false)
        };
        let buffer = vec![0; BLOCK];
        let (path, from, to) = (path.to_owned(), 0, 0);
        let mut this = Self { path, input, compressed, buffer, from, to, ended: false, torn: None, number: 0 };
        this.fill()?;
        if this.buffer[..this.to].starts_with(b"\xef\xbb\xbf") {
            this.from = 3;
        }
        Ok(this)
    }

    /// Returns the number of the line returned last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the first kilobytes of the text without consuming them.
    pub(super) fn head(&mut self) -> Result<&[u8], Error> {
        while !self.ended && self.to - self.from < BLOCK / 2 {
            self.fill()?;
        }
        Ok(&self.buffer[self.from..self.to])
    }

    /// Returns the next line without its line end. The inner `Err` reports a line that is invalid text, too long or cut off.
    pub(super) fn next(&mut self) -> Result<Option<Result<&str, String>>, Error> {
        let found = self.find()?;
        self.number += u64::from(!matches!(found, Found::End));
        Ok(match found {
            Found::End => None,
            Found::Broken(reason) => Some(Err(reason)),
            Found::Line(from, to) => {
                let line = &self.buffer[from..to];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                Some(std::str::from_utf8(line).map_err(|error| format!("invalid UTF-8: {error}")))
            }
        })
    }

    /// Returns the next bytes, regardless of lines. The inner `Err` reports data that end early.
    pub(super) fn block(&mut self) -> Result<Option<Result<&[u8], String>>, Error> {
        while self.from == self.to && !self.ended {
            self.fill()?;
        }
        if self.from == self.to {
            return Ok(self.torn.take().map(Err));
        }
        let from = std::mem::replace(&mut self.from, self.to);
        Ok(Some(Ok(&self.buffer[from..self.to])))
    }

    fn find(&mut self) -> Result<Found, Error> {
        let mut looked_at = 0;
        loop {
            let (from, to) = (self.from, self.to);
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[from + looked_at..to]) {
                let end = from + looked_at + at;
                self.from = end + 1;
                return Ok(Found::Line(from, end));
            }
            looked_at = to - from;
            if looked_at >= LONGEST {
                self.skip_rest()?;
                return Ok(Found::Broken(format!("longer than {LONGEST} bytes")));
            }
            if self.ended {
                self.from = to;
                return Ok(match self.torn.take() {
                    Some(reason) => Found::Broken(reason),
                    None if looked_at > 0 => Found::Line(from, to),
                    None => Found::End,
                });
            }
            self.fill()?;
        }
    }

    /// Reads another block after the bytes not yet returned.
    fn fill(&mut self) -> Result<(), Error> {
        self.buffer.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.buffer.len() - self.to < BLOCK / 2 {
            self.buffer.resize(self.to + BLOCK, 0);
        }
        match self.input.read(&mut self.buffer[self.to..]) {
            Ok(0) => self.ended = true,
            Ok(read) => self.to += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Errors of the system have a number; errors of the decompressor do not.
            Err(error) if self.compressed && error.raw_os_error().is_none() => {
                self.ended = true;
                self.torn = Some(format!("the compressed data end here because they are cut off or damaged: {error}"));
            }
            Err(source) => return Err(Error::Read { path: self.path.clone(), source }),
        }
        Ok(())
    }

    /// Drops the bytes up to the end of the line.
    fn skip_rest(&mut self) -> Result<(), Error> {
        loop {
            self.from = self.to;
            if self.ended {
                return Ok(());
            }
            self.fill()?;
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.from..self.to]) {
                self.from += at + 1;
                return Ok(());
            }
        }
    }
}
