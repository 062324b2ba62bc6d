//! Makes a torn trace a plain Parquet file again, for readers that do not look for its last whole footer.
//!
//! Invariant: what our reader finds in the file before is what every reader finds in it afterwards; the original is
//! replaced only by a whole file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::reader::read_file;
use crate::replacement_file::ReplacementFile;

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

/// Puts a copy without the last bytes in the place of the file.
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
