//! Signatures whose scope names a region that `s3s` does not take for one, such as `US` of s3cmd or Ceph's `RegionOne`:
//! `s3s` refuses them after it has verified them, without a hook.
//!
//! Such a request is verified here, in front of `s3s`, and signed again with [`REGION`] in the place of its region. What
//! does not verify is passed on with a signature that cannot be valid, so that `s3s` refuses it as any other. Chunks of a body that are signed themselves are verified by [`chunks`] and passed on without
//! signatures.
//!
//! Invariant: a request that is signed again was signed by its sender with the secret key of the access key it names.

mod canonical;
mod chunks;
mod scope;
mod version2;

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Uri};
use s3s::Body;
use sha2::{Digest, Sha256};

use canonical::{Canonical, PathForm};
use chunks::{Framing, Seed};
use scope::{Carrier, Signed};

use dlio_storage::random::hex;
pub(crate) use version2::with_slash;

/// The region in the place of one that `s3s` refuses.
const REGION: &str = "us-east-1";
/// A signature of the right length.
const NEVER_VALID: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const CHUNKS_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

/// Knows the secret key of an access key.
pub(crate) trait Secrets: Send + Sync {
    /// `None`: there is no such access key.
    fn secret(&self, access_key: &str) -> Option<String>;
}

/// Makes a request one that `s3s` verifies, whatever region it is signed for.
pub(crate) fn with_known_region(request: Request<Body>, secrets: &dyn Secrets) -> Request<Body> {
    let Some(signed) = Signed::of(request.method(), request.uri(), request.headers()) else { return request };
    if is_region(&signed.region) {
        return request;
    }
    let (mut parts, body) = request.into_parts();
    let verified = secrets.secret(&signed.access_key).and_then(|secret| {
        let key = Key::new(&secret, &signed, &signed.region);
        verify(&parts, &signed, &key).map(|form| (secret, key, form))
    });
    let renamed = Signed { region: REGION.to_owned(), ..signed.clone() };
    let Some((secret, key, form)) = verified else {
        write(&mut parts, &renamed, NEVER_VALID);
        return Request::from_parts(parts, body);
    };
    let body = verified_body(&mut parts, body, &signed, key);
    // The credential in the query is signed, so that it is renamed first.
    write(&mut parts, &renamed, "");
    let signature = sign(&parts, &renamed, &Key::new(&secret, &renamed, REGION), form);
    write(&mut parts, &renamed, &signature);
    Request::from_parts(parts, body)
}

/// What `s3s` takes for a region; an empty one is allowed.
fn is_region(region: &str) -> bool {
    region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The form of the path with which the signature is valid.
fn verify(parts: &Parts, signed: &Signed, key: &Key) -> Option<PathForm> {
    [PathForm::Encoded, PathForm::AsSent]
        .into_iter()
        .find(|form| equal(sign(parts, signed, key, *form).as_bytes(), signed.signature.as_bytes()))
}

fn sign(parts: &Parts, signed: &Signed, key: &Key, form: PathForm) -> String {
    let payload = match signed.carrier {
        Carrier::Header => parts.headers.get(CONTENT_SHA256).and_then(|value| value.to_str().ok()).unwrap_or_default(),
        Carrier::Query => UNSIGNED,
    };
    let (uri, headers, names) = (&parts.uri, &parts.headers, signed.headers.as_slice());
    let canonical = Canonical { method: parts.method.as_str(), uri, headers, names, payload }.text(form);
    key.sign("AWS4-HMAC-SHA256", &[&hex(&Sha256::digest(canonical))])
}

/// The body with its signed chunks verified; the headers say what is left of it.
fn verified_body(parts: &mut Parts, body: Body, signed: &Signed, key: Key) -> Body {
    let payload = parts.headers.get(CONTENT_SHA256).map(|value| value.as_bytes().to_vec());
    let length = parts.headers.get(DECODED_LENGTH).cloned();
    let (framing, now) = match payload.as_deref() {
        Some(payload) if payload == CHUNKS_TRAILER.as_bytes() => (Framing::WithTrailer, UNSIGNED_TRAILER),
        Some(payload) if payload == CHUNKS.as_bytes() => (Framing::None, UNSIGNED),
        _ => return body,
    };
    // Without its length `s3s` refuses the request.
    let Some(length) = length else { return body };
    parts.headers.insert(CONTENT_SHA256, HeaderValue::from_static(now));
    if framing == Framing::None {
        parts.headers.insert(CONTENT_LENGTH, length);
        parts.headers.remove(hyper::header::TRANSFER_ENCODING);
        drop_chunked_encoding(&mut parts.headers);
    }
    chunks::verified(body, Seed { key, signature: signed.signature.clone() }, framing)
}

/// Takes `aws-chunked`, which is no encoding of the object, out of `Content-Encoding`.
pub(crate) fn drop_chunked_encoding(headers: &mut HeaderMap) {
    let Some(value) = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()) else { return };
    let others = without_chunked(value);
    match others {
        None => drop(headers.remove(CONTENT_ENCODING)),
        Some(others) => {
            if let Ok(others) = HeaderValue::from_str(&others) {
                headers.insert(CONTENT_ENCODING, others);
            }
        }
    }
}

/// The encodings of an object; `None`: there are none.
pub(crate) fn without_chunked(value: &str) -> Option<String> {
    let encodings = value.split(',').map(str::trim);
    let others: Vec<_> =
        encodings.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("aws-chunked")).collect();
    (!others.is_empty()).then(|| others.join(","))
}

/// Writes scope and signature to where the request carries them.
fn write(parts: &mut Parts, signed: &Signed, signature: &str) {
    match signed.carrier {
        Carrier::Header => {
            let value = HeaderValue::from_str(&signed.authorization(signature));
            if let Ok(value) = value {
                parts.headers.insert(AUTHORIZATION, value);
            }
        }
        Carrier::Query => {
            let target =
                format!("{}?{}", parts.uri.path(), signed.query(parts.uri.query().unwrap_or_default(), signature));
            let mut uri = std::mem::take(&mut parts.uri).into_parts();
            uri.path_and_query = target.parse().ok();
            parts.uri = Uri::from_parts(uri).unwrap_or_default();
        }
    }
}

/// A key for the scope of a signature, and what every string that it signs begins with.
#[derive(Clone)]
pub(crate) struct Key {
    mac: [u8; 32],
    /// Time and scope, each with its line feed.
    head: String,
}

impl Key {
    fn new(secret: &str, signed: &Signed, region: &str) -> Self {
        let mut key = mac(format!("AWS4{secret}").as_bytes(), signed.day.as_bytes());
        for part in [region, &signed.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let Signed { time, day, service, .. } = signed;
        Self { mac: key, head: format!("{time}\n{day}/{region}/{service}/aws4_request\n") }
    }

    /// Signs lines after algorithm, time and scope.
    fn sign(&self, algorithm: &str, lines: &[&str]) -> String {
        hex(&mac(&self.mac, format!("{algorithm}\n{}{}", self.head, lines.join("\n")).as_bytes()))
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length; the fallback is never taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Compares without telling by its time where the texts differ.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests;
