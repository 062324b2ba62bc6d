//! The text that a signature of version 4 covers: method, path, query, headers and payload in one form, whatever the
//! spelling on the wire.

use std::fmt::Write as _;

use hyper::{HeaderMap, Uri};

/// How the path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathForm {
    /// Decoded and encoded again.
    Encoded,
    /// As the client sent it: some sign characters unencoded that should not be.
    AsSent,
}

/// What is signed of a request.
pub(super) struct Canonical<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// Names of the signed headers, sorted.
    pub(super) names: &'a [String],
    /// Hash of the payload, or what stands for it.
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

/// Names and values of a query.
pub(super) fn decoded(query: &str) -> Vec<(String, String)> {
    let text = |text: &str| String::from_utf8_lossy(&percent_decoded(text, true)).into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// Percent-encodes what the signature's rules want encoded; a slash stays where `is_path`.
pub(super) fn encode(bytes: &[u8], is_path: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') || (is_path && byte == b'/');
        if plain {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Resolves percent escapes; one that is malformed stays as it is. In a query a `+` is a space.
fn percent_decoded(text: &str, is_query: bool) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if let Some(value) = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(value);
            rest = &after[2..];
        } else {
            bytes.push(if is_query && byte == b'+' { b' ' } else { byte });
            rest = after;
        }
    }
    bytes
}
