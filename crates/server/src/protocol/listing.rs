//! Listings of objects.

use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass,
};
use s3s::{S3Response, S3Result, s3_error};

use super::{Gateway, Reply, etag, signed};
use crate::credentials::hex;
use crate::vault::{From, Page, Query, Stat};

/// Most entries of a page, as S3's.
const PAGE: usize = 1000;

impl Gateway {
    pub(super) async fn list_v2(&self, input: ListObjectsV2Input) -> Reply<ListObjectsV2Output> {
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter);
        let from = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => From::parse_token(token)
                .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is not one of this server's"))?,
            (None, Some(key)) => after(key, &prefix, delimiter.as_deref()),
            (None, None) => From::Start,
        };
        let limit = page_limit(input.max_keys)?;
        let query = Query { prefix: prefix.clone(), delimiter: delimiter.clone(), from, limit };
        let Page { objects, prefixes, next } = self.vault.list(&input.bucket, query).await?;
        let names = Names::new(input.encoding_type.as_ref());
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(names.write(prefix)),
            delimiter: delimiter.map(|text| names.write(text)),
            max_keys: i32::try_from(limit).ok(),
            key_count: i32::try_from(objects.len() + prefixes.len()).ok(),
            continuation_token: input.continuation_token,
            start_after: input.start_after.map(|key| names.write(key)),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next.and_then(|from| from.token()),
            contents: Some(contents(objects, &names)),
            common_prefixes: Some(common(prefixes, &names)),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        }))
    }

    pub(super) async fn list_v1(&self, input: ListObjectsInput) -> Reply<ListObjectsOutput> {
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter);
        let marker = input.marker.clone().filter(|marker| !marker.is_empty());
        let from = marker.map_or(From::Start, |key| after(&key, &prefix, delimiter.as_deref()));
        let limit = page_limit(input.max_keys)?;
        let query = Query { prefix: prefix.clone(), delimiter: delimiter.clone(), from, limit };
        let Page { objects, prefixes, next } = self.vault.list(&input.bucket, query).await?;
        let names = Names::new(input.encoding_type.as_ref());
        let is_truncated = Some(next.is_some());
        let next_marker = next.and_then(|from| match from {
            From::Start => None,
            From::After(name) | From::Past(name) => Some(names.write(name)),
        });
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.write(prefix)),
            delimiter: delimiter.map(|text| names.write(text)),
            marker: Some(names.write(input.marker.unwrap_or_default())),
            max_keys: i32::try_from(limit).ok(),
            is_truncated,
            next_marker,
            contents: Some(contents(objects, &names)),
            common_prefixes: Some(common(prefixes, &names)),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        }))
    }
}

/// Where a listing goes on after `key`. One that is a common prefix itself stands for everything below it, as the
/// last entry of the page before.
fn after(key: &str, prefix: &str, delimiter: Option<&str>) -> From {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
    match (key.strip_prefix(prefix), delimiter) {
        (Some(rest), Some(delimiter)) if rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len()) => {
            From::Past(key.to_owned())
        }
        _ => From::After(key.to_owned()),
    }
}

fn page_limit(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(PAGE),
        Some(keys) => {
            let keys = usize::try_from(keys).map_err(|_| s3_error!(InvalidArgument, "max-keys is negative"))?;
            Ok(keys.min(PAGE))
        }
    }
}

fn contents(objects: Vec<(String, Stat)>, names: &Names) -> Vec<Object> {
    let entry = |(key, stat): (String, Stat)| Object {
        key: Some(names.write(key)),
        size: Some(signed(stat.size)),
        e_tag: Some(etag(stat.tag)),
        last_modified: Some(stat.modified.into()),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    };
    objects.into_iter().map(entry).collect()
}

fn common(prefixes: Vec<String>, names: &Names) -> Vec<CommonPrefix> {
    prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(names.write(prefix)) }).collect()
}

/// Writes keys into an answer: as they are, or percent-encoded, for keys that XML cannot hold.
pub(super) struct Names {
    encoded: bool,
}

impl Names {
    pub(super) fn new(encoding: Option<&EncodingType>) -> Self {
        Self { encoded: encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL) }
    }

    pub(super) fn write(&self, name: String) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
        if !self.encoded || name.bytes().all(plain) {
            return name;
        }
        let mut text = String::with_capacity(3 * name.len());
        for byte in name.bytes() {
            if plain(byte) {
                text.push(char::from(byte));
            } else {
                text.push('%');
                text.push_str(&hex(&[byte]).to_ascii_uppercase());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_encoded_only_when_asked() {
        let url = Names { encoded: true };
        assert_eq!(url.write("a b/é\n+".into()), "a%20b/%C3%A9%0A%2B");
        assert_eq!(Names { encoded: false }.write("a b".into()), "a b");
    }

    #[test]
    fn a_marker_that_is_a_common_prefix_stands_for_all_below_it() {
        assert_eq!(after("x/a/", "x/", Some("/")), From::Past("x/a/".into()));
        assert_eq!(after("x/a/b", "x/", Some("/")), From::After("x/a/b".into()));
        assert_eq!(after("x/", "", None), From::After("x/".into()));
    }
}
