//! Tags of objects, and responses for configurations that were never set.

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
        let tags = &self.store.open(&input.bucket, &input.key).await?.attributes.tags;
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tag_set(tags), version_id: None }))
    }

    pub(super) async fn set_object_tags(&self, input: PutObjectTaggingInput) -> Reply<PutObjectTaggingOutput> {
        check_version(input.version_id.as_deref())?;
        let tags = tags_of_body(input.tagging.tag_set, None)?;
        self.store.change_attributes(&input.bucket, &input.key, move |attributes| attributes.tags = tags).await?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    pub(super) async fn remove_object_tags(&self, input: DeleteObjectTaggingInput) -> Reply<DeleteObjectTaggingOutput> {
        check_version(input.version_id.as_deref())?;
        self.store.change_attributes(&input.bucket, &input.key, |attributes| attributes.tags = Vec::new()).await?;
        Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
    }

    /// Returns an empty response: there is no configuration, or it was removed.
    pub(super) async fn unconfigured<T: Default>(&self, bucket: &str) -> Reply<T> {
        self.store.head_bucket(bucket).await?;
        Ok(S3Response::new(T::default()))
    }

    /// Returns the error for a configuration that was never set.
    pub(super) async fn never<T>(&self, bucket: &str, code: &'static str, message: &'static str) -> Reply<T> {
        self.store.head_bucket(bucket).await?;
        Err(missing(code, message))
    }

    /// Returns the error for a bucket without object lock.
    pub(super) async fn unlocked<T>(&self, bucket: &str) -> Reply<T> {
        self.store.head_bucket(bucket).await?;
        Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"))
    }
}
