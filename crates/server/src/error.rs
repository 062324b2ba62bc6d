//! What can go wrong while a server starts.

use std::io;
use std::path::PathBuf;

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken or not ours.
    #[error("binding {address}: choose a free port with --listen, or port 0 for any")]
    Bind {
        /// Address asked for.
        address: std::net::SocketAddr,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("{doing} {}", path.display())]
    Data {
        /// What was being done.
        doing: &'static str,
        /// Path.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] dlio_storage::registry::Error),
    /// A configuration that cannot be served.
    #[error("{0}")]
    Config(String),
    /// The operating system gives no random bytes.
    #[error("reading /dev/urandom for a key pair")]
    Random(#[source] io::Error),
    /// The threads of the server cannot be started.
    #[error("starting the server's threads; {}", allow_more(.0))]
    Runtime(#[source] io::Error),
}

/// Which limit the threads ran into: themselves, or the descriptors that they wait with.
fn allow_more(error: &io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::MFILE) => "allow more open files (ulimit -n)",
        Some(rustix::io::Errno::NFILE) => "allow more open files on this system (fs.file-max)",
        _ => "allow more of them (ulimit -u) or more memory (ulimit -v)",
    }
}
