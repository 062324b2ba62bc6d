//! The state that all threads of a client share.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use dlio_event::TimeSource;
use dlio_event::mix::splitmix64;
use tokio_rustls::TlsConnector;

use super::config::S3Config;
use super::endpoints::Endpoints;
use super::health::NoticeSink;
use super::uploads::Uploads;

/// State that all threads of a client share.
pub(super) struct ClientState {
    pub(super) config: S3Config,
    pub(super) endpoints: Endpoints,
    pub(super) tls: Option<TlsConnector>,
    pub(super) time: Arc<dyn TimeSource>,
    /// Connections opened so far.
    pub(super) connections: AtomicU32,
    pub(super) counts: Counts,
    pub(super) notices: OnceLock<NoticeSink>,
    /// Multipart uploads in progress.
    pub(super) uploads: Uploads,
}

/// Counters for the summary of a run.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) retries: AtomicU64,
    pub(super) elsewhere: AtomicU64,
    pub(super) draws: AtomicU64,
    /// Refusals whose reason was requested.
    pub(super) reasons: AtomicU64,
}

impl Counts {
    /// Returns the next number of the client's seeded stream.
    pub(super) fn draw(&self, seed: u64) -> u64 {
        splitmix64(seed ^ splitmix64(self.draws.fetch_add(1, Ordering::Relaxed)))
    }
}

impl ClientState {
    pub(super) fn new(
        config: S3Config,
        endpoints: Endpoints,
        tls: Option<TlsConnector>,
        time: Arc<dyn TimeSource>,
    ) -> Self {
        let (connections, counts, notices) = (AtomicU32::new(0), Counts::default(), OnceLock::new());
        Self { config, endpoints, tls, time, connections, counts, notices, uploads: Uploads::default() }
    }
}
