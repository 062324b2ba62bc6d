//! Who may do what. With one user, whoever signs with that user's key pair may do everything, and nothing is looked up;
//! with several users, and for requests that are not signed, buckets and objects have owners and access control lists.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, UploadPartCopyInput};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, s3_error};

use crate::users::{OWNER, Users};
use crate::vault::{Acl, BucketSettings, Caller, Fault, Permission, Upload, Vault, allows};

/// Header by which a client says whose bucket it expects.
const EXPECTED_OWNER: &str = "x-amz-expected-bucket-owner";

/// Checks every request before it is carried out.
#[derive(Clone)]
pub(super) struct Access {
    vault: Vault,
    users: Arc<Users>,
}

/// What an operation asks for.
#[derive(Clone, Copy)]
enum Needs {
    /// Nothing: what it answers depends on who asks.
    Nothing,
    /// A user, whoever it is.
    User,
    /// A permission on the bucket.
    Bucket(Permission),
    /// A permission on the object.
    Object(Permission),
    /// To have begun the upload, or to own the bucket.
    Upload,
    /// To own the object.
    OwnObject,
    /// To own the bucket.
    OwnBucket,
}

/// What each operation asks for.
fn needs(operation: &str) -> Needs {
    match operation {
        "ListBuckets" => Needs::Nothing,
        "CreateBucket" => Needs::User,
        "HeadBucket" | "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads" => {
            Needs::Bucket(Permission::Read)
        }
        "PutObject"
        | "PostObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "DeleteObject"
        | "DeleteObjects" => Needs::Bucket(Permission::Write),
        "GetBucketAcl" => Needs::Bucket(Permission::ReadAcp),
        "PutBucketAcl" => Needs::Bucket(Permission::WriteAcp),
        "GetObject" | "HeadObject" | "GetObjectAttributes" => Needs::Object(Permission::Read),
        "GetObjectAcl" => Needs::Object(Permission::ReadAcp),
        "PutObjectAcl" => Needs::Object(Permission::WriteAcp),
        "AbortMultipartUpload" | "ListParts" => Needs::Upload,
        "GetObjectTagging" | "PutObjectTagging" | "DeleteObjectTagging" => Needs::OwnObject,
        _ => Needs::OwnBucket,
    }
}

/// Who makes a request.
pub(super) fn caller<T>(request: &S3Request<T>) -> Caller {
    // Only where there is more than one user does the check leave a note.
    request.extensions.get::<Caller>().cloned().unwrap_or_else(|| Caller::User(OWNER.to_owned()))
}

/// The canonical id under which anonymous users own what they write, as S3's.
const ANONYMOUS: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

/// What is noted as the owner of something that `caller` makes; nothing for the server's own user.
pub(super) fn owner_of(caller: &Caller) -> Option<String> {
    match caller {
        Caller::User(id) if id == OWNER => None,
        Caller::User(id) => Some(id.clone()),
        Caller::Anonymous => Some(ANONYMOUS.to_owned()),
    }
}

/// The canonical id of a noted owner.
pub(super) fn owner_id(noted: Option<&String>) -> &str {
    noted.map_or(OWNER, String::as_str)
}

impl Access {
    pub(super) fn new(vault: Vault, users: Arc<Users>) -> Self {
        Self { vault, users }
    }

    async fn may_bucket(&self, bucket: &str, caller: &Caller, wanted: Permission) -> S3Result<()> {
        let settings = self.vault.settings(bucket).await?;
        let acl = effective(&settings, settings.acl.as_ref());
        allow(allows(owner_id(settings.owner.as_ref()), acl.as_ref(), caller, wanted))
    }

    async fn may_object(&self, bucket: &str, key: &str, caller: &Caller, wanted: Permission) -> S3Result<()> {
        let settings = self.vault.settings(bucket).await?;
        let attributes = match self.vault.open(bucket, key).await {
            Ok(opened) => opened.attributes,
            // Whether a key exists is told only to those who may list the bucket.
            Err(Fault::NoSuchKey) => {
                let acl = effective(&settings, settings.acl.as_ref());
                return allow(allows(owner_id(settings.owner.as_ref()), acl.as_ref(), caller, Permission::Read));
            }
            Err(fault) => return Err(fault.into()),
        };
        let acl = effective(&settings, attributes.acl.as_ref());
        allow(allows(owner_id(attributes.owner.as_ref()), acl.as_ref(), caller, wanted))
    }

    async fn owns_bucket(&self, bucket: &str, caller: &Caller) -> S3Result<()> {
        let settings = self.vault.settings(bucket).await?;
        allow(is_owner(caller, settings.owner.as_ref()))
    }

    async fn owns_object(&self, bucket: &str, key: &str, caller: &Caller) -> S3Result<()> {
        match self.vault.open(bucket, key).await {
            Ok(opened) if is_owner(caller, opened.attributes.owner.as_ref()) => Ok(()),
            Ok(_) | Err(Fault::NoSuchKey) => self.owns_bucket(bucket, caller).await,
            Err(fault) => Err(fault.into()),
        }
    }

    async fn owns_upload(&self, upload: Upload, caller: &Caller) -> S3Result<()> {
        let bucket = upload.bucket.clone();
        match self.vault.upload_attributes(upload).await {
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
        let settings = self.vault.settings(bucket).await?;
        allow(owner_id(settings.owner.as_ref()).as_bytes() == expected)
    }

    async fn decide(&self, operation: &str, path: &S3Path, query: &str, caller: &Caller) -> S3Result<()> {
        let (bucket, key) = match path {
            S3Path::Root => ("", ""),
            S3Path::Bucket { bucket } => (&**bucket, ""),
            S3Path::Object { bucket, key } => (&**bucket, &**key),
        };
        match needs(operation) {
            Needs::Nothing => Ok(()),
            Needs::User => allow(*caller != Caller::Anonymous),
            Needs::Bucket(wanted) => self.may_bucket(bucket, caller, wanted).await,
            Needs::Object(wanted) => self.may_object(bucket, key, caller, wanted).await,
            Needs::OwnObject => self.owns_object(bucket, key, caller).await,
            Needs::OwnBucket => self.owns_bucket(bucket, caller).await,
            Needs::Upload => {
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

/// The list that counts, given what of public access the bucket blocks.
fn effective(settings: &BucketSettings, acl: Option<&Acl>) -> Option<Acl> {
    let ignores = settings.public_access_block.is_some_and(|block| block.ignore_public_acls);
    acl.map(|acl| if ignores { acl.without_public() } else { acl.clone() })
}

fn allow(allowed: bool) -> S3Result<()> {
    if allowed { Ok(()) } else { Err(s3_error!(AccessDenied, "Access Denied")) }
}
