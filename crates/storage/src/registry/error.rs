//! Errors of the registry.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A registry that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A registry file or directory cannot be accessed.
    #[error("{doing} registry file {}", path.display())]
    File {
        /// Operation that failed.
        doing: &'static str,
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A registry file has invalid content.
    #[error("registry file {} is not valid: remove it and start `dlio-rs serve` again", path.display())]
    Content {
        /// Path of the file.
        path: PathBuf,
        /// Error of the parser.
        #[source]
        source: serde_json::Error,
    },
    /// A registry file has a newer format.
    #[error(
        "registry file {} has format {found}, of a newer dlio-rs; this one knows formats up to {known}: use the same \
         version for servers and clients",
        path.display()
    )]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// Format of the file.
        found: u32,
        /// Newest supported format.
        known: u32,
    },
    /// The registry belongs to a running server.
    #[error(
        "the registry {} belongs to a server that is running ({name}: {owner}); end that server, choose another \
         --registry, or give --add to announce this server beside it. If the server is gone, remove {name}",
        dir.display()
    )]
    Occupied {
        /// Registry directory.
        dir: PathBuf,
        /// File name of the announcement.
        name: String,
        /// Endpoint, process and host.
        owner: String,
    },
    /// Announcements of one job contradict each other.
    #[error(
        "announcements in the registry {} contradict each other about job {job}: {one}, {other}; end its servers, empty \
         the folder and start them again",
        dir.display()
    )]
    Contradiction {
        /// Registry directory.
        dir: PathBuf,
        /// Id of the job.
        job: String,
        /// Content of one announcement.
        one: String,
        /// Content of the other announcement.
        other: String,
    },
    /// The endpoint can only be reached from its own machine.
    #[error(
        "registry file {name}: {endpoint} is announced by {host} and cannot be reached from here; start the servers with \
         --listen 0.0.0.0:0 there, or remove the file if its server is gone"
    )]
    Loopback {
        /// File name of the announcement.
        name: String,
        /// URL of the endpoint.
        endpoint: String,
        /// Host that announced it.
        host: String,
    },
    /// Not enough servers announced themselves in time.
    #[error(
        "registry {} lists {found} of {expected} endpoints{}; missing: {missing}. Look whether every rank \
         of `dlio-rs serve` runs with this --registry{}",
        dir.display(),
        after(*waited),
        longer(*waited)
    )]
    Missing {
        /// Registry directory.
        dir: PathBuf,
        /// Number of endpoints found.
        found: usize,
        /// Number of endpoints expected.
        expected: usize,
        /// Missing ranks, for the message.
        missing: String,
        /// Time waited.
        waited: Duration,
    },
    /// No server announced itself in time.
    #[error(
        "no endpoint is announced in the registry {}{}: {found}. Start `dlio-rs serve --registry {}` on \
         a folder that this host sees too{}",
        dir.display(),
        after(*waited),
        dir.display(),
        longer(*waited)
    )]
    Nobody {
        /// Registry directory.
        dir: PathBuf,
        /// Description of what was found instead.
        found: String,
        /// Time waited.
        waited: Duration,
    },
    /// The operating system provides no random bytes.
    #[error("reading /dev/urandom for a key pair")]
    Random(#[source] io::Error),
}

/// Returns the time waited for the message; empty if the registry was read only once.
fn after(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(" after {waited:.0?}") }
}

/// Returns the advice to wait longer, if the registry was waited for.
fn longer(waited: Duration) -> &'static str {
    if waited.is_zero() { "" } else { "; --registry-wait TIME waits longer" }
}
