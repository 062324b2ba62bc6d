//! S3 over a vault: what each operation of the protocol means here. Parsing, signatures and XML are `s3s`'s.

mod body;
mod front;
mod hosts;
mod listing;
mod object;
mod upload;

use std::sync::Arc;

use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag, GetBucketLocationInput, GetBucketLocationOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput,
    PutObjectOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::validation::NameValidation;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::Credentials;
use crate::pace::Pacer;
use crate::signature::Secrets;
use crate::vault::{Fault, Tag, Vault};
pub(crate) use front::Front;

/// The service behind one or more listeners.
pub(crate) fn service(vault: Vault, credentials: &Credentials, domains: &[String], pacer: Option<Arc<Pacer>>) -> Front {
    let mut builder = S3ServiceBuilder::new(Gateway { vault, pacer });
    builder.set_auth(OnePair(credentials.clone()));
    builder.set_host(hosts::Domains::new(domains));
    builder.set_validation(BucketNames);
    Front::new(builder.build(), Arc::new(credentials.clone()))
}

impl Secrets for Credentials {
    fn secret(&self, access_key: &str) -> Option<String> {
        (access_key == self.access_key).then(|| self.secret_key.clone())
    }
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

/// Knows one key pair.
struct OnePair(Credentials);

#[async_trait::async_trait]
impl S3Auth for OnePair {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.0.access_key {
            return Ok(SecretKey::from(self.0.secret_key.as_str()));
        }
        Err(s3_error!(InvalidAccessKeyId, "The access key {access_key} is not the one this server was started with"))
    }
}

struct Gateway {
    vault: Vault,
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

/// A size in the type that the protocol's messages use.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

type Reply<T> = S3Result<S3Response<T>>;

#[async_trait::async_trait]
impl S3 for Gateway {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> Reply<CreateBucketOutput> {
        let bucket = request.input.bucket;
        self.vault.create_bucket(&bucket).await?;
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Reply<HeadBucketOutput> {
        self.vault.head_bucket(&request.input.bucket).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> Reply<DeleteBucketOutput> {
        self.vault.delete_bucket(&request.input.bucket).await?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> Reply<ListBucketsOutput> {
        let buckets = self.vault.buckets().await?.into_iter().map(|(name, created)| Bucket {
            name: Some(name),
            creation_date: Some(created.into()),
            ..Bucket::default()
        });
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets.collect()), ..ListBucketsOutput::default() }))
    }

    async fn get_bucket_location(&self, request: S3Request<GetBucketLocationInput>) -> Reply<GetBucketLocationOutput> {
        // An absent constraint is how S3 spells us-east-1.
        self.vault.head_bucket(&request.input.bucket).await?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Reply<PutObjectOutput> {
        self.put(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Reply<GetObjectOutput> {
        self.get(request.input).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Reply<HeadObjectOutput> {
        self.head(request.input).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Reply<DeleteObjectOutput> {
        let DeleteObjectInput { bucket, key, .. } = request.input;
        self.vault.delete(&bucket, vec![key]).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Reply<DeleteObjectsOutput> {
        self.delete_many(request.input).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Reply<CopyObjectOutput> {
        self.copy(request.input).await
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> Reply<ListObjectsOutput> {
        self.list_v1(request.input).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Reply<ListObjectsV2Output> {
        self.list_v2(request.input).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Reply<CreateMultipartUploadOutput> {
        self.begin_upload(request.input).await
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Reply<UploadPartOutput> {
        self.put_part(request).await
    }

    async fn upload_part_copy(&self, request: S3Request<UploadPartCopyInput>) -> Reply<UploadPartCopyOutput> {
        self.copy_part(request.input).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Reply<CompleteMultipartUploadOutput> {
        self.complete_upload(request.input).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Reply<AbortMultipartUploadOutput> {
        self.abort_upload(request.input).await
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Reply<ListPartsOutput> {
        self.parts(request.input).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Reply<ListMultipartUploadsOutput> {
        self.uploads(request.input).await
    }
}
