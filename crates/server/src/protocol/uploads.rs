//! Lists multipart uploads in progress and their parts.

use s3s::S3Response;
use s3s::dto::{
    ChecksumAlgorithm, CommonPrefix, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part as PartDto, StorageClass,
};

use super::access::owner_id;
use super::checksum::{self, answer_checksum};
use super::control::person;
use super::listing::KeyEncoder;
use super::page::page_limit;
use super::{Gateway, Reply, etag, signed};
use crate::store::{Part, Upload, UploadInProgress};

/// An entry on a page of uploads.
enum Entry {
    Upload(UploadInProgress),
    Prefix(String),
}

impl Gateway {
    pub(super) async fn parts(&self, input: ListPartsInput) -> Reply<ListPartsOutput> {
        let upload = Upload { bucket: input.bucket, key: input.key, id: input.upload_id };
        let after = input.part_number_marker.unwrap_or(0);
        let limit = page_limit(input.max_parts, "max-parts")?;
        let begun = self.store.upload_attributes(upload.clone()).await?;
        let mut found = self.store.parts(upload.clone()).await?;
        found.retain(|part| i32::from(part.number) > after);
        let is_truncated = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|part| i32::from(part.number)).filter(|_| is_truncated);
        let owner = owner_id(begun.owner.as_ref());
        let checksum = begun.checksum.as_ref();
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(found.iter().map(part).collect()),
            is_truncated: Some(is_truncated),
            next_part_number_marker: next,
            part_number_marker: Some(after),
            max_parts: i32::try_from(limit).ok(),
            bucket: Some(upload.bucket),
            key: Some(upload.key),
            upload_id: Some(upload.id),
            owner: Some(person(owner)),
            initiator: Some(initiator(owner)),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: checksum.map(|stored| ChecksumAlgorithm::from_static(stored.algorithm.name())),
            checksum_type: checksum::kind(checksum),
            ..ListPartsOutput::default()
        }))
    }

    pub(super) async fn uploads(&self, input: ListMultipartUploadsInput) -> Reply<ListMultipartUploadsOutput> {
        let names = KeyEncoder::new(input.encoding_type.as_ref());
        let limit = page_limit(input.max_uploads, "max-uploads")?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let mut found = self.store.uploads(&input.bucket).await?;
        found.retain(|begun| begun.upload.key.starts_with(&prefix));
        let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
        if let Some(marker) = &key_marker {
            skip_to(&mut found, marker, input.upload_id_marker.as_deref());
        }
        let mut entries = grouped(found, &prefix, delimiter.as_deref(), key_marker.as_deref());
        let is_truncated = entries.len() > limit;
        entries.truncate(limit);
        let (next_key, next_id) = match entries.last().filter(|_| is_truncated) {
            Some(Entry::Upload(begun)) => (Some(begun.upload.key.clone()), Some(begun.upload.id.clone())),
            Some(Entry::Prefix(prefix)) => (Some(prefix.clone()), None),
            None => (None, None),
        };
        let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Upload(begun) => uploads.push(upload(begun, &names)),
                Entry::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(names.write(prefix)) }),
            }
        }
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads),
            common_prefixes: Some(prefixes),
            bucket: Some(input.bucket),
            prefix: Some(names.write(prefix)),
            delimiter: delimiter.map(|delimiter| names.write(delimiter)),
            key_marker: key_marker.map(|marker| names.write(marker)),
            upload_id_marker: input.upload_id_marker,
            is_truncated: Some(is_truncated),
            next_key_marker: next_key.map(|key| names.write(key)),
            next_upload_id_marker: next_id,
            max_uploads: i32::try_from(limit).ok(),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

/// Removes the uploads up to the one that both markers name, or all up to the last of the key.
fn skip_to(found: &mut Vec<UploadInProgress>, marker: &str, id: Option<&str>) {
    let at = found.iter().position(|begun| begun.upload.key == *marker && Some(begun.upload.id.as_str()) == id);
    match at {
        Some(position) => drop(found.drain(..=position)),
        None => found.retain(|begun| *begun.upload.key > *marker),
    }
}

/// Returns the uploads; those whose keys continue after a delimiter are replaced by their common prefixes.
fn grouped(found: Vec<UploadInProgress>, prefix: &str, delimiter: Option<&str>, after: Option<&str>) -> Vec<Entry> {
    let Some(delimiter) = delimiter else { return found.into_iter().map(Entry::Upload).collect() };
    let mut entries = Vec::new();
    for begun in found {
        let rest = &begun.upload.key[prefix.len()..];
        let Some(at) = rest.find(delimiter) else {
            entries.push(Entry::Upload(begun));
            continue;
        };
        let group = &begun.upload.key[..prefix.len() + at + delimiter.len()];
        let is_known = after == Some(group) || matches!(entries.last(), Some(Entry::Prefix(last)) if last == group);
        if !is_known {
            entries.push(Entry::Prefix(group.to_owned()));
        }
    }
    entries
}

fn part(part: &Part) -> PartDto {
    let mut answer = PartDto {
        part_number: Some(i32::from(part.number)),
        size: Some(signed(part.stat.size)),
        e_tag: Some(etag(part.stat.tag)),
        last_modified: Some(part.stat.modified.into()),
        ..PartDto::default()
    };
    answer_checksum!(answer, part.checksum.as_ref());
    answer
}

fn upload(begun: UploadInProgress, names: &KeyEncoder) -> MultipartUpload {
    let owner = owner_id(begun.attributes.owner.as_ref());
    let checksum = begun.attributes.checksum.as_ref();
    MultipartUpload {
        owner: Some(person(owner)),
        initiator: Some(initiator(owner)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: checksum.map(|stored| ChecksumAlgorithm::from_static(stored.algorithm.name())),
        checksum_type: checksum::kind(checksum),
        key: Some(names.write(begun.upload.key)),
        upload_id: Some(begun.upload.id),
        initiated: Some(begun.started.into()),
    }
}

fn initiator(id: &str) -> Initiator {
    Initiator { display_name: Some(id.to_owned()), id: Some(id.to_owned()) }
}
