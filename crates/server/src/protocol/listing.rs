//! Listings of objects.

use percent_encoding::utf8_percent_encode;
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass,
    Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::access::owner_id;
use super::control::person;
use super::page::page_limit;
use super::{Gateway, Reply, etag, signed};
use crate::percent::PATH;
use crate::store::{ListStart, Page, Query, Stat};

impl Gateway {
    pub(super) async fn list_v2(&self, request: S3Request<ListObjectsV2Input>) -> Reply<ListObjectsV2Output> {
        refuse_unordered(&request.uri, request.input.delimiter.as_deref())?;
        let input = request.input;
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), some(input.delimiter));
        let token = input.continuation_token.as_ref().filter(|token| !token.is_empty());
        let from = match (token, &input.start_after) {
            (Some(token), _) => ListStart::parse_token(token)
                .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is not one of this server's"))?,
            (None, Some(key)) => after(key, &prefix, delimiter.as_deref()),
            (None, None) => ListStart::Start,
        };
        let limit = page_limit(input.max_keys, "max-keys")?;
        let query = Query { prefix: prefix.clone(), delimiter: delimiter.clone(), from, limit };
        let Page { objects, prefixes, next } = self.store.list(&input.bucket, query).await?;
        let names = KeyEncoder::new(input.encoding_type.as_ref());
        let owners =
            if input.fetch_owner == Some(true) { Some(self.owners(&input.bucket, &objects).await) } else { None };
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
            contents: Some(contents(objects, owners, &names)),
            common_prefixes: Some(common(prefixes, &names)),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        }))
    }

    pub(super) async fn list_v1(&self, request: S3Request<ListObjectsInput>) -> Reply<ListObjectsOutput> {
        refuse_unordered(&request.uri, request.input.delimiter.as_deref())?;
        let input = request.input;
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), some(input.delimiter));
        let marker = input.marker.clone().filter(|marker| !marker.is_empty());
        let from = marker.map_or(ListStart::Start, |key| after(&key, &prefix, delimiter.as_deref()));
        let limit = page_limit(input.max_keys, "max-keys")?;
        let query = Query { prefix: prefix.clone(), delimiter: delimiter.clone(), from, limit };
        let Page { objects, prefixes, next } = self.store.list(&input.bucket, query).await?;
        let names = KeyEncoder::new(input.encoding_type.as_ref());
        let owners = Some(self.owners(&input.bucket, &objects).await);
        let is_truncated = Some(next.is_some());
        let next_marker = next.and_then(|from| match from {
            ListStart::Start => None,
            ListStart::After(name) | ListStart::Past(name) => Some(names.write(name)),
        });
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.write(prefix)),
            delimiter: delimiter.map(|text| names.write(text)),
            marker: Some(names.write(input.marker.unwrap_or_default())),
            max_keys: i32::try_from(limit).ok(),
            is_truncated,
            next_marker,
            contents: Some(contents(objects, owners, &names)),
            common_prefixes: Some(common(prefixes, &names)),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        }))
    }
}

impl Gateway {
    /// Lists versions: every object has one, whose id is `null`.
    pub(super) async fn list_versions(&self, input: ListObjectVersionsInput) -> Reply<ListObjectVersionsOutput> {
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), some(input.delimiter));
        let marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
        let from = marker.map_or(ListStart::Start, |key| after(&key, &prefix, delimiter.as_deref()));
        let limit = page_limit(input.max_keys, "max-keys")?;
        let query = Query { prefix: prefix.clone(), delimiter: delimiter.clone(), from, limit };
        let Page { objects, prefixes, next } = self.store.list(&input.bucket, query).await?;
        let names = KeyEncoder::new(input.encoding_type.as_ref());
        let owners = self.owners(&input.bucket, &objects).await;
        let is_truncated = Some(next.is_some());
        let (next_key_marker, next_version_id_marker) = match next {
            None | Some(ListStart::Start) => (None, None),
            Some(ListStart::After(name)) => (Some(names.write(name)), Some("null".to_owned())),
            Some(ListStart::Past(name)) => (Some(names.write(name)), None),
        };
        let version = |((key, stat), owner): ((String, Stat), Owner)| ObjectVersion {
            key: Some(names.write(key)),
            version_id: Some("null".to_owned()),
            is_latest: Some(true),
            size: Some(signed(stat.size)),
            e_tag: Some(etag(stat.tag)),
            last_modified: Some(stat.modified.into()),
            owner: Some(owner),
            storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
            ..ObjectVersion::default()
        };
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(names.write(prefix)),
            delimiter: delimiter.map(|text| names.write(text)),
            key_marker: Some(names.write(input.key_marker.unwrap_or_default())),
            version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
            max_keys: i32::try_from(limit).ok(),
            is_truncated,
            next_key_marker,
            next_version_id_marker,
            versions: Some(objects.into_iter().zip(owners).map(version).collect()),
            common_prefixes: Some(common(prefixes, &names)),
            encoding_type: input.encoding_type,
            ..ListObjectVersionsOutput::default()
        }))
    }

    /// Returns the owners of objects, which are looked up only if there are several users.
    async fn owners(&self, bucket: &str, objects: &[(String, Stat)]) -> Vec<Owner> {
        let mut owners = Vec::with_capacity(objects.len());
        for (key, _) in objects {
            let noted = if self.users.is_sole() { None } else { self.store.open(bucket, key).await.ok() };
            owners.push(person(owner_id(noted.and_then(|opened| opened.attributes.owner.clone()).as_ref())));
        }
        owners
    }
}

/// Refuses Ceph's `allow-unordered` together with a delimiter, as Ceph does. The parameter alone has no effect,
/// because it also allows an ordered listing.
fn refuse_unordered(uri: &hyper::Uri, delimiter: Option<&str>) -> S3Result<()> {
    let unordered = uri.query().is_some_and(|query| query.contains("allow-unordered=true"));
    if unordered && delimiter.is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(InvalidArgument, "allow-unordered cannot be used with a delimiter"));
    }
    Ok(())
}

/// Returns a parameter that is present and not empty.
fn some(parameter: Option<String>) -> Option<String> {
    parameter.filter(|text| !text.is_empty())
}

/// Returns where a listing continues after `key`. A common prefix, which may be the last entry of the previous page,
/// stands for all keys below it.
fn after(key: &str, prefix: &str, delimiter: Option<&str>) -> ListStart {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
    match (key.strip_prefix(prefix), delimiter) {
        (Some(rest), Some(delimiter)) if rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len()) => {
            ListStart::Past(key.to_owned())
        }
        _ => ListStart::After(key.to_owned()),
    }
}

fn contents(objects: Vec<(String, Stat)>, owners: Option<Vec<Owner>>, names: &KeyEncoder) -> Vec<Object> {
    let mut owners = owners.map(Vec::into_iter);
    let entry = |(key, stat): (String, Stat)| Object {
        owner: owners.as_mut().and_then(Iterator::next),
        key: Some(names.write(key)),
        size: Some(signed(stat.size)),
        e_tag: Some(etag(stat.tag)),
        last_modified: Some(stat.modified.into()),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    };
    objects.into_iter().map(entry).collect()
}

fn common(prefixes: Vec<String>, names: &KeyEncoder) -> Vec<CommonPrefix> {
    prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(names.write(prefix)) }).collect()
}

/// Writes keys into a response, percent-encoded if the client asked for it: XML cannot represent all keys.
pub(super) struct KeyEncoder {
    encoded: bool,
}

impl KeyEncoder {
    pub(super) fn new(encoding: Option<&EncodingType>) -> Self {
        Self { encoded: encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL) }
    }

    pub(super) fn write(&self, name: String) -> String {
        if self.encoded { utf8_percent_encode(&name, PATH).to_string() } else { name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_encoded_only_when_asked() {
        let url = KeyEncoder { encoded: true };
        assert_eq!(url.write("a b/é\n+".into()), "a%20b/%C3%A9%0A%2B");
        assert_eq!(KeyEncoder { encoded: false }.write("a b".into()), "a b");
    }

    #[test]
    fn a_marker_that_is_a_common_prefix_stands_for_all_below_it() {
        assert_eq!(after("x/a/", "x/", Some("/")), ListStart::Past("x/a/".into()));
        assert_eq!(after("x/a/b", "x/", Some("/")), ListStart::After("x/a/b".into()));
        assert_eq!(after("x/", "", None), ListStart::After("x/".into()));
    }
}
