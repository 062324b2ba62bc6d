//! Source files: found, decompressed, read line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::Error;

/// Longest line that is looked at; names in object stores have at most 1 KiB.
const LONGEST: usize = 1 << 20;

/// The files that paths name, the files of folders in the order of their names.
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
            let told_about = path.extension().is_some_and(|extension| extension == "txt" || extension == "md");
            if path.is_file() && !hidden && !(told_about && is_origin(&path)) {
                inside.push(path);
            }
        }
        inside.sort();
        found.append(&mut inside);
    }
    Ok(found)
}

/// A text beside recorded traces that says where they come from.
fn is_origin(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("origin") || stem.eq_ignore_ascii_case("readme"))
}

/// The lines of one file, plain, gzip or zstd.
pub(super) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    /// The line was looked at and is still to be delivered.
    peeked: bool,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let mut input = BufReader::with_capacity(256 << 10, File::open(path).map_err(read_error)?);
        let head = input.fill_buf().map_err(read_error)?;
        let input: Box<dyn BufRead> = if head.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(256 << 10, flate2::bufread::MultiGzDecoder::new(input)))
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let plain = zstd::stream::read::Decoder::with_buffer(input).map_err(read_error)?;
            Box::new(BufReader::with_capacity(256 << 10, plain))
        } else {
            Box::new(input)
        };
        Ok(Self { path: path.to_owned(), input, line: Vec::new(), number: 0, peeked: false })
    }

    /// Number of the line delivered last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The first line that is not empty, which is delivered afterwards as well.
    pub(super) fn peek(&mut self) -> Result<Option<&str>, Error> {
        while self.fetch()? {
            if !self.line.trim_ascii().is_empty() {
                self.peeked = true;
                return Ok(std::str::from_utf8(&self.line).ok());
            }
        }
        Ok(None)
    }

    /// The next line without its end; `Err` inside for one that is no text or too long.
    pub(super) fn next(&mut self) -> Result<Option<Result<&str, String>>, Error> {
        if !std::mem::take(&mut self.peeked) && !self.fetch()? {
            return Ok(None);
        }
        if self.line.len() >= LONGEST {
            self.skip_rest()?;
            return Ok(Some(Err(format!("longer than {LONGEST} bytes"))));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(std::str::from_utf8(line).map_err(|error| format!("no UTF-8 text: {error}"))))
    }

    fn fetch(&mut self) -> Result<bool, Error> {
        self.line.clear();
        let mut limited = (&mut self.input).take(LONGEST as u64);
        let read = limited.read_until(b'\n', &mut self.line);
        let got = read.map_err(|source| Error::Read { path: self.path.clone(), source })?;
        self.number += u64::from(got > 0);
        Ok(got > 0)
    }

    fn skip_rest(&mut self) -> Result<(), Error> {
        while !self.line.ends_with(b"\n") {
            self.line.clear();
            let mut limited = (&mut self.input).take(LONGEST as u64);
            let read = limited.read_until(b'\n', &mut self.line);
            if read.map_err(|source| Error::Read { path: self.path.clone(), source })? == 0 {
                break;
            }
        }
        Ok(())
    }
}
