//! Writes, copies and removes objects.

use futures::StreamExt;
use s3s::dto::{
    Checksum, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition, Error, MetadataDirective, ObjectIdentifier,
    PutObjectInput, PutObjectOutput, TaggingDirective,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::access::{caller, owner_of};
use super::attach::{attributes, system_time};
use super::body::{self, claims};
use super::checksum::{self, answer_checksum};
use super::control::acl_of;
use super::read::{ReadCondition, check_version};
use super::{Gateway, Reply, etag, pattern};
use crate::store::{Algorithm, Condition, Deletion, OpenObject, StoreError, Target, UploadWriter};

/// Most keys of one `DeleteObjects`; the limit of S3.
const DELETIONS: usize = 1000;
/// Longest key in bytes; the limit of S3.
const KEY_BYTES: usize = 1024;

impl Gateway {
    pub(super) async fn put(&self, mut request: S3Request<PutObjectInput>) -> Reply<PutObjectOutput> {
        let claims = claims!(request);
        let caller = caller(&request);
        let S3Request { mut input, headers, .. } = request;
        let prepared = async {
            let mut attributes = attributes!(input);
            if input.write_offset_bytes.is_some() {
                return Err(s3_error!(NotImplemented, "This server does not append to objects"));
            }
            attributes.owner = owner_of(&caller);
            attributes.acl = acl_of!(self, input, &caller, &input.bucket);
            let condition = write_condition(input.if_match.as_ref(), input.if_none_match.as_ref());
            self.may_write(&input.bucket, &input.key, &condition).await?;
            Ok((attributes, condition))
        };
        let (mut attributes, condition) = match prepared.await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                body::discard(input.body, &headers).await;
                return Err(refusal);
            }
        };
        let (draft, computed) = body::receive(&self.store, input.body, claims, &headers).await?;
        let stored = checksum::stored(&computed, None);
        attributes.checksum.clone_from(&stored);
        let (bucket, key) = (input.bucket, input.key);
        let stat = draft.commit(Target::Object { bucket, key, attributes: attributes.into(), condition }).await?;
        let mut output = PutObjectOutput { e_tag: Some(etag(stat.tag)), ..PutObjectOutput::default() };
        answer_checksum!(output, stored.as_ref());
        output.checksum_type = checksum::kind(stored.as_ref());
        Ok(S3Response::new(output))
    }

    /// Refuses an invalid write before its body is received.
    pub(super) async fn may_write(&self, bucket: &str, key: &str, condition: &Condition) -> S3Result<()> {
        if key.is_empty() {
            return Err(s3_error!(InvalidRequest, "The key is empty"));
        }
        self.store.head_bucket(bucket).await?;
        if condition.is_always() {
            return Ok(());
        }
        let present = self.store.open(bucket, key).await.ok().map(|opened| opened.stat);
        Ok(condition.check(present.as_ref())?)
    }

    pub(super) async fn delete(&self, input: DeleteObjectInput) -> Reply<DeleteObjectOutput> {
        let DeleteObjectInput { bucket, key, .. } = input;
        check_version(input.version_id.as_deref())?;
        let condition = Condition {
            matches: input.if_match.as_ref().map(pattern),
            differs: None,
            modified: input.if_match_last_modified_time.as_ref().map(system_time),
            size: input.if_match_size.and_then(|size| u64::try_from(size).ok()),
        };
        let outcome = self.store.delete(&bucket, vec![Deletion { key, condition }]).await?;
        outcome.into_iter().collect::<Result<Vec<()>, StoreError>>()?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) async fn delete_many(&self, input: DeleteObjectsInput) -> Reply<DeleteObjectsOutput> {
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > DELETIONS {
            return Err(s3_error!(MalformedXML, "There are {} keys; 1 to {DELETIONS} are allowed", objects.len()));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let (mut deletions, mut refused, mut named) = (Vec::new(), Vec::new(), Vec::new());
        for object in objects {
            let version_id = object.version_id.clone();
            let checked = check_version(version_id.as_deref()).and(if object.key.len() > KEY_BYTES {
                Err(s3_error!(KeyTooLongError, "Your key is too long: {} of {KEY_BYTES} bytes", object.key.len()))
            } else {
                Ok(())
            });
            match checked {
                Ok(()) => {
                    named.push((object.key.clone(), version_id));
                    deletions.push(deletion(object));
                }
                // A version that does not exist counts as removed.
                Err(error) if *error.code() == s3s::S3ErrorCode::NoSuchVersion => {}
                Err(error) => refused.push(entry(object.key, version_id, &error)),
            }
        }
        let outcomes = self.store.delete(&input.bucket, deletions).await?;
        let mut deleted = Vec::new();
        for ((key, version_id), outcome) in named.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject { key: Some(key), version_id, ..DeletedObject::default() }),
                Err(fault) => refused.push(entry(key, version_id, &fault.into())),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: (!refused.is_empty()).then_some(refused),
            ..DeleteObjectsOutput::default()
        }))
    }

    pub(super) async fn copy(&self, request: S3Request<CopyObjectInput>) -> Reply<CopyObjectOutput> {
        let caller = caller(&request);
        let mut input = request.input;
        let source = self.open_source(&input.copy_source).await?;
        let condition = ReadCondition {
            matches: input.copy_source_if_match.as_ref(),
            differs: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        // A copy cannot answer 304.
        condition.check(&source.stat).map_err(|_| S3Error::from(StoreError::Condition))?;
        let condition = conditions_of_headers(&request.headers)?;
        self.may_write(&input.bucket, &input.key, &condition).await?;
        let is = |directive: Option<&str>, name: &str| directive == Some(name);
        let replaces = is(input.metadata_directive.as_ref().map(MetadataDirective::as_str), MetadataDirective::REPLACE);
        let replaces_tags =
            is(input.tagging_directive.as_ref().map(TaggingDirective::as_str), TaggingDirective::REPLACE);
        if !replaces && changes_nothing(&input) {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let asked = input.checksum_algorithm.as_ref().and_then(|name| Algorithm::by_name(name.as_str()));
        let redirect = input.website_redirect_location.clone();
        let sent = attributes!(input);
        let mut attributes = if replaces { sent.clone() } else { (*source.attributes).clone() };
        attributes.tags = if replaces_tags { sent.tags } else { source.attributes.tags.clone() };
        attributes.website_redirect = redirect;
        attributes.owner = owner_of(&caller);
        attributes.acl = acl_of!(self, input, &caller, &input.bucket);
        (attributes.parts, attributes.upload_id) = (Vec::new(), None);
        let size = source.stat.size;
        // A checksum of parts does not apply to the copy, which has no parts.
        let before = source.attributes.checksum.clone();
        let algorithm = asked.or(before.as_ref().map(|stored| stored.algorithm));
        attributes.checksum =
            before.filter(|stored| !stored.composite && asked.is_none_or(|asked| asked == stored.algorithm));
        let hashed = if attributes.checksum.is_some() { None } else { algorithm };
        let (draft, computed) = self.copy_range(source, 0..size, hashed).await?;
        attributes.checksum = attributes.checksum.or_else(|| checksum::stored(&computed, hashed));
        let stored = attributes.checksum.clone();
        let (bucket, key) = (input.bucket, input.key);
        let stat = draft.commit(Target::Object { bucket, key, attributes: attributes.into(), condition }).await?;
        let mut result = CopyObjectResult {
            e_tag: Some(etag(stat.tag)),
            last_modified: Some(stat.modified.into()),
            ..CopyObjectResult::default()
        };
        answer_checksum!(result, stored.as_ref());
        result.checksum_type = checksum::kind(stored.as_ref());
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
    }

    pub(super) async fn open_source(&self, source: &CopySource) -> S3Result<OpenObject> {
        match source {
            CopySource::Bucket { bucket, key, version_id } => {
                check_version(version_id.as_deref())?;
                Ok(self.store.open(bucket, key).await?)
            }
            _ => Err(s3_error!(NotImplemented, "A copy source is a bucket and a key here")),
        }
    }

    /// Copies a range into a writer, and computes a checksum of it if `algorithm` is given.
    pub(super) async fn copy_range(
        &self,
        source: OpenObject,
        range: std::ops::Range<u64>,
        algorithm: Option<Algorithm>,
    ) -> S3Result<(UploadWriter, Checksum)> {
        let mut draft = self.store.writer(range.end - range.start)?;
        let mut hasher = checksum::hasher(algorithm);
        let mut reader = source.read(range, body::piece_bytes(None));
        while let Some(bytes) = reader.next().await {
            let bytes = bytes.map_err(StoreError::io("reading the source of a copy"))?;
            hasher.update(&bytes);
            draft.push(bytes).await?;
        }
        Ok((draft, hasher.finalize()))
    }
}

fn deletion(object: ObjectIdentifier) -> Deletion {
    let condition = Condition {
        matches: object.e_tag.map(|tag| pattern(&ETagCondition::ETag(tag))),
        differs: None,
        modified: object.last_modified_time.as_ref().map(system_time),
        size: object.size.and_then(|size| u64::try_from(size).ok()),
    };
    Deletion { key: object.key, condition }
}

/// Returns the entry for a key that could not be removed.
fn entry(key: String, version_id: Option<String>, error: &S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        version_id,
    }
}

/// Returns whether a copy would replace an object by itself without changes.
fn changes_nothing(input: &CopyObjectInput) -> bool {
    let CopySource::Bucket { bucket, key, .. } = &input.copy_source else { return false };
    let is_same = **bucket == *input.bucket && **key == *input.key;
    is_same && input.storage_class.is_none() && input.website_redirect_location.is_none()
}

pub(super) fn write_condition(matches: Option<&ETagCondition>, differs: Option<&ETagCondition>) -> Condition {
    if matches.is_none() && differs.is_none() {
        return Condition::default();
    }
    Condition { matches: matches.map(pattern), differs: differs.map(pattern), ..Condition::default() }
}

/// Returns the conditions that `If-Match` and `If-None-Match` impose on the target of a copy.
fn conditions_of_headers(headers: &hyper::HeaderMap) -> S3Result<Condition> {
    let parse = |name: hyper::header::HeaderName| {
        let parsed = headers.get(&name).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        parsed.transpose().map_err(|_| s3_error!(InvalidArgument, "The header {name} is no entity tag"))
    };
    let (matches, differs) = (parse(hyper::header::IF_MATCH)?, parse(hyper::header::IF_NONE_MATCH)?);
    Ok(write_condition(matches.as_ref(), differs.as_ref()))
}
