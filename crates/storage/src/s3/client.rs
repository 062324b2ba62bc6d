//! The client: a bucket behind its endpoints as a [`Storage`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dlio_event::{S3Uri, TimeSource};
use futures::stream::{FuturesUnordered, StreamExt};

use super::client_state::ClientState;
use super::config::S3Config;
use super::endpoints::Endpoints;
use super::health::{NoticeSink, Outage};
use super::reading::RemoteObject;
use super::uploads::Unfinished;
use super::{multipart, tls};
use crate::traits::{look_up_object, no_folder, no_updates};
use crate::{
    Attempts, ChunkSource, Error, ErrorKind, Future, ListEntry, Metadata, Object, Receipt, Staged, Storage, Updatable,
    Update,
};

/// Problems with the endpoints of a client that were overcome.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EndpointProblems {
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that were sent to another endpoint than their own.
    pub elsewhere: u64,
    /// Outages of each endpoint.
    pub outages: Vec<Outage>,
}

/// A bucket, or a prefix of one, behind one or several S3 endpoints.
///
/// Clones share their settings; connections belong to threads. Operations need a tokio runtime with I/O and time.
#[derive(Clone)]
pub struct S3 {
    pub(super) shared: Arc<ClientState>,
}

impl S3 {
    /// Creates a client for a bucket, without connecting.
    ///
    /// # Errors
    /// When an endpoint is not a valid address, or the certificate authorities cannot be read.
    pub fn new(config: S3Config, time: Arc<dyn TimeSource>) -> Result<Self, Error> {
        let wrong = |message| setting_up(&config.bucket, message);
        if config.bucket.is_empty() {
            return Err(wrong("no bucket is named; set storage.storage_root".to_owned()));
        }
        let endpoints = Endpoints::new(&config).map_err(wrong)?;
        let secure =
            endpoints.iter().any(|endpoint| endpoint.tls || endpoint.proxy.as_ref().is_some_and(|proxy| proxy.tls));
        let tls = if secure { Some(tls::connector(&config).map_err(wrong)?) } else { None };
        Ok(Self { shared: Arc::new(ClientState::new(config, endpoints, tls, time)) })
    }

    /// Calls `sink` when an endpoint stops answering and when it answers again; only the first sink is used.
    pub fn on_notice(&self, sink: NoticeSink) {
        // A second sink is ignored by design.
        let _ = self.shared.notices.set(sink);
    }

    /// Returns the endpoints behind a proxy: each with the proxy's address and the variable that names it.
    #[must_use]
    pub fn proxied(&self) -> Vec<(String, String)> {
        let endpoints = self.shared.endpoints.iter();
        let proxied = endpoints.filter_map(|endpoint| Some((endpoint.name.to_string(), endpoint.proxy.as_ref()?)));
        proxied.map(|(name, proxy)| (name, proxy.to_string())).collect()
    }

    /// Returns the problems so far that were overcome.
    #[must_use]
    pub fn problems(&self) -> EndpointProblems {
        let ClientState { counts, endpoints, .. } = &*self.shared;
        EndpointProblems {
            retries: counts.retries.load(Ordering::Relaxed),
            elsewhere: counts.elsewhere.load(Ordering::Relaxed),
            outages: endpoints.iter().flat_map(|endpoint| endpoint.health.outages(&endpoint.name)).collect(),
        }
    }
}

pub(super) fn setting_up(bucket: &str, message: String) -> Error {
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
        let object = RemoteObject::new(Arc::clone(&self.shared), key);
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

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[ListEntry])) -> Future<'a, Receipt> {
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

impl S3 {
    /// Aborts all unfinished uploads of this process. Those that remain, also when the future is dropped, are
    /// returned by [`S3::unfinished`].
    pub async fn abort_uploads(&self) {
        let all = self.shared.uploads.all();
        let mut running: FuturesUnordered<_> =
            all.into_iter().map(|(id, key)| multipart::abort(&self.shared, key, id)).collect();
        while running.next().await.is_some() {}
    }

    /// Returns the uploads of this process that were neither completed nor aborted.
    #[must_use]
    pub fn unfinished(&self) -> Vec<Unfinished> {
        let endpoint =
            self.shared.endpoints.iter().next().map(|endpoint| endpoint.name.to_string()).unwrap_or_default();
        let one = |(upload_id, key): (String, String)| Unfinished {
            bucket: self.shared.config.bucket.clone(),
            key: self.shared.config.full_key(&key),
            upload_id,
            endpoint: endpoint.clone(),
        };
        self.shared.uploads.all().into_iter().map(one).collect()
    }
}
