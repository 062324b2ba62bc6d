//! S3 over an object store: implements the operations of the protocol. Parsing, signatures and XML are done by `s3s`.

mod access;
mod attach;
mod body;
mod bucket;
mod checksum;
mod config;
mod control;
mod hosts;
mod http_service;
mod listing;
mod operations;
mod page;
mod read;
mod upload;
mod uploads;
mod write;

use std::sync::Arc;

use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{ETag, ETagCondition};
use s3s::service::S3ServiceBuilder;
use s3s::validation::NameValidation;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, s3_error};

use crate::Error;
use crate::latency::LatencyTimer;
use crate::store::{ObjectStore, StoreError, Tag, TagPattern, is_bucket_name};
use crate::users::Users;
use access::Access;
pub(crate) use http_service::S3HttpService;

/// Creates the service of one or more endpoints.
///
/// # Errors
/// When the operating system provides no random bytes.
pub(crate) fn service(
    store: ObjectStore,
    users: &Arc<Users>,
    domains: &[String],
    timer: Option<Arc<LatencyTimer>>,
) -> Result<S3HttpService, Error> {
    let access = Access::new(store.clone(), Arc::clone(users));
    let mut builder = S3ServiceBuilder::new(Gateway { store, users: Arc::clone(users), timer });
    builder.set_auth(KeyPairs(Arc::clone(users)));
    builder.set_host(hosts::Domains::new(domains));
    builder.set_access(access);
    builder.set_validation(BucketNames);
    S3HttpService::new(builder.build(), Arc::clone(users))
}

struct BucketNames;

impl NameValidation for BucketNames {
    fn validate_bucket_name(&self, name: &str) -> bool {
        is_bucket_name(name)
    }
}

/// Looks up the users' secret keys for `s3s`.
struct KeyPairs(Arc<Users>);

#[async_trait::async_trait]
impl S3Auth for KeyPairs {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.by_access_key(access_key) {
            Some(user) => Ok(SecretKey::from(user.credentials.secret_key.as_str())),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "The access key {access_key} is not one this server was started with"
            )),
        }
    }
}

struct Gateway {
    store: ObjectStore,
    users: Arc<Users>,
    timer: Option<Arc<LatencyTimer>>,
}

impl From<StoreError> for S3Error {
    fn from(fault: StoreError) -> Self {
        let code = match &fault {
            StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            StoreError::NoSuchKey => S3ErrorCode::NoSuchKey,
            StoreError::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
            StoreError::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            StoreError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            StoreError::InvalidPart(_) => S3ErrorCode::InvalidPart,
            StoreError::Condition => S3ErrorCode::PreconditionFailed,
            StoreError::Full { .. } | StoreError::NoMemory { .. } => return insufficient(fault.to_string()),
            StoreError::Io { doing, source } if is_full(source) => {
                return insufficient(format!("the server's data directory is full: {doing}: {source}"));
            }
            StoreError::Io { doing, source } if lacks_descriptors(source) => {
                let message = format!("the server has no file descriptor left (ulimit -n): {doing}: {source}");
                return S3Error::with_message(S3ErrorCode::SlowDown, message);
            }
            StoreError::Io { doing, source } => {
                // The client may see the system's error, because client and server belong to the same user.
                return S3Error::with_message(S3ErrorCode::InternalError, format!("{doing}: {source}"));
            }
        };
        S3Error::with_message(code, fault.to_string())
    }
}

/// Returns the response for a full store. Repeating the request does not help, so none of S3's retryable codes is
/// used.
fn insufficient(message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom("InsufficientStorage".into()), message);
    error.set_status_code(hyper::StatusCode::INSUFFICIENT_STORAGE);
    error
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn lacks_descriptors(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

fn etag(tag: Tag) -> ETag {
    ETag::Strong(tag.to_string())
}

/// Returns the entity tag of a condition.
fn pattern(condition: &ETagCondition) -> TagPattern {
    match condition {
        ETagCondition::Any => TagPattern::Any,
        ETagCondition::ETag(tag) if tag.value() == "*" => TagPattern::Any,
        ETagCondition::ETag(tag) => TagPattern::Tag(tag.value().to_owned()),
    }
}

/// Converts a size to the type of the protocol's messages.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

type Reply<T> = S3Result<S3Response<T>>;
