//! The check before a run: every endpoint takes part in it, so that a wrong one is found before hours of I/O.

use std::sync::Arc;
use std::time::Duration;

use dlio_event::OpKind;
use dlio_event::mix::splitmix64;
use http::Method;

use super::endpoints::Endpoints;
use super::failure::Failure;
use super::health::Evidence;
use super::request::{Call, Tries};
use super::sign::unix_seconds;
use super::{S3, S3Config, Shared, connect};
use crate::{ByteRange, ChunkSource, Error, ErrorKind, Storage};

/// Bytes of the probe object.
const PROBE: usize = 64;

/// How long an endpoint is asked that others can stand in for.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(5);

/// What the run will do with the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preflight<'a> {
    /// It writes: the bucket is created if it is missing, and a small object is written, read back and deleted.
    Write,
    /// It reads: this key, the first of the data set, must exist.
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
    /// Looks the first object up. An answer to HEAD has no body to say what is wrong, hence one byte is asked for then.
    async fn look_at(&self, key: &str) -> Result<(), Error> {
        let Err(error) = self.stat(key).await else { return Ok(()) };
        if !matches!(error.kind, ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Invalid) {
            return Err(error);
        }
        let mut ignore = |_: &[u8]| Ok(());
        let told = self.open(key).await?.read(ByteRange::new(0, 1), &mut ignore).await.err();
        let mut error = told.unwrap_or(error);
        if error.kind == ErrorKind::NotFound {
            error.message += "; the first object of the data set is not there: generate it first, or check bucket, \
                data_folder and file counts";
        }
        Err(error)
    }

    /// Checks credentials, bucket and permissions at every endpoint.
    ///
    /// # Errors
    /// The first failure; it names the endpoint, the bucket, the status and what to set.
    pub async fn preflight(&self, mode: Preflight<'_>) -> Result<(), Error> {
        self.each_endpoint(async |alone| match mode {
            Preflight::Write => {
                // Endpoints need not share a store: each has its bucket made.
                alone.create_root().await?;
                alone.probe().await
            }
            Preflight::Read(key) => alone.look_at(key).await,
        })
        .await
    }

    /// Makes a connection to every endpoint, so that a wrong address is told before anything else waits for it.
    ///
    /// # Errors
    /// The first endpoint that takes no connection.
    pub async fn reach(&self) -> Result<(), Error> {
        self.each_endpoint(async |alone| alone.connect().await).await
    }

    /// Does something at every endpoint of this client by itself. Where requests may go elsewhere, one endpoint that answers is
    /// enough, and the others are known to be down from then on.
    async fn each_endpoint(&self, check: impl AsyncFn(&S3) -> Result<(), Error>) -> Result<(), Error> {
        let Shared { endpoints, config, time, .. } = &*self.shared;
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
        let call = Call::new(client, "connecting for", OpKind::Head, Method::HEAD, None);
        let mut tries = Tries::new(client, &call);
        loop {
            let attempt = tries.begin(OpKind::Head, 0, None).await?;
            let limit = client.config.connect_timeout.min(attempt.limit);
            match client.patient(&attempt, limit, connect::open(client, attempt.endpoint)).await {
                Some(Ok(_)) => {
                    tries.succeed(attempt, 0);
                    return Ok(());
                }
                Some(Err(failure)) => tries.failed(attempt, failure).await?,
                None => tries.failed(attempt, Failure::timeout("no connection was made", limit)).await?,
            }
        }
    }

    /// The same client with one endpoint.
    pub(super) fn only(&self, endpoint: &str) -> Result<S3, Error> {
        let mut config = S3Config { endpoints: vec![endpoint.to_owned()], ..self.shared.config.clone() };
        // The limit of the run is that of the check; a wrong address is told soon.
        (config.retry.at_start, config.spares) = (true, 0);
        if std::mem::take(&mut config.failover) {
            config.retry.retry_for = config.retry.retry_for.min(PATIENCE_WITH_OTHERS);
        }
        let endpoints = Endpoints::new(&config).map_err(|message| super::setting_up(&config.bucket, message))?;
        let (tls, time) = (self.shared.tls.clone(), Arc::clone(&self.shared.time));
        let alone = S3 { shared: Arc::new(Shared::new(config, endpoints, tls, time)) };
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
