//! Multipart uploads. Invariant: at most `part_concurrency` parts of an object exist in memory, including the one
//! that is being filled, and an upload that is not completed is aborted, also if the write is dropped.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use dlio_event::{OpKind, Outcome};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use http::Method;
use md5::Digest as _;

use super::body::{FrameSource, RequestBody};
use super::bucket::after;
use super::client_state::ClientState;
use super::config::S3Config;
use super::connect::with_pool;
use super::request_spec::{Failed, RequestSpec};
use super::retry_loop::{ActiveAttempt, RetryLoop};
use super::sign::{UNSIGNED_PAYLOAD, hex, sha256};
use super::{encode, xml};
use crate::staged::Ticket;
use crate::{Attempts, ChunkSource, Error, ErrorKind, Receipt, Staged};

/// Smallest part that S3 accepts, except for the last.
const PART_MIN: u64 = 5 << 20;
/// Most parts of an upload.
const PARTS_MAX: u64 = 10_000;

/// Number and entity tag of a part.
type Tag = (u64, String);

/// A part to be uploaded.
pub(super) struct Part {
    /// Part number, from 1.
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) frames: Vec<Bytes>,
}

/// An uploaded part.
pub(super) struct UploadedPart {
    pub(super) number: u64,
    pub(super) etag: String,
    pub(super) attempts: Attempts,
}

/// Sends the requests of multipart uploads.
pub(super) trait Uploader: Clone {
    fn client(&self) -> &Arc<ClientState>;
    /// Creates an upload and returns its id.
    async fn create(&self, key: &str) -> Result<(String, Attempts), Error>;
    async fn part(&self, key: &str, id: &str, part: Part) -> Result<UploadedPart, Error>;
    /// Completes an upload; `parts` are numbers and entity tags in order.
    async fn complete(&self, key: &str, id: &str, parts: &[Tag]) -> Result<Attempts, Box<Failed>>;
    /// Returns size and entity tag of an object.
    async fn stored(&self, key: &str) -> Result<(u64, Option<String>, Attempts), Error>;
    fn abort(&self, key: String, id: String) -> impl Future<Output = Attempts> + Send + 'static;
}

/// An upload in progress; dropping it before its end aborts it.
struct OpenUpload<'a, U: Uploader> {
    uploader: &'a U,
    key: &'a str,
    id: String,
    open: bool,
}

impl<U: Uploader> OpenUpload<'_, U> {
    async fn abort(mut self) -> Attempts {
        self.open = false;
        abort(self.uploader, self.key.to_owned(), self.id.clone()).await
    }
}

impl<U: Uploader> Drop for OpenUpload<'_, U> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        // The write was dropped. Aborting is only possible while this thread's runtime exists.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(abort(self.uploader, self.key.to_owned(), self.id.clone()));
        }
    }
}

/// Aborts an upload, and removes it from the record of uploads if that succeeded.
pub(super) fn abort<U: Uploader>(
    uploader: &U,
    key: String,
    id: String,
) -> impl Future<Output = Attempts> + Send + 'static {
    let client = Arc::clone(uploader.client());
    let aborting = uploader.abort(key, id.clone());
    async move {
        let attempts = aborting.await;
        // An upload that no longer exists needs no abort.
        if attempts.last().is_some_and(|last| matches!(last.outcome, Outcome::Ok | Outcome::NotFound)) {
            client.uploads.ended(&id);
        }
        attempts
    }
}

/// The parts of an upload.
struct Parts<'a, 'l> {
    running: FuturesUnordered<LocalBoxFuture<'a, Result<UploadedPart, Error>>>,
    stored: Vec<Tag>,
    log: &'l mut Attempts,
}

impl Parts<'_, '_> {
    fn take(&mut self, done: Option<Result<UploadedPart, Error>>) -> Result<(), Error> {
        match done {
            Some(Ok(part)) => {
                self.log.extend(part.attempts);
                self.stored.push((part.number, part.etag));
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits for one part.
    async fn wait(&mut self) -> Result<(), Error> {
        let done = self.running.next().await;
        self.take(done)
    }

    /// Lets the uploads of parts progress, without waiting.
    async fn go_on(&mut self) -> Result<(), Error> {
        tokio::task::yield_now().await;
        loop {
            let done = std::future::poll_fn(|cx| Poll::Ready(self.running.poll_next_unpin(cx))).await;
            match done {
                Poll::Ready(Some(done)) => self.take(Some(done))?,
                Poll::Ready(None) | Poll::Pending => return Ok(()),
            }
        }
    }
}

/// Returns whether an object of this size is written in parts.
pub(super) fn is_multipart(config: &S3Config, len: u64) -> bool {
    len >= config.multipart_threshold && len > PART_MIN
}

/// Returns the size of a part in bytes.
fn part_size(len: u64, configured: u64) -> u64 {
    configured.max(PART_MIN).max(len.div_ceil(PARTS_MAX))
}

/// Writes an object in parts.
pub(super) async fn put_parts<U: Uploader>(
    uploader: &U,
    key: &str,
    source: &mut dyn ChunkSource,
) -> Result<Receipt, Error> {
    let len = source.len();
    let (mut begun, parts, mut log) = begin(uploader, key, source).await?;
    match complete(&begun, &parts, len).await {
        Ok(attempts) => {
            begun.open = false;
            log.extend(attempts);
            Ok(Receipt { bytes: len, attempts: log })
        }
        Err(error) => Err(given_up(begun, log, error).await),
    }
}

/// Uploads all parts of an object and leaves the upload to be completed later.
pub(super) async fn stage_parts<U: Uploader>(
    uploader: &U,
    key: &str,
    source: &mut dyn ChunkSource,
) -> Result<Staged, Error> {
    let spec = RequestSpec::new(uploader.client(), "writing", OpKind::MultipartCreate, Method::POST, Some(key));
    spec.check(uploader.client())?;
    let bytes = source.len();
    let (mut begun, parts, attempts) = begin(uploader, key, source).await?;
    begun.open = false;
    let ticket = Ticket::Upload { id: std::mem::take(&mut begun.id), parts };
    Ok(Staged { key: key.to_owned(), bytes, attempts, ticket })
}

/// Completes a staged upload.
pub(super) async fn publish<U: Uploader>(uploader: &U, staged: &Staged) -> Result<Receipt, Error> {
    let (id, parts) = upload_of(uploader, staged)?;
    // Not open: an upload whose completion fails remains until it is discarded.
    let begun = OpenUpload { uploader, key: &staged.key, id: id.to_owned(), open: false };
    let attempts = complete(&begun, parts, staged.bytes).await?;
    Ok(Receipt { bytes: 0, attempts })
}

/// Aborts a staged upload.
pub(super) async fn discard<U: Uploader>(uploader: &U, staged: &Staged) -> Result<Receipt, Error> {
    let (id, _) = upload_of(uploader, staged)?;
    let attempts = abort(uploader, staged.key.clone(), id.to_owned()).await;
    Ok(Receipt { bytes: 0, attempts })
}

fn upload_of<'s, U: Uploader>(uploader: &U, staged: &'s Staged) -> Result<(&'s str, &'s [Tag]), Error> {
    match &staged.ticket {
        Ticket::Upload { id, parts } => Ok((id, parts)),
        Ticket::File(_) | Ticket::Memory(_) => {
            let client = uploader.client();
            let spec =
                RequestSpec::new(client, "completing", OpKind::MultipartComplete, Method::POST, Some(&staged.key));
            Err(spec.error(client, ErrorKind::Invalid, staged.foreign()))
        }
    }
}

/// Creates an upload and uploads all its parts; also returns the attempts in order.
async fn begin<'a, U: Uploader>(
    uploader: &'a U,
    key: &'a str,
    source: &mut dyn ChunkSource,
) -> Result<(OpenUpload<'a, U>, Vec<Tag>, Attempts), Error> {
    let (id, mut log) = uploader.create(key).await?;
    uploader.client().uploads.begun(&id, key);
    let begun = OpenUpload { uploader, key, id, open: true };
    match send_parts(&begun, source, &mut log).await {
        Ok(parts) => {
            log.sort_by_key(|attempt| attempt.start);
            Ok((begun, parts, log))
        }
        Err(error) => Err(given_up(begun, log, error).await),
    }
}

/// Aborts a failed upload; the returned error contains all attempts.
async fn given_up<U: Uploader>(begun: OpenUpload<'_, U>, log: Attempts, error: Error) -> Error {
    let mut error = after(log, error);
    error.attempts.extend(begun.abort().await);
    error
}

/// Fills a part while others are being uploaded; returns the entity tags in order.
async fn send_parts<U: Uploader>(
    begun: &OpenUpload<'_, U>,
    source: &mut dyn ChunkSource,
    log: &mut Attempts,
) -> Result<Vec<Tag>, Error> {
    let client = begun.uploader.client();
    let size = part_size(source.len(), client.config.part_size);
    let most = usize::try_from(client.config.part_concurrency.max(1)).unwrap_or(1);
    let mut feed = FrameSource::new(source);
    let mut parts = Parts { running: FuturesUnordered::new(), stored: Vec::new(), log };
    let mut offset = 0;
    for number in 1.. {
        let len = feed.left.min(size);
        // An empty object still has one part, because an upload without parts cannot be completed.
        if len == 0 && number > 1 {
            break;
        }
        while parts.running.len() >= most {
            parts.wait().await?;
        }
        let frames = fill(begun, &mut feed, len, &mut parts).await?;
        let part = Part { number, offset, len, frames };
        parts.running.push(Box::pin(begun.uploader.part(begun.key, &begun.id, part)));
        offset += len;
    }
    while !parts.running.is_empty() {
        parts.wait().await?;
    }
    parts.stored.sort_unstable_by_key(|(number, _)| *number);
    Ok(parts.stored)
}

/// Draws the bytes of a part, and lets uploads progress after each frame.
async fn fill<U: Uploader>(
    begun: &OpenUpload<'_, U>,
    feed: &mut FrameSource<'_>,
    len: u64,
    parts: &mut Parts<'_, '_>,
) -> Result<Vec<Bytes>, Error> {
    let client = begun.uploader.client();
    let end = feed.left - len;
    let mut frames = Vec::new();
    while feed.left > end {
        let limit = feed.left - end;
        match with_pool(client, |pool| feed.next(pool, limit)) {
            Ok(frame) => frames.extend(frame),
            Err(fault) => {
                let spec = RequestSpec::new(client, "writing", OpKind::MultipartPart, Method::PUT, Some(begun.key));
                return Err(spec.error(client, ErrorKind::Invalid, fault));
            }
        }
        parts.go_on().await?;
    }
    Ok(frames)
}

/// Returns whether an object was assembled from these parts: by its entity tag if the server computes it like S3,
/// otherwise by its size.
fn is_of_parts(parts: &[Tag], len: u64, (size, tag): (u64, Option<&str>)) -> bool {
    match (expected_tag(parts), tag.map(bare)) {
        (Some(expected), Some(tag)) if is_multipart_tag(tag) => tag == expected,
        _ => size == len,
    }
}

/// Returns the entity tag that S3 gives an object of these parts: the MD5 of their MD5s, and their number.
fn expected_tag(parts: &[Tag]) -> Option<String> {
    let mut md5 = md5::Md5::new();
    for (_, tag) in parts {
        let tag = bare(tag).as_bytes();
        if tag.len() != 32 {
            return None;
        }
        for pair in tag.chunks(2) {
            md5.update([u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?]);
        }
    }
    Some(format!("{}-{}", hex(&md5.finalize()), parts.len()))
}

fn bare(tag: &str) -> &str {
    tag.trim_matches('"')
}

fn is_multipart_tag(tag: &str) -> bool {
    tag.split_once('-').is_some_and(|(hash, count)| {
        hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && count.parse::<u32>().is_ok()
    })
}

async fn complete<U: Uploader>(begun: &OpenUpload<'_, U>, parts: &[Tag], len: u64) -> Result<Attempts, Error> {
    let failed = match begun.uploader.complete(begun.key, &begun.id, parts).await {
        Ok(attempts) => {
            begun.uploader.client().uploads.ended(&begun.id);
            return Ok(attempts);
        }
        Err(failed) => failed,
    };
    // If the response to an earlier attempt was lost, the upload no longer exists because it was completed.
    if !failed.failure.is(404, "NoSuchUpload") || failed.error.attempts.len() < 2 {
        return Err(failed.error);
    }
    match begun.uploader.stored(begun.key).await {
        Ok((size, tag, attempts)) if is_of_parts(parts, len, (size, tag.as_deref())) => {
            begun.uploader.client().uploads.ended(&begun.id);
            Ok(failed.error.attempts.into_iter().chain(attempts).collect())
        }
        _ => Err(failed.error),
    }
}

impl Uploader for Arc<ClientState> {
    fn client(&self) -> &Arc<ClientState> {
        self
    }

    async fn create(&self, key: &str) -> Result<(String, Attempts), Error> {
        let mut spec = RequestSpec::new(self, "writing", OpKind::MultipartCreate, Method::POST, Some(key));
        spec.query.push_str("uploads=");
        let answer = self.simple(&spec, Bytes::new()).await?;
        let Some(id) = xml::text(&answer.body, "UploadId") else {
            let error = spec.error(self, ErrorKind::Server, "the answer to CreateMultipartUpload has no UploadId");
            return Err(after(answer.receipt.attempts, error));
        };
        Ok((id, answer.receipt.attempts))
    }

    async fn part(&self, key: &str, id: &str, part: Part) -> Result<UploadedPart, Error> {
        let mut spec = RequestSpec::new(self, "writing a part of", OpKind::MultipartPart, Method::PUT, Some(key));
        spec.query = format!("partNumber={}&{}", part.number, upload_id(id));
        spec.range = Some(crate::ByteRange::new(part.offset, part.len));
        let hash = if self.config.unsigned_payload {
            UNSIGNED_PAYLOAD.to_owned()
        } else {
            sha256(part.frames.iter().map(AsRef::as_ref))
        };
        let once = async |attempt: &mut ActiveAttempt<'_>| {
            let body = RequestBody::frames(part.frames.iter().cloned());
            self.put_body(attempt, &spec, &hash, body).await
        };
        let what = (spec.kind, part.offset, Some(part.len));
        let (etag, receipt) = RetryLoop::new(self, &spec).run(what, part.len, once).await?;
        with_pool(self, |pool| pool.give(part.frames));
        Ok(UploadedPart { number: part.number, etag, attempts: receipt.attempts })
    }

    async fn complete(&self, key: &str, id: &str, parts: &[Tag]) -> Result<Attempts, Box<Failed>> {
        let mut spec = RequestSpec::new(self, "completing", OpKind::MultipartComplete, Method::POST, Some(key));
        spec.query = upload_id(id);
        let mut body = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        for (number, etag) in parts {
            let (number, etag) = (number.to_string(), xml::escape(etag));
            for text in ["<Part><PartNumber>", &number, "</PartNumber><ETag>", &etag, "</ETag></Part>"] {
                body.push_str(text);
            }
        }
        body.push_str("</CompleteMultipartUpload>");
        self.simple(&spec, Bytes::from(body)).await.map(|answer| answer.receipt.attempts)
    }

    async fn stored(&self, key: &str) -> Result<(u64, Option<String>, Attempts), Error> {
        self.head_tag(key).await.map(|(metadata, tag, receipt)| (metadata.size, tag, receipt.attempts))
    }

    fn abort(&self, key: String, id: String) -> impl Future<Output = Attempts> + Send + 'static {
        let client = Arc::clone(self);
        async move {
            let doing = "aborting the upload of";
            let mut spec = RequestSpec::new(&client, doing, OpKind::MultipartAbort, Method::DELETE, Some(&key));
            spec.query = upload_id(&id);
            match client.simple(&spec, Bytes::new()).await {
                Ok(answer) => answer.receipt.attempts,
                Err(failed) => failed.error.attempts,
            }
        }
    }
}

fn upload_id(id: &str) -> String {
    let mut query = String::from("uploadId=");
    encode::query(&mut query, id);
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_known_by_the_tag_of_its_parts_and_else_by_its_size() {
        // The MD5s of "a" and "b".
        let parts: Vec<Tag> =
            vec![(1, "\"0cc175b9c0f1b6a831c399e269772661\"".into()), (2, "92eb5ffee6ae2fec3ad71c777531578f".into())];
        let tag = "\"2c4a57c8fbb6ca6e7bf4d5ebdfa1ecb1-2\"";
        let expected = expected_tag(&parts).unwrap();
        assert_eq!(bare(tag).len(), expected.len());
        assert!(is_of_parts(&parts, 2, (2, Some(&expected))));
        assert!(
            !is_of_parts(&parts, 2, (2, Some("0cc175b9c0f1b6a831c399e269772661-2"))),
            "another upload of this size"
        );
        assert!(is_of_parts(&parts, 2, (2, Some("0cc175b9c0f1b6a831c399e269772661"))), "not a tag of parts");
        assert!(is_of_parts(&[(1, "opaque".into())], 2, (2, Some("0cc175b9c0f1b6a831c399e269772661-1"))));
        assert!(!is_of_parts(&parts, 2, (3, None)));
    }

    #[test]
    fn parts_grow_when_there_would_be_too_many() {
        assert_eq!(part_size(1 << 30, 16 << 20), 16 << 20);
        assert_eq!(part_size(1 << 30, 1 << 20), PART_MIN);
        let large = 5_u64 << 40;
        assert!(large.div_ceil(part_size(large, 16 << 20)) <= PARTS_MAX);
    }
}
