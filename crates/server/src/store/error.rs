//! Errors of the object store.

use std::io;

/// An error of the object store. The protocol maps each to an S3 error code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the bucket does not exist; create it first")]
    NoSuchBucket,
    #[error("the key does not exist")]
    NoSuchKey,
    #[error("the bucket exists and is yours")]
    BucketExists,
    #[error("the bucket still holds objects")]
    BucketNotEmpty,
    #[error("the upload does not exist: it was completed or aborted")]
    NoSuchUpload,
    #[error("part {0} was not uploaded, or its entity tag is another one")]
    InvalidPart(u16),
    #[error("the object does not fulfil the condition of the request")]
    Condition,
    #[error(
        "objects in memory may take {limit} bytes together (--memory-limit), {used} are taken and {wanted} more are needed: \
         delete objects, or start the server with a higher limit or with --data DIR"
    )]
    Full {
        /// Size of the refused write in bytes.
        wanted: u64,
        used: u64,
        limit: u64,
    },
    #[error("the system has no memory left for an object of {wanted} bytes: lower --memory-limit or use --data DIR")]
    NoMemory { wanted: u64 },
    #[error("{doing}")]
    Io {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Wraps an I/O error with the operation that failed.
    pub(crate) fn io(doing: &'static str) -> impl Fn(io::Error) -> StoreError {
        move |source| StoreError::Io { doing, source }
    }
}
