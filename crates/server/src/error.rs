//! What can go wrong while a server starts or a registry is read.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A server that cannot start, or a registry that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken or not ours.
    #[error("binding {address}: choose a free port with --bind, or port 0 for any")]
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
    /// The registry directory cannot be used.
    #[error("{doing} registry file {}", path.display())]
    Registry {
        /// What was being done.
        doing: &'static str,
        /// Path.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A file of the registry is not what it should be.
    #[error("registry file {} is not valid: remove it and start `dlio-rs serve` again", path.display())]
    RegistryContent {
        /// Path.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Not enough servers announced themselves in time.
    #[error(
        "registry {} lists {found} of {expected} endpoints after {waited:?}: is every rank of `dlio-rs serve` running \
         with this --registry?",
        dir.display()
    )]
    Missing {
        /// Registry directory.
        dir: PathBuf,
        /// Endpoints found.
        found: usize,
        /// Endpoints expected.
        expected: usize,
        /// How long it was waited.
        waited: Duration,
    },
    /// A configuration that cannot be served.
    #[error("{0}")]
    Config(String),
    /// The operating system gives no random bytes.
    #[error("reading /dev/urandom for a key pair")]
    Random(#[source] io::Error),
    /// The threads of the server cannot be started.
    #[error("starting the server's threads; allow more of them (ulimit -u) or more memory (ulimit -v)")]
    Runtime(#[source] io::Error),
}
