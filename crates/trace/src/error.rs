//! What can go wrong with a trace file. Every message names the file and what to do.

use std::path::PathBuf;

/// A trace could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or its folder could not be made.
    #[error("cannot create the trace {path}; {}", remedy(source))]
    Create {
        /// Trace file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A write failed; what had been written before stays readable.
    #[error(
        "writing the trace {path} failed after {rows_written} rows, {rows_lost} events are not in it; {}",
        remedy(source)
    )]
    Write {
        /// Trace file.
        path: PathBuf,
        /// Rows that are safe in the file.
        rows_written: u64,
        /// Events that were recorded and could not be stored.
        rows_lost: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The writer thread could not be started.
    #[error("cannot start the thread that writes the trace {path}; raise the limit on threads (ulimit -u)")]
    Thread {
        /// Trace file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `finish` was called a second time.
    #[error("the trace {path} is already finished; finish it once, after the last event")]
    Finished {
        /// Trace file.
        path: PathBuf,
    },
    /// The traces of an import could not be written.
    #[error(
        "cannot write the imported traces to {folder}, where nothing of this import is left; free space or give another --out"
    )]
    ImportTarget {
        /// Target folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An import that would have led to a trace without a row.
    #[error("nothing to import in {sources}: {reason}")]
    NothingImported {
        /// What was to be imported.
        sources: String,
        /// What was found instead of operations.
        reason: String,
    },
    /// A file to import whose format is not known.
    #[error("{path} begins like none of the formats that can be imported ({formats}); name its format with --from")]
    UnknownSource {
        /// Source file.
        path: PathBuf,
        /// Names of the formats, separated by commas.
        formats: String,
    },
    /// A file to import that is known and holds nothing that can be imported as it is.
    #[error("{path} cannot be imported as it is; it is {advice}")]
    Neighbour {
        /// Source file.
        path: PathBuf,
        /// What it is, and how to convert it.
        advice: &'static str,
    },
    /// A line of a source that cannot be understood, where none may be.
    #[error("{path}, line {line}: {reason}; without --strict such lines are counted and left out", path = .0.path.display(), line = .0.line, reason = .0.reason)]
    Malformed(Box<Malformed>),
    /// A side table could not be written or read.
    #[error(
        "the table {path} cannot be written or read; free space, or remove a damaged one: traces are read without it"
    )]
    Table {
        /// Table.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A torn file could not be replaced by its repaired copy.
    #[error("cannot replace {path} by its repaired copy; the file is as it was: free space or check the permissions")]
    Repair {
        /// Trace file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file or folder could not be read.
    #[error("cannot read {path}")]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A folder without traces.
    #[error("no traces (rank-*.parquet) in {path}; give the folder that a run with tracing wrote, or one of its files")]
    NoTraces {
        /// Folder.
        path: PathBuf,
    },
    /// Not a Parquet file, or one of another origin.
    #[error("{path} is not a trace of dlio-rs: {reason}; give a rank-*.parquet file that a run wrote")]
    NotATrace {
        /// File.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Written by a later major version.
    #[error(
        "{path} has trace format {found}, and this program reads up to {supported}.x; read it with a newer dlio-rs"
    )]
    TooNew {
        /// File.
        path: PathBuf,
        /// Version in the file.
        found: String,
        /// Highest major version that can be read.
        supported: u32,
    },
    /// The file is a trace, but its content is damaged.
    #[error("{path} is damaged: {reason}; leave it out or record the run again")]
    Damaged {
        /// File.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
}

/// A line that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Source file.
    pub path: PathBuf,
    /// Its line, from 1.
    pub line: u64,
    /// What is wrong with it, and how it begins.
    pub reason: String,
}

/// What helps against an error of the file system.
fn remedy(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull => "free space there, or give another folder with --output",
        ErrorKind::QuotaExceeded => "free space within your quota there, or give another folder with --output",
        ErrorKind::FileTooLarge => {
            "raise the limit on the size of files (ulimit -f), or give another folder with --output"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "check the permissions of its folder, or give another one with --output"
        }
        _ => "check the folder and its file system, or give another one with --output",
    }
}
