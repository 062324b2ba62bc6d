//! Writes in parts. Invariant: at most `part_concurrency` parts of an object exist in memory, the one being filled
//! included, and an upload that does not complete is aborted, also when the write is dropped midway.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use dlio_event::OpKind;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use http::Method;

use super::body::{Feed, Outgoing};
use super::bucket::after;
use super::connect::with_pool;
use super::request::{Call, Tries};
use super::sign::{UNSIGNED_PAYLOAD, sha256};
use super::{Shared, encode, xml};
use crate::{Attempts, ChunkSource, Error, ErrorKind, Receipt};

/// Smallest part that S3 accepts, but for the last.
pub(super) const PART_MIN: u64 = 5 << 20;
/// Most parts of an upload.
const PARTS_MAX: u64 = 10_000;

/// A part that is stored.
struct Stored {
    number: u64,
    etag: String,
    receipt: Receipt,
}

/// The parts of an upload.
struct Parts<'a, 'l> {
    running: FuturesUnordered<LocalBoxFuture<'a, Result<Stored, Error>>>,
    stored: Vec<(u64, String)>,
    log: &'l mut Attempts,
}

impl Parts<'_, '_> {
    fn take(&mut self, done: Option<Result<Stored, Error>>) -> Result<(), Error> {
        match done {
            Some(Ok(part)) => {
                self.log.extend(part.receipt.attempts);
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

    /// Gives sockets and parts a turn, without waiting.
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

/// An upload that was begun; dropping it before its end aborts it.
struct Begun {
    client: Arc<Shared>,
    key: String,
    id: String,
    open: bool,
}

impl Begun {
    fn query(&self) -> String {
        let mut query = String::from("uploadId=");
        encode::query(&mut query, &self.id);
        query
    }

    async fn abort(&mut self) -> Attempts {
        self.open = false;
        abort(Arc::clone(&self.client), self.key.clone(), self.query()).await
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        // Cancelled midway: the best that can be done is to ask, as long as this thread's runtime lasts.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(abort(Arc::clone(&self.client), self.key.clone(), self.query()));
        }
    }
}

async fn abort(client: Arc<Shared>, key: String, query: String) -> Attempts {
    let mut call = Call::new(&client, "aborting the upload of", OpKind::MultipartAbort, Method::DELETE, Some(&key));
    call.query = query;
    match client.simple(&call, Bytes::new()).await {
        Ok(answer) => answer.receipt.attempts,
        Err(failed) => failed.error.attempts,
    }
}

/// Bytes per part.
pub(super) fn part_size(len: u64, configured: u64) -> u64 {
    configured.max(PART_MIN).max(len.div_ceil(PARTS_MAX))
}

impl Shared {
    /// Writes an object in parts.
    pub(super) async fn put_parts(self: &Arc<Self>, key: &str, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let len = source.len();
        let mut call = Call::new(self, "writing", OpKind::MultipartCreate, Method::POST, Some(key));
        call.query.push_str("uploads=");
        let answer = self.simple(&call, Bytes::new()).await?;
        let Some(id) = xml::text(&answer.body, "UploadId") else {
            return Err(call.error(self, ErrorKind::Server, "the answer to CreateMultipartUpload has no UploadId"));
        };
        let mut begun = Begun { client: Arc::clone(self), key: key.to_owned(), id, open: true };
        let mut log = answer.receipt.attempts;
        let done = match self.send_parts(&begun, source, &mut log).await {
            Ok(parts) => self.complete(&begun, &parts, len).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(receipt) => {
                begun.open = false;
                log.extend(receipt.attempts);
                log.sort_by_key(|attempt| attempt.start);
                Ok(Receipt { bytes: len, attempts: log })
            }
            Err(error) => {
                let mut error = after(log, error);
                error.attempts.extend(begun.abort().await);
                Err(error)
            }
        }
    }

    /// Fills one part while others are on their way; returns the entity tags in order.
    async fn send_parts(
        self: &Arc<Self>,
        begun: &Begun,
        source: &mut dyn ChunkSource,
        log: &mut Attempts,
    ) -> Result<Vec<(u64, String)>, Error> {
        let size = part_size(source.len(), self.config.part_size);
        let most = usize::try_from(self.config.part_concurrency.max(1)).unwrap_or(1);
        let mut feed = Feed::new(source);
        let mut parts = Parts { running: FuturesUnordered::new(), stored: Vec::new(), log };
        let mut offset = 0;
        for number in 1.. {
            let len = feed.left.min(size);
            if len == 0 {
                break;
            }
            while parts.running.len() >= most {
                parts.wait().await?;
            }
            let frames = self.fill(&begun.key, &mut feed, len, &mut parts).await?;
            parts.running.push(Box::pin(self.send_part(begun, number, offset, frames)));
            offset += len;
        }
        while !parts.running.is_empty() {
            parts.wait().await?;
        }
        parts.stored.sort_unstable_by_key(|(number, _)| *number);
        Ok(parts.stored)
    }

    /// Draws the bytes of a part, and lets the parts that are on their way go on after each frame.
    async fn fill(
        self: &Arc<Self>,
        key: &str,
        feed: &mut Feed<'_>,
        len: u64,
        parts: &mut Parts<'_, '_>,
    ) -> Result<Vec<Bytes>, Error> {
        let end = feed.left - len;
        let mut frames = Vec::new();
        while feed.left > end {
            let limit = feed.left - end;
            match with_pool(self, |pool| feed.next(pool, limit)) {
                Ok(frame) => frames.extend(frame),
                Err(fault) => {
                    let call = Call::new(self, "writing", OpKind::MultipartPart, Method::PUT, Some(key));
                    return Err(call.error(self, ErrorKind::Invalid, fault));
                }
            }
            parts.go_on().await?;
        }
        Ok(frames)
    }

    async fn send_part(
        self: &Arc<Self>,
        begun: &Begun,
        number: u64,
        offset: u64,
        frames: Vec<Bytes>,
    ) -> Result<Stored, Error> {
        let len = frames.iter().map(|frame| frame.len() as u64).sum();
        let mut call = Call::new(self, "writing a part of", OpKind::MultipartPart, Method::PUT, Some(&begun.key));
        call.query = format!("partNumber={number}&{}", begun.query());
        call.range = Some(crate::ByteRange::new(offset, len));
        let hash = if self.config.unsigned_payload {
            UNSIGNED_PAYLOAD.to_owned()
        } else {
            sha256(frames.iter().map(AsRef::as_ref))
        };
        let mut tries = Tries::new(self, &call);
        loop {
            let mut attempt = tries.begin(OpKind::MultipartPart, offset, Some(len));
            let body = Outgoing::frames(frames.iter().cloned());
            match self.put_body(&mut attempt, &call, &hash, body).await {
                Ok(etag) => {
                    with_pool(self, |pool| pool.give(frames));
                    return Ok(Stored { number, etag, receipt: tries.succeed(attempt, len) });
                }
                Err(failure) => tries.failed(attempt, failure).await?,
            }
        }
    }

    async fn complete(self: &Arc<Self>, begun: &Begun, parts: &[(u64, String)], len: u64) -> Result<Receipt, Error> {
        let mut call = Call::new(self, "completing", OpKind::MultipartComplete, Method::POST, Some(&begun.key));
        call.query = begun.query();
        let mut body = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        for (number, etag) in parts {
            let etag = xml::escape(etag);
            let number = number.to_string();
            for text in ["<Part><PartNumber>", &number, "</PartNumber><ETag>", &etag, "</ETag></Part>"] {
                body.push_str(text);
            }
        }
        body.push_str("</CompleteMultipartUpload>");
        match self.simple(&call, Bytes::from(body)).await {
            Ok(answer) => Ok(answer.receipt),
            // The answer to an earlier try was lost: the upload is gone because it was completed.
            Err(failed) if failed.failure.is(404, "NoSuchUpload") && failed.error.attempts.len() > 1 => {
                match self.head(&begun.key).await {
                    Ok((metadata, receipt)) if metadata.size == len => {
                        let mut attempts = failed.error.attempts;
                        attempts.extend(receipt.attempts);
                        Ok(Receipt { bytes: 0, attempts })
                    }
                    _ => Err(failed.error),
                }
            }
            Err(failed) => Err(failed.error),
        }
    }
}
