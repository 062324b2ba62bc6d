//! Errors of the registry.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// An error of the registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry directory cannot be used.
    #[error("{doing} registry file {}", path.display())]
    File {
        /// The failed operation.
        doing: &'static str,
        /// Path.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file of the registry is malformed.
    #[error("registry file {} is not valid: remove it and start `dlio-rs serve` again", path.display())]
    Content {
        /// Path.
        path: PathBuf,
        /// Error of the parser.
        #[source]
        source: serde_json::Error,
    },
    /// A file of the registry has a later version than this program supports.
    #[error(
        "registry file {} has format {found}, of a newer dlio-rs; this one knows formats up to {known}: use the same \
         version for servers and clients",
        path.display()
    )]
    Format {
        /// Path.
        path: PathBuf,
        /// Version of the file.
        found: u32,
        /// Latest supported version.
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
        /// Endpoint, process and host of the server.
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
        /// Job.
        job: String,
        /// Content of one announcement.
        one: String,
        /// Content of another announcement.
        other: String,
    },
    /// An endpoint that is only reachable on its own machine.
    #[error(
        "registry file {name}: {endpoint} is announced by {host} and cannot be reached from here; start the servers with \
         --listen 0.0.0.0:0 there, or remove the file if its server is gone"
    )]
    Loopback {
        /// File name of the announcement.
        name: String,
        /// Endpoint.
        endpoint: String,
        /// Host that announced the endpoint.
        host: String,
    },
    /// Too few servers announced themselves in time.
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
        /// Description of the missing ranks.
        missing: String,
        /// Duration of the wait.
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
        /// Duration of the wait.
        waited: Duration,
    },
    /// The operating system provides no random bytes.
    #[error("reading /dev/urandom for a key pair")]
    Random(#[source] io::Error),
}

/// Returns the duration of the wait as text; empty for a single look.
fn after(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(" after {waited:.0?}") }
}

/// Returns how to wait longer; empty for a single look.
fn longer(waited: Duration) -> &'static str {
    if waited.is_zero() { "" } else { "; --registry-wait TIME waits longer" }
}
