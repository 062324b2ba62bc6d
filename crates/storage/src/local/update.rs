//! Writes of parts of a file in place.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use dlio_event::{Nanos, OpKind, Outcome};

use super::buffer::with_buffer;
use super::operation::Operation;
use super::read::OpenFile;
use super::write::{OPTION, fill};
use super::{Local, no_direct, sys};
use crate::{Attempt, ByteRange, ChunkSource, Error, ErrorKind, Future, Receipt, Updatable, Update, regular_file};

impl Local {
    pub(super) fn update_now(&self, key: &str, how: Update) -> Result<OpenFile, Error> {
        let path = self.path("opening", key)?;
        let mut operation = Operation::new(&*self.time, "opening");
        // Reads and writes share one descriptor, so direct I/O for either of them applies to both.
        let direct = self.options.odirect_write || self.options.odirect_read;
        let opened = operation.step(OpKind::Open, || self.open_to_update(&path, how, direct));
        let (file, size) = match opened {
            Ok(opened) => opened,
            Err(error) if direct && error.raw_os_error() == Some(libc::EINVAL) => {
                return Err(operation.refused(&path, None, ErrorKind::Invalid, no_direct(OPTION)));
            }
            Err(error) => return Err(operation.failed(&path, None, &error)),
        };
        let align = match direct.then(|| self.alignment(&file, OPTION)).transpose() {
            Ok(align) => align.unwrap_or(1),
            Err(message) => return Err(operation.refused(&path, None, ErrorKind::Invalid, message)),
        };
        let mut opened = operation.done();
        if let Some(open) = opened.last_mut() {
            open.object_size = Some(size);
        }
        Ok(self.opened(path, (file, size), opened, align))
    }

    /// Opens the file and creates missing folders between the root and the file, as writing a whole file does.
    fn open_to_update(&self, path: &Path, how: Update, direct: bool) -> io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(how.create).truncate(false);
        let flags = if direct { libc::O_DIRECT } else { 0 };
        match regular_file::open_with(&mut options, flags, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && how.create && self.root.is_dir() => {
                fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                regular_file::open_with(&mut options, flags, path)
            }
            opened => opened,
        }
    }
}

/// Result of writing a range piece by piece.
struct Pass {
    written: u64,
    first_byte: Option<Nanos>,
    stop: Option<Stop>,
}

enum Stop {
    System(io::Error),
    Source(String),
}

impl OpenFile {
    fn write_now(&self, offset: u64, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let mut operation = Operation::new(&*self.time, "writing");
        let range = ByteRange::new(offset, source.len());
        if !offset.is_multiple_of(self.align) || !source.len().is_multiple_of(self.align) {
            let message = format!(
                "direct I/O writes multiples of {} bytes here; switch {OPTION} and reader.odirect off for this trace",
                self.align
            );
            return Err(operation.refused(&self.path, Some(range), ErrorKind::Invalid, message));
        }
        let start = operation.now();
        let most = usize::try_from(source.len()).unwrap_or(usize::MAX).max(1);
        let chunk = self.options.chunk(self.align > 1).min(most.next_multiple_of(4096));
        let pass = with_buffer(chunk, |buffer| self.write_pass(offset, source, buffer));
        if self.options.drop_cache {
            sys::drop_cache(&self.file, offset, pass.written);
        }
        self.size.fetch_max(offset.saturating_add(pass.written), Ordering::Relaxed);
        let mut attempt = Attempt {
            offset,
            requested: range.len,
            bytes: pass.written,
            first_byte: pass.first_byte,
            end: operation.now(),
            ..Attempt::started(OpKind::Write, start)
        };
        match pass.stop {
            None => {
                operation.record(attempt, None);
                Ok(Receipt { bytes: pass.written, attempts: operation.done() })
            }
            Some(Stop::System(error)) => {
                operation.record(attempt, Some(&error));
                Err(operation.failed(&self.path, Some(range), &error))
            }
            Some(Stop::Source(message)) => {
                attempt.outcome = Outcome::Cancelled;
                operation.record(attempt, None);
                Err(operation.refused(&self.path, Some(range), ErrorKind::Invalid, message))
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "lengths within the buffer, which is a slice")]
    fn write_pass(&self, offset: u64, source: &mut dyn ChunkSource, buffer: &mut [u8]) -> Pass {
        let total = source.len();
        let mut pass = Pass { written: 0, first_byte: None, stop: None };
        while pass.written < total {
            let wanted = (total - pass.written).min(buffer.len() as u64) as usize;
            let got = fill(source, &mut buffer[..wanted]);
            if got < wanted {
                let ready = pass.written + got as u64;
                pass.stop = Some(Stop::Source(format!(
                    "the source ended after {ready} of {total} bytes; {} were written",
                    pass.written
                )));
                return pass;
            }
            if let Err(error) = self.file.write_all_at(&buffer[..wanted], offset + pass.written) {
                pass.stop = Some(Stop::System(error));
                return pass;
            }
            pass.first_byte.get_or_insert_with(|| self.time.now());
            pass.written += wanted as u64;
        }
        pass
    }

    fn sync_now(&self) -> Result<Receipt, Error> {
        let mut operation = Operation::new(&*self.time, "writing");
        match operation.step(OpKind::Fsync, || self.file.sync_all()) {
            Ok(()) => Ok(Receipt { bytes: 0, attempts: operation.done() }),
            Err(error) => Err(operation.failed(&self.path, None, &error)),
        }
    }
}

impl Updatable for OpenFile {
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(async move { self.write_now(offset, source) })
    }

    fn sync(&self) -> Future<'_, Receipt> {
        Box::pin(async move { self.sync_now() })
    }
}
