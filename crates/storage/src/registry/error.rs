//! What can go wrong in a registry.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A registry that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry directory cannot be used.
    #[error("{doing} registry file {}", path.display())]
    File {
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
    Content {
        /// Path.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A file of the registry is of a later version.
    #[error(
        "registry file {} has format {found}, of a newer dlio-rs; this one knows formats up to {known}: use the same \
         version for servers and clients",
        path.display()
    )]
    Format {
        /// Path.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Latest format known here.
        known: u32,
    },
    /// The registry belongs to a server that lives.
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
        /// Job.
        job: String,
        /// What one says.
        one: String,
        /// What another says.
        other: String,
    },
    /// An endpoint that only its own machine reaches.
    #[error(
        "registry file {name}: {endpoint} is announced by {host} and cannot be reached from here; start the servers with \
         --listen 0.0.0.0:0 there, or remove the file if its server is gone"
    )]
    Loopback {
        /// File name of the announcement.
        name: String,
        /// Endpoint.
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
        /// Endpoints found.
        found: usize,
        /// Endpoints expected.
        expected: usize,
        /// Who is missing.
        missing: String,
        /// How long it was waited.
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
        /// What was found instead.
        found: String,
        /// How long it was waited.
        waited: Duration,
    },
    /// The operating system gives no random bytes.
    #[error("reading /dev/urandom for a key pair")]
    Random(#[source] io::Error),
}

/// How long it was waited; nothing for a single look.
fn after(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(" after {waited:.0?}") }
}

/// How to wait longer, where it was waited at all.
fn longer(waited: Duration) -> &'static str {
    if waited.is_zero() { "" } else { "; --registry-wait TIME waits longer" }
}
