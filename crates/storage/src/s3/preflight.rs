//! The check before a run: it uses every endpoint, so that a wrong one is found before hours of I/O.

use std::sync::Arc;
use std::time::Duration;

use dlio_event::OpKind;
use dlio_event::mix::splitmix64;
use http::Method;

use super::client::{S3, setting_up};
use super::client_state::ClientState;
use super::clock::unix_seconds;
use super::config::S3Config;
use super::connect;
use super::endpoints::Endpoints;
use super::failure::Failure;
use super::health::Evidence;
use super::request_spec::RequestSpec;
use super::retry_loop::RetryLoop;
use crate::{ByteRange, ChunkSource, Error, ErrorKind, Storage};

/// Size of the probe object in bytes.
const PROBE: usize = 64;

/// Retry time of an unreachable endpoint if others can take its requests.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(5);

/// The operations of the run that the check must allow for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preflight<'a> {
    /// Writing: the bucket is created if it is missing, and a small object is written, read back and deleted.
    Write,
    /// Reading: this key, the first of the dataset, must exist.
    Read(&'a str),
}

struct Probe([u8; PROBE]);

impl ChunkSource for Probe {
    fn len(&self) -> u64 {
        PROBE as u64
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let len = buffer.len().min(PROBE);
        buffer[..len].copy_from_slice(&self.0[..len]);
        len
    }
}

impl S3 {
    /// Looks up the first object. A refused HEAD has no body with the reason, so one byte is then requested with GET.
    async fn look_at(&self, key: &str) -> Result<(), Error> {
        let Err(error) = self.stat(key).await else { return Ok(()) };
        if !matches!(error.kind, ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Invalid) {
            return Err(error);
        }
        let mut ignore = |_: &[u8]| Ok(());
        let told = self.open(key).await?.read(ByteRange::new(0, 1), &mut ignore).await.err();
        let mut error = told.unwrap_or(error);
        if error.kind == ErrorKind::NotFound {
            error.message += "; the first object of the dataset does not exist: generate the dataset first, or check bucket, \
                data_folder and file counts";
        }
        Err(error)
    }

    /// Checks credentials, bucket and permissions at every endpoint.
    ///
    /// # Errors
    /// The first failure, which names the endpoint, the bucket, the status and the setting to change.
    pub async fn preflight(&self, mode: Preflight<'_>) -> Result<(), Error> {
        self.each_endpoint(async |alone| match mode {
            Preflight::Write => {
                // Endpoints may have separate stores, so the bucket is created at each.
                alone.create_root().await?;
                alone.probe().await
            }
            Preflight::Read(key) => alone.look_at(key).await,
        })
        .await
    }

    /// Connects to every endpoint, so that a wrong address is reported before anything waits for it.
    ///
    /// # Errors
    /// The failure of the first endpoint that accepts no connection.
    pub async fn reach(&self) -> Result<(), Error> {
        self.each_endpoint(async |alone| alone.connect().await).await
    }

    /// Runs an operation at every endpoint separately. With failover, one endpoint that answers is enough, and the
    /// others are marked as down.
    async fn each_endpoint(&self, check: impl AsyncFn(&S3) -> Result<(), Error>) -> Result<(), Error> {
        let ClientState { endpoints, config, time, .. } = &*self.shared;
        let (mut sound, mut first) = (false, None);
        for endpoint in endpoints.own() {
            if endpoint.health.is_down() {
                continue;
            }
            let start = time.now();
            match check(&self.only(&endpoint.name)?).await {
                Ok(()) => sound = true,
                Err(error) if config.failover && error.kind == ErrorKind::Unreachable => {
                    let when = (start, time.now());
                    endpoint.health.failed(&endpoint.name, Evidence::Refused, when, &error.message);
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match first {
            Some(error) if !sound && config.spares == 0 => Err(error),
            _ => Ok(()),
        }
    }

    async fn connect(&self) -> Result<(), Error> {
        let client = &self.shared;
        let spec = RequestSpec::new(client, "connecting for", OpKind::Head, Method::HEAD, None);
        let mut retries = RetryLoop::new(client, &spec);
        loop {
            let attempt = retries.begin(OpKind::Head, 0, None).await?;
            let limit = client.config.connect_timeout.min(attempt.limit);
            match client.patient(&attempt, limit, connect::open(client, attempt.endpoint)).await {
                Some(Ok(_)) => {
                    retries.succeed(attempt, 0);
                    return Ok(());
                }
                Some(Err(failure)) => retries.failed(attempt, failure).await?,
                None => retries.failed(attempt, Failure::timeout("no connection was made", limit)).await?,
            }
        }
    }

    /// Returns a client with the same settings and one endpoint.
    pub(super) fn only(&self, endpoint: &str) -> Result<S3, Error> {
        let mut config = S3Config { endpoints: vec![endpoint.to_owned()], ..self.shared.config.clone() };
        // The run's own time limit applies, but a wrong address is reported early.
        (config.retry.at_start, config.spares) = (true, 0);
        if std::mem::take(&mut config.failover) {
            config.retry.retry_for = config.retry.retry_for.min(PATIENCE_WITH_OTHERS);
        }
        let endpoints = Endpoints::new(&config).map_err(|message| setting_up(&config.bucket, message))?;
        let (tls, time) = (self.shared.tls.clone(), Arc::clone(&self.shared.time));
        let alone = S3 { shared: Arc::new(ClientState::new(config, endpoints, tls, time)) };
        if let Some(sink) = self.shared.notices.get() {
            alone.on_notice(Arc::clone(sink));
        }
        Ok(alone)
    }

    async fn probe(&self) -> Result<(), Error> {
        // No two processes may use the same name at the same time.
        let draw =
            splitmix64(splitmix64(unix_seconds()) ^ splitmix64(u64::from(std::process::id())) ^ self.shared.time.now());
        let key = format!(".dlio-rs-probe-{draw:016x}");
        let mut written = [0; PROBE];
        for (place, byte) in written.iter_mut().enumerate() {
            *byte = splitmix64(draw ^ place as u64).to_le_bytes()[0];
        }
        self.write(&key, &mut Probe(written)).await?;
        let mut read = Vec::with_capacity(PROBE);
        let mut sink = |chunk: &[u8]| {
            read.extend_from_slice(chunk);
            Ok(())
        };
        let came = self.open(&key).await?.read(ByteRange::ALL, &mut sink).await;
        let removed = self.delete(&key).await;
        let receipt = came?;
        if read != written {
            return Err(Error {
                kind: ErrorKind::Corrupt,
                doing: "reading back",
                object: self.uri(&key),
                range: None,
                endpoint: receipt.attempts.last().and_then(|attempt| attempt.endpoint.as_deref().map(str::to_owned)),
                message: format!("the {PROBE} bytes just written came back as {} other bytes", read.len()),
                attempts: receipt.attempts,
            });
        }
        removed.map(drop)
    }
}
