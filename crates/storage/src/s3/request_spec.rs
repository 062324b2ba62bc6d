//! The description of an operation's requests, and its error when it fails for good.

use dlio_event::{OpKind, S3Uri};
use http::Method;

use super::client_state::ClientState;
use super::encode;
use super::failure::Failure;
use crate::{Attempts, ByteRange, Error, ErrorKind};

/// The parts of a request that are the same in every attempt.
#[derive(Debug, Clone)]
pub(super) struct RequestSpec<'a> {
    /// Operation for messages: `reading`, `writing`, …
    pub(super) doing: &'static str,
    pub(super) kind: OpKind,
    pub(super) method: Method,
    /// Key relative to the root; `None`: the bucket.
    pub(super) key: Option<&'a str>,
    /// Query, percent-encoded and sorted.
    pub(super) query: String,
    pub(super) range: Option<ByteRange>,
    /// Path, percent-encoded, without the endpoint's own path.
    pub(super) path: String,
}

impl<'a> RequestSpec<'a> {
    pub(super) fn new(
        client: &ClientState,
        doing: &'static str,
        kind: OpKind,
        method: Method,
        key: Option<&'a str>,
    ) -> Self {
        let config = &client.config;
        let mut path = String::with_capacity(96);
        if let Some(key) = key {
            path.push('/');
            if !config.prefix.is_empty() {
                encode::path(&mut path, config.prefix.trim_end_matches('/'));
                path.push('/');
            }
            encode::path(&mut path, key);
        }
        Self { doing, kind, method, key, query: String::new(), range: None, path }
    }

    /// Returns the full name of the object or the bucket.
    pub(super) fn object(&self, client: &ClientState) -> String {
        self.key.map_or_else(|| S3Uri::of_bucket(&client.config.bucket).to_string(), |key| client.config.uri(key))
    }

    /// Returns the error of the operation.
    pub(super) fn error(&self, client: &ClientState, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            doing: self.doing,
            object: self.object(client),
            range: self.range,
            endpoint: None,
            message: message.into(),
            attempts: Attempts::new(),
        }
    }

    /// Refuses keys that do not name anything below the root.
    pub(super) fn check(&self, client: &ClientState) -> Result<(), Error> {
        let Some(key) = self.key else { return Ok(()) };
        crate::check_key(key).map_err(|why| self.error(client, ErrorKind::Invalid, why))
    }
}

/// An operation that failed for good, with its last failure.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) failure: Failure,
}

impl From<Box<Failed>> for Error {
    fn from(failed: Box<Failed>) -> Self {
        failed.error
    }
}
