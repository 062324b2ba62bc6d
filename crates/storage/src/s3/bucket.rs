//! Operations without a payload: size, listing and removal of objects, and the bucket itself.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use bytes::Bytes;
use dlio_event::OpKind;
use http::{Method, header};

use super::client_state::ClientState;
use super::request_spec::{Failed, RequestSpec};
use super::{aws, encode, xml};
use crate::{Attempts, Error, ErrorKind, ListEntry, Metadata, Receipt};

/// Most consecutive pages of a listing without a key.
const EMPTY_PAGES: u32 = 1000;

/// Prepends earlier attempts to those of an error.
pub(super) fn after(earlier: Attempts, mut error: Error) -> Error {
    let later = std::mem::replace(&mut error.attempts, earlier);
    error.attempts.extend(later);
    error
}

/// Converts an expected failure into a success with its attempts.
pub(super) fn forgiven(failed: Box<Failed>) -> Receipt {
    Receipt { bytes: 0, attempts: failed.error.attempts }
}

/// Checks the pages of a listing, to detect a server whose listing never ends.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Hashes of the continuation tokens and of the first key of each page.
    tokens: HashSet<u64>,
    firsts: HashSet<u64>,
    /// Consecutive pages without a key.
    empty: u32,
    count: u64,
}

impl Pages {
    /// Returns the continuation token of the next page, given the current one; `None` after the last page.
    ///
    /// # Errors
    /// The server's fault, if the listing would never end or would be truncated.
    pub(super) fn next(
        &mut self,
        found: &[ListEntry],
        truncated: bool,
        token: Option<String>,
    ) -> Result<Option<String>, String> {
        self.count += 1;
        self.empty = if found.is_empty() { self.empty + 1 } else { 0 };
        let count = self.count;
        if !truncated {
            return Ok(None);
        }
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err(format!(
                "page {count} says that there are more (IsTruncated) but has no NextContinuationToken: the server's listing is incomplete"
            ));
        };
        if !self.tokens.insert(hash(&token)) {
            return Err(format!(
                "page {count} has the continuation token of an earlier page: the server's listing does not end"
            ));
        }
        if found.first().is_some_and(|first| !self.firsts.insert(hash(&first.key))) {
            return Err(format!(
                "page {count} begins with a key that an earlier page began with: the server's listing does not end"
            ));
        }
        if self.empty >= EMPTY_PAGES {
            return Err(format!("{} pages in a row have no key: the server's listing does not end", self.empty));
        }
        Ok(Some(token))
    }

    /// Returns the error for an incorrect listing of `prefix`.
    pub(super) fn error(
        client: &ClientState,
        spec: &RequestSpec<'_>,
        prefix: &str,
        (why, tried): (String, Attempts),
    ) -> Error {
        let mut error = spec.error(client, ErrorKind::Server, why);
        error.object = client.config.uri(prefix);
        error.endpoint = tried.last().and_then(|attempt| attempt.endpoint.as_deref().map(str::to_owned));
        error.attempts = tried;
        error
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl ClientState {
    /// Sends HEAD for an object.
    pub(super) async fn head(self: &Arc<Self>, key: &str) -> Result<(Metadata, Receipt), Error> {
        self.head_tag(key).await.map(|(metadata, _, receipt)| (metadata, receipt))
    }

    /// Sends HEAD for an object, and also returns its entity tag.
    pub(super) async fn head_tag(self: &Arc<Self>, key: &str) -> Result<(Metadata, Option<String>, Receipt), Error> {
        let spec = RequestSpec::new(self, "looking up", OpKind::Head, Method::HEAD, Some(key));
        spec.check(self)?;
        let answer = match self.simple(&spec, Bytes::new()).await {
            Ok(answer) => answer,
            Err(refused) => return Err(self.with_reason(key, refused).await),
        };
        let size = answer.header(header::CONTENT_LENGTH).and_then(|value| value.parse().ok());
        let Some(size) = size else {
            let error = spec.error(self, ErrorKind::Server, "the answer to HEAD has no Content-Length");
            return Err(after(answer.receipt.attempts, error));
        };
        let tag = answer.header(header::ETAG).map(str::to_owned);
        Ok((Metadata { size }, tag, answer.receipt))
    }

    /// Lists all keys that start with the prefix, page by page.
    pub(super) async fn list(
        self: &Arc<Self>,
        prefix: &str,
        page: &mut dyn FnMut(&[ListEntry]),
    ) -> Result<Receipt, Error> {
        let root = self.config.full_key("");
        let mut spec = RequestSpec::new(self, "listing", OpKind::List, Method::GET, None);
        let mut receipt = Receipt::default();
        let mut token: Option<String> = None;
        let (mut found, mut pages) = (Vec::new(), Pages::default());
        loop {
            spec.query.clear();
            if let Some(token) = &token {
                spec.query.push_str("continuation-token=");
                encode::query(&mut spec.query, token);
                spec.query.push('&');
            }
            spec.query.push_str("encoding-type=url&list-type=2&max-keys=1000&prefix=");
            encode::query(&mut spec.query, &root);
            encode::query(&mut spec.query, prefix);
            let answer = match self.simple(&spec, Bytes::new()).await {
                Ok(answer) => answer,
                Err(failed) => return Err(after(receipt.attempts, failed.error)),
            };
            receipt.attempts.extend(answer.receipt.attempts);
            if !is_whole_listing(&answer.body) {
                let why =
                    "the answer to a listing is not a ListBucketResult, or only a part of one: is this an S3 endpoint?";
                return Err(Pages::error(self, &spec, prefix, (why.to_owned(), receipt.attempts)));
            }
            found.clear();
            entries(&answer.body, &root, &mut found);
            page(&found);
            let truncated = xml::text(&answer.body, "IsTruncated").is_some_and(|text| text == "true");
            match pages.next(&found, truncated, xml::text(&answer.body, "NextContinuationToken")) {
                Ok(None) => return Ok(receipt),
                Ok(next) => token = next,
                Err(why) => return Err(Pages::error(self, &spec, prefix, (why, receipt.attempts))),
            }
        }
    }

    /// Sends DELETE for an object; a missing object is no error.
    pub(super) async fn remove(self: &Arc<Self>, key: &str) -> Result<Receipt, Error> {
        let spec = RequestSpec::new(self, "deleting", OpKind::Delete, Method::DELETE, Some(key));
        spec.check(self)?;
        match self.simple(&spec, Bytes::new()).await {
            Ok(answer) => Ok(answer.receipt),
            Err(failed) if failed.failure.is(404, "NoSuchKey") => Ok(forgiven(failed)),
            Err(failed) => Err(failed.error),
        }
    }

    /// Sends HEAD for the bucket.
    pub(super) async fn head_bucket(self: &Arc<Self>) -> Result<Receipt, Box<Failed>> {
        let spec = RequestSpec::new(self, "looking up", OpKind::Head, Method::HEAD, None);
        self.simple(&spec, Bytes::new()).await.map(|answer| answer.receipt)
    }

    /// Returns the location constraint of a new bucket: AWS requires it outside its first region, other servers may
    /// refuse it.
    pub(super) fn location_constraint(&self) -> Option<&str> {
        let amazon = self.endpoints.iter().any(|endpoint| aws::is_of_aws(&endpoint.host));
        (amazon && self.config.region != "us-east-1").then_some(&*self.config.region)
    }

    /// Creates the bucket if it is missing. HEAD comes first, because many users may use a bucket and few may create
    /// one.
    pub(super) async fn create_bucket(self: &Arc<Self>) -> Result<Receipt, Error> {
        let earlier = match self.head_bucket().await {
            Ok(receipt) => return Ok(receipt),
            Err(failed) if failed.error.kind == ErrorKind::NotFound => forgiven(failed),
            Err(failed) if failed.failure.lacks_reason() => return self.why_denied(failed.error).await,
            Err(failed) => return Err(failed.error),
        };
        let spec = RequestSpec::new(self, "creating", OpKind::CreateNamespace, Method::PUT, None);
        let body = self.location_constraint().map_or_else(String::new, |region| {
            format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{}\
                 </LocationConstraint></CreateBucketConfiguration>",
                xml::escape(region)
            )
        });
        let mut receipt = match self.simple(&spec, Bytes::from(body)).await {
            Ok(answer) => answer.receipt,
            // Another rank has created it.
            Err(failed) if failed.failure.is(409, "BucketAlreadyOwnedByYou") => forgiven(failed),
            Err(failed) => return Err(after(earlier.attempts, failed.error)),
        };
        receipt.attempts.insert_many(0, earlier.attempts);
        Ok(receipt)
    }
}

/// Returns whether a response is a complete listing, with or without a namespace prefix.
pub(super) fn is_whole_listing(body: &str) -> bool {
    const ROOT: &str = "ListBucketResult";
    let body = body.trim_end();
    let closed = body.strip_suffix('>').and_then(|body| body.trim_end().strip_suffix(ROOT));
    closed.is_some_and(|before| before.ends_with("</") || before.ends_with(':'))
        || body.ends_with("<ListBucketResult/>")
}

/// Parses the entries on a page of a listing; keys are relative to the root.
fn entries(body: &str, root: &str, found: &mut Vec<ListEntry>) {
    let encoded = xml::text(body, "EncodingType").is_some_and(|text| text == "url");
    for content in xml::each(body, "Contents") {
        let Some(key) = xml::text(content, "Key") else { continue };
        let key = if encoded { encode::decode(&key) } else { key };
        let Some(key) = key.strip_prefix(root) else { continue };
        let size = xml::text(content, "Size").and_then(|text| text.parse().ok()).unwrap_or(0);
        found.push(ListEntry { key: key.to_owned(), size });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_listing_and_what_is_none_are_told_from_a_whole_one() {
        for whole in [
            "<ListBucketResult></ListBucketResult>\n",
            "<a:ListBucketResult></a:ListBucketResult>",
            "<ListBucketResult/>",
        ] {
            assert!(is_whole_listing(whole), "{whole}");
        }
        for other in ["", "<html>log in</html>", "<ListBucketResult><Contents><Key>", "ListBucketResult>"] {
            assert!(!is_whole_listing(other), "{other}");
        }
    }

    #[test]
    fn listed_keys_are_relative_to_the_root() {
        let body = "<EncodingType>url</EncodingType><Contents><Key>run/a+b%2F%C3%BC</Key><Size>7</Size></Contents>\
                    <Contents><Key>other</Key><Size>1</Size></Contents>";
        let mut found = Vec::new();
        entries(body, "run/", &mut found);
        assert_eq!(found, [ListEntry { key: "a b/ü".into(), size: 7 }]);
    }

    fn page(key: &str) -> [ListEntry; 1] {
        [ListEntry { key: key.into(), size: 1 }]
    }

    #[test]
    fn a_listing_that_would_not_end_is_an_error() {
        let mut pages = Pages::default();
        assert_eq!(pages.next(&page("a"), true, Some("1".into())), Ok(Some("1".into())));
        assert_eq!(pages.next(&page("b"), true, Some("2".into())), Ok(Some("2".into())));
        assert_eq!(pages.next(&page("c"), false, Some("3".into())), Ok(None));
        assert!(
            pages.next(&page("d"), true, Some("1".into())).unwrap_err().contains("page 4 has the continuation token")
        );
        assert!(pages.next(&page("b"), true, Some("4".into())).unwrap_err().contains("begins with a key"));
        let mut endless = (0..EMPTY_PAGES).map(|number| pages.next(&[], true, Some(format!("t{number}"))));
        assert!(endless.by_ref().take(EMPTY_PAGES as usize - 1).all(|next| next.is_ok()));
        assert!(endless.next().unwrap().unwrap_err().contains("in a row have no key"));
    }

    #[test]
    fn more_pages_without_a_way_to_ask_for_them_is_an_error() {
        for token in [None, Some(String::new())] {
            let error = Pages::default().next(&page("a"), true, token).unwrap_err();
            assert!(error.contains("no NextContinuationToken"), "{error}");
        }
    }

    #[test]
    fn keys_that_the_server_did_not_encode_stay_as_they_are() {
        let mut found = Vec::new();
        entries("<Contents><Key>a+b%20c</Key><Size>7</Size></Contents>", "", &mut found);
        assert_eq!(found[0].key, "a+b%20c");
    }
}
