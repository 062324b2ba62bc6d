//! Reads objects: GET, HEAD and `GetObjectAttributes`.

use std::ops::Range as Bytes;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use s3s::dto::{
    ChecksumMode, ETagCondition, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectPart, Range, StorageClass, Timestamp,
};
use s3s::{S3Error, S3Response, S3Result, s3_error};

use super::attach::{system_time, timestamp};
use super::body::{self, ResponseStream};
use super::checksum::{self, answer_checksum};
use super::{Gateway, Reply, etag, pattern, signed};
use crate::store::{Attributes, OpenObject, Stat, StoreError, StoredChecksum};

/// Most parts on a page of `GetObjectAttributes`; the limit of S3.
const PARTS: usize = 1000;

/// The part of an object that a request asks for.
struct RequestedBytes {
    bytes: Bytes<u64>,
    /// The response's `Content-Range`; `None` if the whole object is requested.
    content_range: Option<String>,
    /// Number of parts of the object, if a part is requested.
    parts: Option<i32>,
    /// Checksum of the requested bytes.
    checksum: Option<StoredChecksum>,
}

/// Opens the object of a GET or a HEAD, checks the conditions of the request, and determines the requested bytes. The
/// two inputs have the same fields but different types.
macro_rules! open_requested {
    ($gateway:expr, $input:expr) => {{
        check_version($input.version_id.as_deref())?;
        let opened = $gateway.store.open(&$input.bucket, &$input.key).await?;
        let condition = ReadCondition {
            matches: $input.if_match.as_ref(),
            differs: $input.if_none_match.as_ref(),
            modified_since: $input.if_modified_since.as_ref(),
            unmodified_since: $input.if_unmodified_since.as_ref(),
        };
        condition.check(&opened.stat)?;
        let requested = requested(&opened, $input.range.as_ref(), $input.part_number)?;
        (opened, requested)
    }};
}

/// Fills the fields that the responses to GET and HEAD share without a common type.
macro_rules! describe {
    ($output:expr, $stat:expr, $attributes:expr, $requested:expr, $verify:expr) => {{
        let (output, attributes): (_, &Attributes) = (&mut $output, &$attributes);
        output.accept_ranges = Some("bytes".into());
        output.content_length = Some(signed($requested.bytes.end - $requested.bytes.start));
        output.content_range = $requested.content_range;
        output.content_type = Some(attributes.content_type.clone().unwrap_or_else(|| "binary/octet-stream".into()));
        output.content_encoding = attributes.content_encoding.clone();
        output.content_language = attributes.content_language.clone();
        output.content_disposition = attributes.content_disposition.clone();
        output.cache_control = attributes.cache_control.clone();
        output.expires = attributes.expires_unix_s.map(timestamp);
        output.website_redirect_location = attributes.website_redirect.clone();
        output.metadata = (!attributes.metadata.is_empty()).then(|| attributes.metadata.clone().into_iter().collect());
        output.e_tag = Some(etag($stat.tag));
        output.last_modified = Some($stat.modified.into());
        output.parts_count = $requested.parts;
        if $verify {
            answer_checksum!(output, $requested.checksum.as_ref());
            output.checksum_type = checksum::kind($requested.checksum.as_ref());
        }
    }};
}

/// The conditions of a GET, a HEAD or the source of a copy.
pub(super) struct ReadCondition<'a> {
    pub(super) matches: Option<&'a ETagCondition>,
    pub(super) differs: Option<&'a ETagCondition>,
    pub(super) modified_since: Option<&'a Timestamp>,
    pub(super) unmodified_since: Option<&'a Timestamp>,
}

impl ReadCondition<'_> {
    /// Checks the conditions against an object. A condition on the entity tag takes precedence over one on the time.
    pub(super) fn check(&self, stat: &Stat) -> S3Result<()> {
        let second = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let modified_after = |time: &Timestamp| second(stat.modified) > second(system_time(time));
        let holds = match (self.matches, self.unmodified_since) {
            (Some(condition), _) => pattern(condition).fits(stat),
            (None, Some(time)) => !modified_after(time),
            (None, None) => true,
        };
        if !holds {
            return Err(StoreError::Condition.into());
        }
        let unchanged = match (self.differs, self.modified_since) {
            (Some(condition), _) => pattern(condition).fits(stat),
            (None, Some(time)) => !modified_after(time),
            (None, None) => false,
        };
        if unchanged { Err(not_modified(stat)) } else { Ok(()) }
    }
}

/// Returns the 304 response, which names the current version.
fn not_modified(stat: &Stat) -> S3Error {
    let mut error = s3_error!(NotModified, "Not Modified");
    let mut headers = HeaderMap::new();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", stat.tag)) {
        headers.insert(ETAG, tag);
    }
    let mut text = Vec::new();
    let modified = Timestamp::from(stat.modified);
    if modified.format(s3s::dto::TimestampFormat::HttpDate, &mut text).is_ok()
        && let Ok(modified) = HeaderValue::from_bytes(&text)
    {
        headers.insert(LAST_MODIFIED, modified);
    }
    error.set_headers(headers);
    error
}

/// Refuses version ids other than `null`, because buckets have no versioning.
pub(super) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("" | "null") => Ok(()),
        Some(version) => Err(s3_error!(NoSuchVersion, "The version {version} does not exist")),
    }
}

impl Gateway {
    pub(super) async fn get(&self, input: GetObjectInput) -> Reply<GetObjectOutput> {
        let (opened, requested) = open_requested!(self, input);
        let (bytes, verify) =
            (requested.bytes.clone(), verifies(input.checksum_mode.as_ref().map(ChecksumMode::as_str)));
        let mut output = GetObjectOutput::default();
        describe!(output, opened.stat, opened.attributes, requested, verify);
        output.tag_count = i32::try_from(opened.attributes.tags.len()).ok().filter(|count| *count > 0);
        let reader = opened.read(bytes, body::piece_bytes(self.timer.as_ref()));
        output.body = Some(ResponseStream::blob(reader, self.timer.clone()));
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(&self, input: HeadObjectInput) -> Reply<HeadObjectOutput> {
        let (opened, requested) = open_requested!(self, input);
        let partial = requested.content_range.is_some();
        let verify = verifies(input.checksum_mode.as_ref().map(ChecksumMode::as_str));
        let mut output = HeadObjectOutput::default();
        describe!(output, opened.stat, opened.attributes, requested, verify);
        output.cache_control = input.response_cache_control.or(output.cache_control);
        output.content_disposition = input.response_content_disposition.or(output.content_disposition);
        output.content_encoding = input.response_content_encoding.or(output.content_encoding);
        output.content_language = input.response_content_language.or(output.content_language);
        output.content_type = input.response_content_type.or(output.content_type);
        output.expires = input.response_expires.or(output.expires);
        let mut response = S3Response::new(output);
        response.status = partial.then_some(hyper::StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }

    pub(super) async fn object_attributes(&self, input: GetObjectAttributesInput) -> Reply<GetObjectAttributesOutput> {
        check_version(input.version_id.as_deref())?;
        let OpenObject { stat, attributes, .. } = self.store.open(&input.bucket, &input.key).await?;
        // Clients write the names into one header, or into one header each.
        let names = || input.object_attributes.iter().flat_map(|header| header.as_str().split(',')).map(str::trim);
        let asked = |name: &str| names().any(|asked| asked == name);
        if input.object_attributes.is_empty() {
            return Err(s3_error!(InvalidArgument, "The header x-amz-object-attributes names no attribute"));
        }
        let parts = asked("ObjectParts").then(|| page_of_parts(&attributes, input.max_parts, input.part_number_marker));
        Ok(S3Response::new(GetObjectAttributesOutput {
            e_tag: asked("ETag").then(|| etag(stat.tag)),
            object_size: asked("ObjectSize").then(|| signed(stat.size)),
            checksum: attributes
                .checksum
                .as_ref()
                .filter(|_| asked("Checksum"))
                .map(|stored| checksum::fields(Some(stored))),
            object_parts: parts.flatten(),
            storage_class: asked("StorageClass").then(|| StorageClass::from_static(StorageClass::STANDARD)),
            last_modified: Some(stat.modified.into()),
            ..GetObjectAttributesOutput::default()
        }))
    }
}

fn verifies(mode: Option<&str>) -> bool {
    mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"))
}

/// Determines the bytes that a range or a part number asks for.
fn requested(opened: &OpenObject, range: Option<&Range>, part: Option<i32>) -> S3Result<RequestedBytes> {
    let size = opened.stat.size;
    let named = |bytes: &Bytes<u64>| format!("bytes {}-{}/{size}", bytes.start, bytes.end.saturating_sub(1));
    match (range, part) {
        (Some(_), Some(_)) => {
            Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(range), None) => {
            let bytes = satisfiable(range, size)?;
            Ok(RequestedBytes { content_range: Some(named(&bytes)), bytes, parts: None, checksum: None })
        }
        (None, Some(number)) => {
            let (bytes, checksum) = part_of(opened, number)?;
            let parts = i32::try_from(opened.attributes.parts.len()).ok().filter(|count| *count > 0);
            let content_range = (bytes.end > bytes.start).then(|| named(&bytes));
            Ok(RequestedBytes { bytes, content_range, parts, checksum })
        }
        (None, None) => {
            let checksum = opened.attributes.checksum.clone();
            Ok(RequestedBytes { bytes: 0..size, content_range: None, parts: None, checksum })
        }
    }
}

/// Returns where the part with a number lies. An object written in one request consists of one part.
fn part_of(opened: &OpenObject, number: i32) -> S3Result<(Bytes<u64>, Option<StoredChecksum>)> {
    let attributes: &Arc<Attributes> = &opened.attributes;
    if number == 1 && attributes.parts.is_empty() {
        return Ok((0..opened.stat.size, attributes.checksum.clone()));
    }
    let mut begin = 0;
    for part in &attributes.parts {
        if i32::from(part.number) == number {
            let of_object = attributes.checksum.as_ref();
            let checksum =
                of_object.zip(part.checksum.clone()).map(|(of, value)| StoredChecksum { value, ..of.clone() });
            return Ok((begin..begin + part.size, checksum));
        }
        begin += part.size;
    }
    Err(s3_error!(InvalidPart, "The object has no part {number}"))
}

/// Returns the bytes of a range. A range that begins after the end is an error, which states the size of the object.
fn satisfiable(range: &Range, size: u64) -> S3Result<Bytes<u64>> {
    range.check(size).map_err(|_| s3_error!(InvalidRange, "The range begins behind the object's {size} bytes"))
}

/// Returns a page of the parts of an object; `None` for an object written in one request.
fn page_of_parts(attributes: &Attributes, most: Option<i32>, after: Option<i32>) -> Option<GetObjectAttributesParts> {
    if attributes.parts.is_empty() {
        return None;
    }
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(PARTS).min(PARTS);
    let after = after.unwrap_or(0);
    let algorithm = attributes.checksum.as_ref();
    let later = attributes.parts.iter().filter(|part| i32::from(part.number) > after);
    let is_truncated = later.clone().count() > most;
    let parts: Vec<ObjectPart> = later
        .take(most)
        .map(|part| {
            let stored = algorithm.zip(part.checksum.clone()).map(|(of, value)| StoredChecksum { value, ..of.clone() });
            let mut answer = ObjectPart {
                part_number: Some(i32::from(part.number)),
                size: Some(signed(part.size)),
                ..ObjectPart::default()
            };
            answer_checksum!(answer, stored.as_ref());
            answer
        })
        .collect();
    Some(GetObjectAttributesParts {
        is_truncated: Some(is_truncated),
        max_parts: i32::try_from(most).ok(),
        next_part_number_marker: parts.last().and_then(|part| part.part_number).or(Some(after)),
        part_number_marker: Some(after),
        total_parts_count: i32::try_from(attributes.parts.len()).ok(),
        parts: Some(parts),
    })
}
