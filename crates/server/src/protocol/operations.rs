//! Dispatches the supported operations to their implementations. All others are answered with 501.

#![allow(clippy::wildcard_imports, reason = "two types of each operation, which its name says")]

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::Gateway;

type Reply<T> = S3Result<S3Response<T>>;

#[async_trait::async_trait]
impl S3 for Gateway {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> Reply<CreateBucketOutput> {
        self.make_bucket(request).await
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> Reply<DeleteBucketOutput> {
        self.store.delete_bucket(&request.input.bucket).await?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Reply<HeadBucketOutput> {
        self.look_at_bucket(request).await
    }

    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> Reply<ListBucketsOutput> {
        self.list_all_buckets(request).await
    }

    async fn get_bucket_location(&self, request: S3Request<GetBucketLocationInput>) -> Reply<GetBucketLocationOutput> {
        self.location(request.input).await
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

    async fn get_object_attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> Reply<GetObjectAttributesOutput> {
        self.object_attributes(request.input).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Reply<DeleteObjectOutput> {
        self.delete(request.input).await
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Reply<DeleteObjectsOutput> {
        self.delete_many(request.input).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Reply<CopyObjectOutput> {
        self.copy(request).await
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> Reply<ListObjectsOutput> {
        self.list_v1(request).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Reply<ListObjectsV2Output> {
        self.list_v2(request).await
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> Reply<ListObjectVersionsOutput> {
        self.list_versions(request.input).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Reply<CreateMultipartUploadOutput> {
        self.begin_upload(request).await
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

    async fn get_bucket_acl(&self, request: S3Request<GetBucketAclInput>) -> Reply<GetBucketAclOutput> {
        self.bucket_acl(request.input).await
    }

    async fn put_bucket_acl(&self, request: S3Request<PutBucketAclInput>) -> Reply<PutBucketAclOutput> {
        self.set_bucket_acl(request.input).await
    }

    async fn get_object_acl(&self, request: S3Request<GetObjectAclInput>) -> Reply<GetObjectAclOutput> {
        self.object_acl(request.input).await
    }

    async fn put_object_acl(&self, request: S3Request<PutObjectAclInput>) -> Reply<PutObjectAclOutput> {
        self.set_object_acl(request).await
    }

    async fn get_object_tagging(&self, request: S3Request<GetObjectTaggingInput>) -> Reply<GetObjectTaggingOutput> {
        self.object_tags(request.input).await
    }

    async fn put_object_tagging(&self, request: S3Request<PutObjectTaggingInput>) -> Reply<PutObjectTaggingOutput> {
        self.set_object_tags(request.input).await
    }

    async fn delete_object_tagging(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> Reply<DeleteObjectTaggingOutput> {
        self.remove_object_tags(request.input).await
    }

    async fn get_bucket_tagging(&self, request: S3Request<GetBucketTaggingInput>) -> Reply<GetBucketTaggingOutput> {
        self.bucket_tags(request.input).await
    }

    async fn put_bucket_tagging(&self, request: S3Request<PutBucketTaggingInput>) -> Reply<PutBucketTaggingOutput> {
        self.put_bucket_tags(request.input).await
    }

    async fn get_public_access_block(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> Reply<GetPublicAccessBlockOutput> {
        self.blocked(request.input).await
    }

    async fn put_public_access_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> Reply<PutPublicAccessBlockOutput> {
        self.put_block(request.input).await
    }

    async fn delete_bucket_tagging(
        &self,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> Reply<DeleteBucketTaggingOutput> {
        self.store.change_settings(&request.input.bucket, |settings| settings.tags = Vec::new()).await?;
        Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
    }

    async fn delete_public_access_block(
        &self,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> Reply<DeletePublicAccessBlockOutput> {
        self.store.change_settings(&request.input.bucket, |settings| settings.public_access_block = None).await?;
        Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Reply<GetBucketVersioningOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn get_bucket_logging(&self, request: S3Request<GetBucketLoggingInput>) -> Reply<GetBucketLoggingOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn get_bucket_notification_configuration(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> Reply<GetBucketNotificationConfigurationOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn get_bucket_accelerate_configuration(
        &self,
        request: S3Request<GetBucketAccelerateConfigurationInput>,
    ) -> Reply<GetBucketAccelerateConfigurationOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn list_bucket_analytics_configurations(
        &self,
        request: S3Request<ListBucketAnalyticsConfigurationsInput>,
    ) -> Reply<ListBucketAnalyticsConfigurationsOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn list_bucket_intelligent_tiering_configurations(
        &self,
        request: S3Request<ListBucketIntelligentTieringConfigurationsInput>,
    ) -> Reply<ListBucketIntelligentTieringConfigurationsOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn list_bucket_inventory_configurations(
        &self,
        request: S3Request<ListBucketInventoryConfigurationsInput>,
    ) -> Reply<ListBucketInventoryConfigurationsOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn list_bucket_metrics_configurations(
        &self,
        request: S3Request<ListBucketMetricsConfigurationsInput>,
    ) -> Reply<ListBucketMetricsConfigurationsOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn delete_bucket_cors(&self, request: S3Request<DeleteBucketCorsInput>) -> Reply<DeleteBucketCorsOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn delete_bucket_encryption(
        &self,
        request: S3Request<DeleteBucketEncryptionInput>,
    ) -> Reply<DeleteBucketEncryptionOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> Reply<DeleteBucketLifecycleOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn delete_bucket_ownership_controls(
        &self,
        request: S3Request<DeleteBucketOwnershipControlsInput>,
    ) -> Reply<DeleteBucketOwnershipControlsOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn delete_bucket_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> Reply<DeleteBucketPolicyOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn delete_bucket_replication(
        &self,
        request: S3Request<DeleteBucketReplicationInput>,
    ) -> Reply<DeleteBucketReplicationOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn delete_bucket_website(
        &self,
        request: S3Request<DeleteBucketWebsiteInput>,
    ) -> Reply<DeleteBucketWebsiteOutput> {
        self.unconfigured(&request.input.bucket).await
    }

    async fn get_bucket_request_payment(
        &self,
        request: S3Request<GetBucketRequestPaymentInput>,
    ) -> Reply<GetBucketRequestPaymentOutput> {
        self.store.head_bucket(&request.input.bucket).await?;
        let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
        Ok(S3Response::new(GetBucketRequestPaymentOutput { payer }))
    }

    async fn get_bucket_policy_status(
        &self,
        request: S3Request<GetBucketPolicyStatusInput>,
    ) -> Reply<GetBucketPolicyStatusOutput> {
        let acl = self.store.settings(&request.input.bucket).await?.acl;
        let is_public = Some(acl.is_some_and(|acl| acl.is_public()));
        Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public }) }))
    }

    async fn get_bucket_cors(&self, request: S3Request<GetBucketCorsInput>) -> Reply<GetBucketCorsOutput> {
        self.never(&request.input.bucket, "NoSuchCORSConfiguration", "The CORS configuration does not exist").await
    }

    async fn get_bucket_encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> Reply<GetBucketEncryptionOutput> {
        self.never(
            &request.input.bucket,
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        )
        .await
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> Reply<GetBucketLifecycleConfigurationOutput> {
        self.never(&request.input.bucket, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
            .await
    }

    async fn get_bucket_ownership_controls(
        &self,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> Reply<GetBucketOwnershipControlsOutput> {
        self.never(
            &request.input.bucket,
            "OwnershipControlsNotFoundError",
            "The bucket ownership controls were not found",
        )
        .await
    }

    async fn get_bucket_policy(&self, request: S3Request<GetBucketPolicyInput>) -> Reply<GetBucketPolicyOutput> {
        self.never(&request.input.bucket, "NoSuchBucketPolicy", "The bucket policy does not exist").await
    }

    async fn get_bucket_replication(
        &self,
        request: S3Request<GetBucketReplicationInput>,
    ) -> Reply<GetBucketReplicationOutput> {
        self.never(
            &request.input.bucket,
            "ReplicationConfigurationNotFoundError",
            "The replication configuration was not found",
        )
        .await
    }

    async fn get_bucket_website(&self, request: S3Request<GetBucketWebsiteInput>) -> Reply<GetBucketWebsiteOutput> {
        self.never(
            &request.input.bucket,
            "NoSuchWebsiteConfiguration",
            "The specified bucket does not have a website configuration",
        )
        .await
    }

    async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> Reply<GetObjectLockConfigurationOutput> {
        self.never(
            &request.input.bucket,
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket",
        )
        .await
    }

    async fn get_bucket_analytics_configuration(
        &self,
        request: S3Request<GetBucketAnalyticsConfigurationInput>,
    ) -> Reply<GetBucketAnalyticsConfigurationOutput> {
        self.never(&request.input.bucket, "NoSuchConfiguration", "The specified configuration does not exist").await
    }

    async fn get_bucket_intelligent_tiering_configuration(
        &self,
        request: S3Request<GetBucketIntelligentTieringConfigurationInput>,
    ) -> Reply<GetBucketIntelligentTieringConfigurationOutput> {
        self.never(&request.input.bucket, "NoSuchConfiguration", "The specified configuration does not exist").await
    }

    async fn get_bucket_inventory_configuration(
        &self,
        request: S3Request<GetBucketInventoryConfigurationInput>,
    ) -> Reply<GetBucketInventoryConfigurationOutput> {
        self.never(&request.input.bucket, "NoSuchConfiguration", "The specified configuration does not exist").await
    }

    async fn get_bucket_metrics_configuration(
        &self,
        request: S3Request<GetBucketMetricsConfigurationInput>,
    ) -> Reply<GetBucketMetricsConfigurationOutput> {
        self.never(&request.input.bucket, "NoSuchConfiguration", "The specified configuration does not exist").await
    }

    async fn get_object_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> Reply<GetObjectRetentionOutput> {
        self.unlocked(&request.input.bucket).await
    }

    async fn get_object_legal_hold(
        &self,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> Reply<GetObjectLegalHoldOutput> {
        self.unlocked(&request.input.bucket).await
    }

    async fn put_object_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> Reply<PutObjectRetentionOutput> {
        self.unlocked(&request.input.bucket).await
    }

    async fn put_object_legal_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> Reply<PutObjectLegalHoldOutput> {
        self.unlocked(&request.input.bucket).await
    }
}
