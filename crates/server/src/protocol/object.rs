//! Operations on objects.

use futures::StreamExt;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectsInput, DeleteObjectsOutput,
    DeletedObject, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    MetadataDirective, PutObjectInput, PutObjectOutput, Range,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::body::{self, Sending, claims};
use super::{Gateway, Reply, etag, signed};
use crate::signature;
use crate::vault::{Attributes, Condition, Opened, Stat, Target};

impl Gateway {
    pub(super) async fn put(&self, mut request: S3Request<PutObjectInput>) -> Reply<PutObjectOutput> {
        let claims = claims!(request);
        let S3Request { input, headers, .. } = request;
        let (bucket, key) = (input.bucket, input.key);
        let condition = write_condition(input.if_match, input.if_none_match);
        if let Err(refusal) = self.may_write(&bucket, &key, &condition).await {
            body::discard(input.body, &headers).await;
            return Err(refusal);
        }
        let (draft, checksum) = body::receive(&self.vault, input.body, claims, &headers).await?;
        let attributes = Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding.as_deref().and_then(signature::without_chunked),
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        };
        let stat = draft.commit(Target::Object { bucket, key, attributes, condition }).await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(etag(stat.tag)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..PutObjectOutput::default()
        }))
    }

    /// Refuses a write before its body is received.
    async fn may_write(&self, bucket: &str, key: &str, condition: &Condition) -> S3Result<()> {
        if key.is_empty() {
            return Err(s3_error!(InvalidRequest, "The key is empty"));
        }
        self.vault.head_bucket(bucket).await?;
        if *condition == Condition::Absent && self.vault.open(bucket, key).await.is_ok() {
            return Err(crate::vault::Fault::Condition.into());
        }
        Ok(())
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> Reply<GetObjectOutput> {
        let opened = self.vault.open(&input.bucket, &input.key).await?;
        check_read(&opened.stat, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let Opened { stat, attributes, .. } = &opened;
        let size = stat.size;
        let range = match &input.range {
            Some(range) => satisfiable(range, size)?,
            None => 0..size,
        };
        let partial = input.range.map(|_| format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1)));
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(signed(range.end - range.start)),
            content_range: partial,
            content_type: Some(content_type(attributes)),
            content_encoding: attributes.content_encoding.clone(),
            e_tag: Some(etag(stat.tag)),
            last_modified: Some(stat.modified.into()),
            metadata: metadata(attributes),
            ..GetObjectOutput::default()
        };
        let reader = opened.read(range, body::piece_bytes(self.pacer.as_ref()));
        output.body = Some(Sending::blob(reader, self.pacer.clone()));
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(&self, input: HeadObjectInput) -> Reply<HeadObjectOutput> {
        let Opened { stat, attributes, .. } = self.vault.open(&input.bucket, &input.key).await?;
        check_read(&stat, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(signed(stat.size)),
            content_type: Some(content_type(&attributes)),
            content_encoding: attributes.content_encoding.clone(),
            e_tag: Some(etag(stat.tag)),
            last_modified: Some(stat.modified.into()),
            metadata: metadata(&attributes),
            ..HeadObjectOutput::default()
        }))
    }

    pub(super) async fn delete_many(&self, input: DeleteObjectsInput) -> Reply<DeleteObjectsOutput> {
        let keys: Vec<String> = input.delete.objects.into_iter().map(|object| object.key).collect();
        self.vault.delete(&input.bucket, keys.clone()).await?;
        let quiet = input.delete.quiet.unwrap_or(false);
        let deleted = keys.into_iter().filter(|_| !quiet);
        let deleted = deleted.map(|key| DeletedObject { key: Some(key), ..DeletedObject::default() });
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted.collect()), ..DeleteObjectsOutput::default() }))
    }

    pub(super) async fn copy(&self, input: CopyObjectInput) -> Reply<CopyObjectOutput> {
        let source = self.open_source(&input.copy_source).await?;
        check_read(&source.stat, input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref())?;
        self.may_write(&input.bucket, &input.key, &Condition::Always).await?;
        let replaced = input.metadata_directive.is_some_and(|what| what.as_str() == MetadataDirective::REPLACE);
        let attributes = if replaced {
            Attributes {
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            }
        } else {
            source.attributes.clone()
        };
        let size = source.stat.size;
        let (bucket, key, condition) = (input.bucket, input.key, Condition::Always);
        let stat = self.copy_range(source, 0..size, Target::Object { bucket, key, attributes, condition }).await?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(etag(stat.tag)),
                last_modified: Some(stat.modified.into()),
                ..CopyObjectResult::default()
            }),
            ..CopyObjectOutput::default()
        }))
    }

    pub(super) async fn open_source(&self, source: &CopySource) -> S3Result<Opened> {
        match source {
            CopySource::Bucket { bucket, key, .. } => Ok(self.vault.open(bucket, key).await?),
            _ => Err(s3_error!(NotImplemented, "A copy source is a bucket and a key here")),
        }
    }

    pub(super) async fn copy_range(
        &self,
        source: Opened,
        range: std::ops::Range<u64>,
        target: Target,
    ) -> S3Result<Stat> {
        let mut draft = self.vault.draft(range.end - range.start)?;
        let mut reader = source.read(range, body::piece_bytes(None));
        while let Some(bytes) = reader.next().await {
            draft.push(bytes.map_err(crate::vault::Fault::io("reading the source of a copy"))?).await?;
        }
        Ok(draft.commit(target).await?)
    }
}

/// The bytes that a range asks for; one that begins behind the end is an error that says how long the object is.
fn satisfiable(range: &Range, size: u64) -> S3Result<std::ops::Range<u64>> {
    range.check(size).map_err(|_| s3_error!(InvalidRange, "The range begins behind the object's {size} bytes"))
}

fn content_type(attributes: &Attributes) -> String {
    attributes.content_type.clone().unwrap_or_else(|| "binary/octet-stream".into())
}

fn metadata(attributes: &Attributes) -> Option<s3s::dto::Metadata> {
    (!attributes.metadata.is_empty()).then(|| attributes.metadata.clone().into_iter().collect())
}

pub(super) fn write_condition(matches: Option<ETagCondition>, none: Option<ETagCondition>) -> Condition {
    match (matches, none) {
        (Some(ETagCondition::ETag(tag)), _) => Condition::Matches(Some(tag.into_value())),
        (Some(ETagCondition::Any), _) => Condition::Matches(None),
        (None, Some(_)) => Condition::Absent,
        (None, None) => Condition::Always,
    }
}

fn check_read(stat: &Stat, matches: Option<&ETagCondition>, none: Option<&ETagCondition>) -> S3Result<()> {
    let is_this = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(tag) => tag.value() == stat.tag.to_string(),
    };
    if matches.is_some_and(|condition| !is_this(condition)) {
        return Err(crate::vault::Fault::Condition.into());
    }
    if none.is_some_and(is_this) {
        return Err(s3_error!(NotModified, "The object still has this entity tag"));
    }
    Ok(())
}
