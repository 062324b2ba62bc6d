//! Tags of objects, and the answers for what was never configured.

use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput,
};
use s3s::{S3Response, s3_error};

use super::attach::{tag_set, tags_of_body};
use super::bucket::missing;
use super::read::check_version;
use super::{Gateway, Reply};

impl Gateway {
    pub(super) async fn object_tags(&self, input: GetObjectTaggingInput) -> Reply<GetObjectTaggingOutput> {
        check_version(input.version_id.as_deref())?;
        let tags = &self.vault.open(&input.bucket, &input.key).await?.attributes.tags;
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tag_set(tags), version_id: None }))
    }

    pub(super) async fn set_object_tags(&self, input: PutObjectTaggingInput) -> Reply<PutObjectTaggingOutput> {
        check_version(input.version_id.as_deref())?;
        let tags = tags_of_body(input.tagging.tag_set, None)?;
        self.vault.change_attributes(&input.bucket, &input.key, move |attributes| attributes.tags = tags).await?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    pub(super) async fn remove_object_tags(&self, input: DeleteObjectTaggingInput) -> Reply<DeleteObjectTaggingOutput> {
        check_version(input.version_id.as_deref())?;
        self.vault.change_attributes(&input.bucket, &input.key, |attributes| attributes.tags = Vec::new()).await?;
        Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
    }

    /// The answer that tells of nothing: there is no configuration, or there is none any more.
    pub(super) async fn unconfigured<T: Default>(&self, bucket: &str) -> Reply<T> {
        self.vault.head_bucket(bucket).await?;
        Ok(S3Response::new(T::default()))
    }

    /// The error that tells that something was never configured.
    pub(super) async fn never<T>(&self, bucket: &str, code: &'static str, message: &'static str) -> Reply<T> {
        self.vault.head_bucket(bucket).await?;
        Err(missing(code, message))
    }

    /// The error that tells that objects of the bucket cannot be locked.
    pub(super) async fn unlocked<T>(&self, bucket: &str) -> Reply<T> {
        self.vault.head_bucket(bucket).await?;
        Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"))
    }
}
