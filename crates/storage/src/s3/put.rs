//! Writes in one request. The body is made while it is sent; frames are kept so that it can be sent again.

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dlio_event::{OpKind, Outcome};
use http::{Method, header};
use tokio::sync::mpsc;

use super::Shared;
use super::body::{Feed, Outgoing};
use super::connect::with_pool;
use super::failure::{Failure, Retry};
use super::request::{Call, Tries, Try};
use super::sign::{UNSIGNED_PAYLOAD, sha256};
use crate::{ChunkSource, Error, ErrorKind, Receipt};

/// A body with what was already drawn from its source.
struct Upload<'a> {
    feed: Feed<'a>,
    kept: Vec<Bytes>,
    len: u64,
    /// Whether frames are kept; otherwise the body can be sent only once.
    keep: bool,
    /// What the source did wrong.
    fault: Option<String>,
}

impl Upload<'_> {
    fn draw(&mut self, client: &Arc<Shared>) -> Option<Bytes> {
        match with_pool(client, |pool| self.feed.next(pool, u64::MAX)) {
            Ok(frame) => frame,
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }

    /// Sends everything into the body of a request, from the start.
    async fn pump(&mut self, client: &Arc<Shared>, sender: mpsc::Sender<Bytes>) {
        for frame in &self.kept {
            if sender.send(frame.clone()).await.is_err() {
                return;
            }
        }
        while let Some(frame) = self.draw(client) {
            let sent = sender.send(frame.clone()).await.is_ok();
            self.kept.push(frame);
            if !self.keep {
                self.recycle(client);
            }
            if !sent {
                return;
            }
        }
    }

    /// Whether everything that was drawn is still here.
    fn is_repeatable(&self) -> bool {
        self.kept.iter().map(|frame| frame.len() as u64).sum::<u64>() == self.len - self.feed.left
    }

    /// Returns the frames that were sent to the pool.
    fn recycle(&mut self, client: &Arc<Shared>) {
        // The last two may still be on their way.
        let done = self.kept.len().saturating_sub(2);
        with_pool(client, |pool| pool.give(self.kept.drain(..done)));
    }
}

impl Shared {
    /// Writes an object, in one request or in parts.
    pub(super) async fn put(self: &Arc<Self>, key: &str, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let call = Call::new(self, "writing", OpKind::Put, Method::PUT, Some(key));
        call.check(self)?;
        if source.len() >= self.config.multipart_threshold.max(1) && source.len() > super::multipart::PART_MIN {
            return self.put_parts(key, source).await;
        }
        let len = source.len();
        let keep = len <= self.write_memory() || !self.config.unsigned_payload;
        let mut upload = Upload { feed: Feed::new(source), kept: Vec::new(), len, keep, fault: None };
        let hash = self.prepare(&mut upload).await;
        let mut tries = Tries::new(self, &call);
        let receipt = loop {
            let mut attempt = tries.begin(OpKind::Put, 0, Some(len));
            match self.put_once(&mut attempt, &call, &hash, &mut upload).await {
                Ok(()) => break tries.succeed(attempt, len),
                Err(failure) => tries.failed(attempt, failure).await?,
            }
        };
        with_pool(self, |pool| pool.give(upload.kept));
        Ok(receipt)
    }

    /// Bytes that one write may hold.
    pub(super) fn write_memory(&self) -> u64 {
        self.config.part_size.saturating_mul(u64::from(self.config.part_concurrency.max(1)))
    }

    /// Draws the first frame, or all when the signature must cover them; returns the hash to sign.
    async fn prepare(self: &Arc<Self>, upload: &mut Upload<'_>) -> String {
        let all = !self.config.unsigned_payload;
        while upload.kept.is_empty() || all {
            let Some(frame) = upload.draw(self) else { break };
            upload.kept.push(frame);
            if all {
                tokio::task::yield_now().await;
            }
        }
        if all { sha256(upload.kept.iter().map(AsRef::as_ref)) } else { UNSIGNED_PAYLOAD.to_owned() }
    }

    async fn put_once(
        self: &Arc<Self>,
        attempt: &mut Try<'_>,
        call: &Call<'_>,
        hash: &str,
        upload: &mut Upload<'_>,
    ) -> Result<(), Failure> {
        if let Some(fault) = &upload.fault {
            return Err(Failure::new(ErrorKind::Invalid, Outcome::Io, fault.clone()));
        }
        if upload.feed.left == 0 {
            let body = Outgoing::frames(upload.kept.iter().cloned());
            return self.put_body(attempt, call, hash, body).await.map(drop);
        }
        let (sender, body) = Outgoing::stream(upload.len);
        let result = {
            let mut pump = std::pin::pin!(upload.pump(self, sender));
            let mut send = std::pin::pin!(self.put_body(attempt, call, hash, body));
            let mut pumping = true;
            std::future::poll_fn(|cx| {
                pumping = pumping && pump.as_mut().poll(cx).is_pending();
                // A refusal may come before the body is through.
                send.as_mut().poll(cx)
            })
            .await
        };
        if let Some(fault) = &upload.fault {
            return Err(Failure::new(ErrorKind::Invalid, Outcome::Io, fault.clone()));
        }
        let repeatable = upload.is_repeatable();
        result.map(drop).map_err(|failure| if repeatable { failure } else { once_only(failure, self.write_memory()) })
    }

    /// Sends a body and waits until the server has it; returns its entity tag.
    pub(super) async fn put_body(
        self: &Arc<Self>,
        attempt: &mut Try<'_>,
        call: &Call<'_>,
        hash: &str,
        mut body: Outgoing,
    ) -> Result<String, Failure> {
        let len = body.len();
        let sent = (len > 0).then(|| body.count());
        let request = self.request(attempt.endpoint, call, hash, body)?;
        let answer = self.exchange(attempt, request).await;
        attempt.record.bytes = sent.as_ref().map_or(0, |sent| sent.load(Ordering::Relaxed));
        let answer = answer?;
        attempt.record.first_byte = Some(self.time.now());
        if !answer.head.status.is_success() {
            return Err(self.refusal(attempt, answer).await);
        }
        let etag = answer.head.headers.get(header::ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.text(attempt, answer).await?;
        Ok(etag.unwrap_or_default())
    }
}

/// A body that was too long to keep cannot be sent again.
fn once_only(mut failure: Failure, memory: u64) -> Failure {
    if failure.retry != Retry::Never {
        failure.retry = Retry::Never;
        failure.message = format!(
            "{} (not tried again: bodies of more than {memory} bytes in one request are not kept; write in parts)",
            failure.message
        );
    }
    failure
}
