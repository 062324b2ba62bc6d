//! Uploads in parts.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyPartResult, CreateMultipartUploadInput, CreateMultipartUploadOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part, Range, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::body::{self, claims};
use super::listing::Names;
use super::object::write_condition;
use super::{Gateway, Reply, etag, signed};
use crate::signature;
use crate::vault::{Attributes, Target, Upload};

/// Highest part number, as S3's.
const PARTS_MAX: u16 = 10_000;
/// Most entries of a page, as S3's.
const PAGE: usize = 1000;

impl Gateway {
    pub(super) async fn begin_upload(&self, input: CreateMultipartUploadInput) -> Reply<CreateMultipartUploadOutput> {
        let attributes = Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding.as_deref().and_then(signature::without_chunked),
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        };
        let upload_id = self.vault.create_upload(&input.bucket, &input.key, attributes).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn put_part(&self, mut request: S3Request<UploadPartInput>) -> Reply<UploadPartOutput> {
        let claims = claims!(request);
        let S3Request { input, headers, .. } = request;
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        let number = match self.may_upload(input.part_number, &upload).await {
            Ok(number) => number,
            Err(refusal) => {
                body::discard(input.body, &headers).await;
                return Err(refusal);
            }
        };
        let (draft, checksum) = body::receive(&self.vault, input.body, claims, &headers).await?;
        let stat = draft.commit(Target::Part { upload, number }).await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(etag(stat.tag)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..UploadPartOutput::default()
        }))
    }

    async fn may_upload(&self, number: i32, upload: &Upload) -> S3Result<u16> {
        let number = part_number(number)?;
        self.vault.parts(upload.clone()).await?;
        Ok(number)
    }

    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> Reply<UploadPartCopyOutput> {
        let number = part_number(input.part_number)?;
        let source = self.open_source(&input.copy_source).await?;
        let range = match input.copy_source_range.as_deref().map(Range::parse) {
            None => 0..source.stat.size,
            Some(Ok(range)) => range.check(source.stat.size)?,
            Some(Err(_)) => return Err(s3_error!(InvalidArgument, "x-amz-copy-source-range is not bytes=FIRST-LAST")),
        };
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        let stat = self.copy_range(source, range, Target::Part { upload, number }).await?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(etag(stat.tag)),
                last_modified: Some(stat.modified.into()),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        }))
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> Reply<CompleteMultipartUploadOutput> {
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if listed.is_empty() {
            return Err(s3_error!(MalformedXML, "An upload is completed with a list of at least one part"));
        }
        let mut parts = Vec::with_capacity(listed.len());
        for part in listed {
            let number = part_number(part.part_number.unwrap_or(0))?;
            if parts.last().is_some_and(|(before, _)| *before >= number) {
                return Err(s3_error!(InvalidPartOrder, "Part {number} is not listed in ascending order"));
            }
            let tag = part.e_tag.ok_or_else(|| s3_error!(MalformedXML, "Part {number} has no ETag"))?;
            parts.push((number, tag.into_value()));
        }
        let condition = write_condition(input.if_match, input.if_none_match);
        let (bucket, key) = (input.bucket, input.key);
        let upload = Upload { bucket: bucket.clone(), key: key.clone(), id: input.upload_id };
        let stat = self.vault.complete_upload(upload, parts, condition).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(etag(stat.tag)),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn abort_upload(&self, input: AbortMultipartUploadInput) -> Reply<AbortMultipartUploadOutput> {
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        self.vault.abort_upload(upload).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn parts(&self, input: ListPartsInput) -> Reply<ListPartsOutput> {
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        let after = input.part_number_marker.unwrap_or(0);
        let limit = input.max_parts.and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE).min(PAGE);
        let mut found = self.vault.parts(upload.clone()).await?;
        found.retain(|(number, _)| i32::from(*number) > after);
        let is_truncated = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|(number, _)| i32::from(*number)).filter(|_| is_truncated);
        let parts = found.into_iter().map(|(number, stat)| Part {
            part_number: Some(i32::from(number)),
            size: Some(signed(stat.size)),
            e_tag: Some(etag(stat.tag)),
            last_modified: Some(stat.modified.into()),
            ..Part::default()
        });
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(parts.collect()),
            is_truncated: Some(is_truncated),
            next_part_number_marker: next,
            part_number_marker: Some(after),
            max_parts: i32::try_from(limit).ok(),
            bucket: Some(upload.bucket),
            key: Some(upload.key),
            upload_id: Some(upload.id),
            ..ListPartsOutput::default()
        }))
    }

    pub(super) async fn uploads(&self, input: ListMultipartUploadsInput) -> Reply<ListMultipartUploadsOutput> {
        if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "Uploads are listed without a delimiter here"));
        }
        let names = Names::new(input.encoding_type.as_ref());
        let limit = input.max_uploads.and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE).min(PAGE);
        let prefix = input.prefix.unwrap_or_default();
        let mut found = self.vault.uploads(&input.bucket).await?;
        found.retain(|(upload, _)| upload.key.starts_with(&prefix));
        let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
        if let Some(marker) = &key_marker {
            // After the upload named by both markers, or after every upload of the key.
            let id = input.upload_id_marker.as_deref();
            let at = found.iter().position(|(upload, _)| upload.key == *marker && Some(upload.id.as_str()) == id);
            match at {
                Some(position) => drop(found.drain(..=position)),
                None => found.retain(|(upload, _)| upload.key > *marker),
            }
        }
        let is_truncated = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| is_truncated).map(|(upload, _)| upload.clone());
        let uploads = found.into_iter().map(|(upload, started)| MultipartUpload {
            key: Some(names.write(upload.key)),
            upload_id: Some(upload.id),
            initiated: Some(started.into()),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            bucket: Some(input.bucket),
            prefix: Some(names.write(prefix)),
            key_marker: key_marker.map(|marker| names.write(marker)),
            upload_id_marker: input.upload_id_marker,
            is_truncated: Some(is_truncated),
            next_key_marker: last.as_ref().map(|upload| names.write(upload.key.clone())),
            next_upload_id_marker: last.map(|upload| upload.id),
            max_uploads: i32::try_from(limit).ok(),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

fn part_number(number: i32) -> S3Result<u16> {
    let valid = u16::try_from(number).ok().filter(|number| (1..=PARTS_MAX).contains(number));
    valid.ok_or_else(|| s3_error!(InvalidArgument, "Part number {number} is not within 1..={PARTS_MAX}"))
}
