//! Multipart uploads.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Checksum, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedMultipartUpload, CopyPartResult,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, Range, UploadPartCopyInput, UploadPartCopyOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::access::{caller, owner_of};
use super::attach::attributes;
use super::body::{self, claims};
use super::checksum::{self, answer_checksum, sent_checksum};
use super::control::acl_of;
use super::read::ReadCondition;
use super::write::write_condition;
use super::{Gateway, Reply, etag};
use crate::store::{Attributes, Completion, Part, Stat, StoreError, StoredChecksum, StoredPart, Target, Upload};

/// Highest part number; the limit of S3.
const PARTS_MAX: u16 = 10_000;
/// Smallest size in bytes of a part that is not the last; the limit of S3.
const PART_BYTES_MIN: u64 = 5 << 20;

/// A part as named in the list that completes an upload.
struct ListedPart {
    number: u16,
    tag: String,
    checksum: Checksum,
}

impl Gateway {
    pub(super) async fn begin_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Reply<CreateMultipartUploadOutput> {
        let caller = caller(&request);
        let mut input = request.input;
        let mut attributes = attributes!(input);
        attributes.owner = owner_of(&caller);
        attributes.acl = acl_of!(self, input, &caller, &input.bucket);
        attributes.checksum = checksum::of_upload(
            input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str),
            input.checksum_type.as_ref().map(ChecksumType::as_str),
        )?;
        let checksum = attributes.checksum.clone();
        let upload_id = self.store.create_upload(&input.bucket, &input.key, attributes).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            checksum_algorithm: checksum.as_ref().map(|stored| ChecksumAlgorithm::from_static(stored.algorithm.name())),
            checksum_type: checksum::kind(checksum.as_ref()),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn put_part(&self, mut request: S3Request<UploadPartInput>) -> Reply<UploadPartOutput> {
        let mut claims = claims!(request);
        let S3Request { input, headers, .. } = request;
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        let (number, algorithm) = match self.may_upload(input.part_number, &upload).await {
            Ok(begun) => begun,
            Err(refusal) => {
                body::discard(input.body, &headers).await;
                return Err(refusal);
            }
        };
        claims.required = algorithm;
        let (draft, computed) = body::receive(&self.store, input.body, claims, &headers).await?;
        let stored = checksum::stored(&computed, algorithm);
        let stat = draft.commit(Target::Part { upload, number, checksum: stored.clone() }).await?;
        let mut output = UploadPartOutput { e_tag: Some(etag(stat.tag)), ..UploadPartOutput::default() };
        answer_checksum!(output, stored.as_ref());
        Ok(S3Response::new(output))
    }

    /// Checks a part before its body is received, and returns its number and the algorithm that its checksum must
    /// have.
    async fn may_upload(&self, number: i32, upload: &Upload) -> S3Result<(u16, Option<crate::store::Algorithm>)> {
        let number = part_number(number)?;
        let begun = self.store.upload_attributes(upload.clone()).await?;
        Ok((number, begun.checksum.as_ref().map(|stored| stored.algorithm)))
    }

    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> Reply<UploadPartCopyOutput> {
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        let (number, algorithm) = self.may_upload(input.part_number, &upload).await?;
        let source = self.open_source(&input.copy_source).await?;
        let condition = ReadCondition {
            matches: input.copy_source_if_match.as_ref(),
            differs: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        condition.check(&source.stat).map_err(|_| S3Error::from(StoreError::Condition))?;
        let range = source_range(input.copy_source_range.as_deref(), source.stat.size)?;
        let (draft, computed) = self.copy_range(source, range, algorithm).await?;
        let stored = checksum::stored(&computed, algorithm);
        let stat = draft.commit(Target::Part { upload, number, checksum: stored.clone() }).await?;
        let mut result = CopyPartResult {
            e_tag: Some(etag(stat.tag)),
            last_modified: Some(stat.modified.into()),
            ..CopyPartResult::default()
        };
        answer_checksum!(result, stored.as_ref());
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> Reply<CompleteMultipartUploadOutput> {
        let sent = sent_checksum!(input);
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        let listed = listed(input.multipart_upload)?;
        let begun = match self.store.upload_attributes(upload.clone()).await {
            Err(StoreError::NoSuchUpload) => return self.completed_before(upload).await,
            begun => begun?,
        };
        let chosen = choose(&listed, self.store.parts(upload.clone()).await?, begun.checksum.as_ref())?;
        let size: u64 = chosen.iter().map(|part| part.size).sum();
        if input.mpu_object_size.is_some_and(|expected| u64::try_from(expected) != Ok(size)) {
            return Err(s3_error!(InvalidRequest, "The parts have {size} bytes, not those of x-amz-mp-object-size"));
        }
        let mut attributes: Attributes = (*begun).clone();
        attributes.checksum = begun.checksum.as_ref().and_then(|upload| checksum::of_parts(upload, &chosen));
        if let Some(made) = &attributes.checksum
            && let Some(claimed) = checksum::value(&sent, made.algorithm)
            && *claimed != made.value
        {
            return Err(s3_error!(BadDigest, "The checksum of the object is {}, not {claimed}", made.value));
        }
        attributes.parts = chosen;
        attributes.upload_id = Some(upload.id.clone());
        let made = attributes.checksum.clone();
        let completion = Completion {
            parts: listed.into_iter().map(|part| (part.number, part.tag)).collect(),
            attributes,
            condition: write_condition(input.if_match.as_ref(), input.if_none_match.as_ref()),
        };
        let stat = self.store.complete_upload(upload.clone(), completion).await?;
        Ok(completed(upload, &stat, made.as_ref()))
    }

    /// Answers a repeated completion, whose first response may have been lost, like the first.
    async fn completed_before(&self, upload: Upload) -> Reply<CompleteMultipartUploadOutput> {
        match self.store.open(&upload.bucket, &upload.key).await {
            Ok(opened) if opened.attributes.upload_id.as_ref() == Some(&upload.id) => {
                Ok(completed(upload, &opened.stat, opened.attributes.checksum.as_ref()))
            }
            Err(StoreError::NoSuchBucket) => Err(StoreError::NoSuchBucket.into()),
            _ => Err(StoreError::NoSuchUpload.into()),
        }
    }

    pub(super) async fn abort_upload(&self, input: AbortMultipartUploadInput) -> Reply<AbortMultipartUploadOutput> {
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        self.store.abort_upload(upload).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

fn completed(
    upload: Upload,
    stat: &Stat,
    checksum: Option<&StoredChecksum>,
) -> S3Response<CompleteMultipartUploadOutput> {
    let Upload { bucket, key, .. } = upload;
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{key}")),
        bucket: Some(bucket),
        key: Some(key),
        e_tag: Some(etag(stat.tag)),
        ..CompleteMultipartUploadOutput::default()
    };
    answer_checksum!(output, checksum);
    output.checksum_type = checksum::kind(checksum);
    S3Response::new(output)
}

/// Returns the parts that a completion lists, in ascending order.
fn listed(upload: Option<CompletedMultipartUpload>) -> S3Result<Vec<ListedPart>> {
    let parts = upload.and_then(|upload| upload.parts).unwrap_or_default();
    if parts.is_empty() {
        return Err(s3_error!(MalformedXML, "An upload is completed with a list of at least one part"));
    }
    let mut listed: Vec<ListedPart> = Vec::with_capacity(parts.len());
    for part in parts {
        let number = part_number(part.part_number.unwrap_or(0))?;
        match listed.last().map(|before| before.number) {
            Some(before) if before > number => {
                return Err(s3_error!(InvalidPartOrder, "Part {number} is not listed in ascending order"));
            }
            // If a part was uploaded and listed twice, the last upload counts.
            Some(before) if before == number => drop(listed.pop()),
            _ => {}
        }
        let checksum = sent_checksum!(part);
        let tag = part.e_tag.ok_or_else(|| s3_error!(MalformedXML, "Part {number} has no ETag"))?;
        listed.push(ListedPart { number, tag: tag.into_value(), checksum });
    }
    Ok(listed)
}

/// Returns the listed parts that were uploaded, and refuses parts before the last that are too small.
fn choose(listed: &[ListedPart], uploaded: Vec<Part>, upload: Option<&StoredChecksum>) -> S3Result<Vec<StoredPart>> {
    let mut chosen = Vec::with_capacity(listed.len());
    let mut uploaded = uploaded.into_iter();
    for ListedPart { number, tag, checksum } in listed {
        let part =
            uploaded.by_ref().find(|part| part.number == *number).filter(|part| part.stat.tag.to_string() == *tag);
        let Part { stat, checksum: stored, .. } = part.ok_or(StoreError::InvalidPart(*number))?;
        let differs = |stored: &StoredChecksum| {
            checksum::value(checksum, stored.algorithm).is_some_and(|claimed| *claimed != stored.value)
        };
        if stored.as_ref().is_some_and(differs) {
            return Err(StoreError::InvalidPart(*number).into());
        }
        let of_upload = stored.filter(|stored| upload.is_some_and(|upload| upload.algorithm == stored.algorithm));
        chosen.push(StoredPart { number: *number, size: stat.size, checksum: of_upload.map(|stored| stored.value) });
    }
    let all_but_last = chosen.split_last().map_or(&[][..], |(_, before)| before);
    match all_but_last.iter().find(|part| part.size < PART_BYTES_MIN) {
        Some(StoredPart { number, size, .. }) => Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size: part {number} has {size} bytes of the \
             {PART_BYTES_MIN} that each part but the last must have"
        )),
        None => Ok(chosen),
    }
}

/// Returns the byte range of a copy source, which must have both ends and lie within the source.
fn source_range(header: Option<&str>, size: u64) -> S3Result<std::ops::Range<u64>> {
    let Some(header) = header else { return Ok(0..size) };
    match Range::parse(header) {
        Ok(Range::Int { first, last: Some(last) }) if last < size => Ok(first..last + 1),
        Ok(Range::Int { last: Some(_), .. }) => {
            Err(s3_error!(InvalidRange, "Range specified is not valid for source object of size: {size}"))
        }
        _ => Err(s3_error!(InvalidArgument, "x-amz-copy-source-range is not bytes=FIRST-LAST")),
    }
}

pub(super) fn part_number(number: i32) -> S3Result<u16> {
    let valid = u16::try_from(number).ok().filter(|number| (1..=PARTS_MAX).contains(number));
    valid.ok_or_else(|| s3_error!(InvalidArgument, "Part number {number} is not within 1..={PARTS_MAX}"))
}
