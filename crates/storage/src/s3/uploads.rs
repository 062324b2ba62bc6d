//! Multipart uploads that were begun and neither completed nor aborted: what a run that ends early has to clean up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dlio_event::{Outcome, S3Uri};
use futures::stream::{FuturesUnordered, StreamExt};

use super::S3;
use super::multipart::Uploader;
use crate::Attempts;

/// Keys of uploads by their identifiers.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<BTreeMap<String, String>>);

/// An upload whose parts take space until somebody aborts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Bucket.
    pub bucket: String,
    /// Key in the bucket.
    pub key: String,
    /// Identifier of the upload.
    pub upload_id: String,
    /// An endpoint of the bucket.
    pub endpoint: String,
}

impl std::fmt::Display for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bucket, key, upload_id, endpoint } = self;
        let uri = S3Uri { bucket, key };
        write!(
            f,
            "the upload of {uri} is unfinished and its parts take space; remove it: aws s3api abort-multipart-upload \
             --endpoint-url {endpoint} --bucket {bucket} --key '{key}' --upload-id '{upload_id}'"
        )
    }
}

impl Uploads {
    pub(super) fn begun(&self, id: &str, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), key.to_owned());
    }

    pub(super) fn ended(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn all(&self) -> Vec<(String, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(id, key)| (id.clone(), key.clone())).collect()
    }
}

/// Aborts an upload, and forgets it if that worked.
pub(super) fn abort<U: Uploader>(
    uploader: &U,
    key: String,
    id: String,
) -> impl Future<Output = Attempts> + Send + 'static {
    let client = Arc::clone(uploader.client());
    let aborting = uploader.abort(key, id.clone());
    async move {
        let attempts = aborting.await;
        // One that is not there any more needs no aborting either.
        if attempts.last().is_some_and(|last| matches!(last.outcome, Outcome::Ok | Outcome::NotFound)) {
            client.uploads.ended(&id);
        }
        attempts
    }
}

impl S3 {
    /// Aborts all uploads of this process that are unfinished; what is left of them afterwards, also when dropped midway, is
    /// what [`S3::unfinished`] lists.
    pub async fn abort_uploads(&self) {
        let all = self.shared.uploads.all();
        let mut running: FuturesUnordered<_> = all.into_iter().map(|(id, key)| abort(&self.shared, key, id)).collect();
        while running.next().await.is_some() {}
    }

    /// Uploads of this process that were begun and neither completed nor aborted.
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
