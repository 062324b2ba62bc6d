//! Errors that occur while a server starts.

use std::io;
use std::path::PathBuf;

/// The reason why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is in use or does not belong to this host.
    #[error("binding {address}: choose a free port with --listen, or port 0 for any")]
    Bind {
        /// Address to bind.
        address: std::net::SocketAddr,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("{doing} {}", path.display())]
    Data {
        /// Operation that failed.
        doing: &'static str,
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] dlio_storage::registry::Error),
    /// The configuration is contradictory or out of range.
    #[error("{0}")]
    Config(String),
    /// The operating system provides no random bytes.
    #[error("reading /dev/urandom for a key pair")]
    Random(#[source] io::Error),
    /// The threads of the server cannot be started.
    #[error("starting the server's threads; {}", allow_more(.0))]
    Runtime(#[source] io::Error),
}

/// Names the limit that was reached: threads, or the descriptors that threads wait on.
fn allow_more(error: &io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::MFILE) => "allow more open files (ulimit -n)",
        Some(rustix::io::Errno::NFILE) => "allow more open files on this system (fs.file-max)",
        _ => "allow more of them (ulimit -u) or more memory (ulimit -v)",
    }
}
