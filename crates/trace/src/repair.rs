//! Makes a torn trace a plain Parquet file again, for readers that do not look for its last whole footer.
//!
//! Invariant: what our reader finds in the file before is what every reader finds in it afterwards; the original is
//! replaced only by a whole file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::reader::read_file;

/// What a repair found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Trace file.
    pub path: PathBuf,
    /// Rows that can be read, before as well as afterwards.
    pub rows: u64,
    /// Bytes behind the last whole footer that were cut off; 0: the file was whole and was not touched.
    pub cut_bytes: u64,
    /// Whether the run came to its end; a repair cannot bring back what was never written.
    pub complete: bool,
}

/// Cuts off what a killed process left behind the last whole footer of a trace file.
///
/// # Errors
/// As [`read_file`] when nothing of the file can be read, and [`Error::Repair`] when it cannot be replaced.
pub fn repair(path: &Path) -> Result<Repaired, Error> {
    let trace = read_file(path)?;
    // What is called whole has been read whole.
    for batch in trace.batches()? {
        batch?;
    }
    if trace.torn_bytes > 0 {
        cut(path, trace.torn_bytes).map_err(|source| Error::Repair { path: path.to_owned(), source })?;
    }
    Ok(Repaired { path: path.to_owned(), rows: trace.rows, cut_bytes: trace.torn_bytes, complete: trace.complete })
}

/// Copies all but the last bytes, and puts the copy in the place of the file.
fn cut(path: &Path, torn_bytes: u64) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".repaired");
    let temporary = path.with_file_name(name);
    let copied = copy(path, &temporary, torn_bytes).and_then(|()| fs::rename(&temporary, path));
    if copied.is_err() {
        // What could not be written whole is not left behind.
        let _ = fs::remove_file(&temporary);
    }
    copied
}

fn copy(from: &Path, to: &Path, torn_bytes: u64) -> io::Result<()> {
    let source = File::open(from)?;
    let keep = source.metadata()?.len().saturating_sub(torn_bytes);
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
    let copied = io::copy(&mut source.take(keep), &mut copy)?;
    if copied != keep {
        return Err(io::Error::other("the file became shorter in the meantime; is its run still going on?"));
    }
    copy.sync_all()
}
