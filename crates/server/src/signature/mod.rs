//! Verifies signatures whose scope names a region that `s3s` does not accept, such as `US` (s3cmd) or `RegionOne`
//! (Ceph): `s3s` refuses them after it has verified them, and has no hook for this.
//!
//! Such a request is verified here, before `s3s` sees it, and signed again with [`REGION`] as its region. A request
//! that fails verification is passed on with a signature that cannot be valid, so that `s3s` refuses it like any
//! other. Signed chunks of a body are verified by [`chunks`] and passed on without signatures.
//!
//! Invariant: a request that is signed again was signed by its sender with the secret key of the access key it names.

mod canonical;
mod chunks;
mod key;
mod scope;
mod version2;

use dlio_storage::random::hex;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Uri};
use s3s::Body;
use sha2::{Digest, Sha256};

use canonical::{Canonical, PathForm};
use chunks::{Framing, Seed};
use key::{Key, equal};
use scope::{Carrier, Signed};
pub(crate) use version2::with_slash;

/// The region that replaces one that `s3s` refuses.
const REGION: &str = "us-east-1";
/// A signature of the right length.
const NEVER_VALID: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const CHUNKS_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

/// Looks up secret keys.
pub(crate) trait Secrets: Send + Sync {
    /// Returns the secret key of an access key; `None` if there is no such access key.
    fn secret(&self, access_key: &str) -> Option<String>;
}

/// Converts a request so that `s3s` can verify it, whatever region it is signed for.
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
    // The credential in the query is part of the signed text, so it is renamed first.
    write(&mut parts, &renamed, "");
    let signature = sign(&parts, &renamed, &Key::new(&secret, &renamed, REGION), form);
    write(&mut parts, &renamed, &signature);
    Request::from_parts(parts, body)
}

/// Returns whether `s3s` accepts this as a region; an empty one is accepted.
fn is_region(region: &str) -> bool {
    region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Returns the form of the path with which the signature is valid.
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

/// Returns the body with verified chunks; the headers describe the framing that remains.
fn verified_body(parts: &mut Parts, body: Body, signed: &Signed, key: Key) -> Body {
    let payload = parts.headers.get(CONTENT_SHA256).map(|value| value.as_bytes().to_vec());
    let length = parts.headers.get(DECODED_LENGTH).cloned();
    let (framing, now) = match payload.as_deref() {
        Some(payload) if payload == CHUNKS_TRAILER.as_bytes() => (Framing::WithTrailer, UNSIGNED_TRAILER),
        Some(payload) if payload == CHUNKS.as_bytes() => (Framing::None, UNSIGNED),
        _ => return body,
    };
    // Without the length `s3s` refuses the request.
    let Some(length) = length else { return body };
    parts.headers.insert(CONTENT_SHA256, HeaderValue::from_static(now));
    if framing == Framing::None {
        parts.headers.insert(CONTENT_LENGTH, length);
        parts.headers.remove(hyper::header::TRANSFER_ENCODING);
        drop_chunked_encoding(&mut parts.headers);
    }
    chunks::verified(body, Seed { key, signature: signed.signature.clone() }, framing)
}

/// Removes `aws-chunked` from `Content-Encoding`, because it describes the transfer and not the object.
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

/// Returns the encodings of an object; `None` if there are none.
pub(crate) fn without_chunked(value: &str) -> Option<String> {
    let encodings = value.split(',').map(str::trim);
    let others: Vec<_> =
        encodings.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("aws-chunked")).collect();
    (!others.is_empty()).then(|| others.join(","))
}

/// Writes scope and signature into the header or the query, where the request carries them.
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

#[cfg(test)]
mod tests;
