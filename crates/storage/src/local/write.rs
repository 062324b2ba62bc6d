//! Writing a file whole: under a temporary name beside its final one, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::{Nanos, OpKind, Outcome};

use super::buffer::with_buffer;
use super::task::Task;
use super::{Local, no_direct, sys};
use crate::staged::Ticket;
use crate::{Attempt, ChunkSource, Error, ErrorKind, Receipt, Staged};

/// Distinguishes the temporary files of this process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// The option that asks for direct writes, for messages.
pub(super) const OPTION: &str = "dlio_rs.generate_odirect";

/// Bytes after which pages are given back to the kernel.
const DROP_EVERY: u64 = 32 << 20;

/// Longest part of the final name that the temporary name repeats, so that it stays below the usual limit of 255.
const NAME_MAX: usize = 200;

/// Whether a file name is one that [`temporary`] makes: `.<name>.<pid>.<number>.tmp`.
pub(super) fn is_temporary(name: &str) -> bool {
    let is_number =
        |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let mut parts = name.rsplit('.');
    name.starts_with('.') && parts.next() == Some("tmp") && is_number(parts.next()) && is_number(parts.next())
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut cut = name.len().min(NAME_MAX);
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{}.{}.{serial}.tmp", &name[..cut], std::process::id()))
}

/// Why a write did not end well.
enum Stop {
    System(io::Error),
    Other(ErrorKind, String),
}

impl Stop {
    fn told(self, task: Task, path: &Path) -> Error {
        match self {
            Stop::System(error) => task.failed(path, None, &error),
            Stop::Other(kind, message) => task.refused(path, None, kind, message),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::System(error)
    }
}

/// Removes the temporary file unless it is to stay, or has become the final one.
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // The write's own error is what the user needs; a leftover file is hidden and in no listing.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Local {
    pub(super) fn write_now(&self, key: &str, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let path = self.path("writing", key)?;
        let mut task = Task::new(&*self.time, "writing");
        let mut steps = |task: &mut Task| {
            let (mut temporary, bytes) = self.stage_steps(&path, source, task)?;
            self.publish_steps(&temporary.path, &path, task)?;
            temporary.kept = true;
            Ok::<u64, Stop>(bytes)
        };
        match steps(&mut task) {
            Ok(bytes) => Ok(Receipt { bytes, attempts: task.done() }),
            Err(stop) => Err(stop.told(task, &path)),
        }
    }

    pub(super) fn stage_now(&self, key: &str, source: &mut dyn ChunkSource) -> Result<Staged, Error> {
        let path = self.path("writing", key)?;
        let mut task = Task::new(&*self.time, "writing");
        match self.stage_steps(&path, source, &mut task) {
            Ok((mut temporary, bytes)) => {
                temporary.kept = true;
                let ticket = Ticket::File(std::mem::take(&mut temporary.path));
                Ok(Staged { key: key.to_owned(), bytes, attempts: task.done(), ticket })
            }
            Err(stop) => Err(stop.told(task, &path)),
        }
    }

    pub(super) fn publish_now(&self, staged: &Staged) -> Result<Receipt, Error> {
        let path = self.path("writing", &staged.key)?;
        let mut task = Task::new(&*self.time, "writing");
        let Ticket::File(temporary) = &staged.ticket else {
            return Err(task.refused(&path, None, ErrorKind::Invalid, staged.foreign()));
        };
        match self.publish_steps(temporary, &path, &mut task) {
            Ok(()) => Ok(Receipt { bytes: 0, attempts: task.done() }),
            Err(stop) => Err(stop.told(task, &path)),
        }
    }

    pub(super) fn discard_now(&self, staged: &Staged) -> Result<Receipt, Error> {
        let path = self.path("removing what was written of", &staged.key)?;
        let task = Task::new(&*self.time, "removing what was written of");
        let Ticket::File(temporary) = &staged.ticket else {
            return Err(task.refused(&path, None, ErrorKind::Invalid, staged.foreign()));
        };
        self.quiet("removing", OpKind::Delete, temporary, || fs::remove_file(temporary))
    }

    /// Writes the temporary file.
    fn stage_steps(
        &self,
        path: &Path,
        source: &mut dyn ChunkSource,
        task: &mut Task,
    ) -> Result<(Temporary, u64), Stop> {
        let direct = self.options.odirect_write;
        let (file, temporary) = match task.step(OpKind::Open, || self.create_temporary(path)) {
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
        let bytes = self.copy(&file, source, align, task)?;
        if self.options.durable {
            task.step(OpKind::Fsync, || file.sync_all())?;
        }
        if self.options.drop_cache {
            sys::drop_cache(&file, 0, bytes);
        }
        task.step(OpKind::Close, || sys::close(file))?;
        Ok((temporary, bytes))
    }

    /// Gives the temporary file its final name.
    fn publish_steps(&self, temporary: &Path, path: &Path, task: &mut Task) -> Result<(), Stop> {
        task.step(OpKind::Rename, || fs::rename(temporary, path))?;
        if self.options.durable {
            // Without this the name itself, not the content, could be lost with the power.
            task.step(OpKind::Fsync, || File::open(path.parent().unwrap_or(&self.root))?.sync_all())?;
        }
        Ok(())
    }

    /// Creates the temporary file, and the folders between the root and it if they are missing. The root itself is
    /// not created: a root that is gone is an unmounted file system more often than a wish.
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
                // Left by a killed process of the same number, perhaps on another node.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && !folders_made && self.root.is_dir() => {
                    fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                    folders_made = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn copy(&self, file: &File, source: &mut dyn ChunkSource, align: u64, task: &mut Task) -> Result<u64, Stop> {
        let start = task.now();
        let total = source.len();
        let mut pass = Pass { file, align, total, written: 0, first_byte: None, drop_cache: self.options.drop_cache };
        let result = with_buffer(self.options.chunk(align > 1), |buffer| pass.run(source, buffer, || self.time.now()));
        let mut attempt = Attempt {
            requested: Some(pass.total),
            bytes: pass.written,
            first_byte: pass.first_byte,
            end: task.now(),
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
        task.record(attempt, error);
        result.map(|()| pass.written)
    }
}

/// The writes of one file.
struct Pass<'a> {
    file: &'a File,
    /// Every `pwrite` is a multiple of this; 1 for buffered writes.
    align: u64,
    total: u64,
    written: u64,
    first_byte: Option<Nanos>,
    /// Tell the kernel that the pages are not needed again.
    drop_cache: bool,
}

impl Pass<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "lengths within the buffer, which is a slice")]
    /// Moves the source's bytes to the file. With direct I/O the last block is padded with zeros and the file then
    /// cut to its length; nobody sees the padding because the file still has its temporary name.
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
                // Starts the write-back of this window, and drops those before it that are clean by now.
                sys::drop_cache(self.file, 0, self.written);
            }
        }
        if !self.total.is_multiple_of(self.align) {
            self.file.set_len(self.total)?;
        }
        Ok(())
    }
}

/// Fills `buffer` unless the source ends before; returns how many bytes there are.
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

#[cfg(test)]
mod tests {
    use super::{is_temporary, temporary};
    use std::path::Path;

    #[test]
    fn a_temporary_name_is_hidden_has_no_data_extension_and_fits() {
        for name in ["img_0_of_8.npz", &"ä".repeat(127)] {
            let made = temporary(Path::new("/data").join(name).as_path());
            let made = made.file_name().unwrap().to_str().unwrap();
            assert!(is_temporary(made) && made.len() < 256, "{made}");
        }
    }

    #[test]
    fn files_of_the_user_are_not_taken_for_temporary() {
        for name in [".tmp", "a.1.2.tmp", ".a.b.2.tmp", ".a.1.2.npz", ".gitignore", "x.tmp"] {
            assert!(!is_temporary(name), "{name}");
        }
    }
}
