//! S3: signed HTTP/1.1 requests over connections of the calling thread, spread over any number of endpoints.
//!
//! Invariant: what is measured is the server. A read passes frames on as the socket delivers them, a write makes frames
//! while it sends; neither holds an object, and a request costs a few microseconds beyond its system calls.

mod body;
mod bucket;
pub mod chain;
mod config;
mod connect;
mod content_range;
mod credentials;
mod encode;
mod endpoints;
mod examine;
mod failure;
mod get;
mod health;
mod multipart;
mod preflight;
mod proxy;
mod put;
mod reason;
mod renewal;
mod request;
mod resolve;
mod retry;
mod scheme;
#[cfg(feature = "sdk")]
pub mod sdk;
mod sign;
mod tls;
mod tries;
mod tunnel;
mod uploads;
mod xml;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use dlio_event::mix::splitmix64;
use dlio_event::{S3Uri, TimeSource};

pub use config::{Addressing, Credentials, LoadBalance, Mapping, S3Config, Secret, assign};
use endpoints::Endpoints;
pub use examine::{Answered, Examination, LOOKUP_REFUSED, Step};
pub use health::{EndpointNotice, NoticeSink, Outage};
pub use preflight::Preflight;
pub use proxy::{PROXY_VARIABLES, Proxies};
pub use renewal::{CredentialSource, Renewal, Temporary};
pub use retry::RetryPolicy;
use tokio_rustls::TlsConnector;
pub use uploads::Unfinished;
use uploads::Uploads;

use crate::traits::{look_up_object, no_folder, no_updates};
use crate::{
    Attempts, ChunkSource, Error, ErrorKind, Found, Future, Metadata, Object, Receipt, Staged, Storage, Updatable,
    Update,
};

/// What all threads of a client share.
struct Shared {
    config: S3Config,
    endpoints: Endpoints,
    tls: Option<TlsConnector>,
    time: Arc<dyn TimeSource>,
    /// Connections opened so far.
    connections: AtomicU32,
    counts: Counts,
    notices: OnceLock<NoticeSink>,
    /// Uploads that are not finished.
    uploads: Uploads,
}

/// What became of requests, for the summary.
#[derive(Debug, Default)]
struct Counts {
    retries: AtomicU64,
    elsewhere: AtomicU64,
    draws: AtomicU64,
    /// Refusals whose reasons were asked for.
    reasons: AtomicU64,
}

impl Counts {
    /// The next number of the client's seeded stream.
    fn draw(&self, seed: u64) -> u64 {
        splitmix64(seed ^ splitmix64(self.draws.fetch_add(1, Ordering::Relaxed)))
    }
}

/// What went wrong on the way to the endpoints of a client, and was overcome.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Troubles {
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that went to another endpoint than the one they were meant for.
    pub elsewhere: u64,
    /// Times in which an endpoint did not answer, by endpoint.
    pub outages: Vec<Outage>,
}

impl Shared {
    fn new(config: S3Config, endpoints: Endpoints, tls: Option<TlsConnector>, time: Arc<dyn TimeSource>) -> Self {
        let (connections, counts, notices) = (AtomicU32::new(0), Counts::default(), OnceLock::new());
        Self { config, endpoints, tls, time, connections, counts, notices, uploads: Uploads::default() }
    }
}

/// A bucket, or a prefix of one, behind one or several S3 endpoints.
///
/// Clones share their settings; connections belong to threads. Operations need a tokio runtime with I/O and time.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<Shared>,
}

impl S3 {
    /// A client for a bucket; connects to nothing yet.
    ///
    /// # Errors
    /// When an endpoint is no address, or the certificate authorities cannot be read.
    pub fn new(config: S3Config, time: Arc<dyn TimeSource>) -> Result<Self, Error> {
        let wrong = |message| setting_up(&config.bucket, message);
        if config.bucket.is_empty() {
            return Err(wrong("no bucket is named; set storage.storage_root".to_owned()));
        }
        let endpoints = Endpoints::new(&config).map_err(wrong)?;
        let secure =
            endpoints.iter().any(|endpoint| endpoint.tls || endpoint.proxy.as_ref().is_some_and(|proxy| proxy.tls));
        let tls = if secure { Some(tls::connector(&config).map_err(wrong)?) } else { None };
        Ok(Self { shared: Arc::new(Shared::new(config, endpoints, tls, time)) })
    }

    /// Lets `sink` know when an endpoint stops answering, and when it answers again; only the first sink counts.
    pub fn on_notice(&self, sink: NoticeSink) {
        // A second sink is refused by design.
        let _ = self.shared.notices.set(sink);
    }

    /// The endpoints that are reached through a proxy: each with the proxy's address and the variable that names it.
    #[must_use]
    pub fn proxied(&self) -> Vec<(String, String)> {
        let endpoints = self.shared.endpoints.iter();
        let proxied = endpoints.filter_map(|endpoint| Some((endpoint.name.to_string(), endpoint.proxy.as_ref()?)));
        proxied.map(|(name, proxy)| (name, proxy.to_string())).collect()
    }

    /// What went wrong so far, and was overcome.
    #[must_use]
    pub fn troubles(&self) -> Troubles {
        let Shared { counts, endpoints, .. } = &*self.shared;
        Troubles {
            retries: counts.retries.load(Ordering::Relaxed),
            elsewhere: counts.elsewhere.load(Ordering::Relaxed),
            outages: endpoints.iter().flat_map(|endpoint| endpoint.health.outages(&endpoint.name)).collect(),
        }
    }
}

fn setting_up(bucket: &str, message: String) -> Error {
    Error {
        kind: ErrorKind::Invalid,
        doing: "setting up the client for",
        object: S3Uri::of_bucket(bucket).to_string(),
        range: None,
        endpoint: None,
        message,
        attempts: Attempts::new(),
    }
}

impl Storage for S3 {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        let object = get::S3Object { client: Arc::clone(&self.shared), key: key.into(), opened: Attempts::new() };
        Box::pin(std::future::ready(Ok(Box::new(object) as Box<dyn Object>)))
    }

    fn update<'a>(&'a self, key: &'a str, _how: Update) -> Future<'a, Box<dyn Updatable>> {
        no_updates(self.uri(key))
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(self.shared.put(key, source))
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        Box::pin(multipart::stage_parts(&self.shared, key, source))
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(multipart::publish(&self.shared, staged))
    }

    fn discard<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(multipart::discard(&self.shared, staged))
    }

    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)> {
        Box::pin(self.shared.head(key))
    }

    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)> {
        look_up_object(self, key)
    }

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[Found])) -> Future<'a, Receipt> {
        Box::pin(self.shared.list(prefix, page))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(self.shared.remove(key))
    }

    fn create_root(&self) -> Future<'_, Receipt> {
        Box::pin(self.shared.create_bucket())
    }

    fn create_folder<'a>(&'a self, _key: &'a str) -> Future<'a, Receipt> {
        Box::pin(std::future::ready(Ok(Receipt::default())))
    }

    fn remove_folder<'a>(&'a self, _key: &'a str) -> Future<'a, (bool, Receipt)> {
        no_folder()
    }

    fn blocks(&self) -> bool {
        false
    }

    fn uri(&self, key: &str) -> String {
        self.shared.config.uri(key)
    }

    fn root_uri(&self) -> String {
        self.shared.config.bucket_uri()
    }
}
