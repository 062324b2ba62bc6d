//! Request and response bodies: receives a body into a writer while checking the client's digests, and sends a body
//! with limited bandwidth.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3Result, StdError, TrailingHeaders, s3_error};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::latency::LatencyTimer;
use crate::store::{Algorithm, ObjectStore, Reader, UploadWriter};

/// Largest piece of a body that is sent at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;
/// With limited bandwidth, pieces are small, so that bytes arrive evenly.
const PACED_PIECE_BYTES: usize = 16 << 10;

pub(super) fn piece_bytes(timer: Option<&Arc<LatencyTimer>>) -> usize {
    if timer.is_some() { PACED_PIECE_BYTES } else { PIECE_BYTES }
}

/// Digests and checksums that a client sends with a body.
pub(super) struct DeclaredDigests {
    /// Base64 digests in the request's headers.
    pub(super) header: Checksum,
    pub(super) content_md5: Option<String>,
    pub(super) length: Option<i64>,
    /// Names in `x-amz-trailer`: digests that follow the body.
    pub(super) trailers: Vec<String>,
    pub(super) trailing: Option<TrailingHeaders>,
    /// Algorithm whose checksum is computed even if the client sends none.
    pub(super) required: Option<Algorithm>,
}

/// Returns the digests of a `PutObject` or an `UploadPart`, whose inputs have the same fields but different types.
macro_rules! claims {
    ($request:expr) => {{
        let (input, names) = (&mut $request.input, $request.headers.get("x-amz-trailer"));
        $crate::protocol::body::DeclaredDigests {
            header: s3s::dto::Checksum {
                checksum_crc32: input.checksum_crc32.take(),
                checksum_crc32c: input.checksum_crc32c.take(),
                checksum_crc64nvme: input.checksum_crc64nvme.take(),
                checksum_sha1: input.checksum_sha1.take(),
                checksum_sha256: input.checksum_sha256.take(),
                ..s3s::dto::Checksum::default()
            },
            content_md5: input.content_md5.take(),
            length: input.content_length,
            trailers: names
                .and_then(|names| names.to_str().ok())
                .map(|names| names.split(',').map(|name| name.trim().to_ascii_lowercase()).collect())
                .unwrap_or_default(),
            trailing: $request.trailing_headers.take(),
            required: None,
        }
    }};
}
pub(super) use claims;

impl DeclaredDigests {
    fn claimed(&self, name: &str) -> Option<String> {
        let header = match name {
            "x-amz-checksum-crc32" => &self.header.checksum_crc32,
            "x-amz-checksum-crc32c" => &self.header.checksum_crc32c,
            "x-amz-checksum-crc64nvme" => &self.header.checksum_crc64nvme,
            "x-amz-checksum-sha1" => &self.header.checksum_sha1,
            "x-amz-checksum-sha256" => &self.header.checksum_sha256,
            _ => return None,
        };
        header.clone().or_else(|| {
            let trailer = |headers: &hyper::HeaderMap| headers.get(name)?.to_str().ok().map(str::to_owned);
            self.trailing.as_ref()?.read(trailer).flatten()
        })
    }

    fn hasher(&self) -> ChecksumHasher {
        let wants = |algorithm, name: &str| {
            let named = self.claimed(name).is_some() || self.trailers.iter().any(|trailer| trailer == name);
            named || self.required == Some(algorithm)
        };
        ChecksumHasher {
            crc32: wants(Algorithm::Crc32, "x-amz-checksum-crc32").then(Crc32::new),
            crc32c: wants(Algorithm::Crc32c, "x-amz-checksum-crc32c").then(Crc32c::new),
            crc64nvme: wants(Algorithm::Crc64nvme, "x-amz-checksum-crc64nvme").then(Crc64Nvme::new),
            sha1: wants(Algorithm::Sha1, "x-amz-checksum-sha1").then(Sha1::new),
            sha256: wants(Algorithm::Sha256, "x-amz-checksum-sha256").then(Sha256::new),
        }
    }

    fn verify(&self, computed: &Checksum, md5: Option<[u8; 16]>, received: u64) -> S3Result<()> {
        if self.length.is_some_and(|length| u64::try_from(length) != Ok(received)) {
            return Err(s3_error!(IncompleteBody, "{received} bytes came, not the announced {:?}", self.length));
        }
        let digests = [
            ("x-amz-checksum-crc32", &computed.checksum_crc32),
            ("x-amz-checksum-crc32c", &computed.checksum_crc32c),
            ("x-amz-checksum-crc64nvme", &computed.checksum_crc64nvme),
            ("x-amz-checksum-sha1", &computed.checksum_sha1),
            ("x-amz-checksum-sha256", &computed.checksum_sha256),
        ];
        for (name, digest) in digests {
            if let (Some(digest), Some(claimed)) = (digest, self.claimed(name))
                && *digest != claimed
            {
                return Err(s3_error!(BadDigest, "{name} is {claimed}, but the bytes received give {digest}"));
            }
        }
        match (&self.content_md5, md5.map(|digest| base64(&digest))) {
            (Some(claimed), Some(digest)) if *claimed != digest => {
                Err(s3_error!(BadDigest, "Content-MD5 is {claimed}, but the bytes received give {digest}"))
            }
            _ => Ok(()),
        }
    }
}

/// Receives a body into a writer, and returns the writer with the digests that the client asked to be checked. If the
/// body does not fit, the rest is read first, as by [`discard`].
pub(super) async fn receive(
    store: &ObjectStore,
    body: Option<StreamingBlob>,
    claims: DeclaredDigests,
    headers: &hyper::HeaderMap,
) -> S3Result<(UploadWriter, Checksum)> {
    let mut draft = match store.writer(claims.length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)) {
        Ok(draft) => draft,
        Err(refusal) => {
            discard(body, headers).await;
            return Err(refusal.into());
        }
    };
    let mut hasher = claims.hasher();
    if claims.content_md5.is_some() {
        draft.compute_md5();
    }
    let mut received = 0;
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| broken_body(&error))?;
            received += bytes.len() as u64;
            hasher.update(&bytes);
            if let Err(refusal) = draft.push(bytes).await {
                drop(draft);
                while let Some(Ok(_)) = body.next().await {}
                return Err(refusal.into());
            }
        }
    }
    let computed = hasher.finalize();
    claims.verify(&computed, draft.md5(), received)?;
    Ok((draft, computed))
}

/// Reads the rest of a refused request, so that the client sees the refusal instead of a broken connection. A client
/// that waits for `100 Continue` has sent nothing and is not asked to.
pub(super) async fn discard(body: Option<StreamingBlob>, headers: &hyper::HeaderMap) {
    if let Some(mut body) = body.filter(|_| !headers.contains_key(hyper::header::EXPECT)) {
        while let Some(Ok(_)) = body.next().await {}
    }
}

/// The streams that check signatures do not export their error types; the text of the error identifies them.
fn broken_body(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        s3_error!(BadDigest, "The body does not have the digest in x-amz-content-sha256")
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "The signature of a chunk of the body does not match")
    } else {
        s3_error!(IncompleteBody, "The body ended early or is malformed: {text}")
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap_or(0);
            text.push(if digit > group.len() { '=' } else { char::from(DIGITS[index]) });
        }
    }
    text
}

/// A response body with limited bandwidth.
pub(super) struct ResponseStream {
    reader: Reader,
    paced: Option<PacedReader>,
}

struct PacedReader {
    timer: Arc<LatencyTimer>,
    begin: Option<Instant>,
    sent: u64,
    held: Option<(Bytes, oneshot::Receiver<()>)>,
}

impl ResponseStream {
    pub(super) fn blob(reader: Reader, timer: Option<Arc<LatencyTimer>>) -> StreamingBlob {
        let slowed = |timer| PacedReader { timer, begin: None, sent: 0, held: None };
        StreamingBlob::new(Self { reader, paced: timer.map(slowed) })
    }
}

impl Stream for ResponseStream {
    type Item = Result<Bytes, StdError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { reader, paced } = self.get_mut();
        let Some(paced) = paced else { return Pin::new(reader).poll_next(context).map_err(StdError::from) };
        if paced.held.is_none() {
            let begin = *paced.begin.get_or_insert_with(Instant::now);
            let Some(bytes) = ready!(Pin::new(reader).poll_next(context)?) else { return Poll::Ready(None) };
            paced.sent += bytes.len() as u64;
            let Some(due) = paced.timer.sent(begin, paced.sent) else { return Poll::Ready(Some(Ok(bytes))) };
            paced.held = Some((bytes, due));
        }
        if let Some((_, due)) = &mut paced.held {
            // If the timer thread has ended, bytes pass without delay.
            let _ = ready!(Pin::new(due).poll(context));
        }
        Poll::Ready(paced.held.take().map(|(bytes, _)| Ok(bytes)))
    }
}

impl ByteStream for ResponseStream {
    fn remaining_length(&self) -> RemainingLength {
        let held = self.paced.as_ref().and_then(|paced| paced.held.as_ref()).map_or(0, |(bytes, _)| bytes.len());
        RemainingLength::new_exact(usize::try_from(self.reader.remaining()).unwrap_or(usize::MAX) + held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
