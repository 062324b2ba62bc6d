//! The canonical request that a signature of version 4 covers: method, path, query, headers and payload in one form,
//! whatever their spelling on the wire.

use hyper::{HeaderMap, Uri};
use percent_encoding::{percent_decode_str, percent_encode};

use crate::percent::{PATH, QUERY};

/// Form of the path in the canonical request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathForm {
    /// Decoded and encoded again.
    Encoded,
    /// As the client sent it: some clients sign characters unencoded that should be encoded.
    AsSent,
}

/// The signed parts of a request.
pub(super) struct Canonical<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// Names of the signed headers, sorted.
    pub(super) names: &'a [String],
    /// Hash of the payload, or its placeholder.
    pub(super) payload: &'a str,
}

impl Canonical<'_> {
    pub(super) fn text(&self, form: PathForm) -> String {
        let path = match form {
            PathForm::Encoded => encode(&percent_decoded(self.uri.path(), false), true),
            PathForm::AsSent => self.uri.path().to_owned(),
        };
        let mut text = format!("{}\n{path}\n{}\n", self.method, self.query());
        let present = || self.names.iter().filter(|name| self.headers.contains_key(name.as_str()));
        for name in present() {
            let values = self.headers.get_all(name.as_str()).iter();
            let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            let values: Vec<_> =
                values.iter().map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            text.push_str(name);
            text.push(':');
            text.push_str(&values.join(","));
            text.push('\n');
        }
        let names: Vec<_> = present().map(String::as_str).collect();
        text.push('\n');
        text.push_str(&names.join(";"));
        text.push('\n');
        text.push_str(self.payload);
        text
    }

    fn query(&self) -> String {
        let pairs = decoded(self.uri.query().unwrap_or_default());
        let pairs = pairs.into_iter().filter(|(name, _)| name != "X-Amz-Signature");
        let mut pairs: Vec<_> =
            pairs.map(|(name, value)| (encode(name.as_bytes(), false), encode(value.as_bytes(), false))).collect();
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }
}

/// Returns names and values of a query, decoded.
pub(super) fn decoded(query: &str) -> Vec<(String, String)> {
    let text = |text: &str| String::from_utf8_lossy(&percent_decoded(text, true)).into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// Percent-encodes bytes as signatures require; a slash is kept if `is_path`.
pub(super) fn encode(bytes: &[u8], is_path: bool) -> String {
    percent_encode(bytes, if is_path { PATH } else { QUERY }).to_string()
}

/// Decodes percent escapes; a malformed one is kept. In a query, `+` is a space.
fn percent_decoded(text: &str, is_query: bool) -> Vec<u8> {
    if is_query { percent_decode_str(&text.replace('+', " ")).collect() } else { percent_decode_str(text).collect() }
}
