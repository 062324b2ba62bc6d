//! Errors of reading and writing traces. Every message names the file and the remedy.

use std::path::PathBuf;

/// Failure to write or read a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or its folder could not be created.
    #[error("cannot create the trace {path}; {}", remedy(source))]
    Create {
        /// Trace file.
        path: PathBuf,
        /// Underlying error.
        #[source]
        source: std::io::Error,
    },
    /// A write failed; everything written before it stays readable.
    #[error(
        "writing the trace {path} failed after {rows_written} rows, {rows_lost} events are not in it; {}",
        remedy(source)
    )]
    Write {
        /// Trace file.
        path: PathBuf,
        /// Rows in the file that can be read.
        rows_written: u64,
        /// Events that were recorded and could not be stored.
        rows_lost: u64,
        /// Underlying error.
        #[source]
        source: std::io::Error,
    },
    /// The writer thread could not be started.
    #[error("cannot start the thread that writes the trace {path}; raise the limit on threads (ulimit -u)")]
    Thread {
        /// Trace file.
        path: PathBuf,
        /// Underlying error.
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
        /// Underlying error.
        #[source]
        source: std::io::Error,
    },
    /// The import would have produced a trace without rows.
    #[error("nothing to import in {sources}: {reason}")]
    NothingImported {
        /// Paths that were to be imported.
        sources: String,
        /// Description of what the sources hold instead of operations.
        reason: String,
    },
    /// The format of a source file could not be recognised.
    #[error("the format of {path} is not recognised; name its format with --from: {formats}")]
    UnknownSource {
        /// Source file.
        path: PathBuf,
        /// Comma-separated names of the supported formats.
        formats: String,
    },
    /// The source file has a known format that cannot be imported without conversion.
    #[error("{path} cannot be imported as it is: it is {advice}")]
    Unsupported {
        /// Source file.
        path: PathBuf,
        /// Name of the format and the command that converts it.
        advice: &'static str,
    },
    /// A line of a source could not be parsed, and `strict` is set.
    #[error("{path}, line {line}: {reason}; without --strict such lines are counted and left out", path = .0.path.display(), line = .0.line, reason = .0.reason)]
    Malformed(Box<Malformed>),
    /// A side table could not be written or read.
    #[error(
        "the table {path} cannot be written or read; free space, or remove a damaged one: traces are read without it"
    )]
    Table {
        /// Table.
        path: PathBuf,
        /// Underlying error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A torn file could not be replaced with its repaired copy.
    #[error("cannot replace {path} by its repaired copy; the file is as it was: free space or check the permissions")]
    Repair {
        /// Trace file.
        path: PathBuf,
        /// Underlying error.
        #[source]
        source: std::io::Error,
    },
    /// A file or folder could not be read.
    #[error("cannot read {path}")]
    Read {
        /// File or folder.
        path: PathBuf,
        /// Underlying error.
        #[source]
        source: std::io::Error,
    },
    /// The folder contains no traces.
    #[error("no traces (rank-*.parquet) in {path}; give the folder that a run with tracing wrote, or one of its files")]
    NoTraces {
        /// Folder.
        path: PathBuf,
    },
    /// The file is not a Parquet file, or another program wrote it.
    #[error("{path} is not a trace of dlio-rs: {reason}; give a rank-*.parquet file that a run wrote")]
    NotATrace {
        /// File.
        path: PathBuf,
        /// The missing part.
        reason: String,
    },
    /// The file has a later major version of the format.
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
    /// The file is a trace, but its contents are damaged.
    #[error("{path} is damaged: {reason}; leave it out or record the run again")]
    Damaged {
        /// File.
        path: PathBuf,
        /// The damage that was found.
        reason: String,
    },
}

/// A line of a source that could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Source file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: u64,
    /// The problem and the beginning of the line.
    pub reason: String,
}

/// Returns the remedy for an error of the file system.
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
