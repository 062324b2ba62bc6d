//! Metadata in requests: headers, user metadata, tags, owner and access control list.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::percent_decode_str;
use s3s::dto::{Tag, Timestamp};
use s3s::{S3Result, s3_error};

use crate::signature;
use crate::store::Attributes;

/// Most bytes of user metadata, names and values together; the limit of S3.
const METADATA_BYTES: usize = 2048;
/// Most tags of an object; the limit of S3.
const OBJECT_TAGS: usize = 10;
/// Most tags of a bucket; the limit of S3.
pub(super) const BUCKET_TAGS: usize = 50;

/// Returns the attributes in the headers of a request. The inputs of `PutObject`, `CreateMultipartUpload` and
/// `CopyObject` have the same fields but different types.
macro_rules! attributes {
    ($input:expr) => {{
        let input = &mut $input;
        $crate::protocol::attach::refuse_unknown_class(input.storage_class.as_ref().map(|class| class.as_str()))?;
        $crate::protocol::attach::refuse_encryption(
            input.server_side_encryption.is_some() || input.sse_customer_algorithm.is_some(),
        )?;
        $crate::protocol::attach::refuse_locks(
            input.object_lock_mode.is_some()
                || input.object_lock_legal_hold_status.as_ref().is_some_and(|status| status.as_str() == "ON"),
        )?;
        let attributes = $crate::store::Attributes {
            content_type: input.content_type.take(),
            content_encoding: $crate::protocol::attach::content_encoding(input.content_encoding.take()),
            content_language: input.content_language.take(),
            content_disposition: input.content_disposition.take(),
            cache_control: input.cache_control.take(),
            expires_unix_s: input.expires.take().and_then(|time| $crate::protocol::attach::unix_seconds(&time)),
            website_redirect: input.website_redirect_location.take(),
            metadata: input.metadata.take().unwrap_or_default().into_iter().collect(),
            tags: $crate::protocol::attach::tags_of_header(input.tagging.as_deref())?,
            ..$crate::store::Attributes::default()
        };
        $crate::protocol::attach::check_metadata(&attributes)?;
        attributes
    }};
}
pub(super) use attributes;

pub(super) fn refuse_unknown_class(class: Option<&str>) -> S3Result<()> {
    match class {
        None | Some("STANDARD") => Ok(()),
        Some(class) => {
            Err(s3_error!(InvalidStorageClass, "The storage class is {class}; this server has STANDARD only"))
        }
    }
}

pub(super) fn refuse_encryption(asked: bool) -> S3Result<()> {
    if asked { Err(s3_error!(NotImplemented, "This server does not encrypt objects")) } else { Ok(()) }
}

pub(super) fn refuse_locks(asked: bool) -> S3Result<()> {
    if asked { Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration")) } else { Ok(()) }
}

/// Returns the content encoding without `aws-chunked`, which describes the transfer and not the object.
pub(super) fn content_encoding(sent: Option<String>) -> Option<String> {
    let sent = sent?;
    if !sent.contains("aws-chunked") {
        return Some(sent);
    }
    signature::without_chunked(&sent)
}

pub(super) fn check_metadata(attributes: &Attributes) -> S3Result<()> {
    let bytes: usize = attributes.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size: {bytes} of {METADATA_BYTES} bytes"
        ));
    }
    Ok(())
}

pub(super) fn unix_seconds(time: &Timestamp) -> Option<u64> {
    let time: SystemTime = system_time(time);
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Converts a time of the protocol to the standard library's type.
pub(super) fn system_time(time: &Timestamp) -> SystemTime {
    time::OffsetDateTime::from(time.clone()).into()
}

/// Converts seconds since 1970 to the protocol's type.
pub(super) fn timestamp(unix_s: u64) -> Timestamp {
    (UNIX_EPOCH + Duration::from_secs(unix_s)).into()
}

/// Parses the header `x-amz-tagging`: `key=value&key=value`, percent-encoded.
pub(super) fn tags_of_header(header: Option<&str>) -> S3Result<Vec<(String, String)>> {
    let Some(header) = header.filter(|header| !header.is_empty()) else { return Ok(Vec::new()) };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (percent_decode(key), percent_decode(value)) {
            (Some(key), Some(value)) => Ok((key, value)),
            _ => Err(s3_error!(InvalidArgument, "The header x-amz-tagging is not percent-encoded UTF-8")),
        }
    };
    let tags = header.split('&').map(pair).collect::<S3Result<Vec<_>>>()?;
    check_tags(tags, OBJECT_TAGS)
}

/// Parses tags in a request body.
pub(super) fn tags_of_body(set: Vec<Tag>, most: Option<usize>) -> S3Result<Vec<(String, String)>> {
    let tags = set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
    check_tags(tags, most.unwrap_or(OBJECT_TAGS))
}

/// Returns tags as a response contains them.
pub(super) fn tag_set(tags: &[(String, String)]) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

fn check_tags(tags: Vec<(String, String)>, most: usize) -> S3Result<Vec<(String, String)>> {
    if tags.len() > most {
        return Err(s3_error!(InvalidTag, "There are {} tags; {most} are allowed", tags.len()));
    }
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid: 1 to 128 characters"));
        }
        if value.chars().count() > 256 {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid: at most 256 characters"));
        }
        if tags[..index].iter().any(|(other, _)| other == key) {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key: {key}"));
        }
    }
    Ok(tags)
}

/// Returns the text of a form field; `None` if an escape is malformed or the bytes are not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_no_encoding_of_the_object() {
        let kept = |sent: &str| content_encoding(Some(sent.to_owned()));
        assert_eq!(kept("deflate, gzip").as_deref(), Some("deflate, gzip"));
        assert_eq!(kept("gzip, aws-chunked").as_deref(), Some("gzip"));
        assert_eq!(kept("aws-chunked,gzip").as_deref(), Some("gzip"));
        assert_eq!(kept("aws-chunked"), None);
        assert_eq!(kept("aws-chunked, aws-chunked"), None);
    }

    #[test]
    fn tags_of_a_header_are_decoded_and_checked() {
        let tags = |header: &str| tags_of_header(Some(header));
        assert_eq!(tags("a=1&b%20c=%C3%A9").unwrap(), [("a".into(), "1".into()), ("b c".into(), "é".into())]);
        assert_eq!(tags("a").unwrap(), [("a".into(), String::new())]);
        assert!(tags("a=1&a=2").is_err() && tags("=1").is_err() && tags("a=%zz").is_err());
        let many: Vec<String> = (0..11).map(|index| format!("k{index}=v")).collect();
        assert!(tags(&many.join("&")).is_err());
    }

    #[test]
    fn times_keep_their_seconds() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_001, 250_000_000);
        assert_eq!(system_time(&time.into()), time);
        assert_eq!(unix_seconds(&timestamp(77)), Some(77));
    }
}
