//! Writes of whole files: each is written under a temporary name in its final folder and then renamed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dlio_event::{Nanos, OpKind, Outcome};

use super::buffer::with_buffer;
use super::operation::Operation;
use super::temporary::temporary;
use super::{Local, no_direct, sys};
use crate::staged::Ticket;
use crate::{Attempt, ChunkSource, Error, ErrorKind, Receipt, Staged};

/// Name of the option that enables direct writes, for messages.
pub(super) const OPTION: &str = "dlio_rs.generate_odirect";

/// Number of bytes after which written pages are dropped from the page cache.
const DROP_EVERY: u64 = 32 << 20;

/// Cause of a failed write.
enum Stop {
    System(io::Error),
    Other(ErrorKind, String),
}

impl Stop {
    fn told(self, operation: Operation, path: &Path) -> Error {
        match self {
            Stop::System(error) => operation.failed(path, None, &error),
            Stop::Other(kind, message) => operation.refused(path, None, kind, message),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::System(error)
    }
}

/// Guard that removes the temporary file when it is dropped, unless the file is kept or was renamed.
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // The error of the write matters to the user; a leftover temporary file is hidden and never listed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Local {
    pub(super) fn write_now(&self, key: &str, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let path = self.path("writing", key)?;
        let mut operation = Operation::new(&*self.time, "writing");
        let mut steps = |operation: &mut Operation| {
            let (mut temporary, bytes) = self.stage_steps(&path, source, operation)?;
            self.publish_steps(&temporary.path, &path, operation)?;
            temporary.kept = true;
            Ok::<u64, Stop>(bytes)
        };
        match steps(&mut operation) {
            Ok(bytes) => Ok(Receipt { bytes, attempts: operation.done() }),
            Err(stop) => Err(stop.told(operation, &path)),
        }
    }

    pub(super) fn stage_now(&self, key: &str, source: &mut dyn ChunkSource) -> Result<Staged, Error> {
        let path = self.path("writing", key)?;
        let mut operation = Operation::new(&*self.time, "writing");
        match self.stage_steps(&path, source, &mut operation) {
            Ok((mut temporary, bytes)) => {
                temporary.kept = true;
                let ticket = Ticket::File(std::mem::take(&mut temporary.path));
                Ok(Staged { key: key.to_owned(), bytes, attempts: operation.done(), ticket })
            }
            Err(stop) => Err(stop.told(operation, &path)),
        }
    }

    pub(super) fn publish_now(&self, staged: &Staged) -> Result<Receipt, Error> {
        let path = self.path("writing", &staged.key)?;
        let mut operation = Operation::new(&*self.time, "writing");
        let Ticket::File(temporary) = &staged.ticket else {
            return Err(operation.refused(&path, None, ErrorKind::Invalid, staged.foreign()));
        };
        match self.publish_steps(temporary, &path, &mut operation) {
            Ok(()) => Ok(Receipt { bytes: 0, attempts: operation.done() }),
            Err(stop) => Err(stop.told(operation, &path)),
        }
    }

    pub(super) fn discard_now(&self, staged: &Staged) -> Result<Receipt, Error> {
        let path = self.path("removing what was written of", &staged.key)?;
        let operation = Operation::new(&*self.time, "removing what was written of");
        let Ticket::File(temporary) = &staged.ticket else {
            return Err(operation.refused(&path, None, ErrorKind::Invalid, staged.foreign()));
        };
        self.quiet("removing", OpKind::Delete, temporary, || fs::remove_file(temporary))
    }

    /// Writes the temporary file.
    fn stage_steps(
        &self,
        path: &Path,
        source: &mut dyn ChunkSource,
        operation: &mut Operation,
    ) -> Result<(Temporary, u64), Stop> {
        let direct = self.options.odirect_write;
        let (file, temporary) = match operation.step(OpKind::Open, || self.create_temporary(path)) {
            Err(error) if direct && error.raw_os_error() == Some(libc::EINVAL) => {
                return Err(Stop::Other(ErrorKind::Invalid, no_direct(OPTION)));
            }
            created => created?,
        };
        let align = if direct {
            self.alignment(&file, OPTION).map_err(|message| Stop::Other(ErrorKind::Invalid, message))?
        } else {
            1
        };
        let bytes = self.copy(&file, source, align, operation)?;
        if self.options.durable {
            operation.step(OpKind::Fsync, || file.sync_all())?;
        }
        if self.options.drop_cache {
            sys::drop_cache(&file, 0, bytes);
        }
        operation.step(OpKind::Close, || sys::close(file))?;
        Ok((temporary, bytes))
    }

    /// Gives the temporary file its final name.
    fn publish_steps(&self, temporary: &Path, path: &Path, operation: &mut Operation) -> Result<(), Stop> {
        operation.step(OpKind::Rename, || fs::rename(temporary, path))?;
        if self.options.durable {
            // Without this a power failure could lose the new name, though not the content.
            operation.step(OpKind::Fsync, || File::open(path.parent().unwrap_or(&self.root))?.sync_all())?;
        }
        Ok(())
    }

    /// Creates the temporary file and missing folders between the root and the file. The root itself is not created, because a
    /// missing root usually means that a file system is not mounted.
    fn create_temporary(&self, path: &Path) -> io::Result<(File, Temporary)> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        if self.options.odirect_write {
            options.custom_flags(libc::O_DIRECT);
        }
        let mut folders_made = false;
        loop {
            let name = temporary(path);
            match options.open(&name) {
                Ok(file) => return Ok((file, Temporary { path: name, kept: false })),
                // A killed process with the same process id, perhaps on another node, left this file behind.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && !folders_made && self.root.is_dir() => {
                    fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                    folders_made = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn copy(
        &self,
        file: &File,
        source: &mut dyn ChunkSource,
        align: u64,
        operation: &mut Operation,
    ) -> Result<u64, Stop> {
        let start = operation.now();
        let total = source.len();
        let mut pass = Pass { file, align, total, written: 0, first_byte: None, drop_cache: self.options.drop_cache };
        let result = with_buffer(self.options.chunk(align > 1), |buffer| pass.run(source, buffer, || self.time.now()));
        let mut attempt = Attempt {
            requested: Some(pass.total),
            bytes: pass.written,
            first_byte: pass.first_byte,
            end: operation.now(),
            ..Attempt::started(OpKind::Write, start)
        };
        let error = match &result {
            Err(Stop::System(error)) => Some(error),
            Err(Stop::Other(..)) => {
                attempt.outcome = Outcome::Cancelled;
                None
            }
            Ok(()) => None,
        };
        operation.record(attempt, error);
        result.map(|()| pass.written)
    }
}

/// The writes to one file.
struct Pass<'a> {
    file: &'a File,
    /// Alignment in bytes of every `pwrite`; 1 for buffered writes.
    align: u64,
    total: u64,
    written: u64,
    first_byte: Option<Nanos>,
    /// Drop written pages from the page cache.
    drop_cache: bool,
}

impl Pass<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "lengths within the buffer, which is a slice")]
    /// Writes the source's bytes to the file. Direct I/O pads the last block with zeros and then truncates the file to its length;
    /// readers never see the padding, because the file still has its temporary name.
    fn run(&mut self, source: &mut dyn ChunkSource, buffer: &mut [u8], now: impl Fn() -> Nanos) -> Result<(), Stop> {
        while self.written < self.total {
            let wanted = (self.total - self.written).min(buffer.len() as u64) as usize;
            let got = fill(source, &mut buffer[..wanted]);
            if got < wanted {
                let message = format!(
                    "the source ended after {} of {} bytes; nothing was written under this name",
                    self.written + got as u64,
                    self.total
                );
                return Err(Stop::Other(ErrorKind::Invalid, message));
            }
            let padded = wanted.next_multiple_of(self.align as usize);
            buffer[wanted..padded].fill(0);
            self.file.write_all_at(&buffer[..padded], self.written)?;
            self.first_byte.get_or_insert_with(&now);
            let before = self.written;
            self.written += wanted as u64;
            if self.drop_cache && self.written / DROP_EVERY > before / DROP_EVERY {
                // Starts the write-back of this window and drops earlier windows that are clean by now.
                sys::drop_cache(self.file, 0, self.written);
            }
        }
        if !self.total.is_multiple_of(self.align) {
            self.file.set_len(self.total)?;
        }
        Ok(())
    }
}

/// Fills `buffer` from the source; returns the number of bytes, which is less than `buffer.len()` only at the source's end.
pub(super) fn fill(source: &mut dyn ChunkSource, buffer: &mut [u8]) -> usize {
    let mut got = 0;
    while got < buffer.len() {
        match source.fill(&mut buffer[got..]) {
            0 => break,
            more => got += more,
        }
    }
    got
}
