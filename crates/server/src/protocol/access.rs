//! Access control. With a single user, requests signed with that user's key pair may do everything, and nothing is
//! looked up. With several users, and for unsigned requests, owners and access control lists of buckets and objects
//! decide.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, UploadPartCopyInput};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, s3_error};

use crate::store::{Acl, BucketSettings, Caller, ObjectStore, Permission, StoreError, Upload, allows};
use crate::users::{OWNER, Users};

/// Header in which a client names the owner that it expects for a bucket.
const EXPECTED_OWNER: &str = "x-amz-expected-bucket-owner";

/// Checks every request before it is executed.
#[derive(Clone)]
pub(super) struct Access {
    store: ObjectStore,
    users: Arc<Users>,
}

/// The access that a request requires.
#[derive(Clone, Copy)]
enum RequiredAccess {
    /// Nothing: the response depends on the caller.
    Nothing,
    /// The caller is a user.
    User,
    /// The caller has a permission on the bucket.
    Bucket(Permission),
    /// The caller has a permission on the object.
    Object(Permission),
    /// The caller created the upload or owns the bucket.
    Upload,
    /// The caller owns the object.
    OwnObject,
    /// The caller owns the bucket.
    OwnBucket,
}

/// Returns what the caller of an operation must be allowed to do.
fn needs(operation: &str) -> RequiredAccess {
    match operation {
        "ListBuckets" => RequiredAccess::Nothing,
        "CreateBucket" => RequiredAccess::User,
        "HeadBucket" | "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads" => {
            RequiredAccess::Bucket(Permission::Read)
        }
        "PutObject"
        | "PostObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "DeleteObject"
        | "DeleteObjects" => RequiredAccess::Bucket(Permission::Write),
        "GetBucketAcl" => RequiredAccess::Bucket(Permission::ReadAcp),
        "PutBucketAcl" => RequiredAccess::Bucket(Permission::WriteAcp),
        "GetObject" | "HeadObject" | "GetObjectAttributes" => RequiredAccess::Object(Permission::Read),
        "GetObjectAcl" => RequiredAccess::Object(Permission::ReadAcp),
        "PutObjectAcl" => RequiredAccess::Object(Permission::WriteAcp),
        "AbortMultipartUpload" | "ListParts" => RequiredAccess::Upload,
        "GetObjectTagging" | "PutObjectTagging" | "DeleteObjectTagging" => RequiredAccess::OwnObject,
        _ => RequiredAccess::OwnBucket,
    }
}

/// Returns the sender of a request.
pub(super) fn caller<T>(request: &S3Request<T>) -> Caller {
    // The access check records the caller only if there is more than one user.
    request.extensions.get::<Caller>().cloned().unwrap_or_else(|| Caller::User(OWNER.to_owned()))
}

/// The canonical id that S3 uses as the owner of what anonymous clients write.
const ANONYMOUS: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

/// Returns the owner to store for something that `caller` creates; `None` for the server's own user.
pub(super) fn owner_of(caller: &Caller) -> Option<String> {
    match caller {
        Caller::User(id) if id == OWNER => None,
        Caller::User(id) => Some(id.clone()),
        Caller::Anonymous => Some(ANONYMOUS.to_owned()),
    }
}

/// Returns the canonical id of a stored owner.
pub(super) fn owner_id(noted: Option<&String>) -> &str {
    noted.map_or(OWNER, String::as_str)
}

impl Access {
    pub(super) fn new(store: ObjectStore, users: Arc<Users>) -> Self {
        Self { store, users }
    }

    async fn may_bucket(&self, bucket: &str, caller: &Caller, wanted: Permission) -> S3Result<()> {
        let settings = self.store.settings(bucket).await?;
        let acl = effective(&settings, settings.acl.as_ref());
        allow(allows(owner_id(settings.owner.as_ref()), acl.as_ref(), caller, wanted))
    }

    async fn may_object(&self, bucket: &str, key: &str, caller: &Caller, wanted: Permission) -> S3Result<()> {
        let settings = self.store.settings(bucket).await?;
        let attributes = match self.store.open(bucket, key).await {
            Ok(opened) => opened.attributes,
            // Only callers who may list the bucket learn that a key does not exist.
            Err(StoreError::NoSuchKey) => {
                let acl = effective(&settings, settings.acl.as_ref());
                return allow(allows(owner_id(settings.owner.as_ref()), acl.as_ref(), caller, Permission::Read));
            }
            Err(fault) => return Err(fault.into()),
        };
        let acl = effective(&settings, attributes.acl.as_ref());
        allow(allows(owner_id(attributes.owner.as_ref()), acl.as_ref(), caller, wanted))
    }

    async fn owns_bucket(&self, bucket: &str, caller: &Caller) -> S3Result<()> {
        let settings = self.store.settings(bucket).await?;
        allow(is_owner(caller, settings.owner.as_ref()))
    }

    async fn owns_object(&self, bucket: &str, key: &str, caller: &Caller) -> S3Result<()> {
        match self.store.open(bucket, key).await {
            Ok(opened) if is_owner(caller, opened.attributes.owner.as_ref()) => Ok(()),
            Ok(_) | Err(StoreError::NoSuchKey) => self.owns_bucket(bucket, caller).await,
            Err(fault) => Err(fault.into()),
        }
    }

    async fn owns_upload(&self, upload: Upload, caller: &Caller) -> S3Result<()> {
        let bucket = upload.bucket.clone();
        match self.store.upload_attributes(upload).await {
            Ok(attributes) if is_owner(caller, attributes.owner.as_ref()) => Ok(()),
            _ => self.owns_bucket(&bucket, caller).await,
        }
    }

    async fn check_source(&self, source: &CopySource, caller: &Caller) -> S3Result<()> {
        let CopySource::Bucket { bucket, key, .. } = source else { return Ok(()) };
        self.may_object(bucket, key, caller, Permission::Read).await
    }

    async fn check_owner(&self, bucket: Option<&str>, expected: &[u8]) -> S3Result<()> {
        let Some(bucket) = bucket else { return Ok(()) };
        let settings = self.store.settings(bucket).await?;
        allow(owner_id(settings.owner.as_ref()).as_bytes() == expected)
    }

    async fn decide(&self, operation: &str, path: &S3Path, query: &str, caller: &Caller) -> S3Result<()> {
        let (bucket, key) = match path {
            S3Path::Root => ("", ""),
            S3Path::Bucket { bucket } => (&**bucket, ""),
            S3Path::Object { bucket, key } => (&**bucket, &**key),
        };
        match needs(operation) {
            RequiredAccess::Nothing => Ok(()),
            RequiredAccess::User => allow(*caller != Caller::Anonymous),
            RequiredAccess::Bucket(wanted) => self.may_bucket(bucket, caller, wanted).await,
            RequiredAccess::Object(wanted) => self.may_object(bucket, key, caller, wanted).await,
            RequiredAccess::OwnObject => self.owns_object(bucket, key, caller).await,
            RequiredAccess::OwnBucket => self.owns_bucket(bucket, caller).await,
            RequiredAccess::Upload => {
                let id = query.split('&').find_map(|pair| pair.strip_prefix("uploadId=")).unwrap_or_default();
                let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), id: id.to_owned() };
                self.owns_upload(upload, caller).await
            }
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if let Some(expected) = context.headers().get(EXPECTED_OWNER) {
            self.check_owner(context.s3_path().get_bucket_name(), expected.as_bytes()).await?;
        }
        let caller = match context.credentials() {
            Some(_) if self.users.is_sole() => return Ok(()),
            Some(pair) => match self.users.by_access_key(&pair.access_key) {
                Some(user) => Caller::User(user.id.clone()),
                None => Caller::Anonymous,
            },
            None => Caller::Anonymous,
        };
        let query = context.uri().query().unwrap_or_default();
        self.decide(context.s3_op().name(), context.s3_path(), query, &caller).await?;
        context.extensions_mut().insert(caller);
        Ok(())
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        match request.extensions.get::<Caller>() {
            Some(caller) => self.check_source(&request.input.copy_source, caller).await,
            None => Ok(()),
        }
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        match request.extensions.get::<Caller>() {
            Some(caller) => self.check_source(&request.input.copy_source, caller).await,
            None => Ok(()),
        }
    }
}

fn is_owner(caller: &Caller, noted: Option<&String>) -> bool {
    matches!(caller, Caller::User(id) if id == owner_id(noted))
}

/// Returns the effective list, given the public access block of the bucket.
fn effective(settings: &BucketSettings, acl: Option<&Acl>) -> Option<Acl> {
    let ignores = settings.public_access_block.is_some_and(|block| block.ignore_public_acls);
    acl.map(|acl| if ignores { acl.without_public() } else { acl.clone() })
}

fn allow(allowed: bool) -> S3Result<()> {
    if allowed { Ok(()) } else { Err(s3_error!(AccessDenied, "Access Denied")) }
}
