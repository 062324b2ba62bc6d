//! Records multipart uploads that were neither completed nor aborted, which a run that ends early must clean up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dlio_event::S3Uri;

/// Keys of uploads by their ids.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<BTreeMap<String, String>>);

/// An upload whose parts occupy space until it is aborted.
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

    pub(super) fn all(&self) -> Vec<(String, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(id, key)| (id.clone(), key.clone())).collect()
    }
}
