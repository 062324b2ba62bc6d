//! S3 over a vault: what each operation of the protocol means here. Parsing, signatures and XML are `s3s`'s.

mod access;
mod attach;
mod body;
mod bucket;
mod checksum;
mod config;
mod control;
mod front;
mod hosts;
mod listing;
mod operations;
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
use crate::pace::Pacer;
use crate::users::Users;
use crate::vault::{Fault, Tag, TagPattern, Vault};
use access::Access;
pub(crate) use front::Front;

/// The service behind one or more listeners.
///
/// # Errors
/// When the operating system gives no random bytes.
pub(crate) fn service(
    vault: Vault,
    users: &Arc<Users>,
    domains: &[String],
    pacer: Option<Arc<Pacer>>,
) -> Result<Front, Error> {
    let access = Access::new(vault.clone(), Arc::clone(users));
    let mut builder = S3ServiceBuilder::new(Gateway { vault, users: Arc::clone(users), pacer });
    builder.set_auth(KeyPairs(Arc::clone(users)));
    builder.set_host(hosts::Domains::new(domains));
    builder.set_access(access);
    builder.set_validation(BucketNames);
    Front::new(builder.build(), Arc::clone(users))
}

/// Whether buckets may have this name: as S3's rules, and also upper case and `_`, which DLIO's users write. What is
/// allowed is a plain file name without a leading dot. (`s3s` wants S3's own rules of the source of a copy.)
pub(crate) fn is_bucket_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && name.as_bytes()[0].is_ascii_alphanumeric()
}

struct BucketNames;

impl NameValidation for BucketNames {
    fn validate_bucket_name(&self, name: &str) -> bool {
        is_bucket_name(name)
    }
}

/// Knows the users' key pairs.
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
    vault: Vault,
    users: Arc<Users>,
    pacer: Option<Arc<Pacer>>,
}

impl From<Fault> for S3Error {
    fn from(fault: Fault) -> Self {
        let code = match &fault {
            Fault::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            Fault::NoSuchKey => S3ErrorCode::NoSuchKey,
            Fault::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
            Fault::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            Fault::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            Fault::InvalidPart(_) => S3ErrorCode::InvalidPart,
            Fault::Condition => S3ErrorCode::PreconditionFailed,
            Fault::Full { .. } | Fault::NoMemory { .. } => return insufficient(fault.to_string()),
            Fault::Io { doing, source } if is_full(source) => {
                return insufficient(format!("the server's data directory is full: {doing}: {source}"));
            }
            Fault::Io { doing, source } if lacks_descriptors(source) => {
                let message = format!("the server has no file descriptor left (ulimit -n): {doing}: {source}");
                return S3Error::with_message(S3ErrorCode::SlowDown, message);
            }
            Fault::Io { doing, source } => {
                // The client sees the system's words too: it is the same person's server.
                return S3Error::with_message(S3ErrorCode::InternalError, format!("{doing}: {source}"));
            }
        };
        S3Error::with_message(code, fault.to_string())
    }
}

/// The answer where nothing more fits: repeating the request does not help, so that it is none of S3's codes for that.
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

/// The entity tag that a condition asks for.
fn pattern(condition: &ETagCondition) -> TagPattern {
    match condition {
        ETagCondition::Any => TagPattern::Any,
        ETagCondition::ETag(tag) if tag.value() == "*" => TagPattern::Any,
        ETagCondition::ETag(tag) => TagPattern::Tag(tag.value().to_owned()),
    }
}

/// A size in the type that the protocol's messages use.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

type Reply<T> = S3Result<S3Response<T>>;
