//! Makes a torn trace a plain Parquet file again, for readers that do not search for its last complete footer.
//!
//! Invariant: after a repair, every reader finds the rows that this crate's reader found before it. The original is replaced only
//! by a complete file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::reader::read_file;
use crate::replacement_file::ReplacementFile;

/// Result of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Trace file.
    pub path: PathBuf,
    /// Rows that can be read, both before and after the repair.
    pub rows: u64,
    /// Bytes cut off after the last complete footer. 0 means that the file was complete and was left alone.
    pub cut_bytes: u64,
    /// Whether the run completed. A repair cannot restore rows that were never written.
    pub complete: bool,
}

/// Cuts off the bytes that a killed process left after the last complete footer of a trace file.
///
/// # Errors
/// As [`read_file`] if nothing can be read, and [`Error::Repair`] if the file cannot be replaced.
pub fn repair(path: &Path) -> Result<Repaired, Error> {
    let trace = read_file(path)?;
    // Only a file whose rows all decode is called repaired.
    for batch in trace.batches()? {
        batch?;
    }
    if trace.torn_bytes > 0 {
        cut(path, trace.torn_bytes).map_err(|source| Error::Repair { path: path.to_owned(), source })?;
    }
    Ok(Repaired { path: path.to_owned(), rows: trace.rows, cut_bytes: trace.torn_bytes, complete: trace.complete })
}

/// Replaces the file with a copy that lacks its last `torn_bytes` bytes.
fn cut(path: &Path, torn_bytes: u64) -> io::Result<()> {
    let source = File::open(path)?;
    let keep = source.metadata()?.len().saturating_sub(torn_bytes);
    let mut copy = ReplacementFile::create(path, ".repaired")?;
    let copied = io::copy(&mut source.take(keep), &mut copy.file)?;
    if copied != keep {
        return Err(io::Error::other("the file became shorter in the meantime; is its run still going on?"));
    }
    copy.file.sync_all()?;
    copy.publish()
}
