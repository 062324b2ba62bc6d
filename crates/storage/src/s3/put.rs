//! Writes in a single request. The body is generated while it is sent; frames are kept so that it can be sent again.

use std::future::Future as _;
use std::sync::Arc;

use bytes::Bytes;
use dlio_event::{OpKind, Outcome};
use http::{Method, header};
use tokio::sync::mpsc;

use super::body::{FrameSource, RequestBody};
use super::client_state::ClientState;
use super::connect::with_pool;
use super::failure::{Failure, Retry};
use super::multipart;
use super::request_spec::RequestSpec;
use super::retry_loop::{ActiveAttempt, RetryLoop};
use super::sign::{UNSIGNED_PAYLOAD, sha256};
use crate::{ChunkSource, Error, ErrorKind, Receipt};

/// A body with the frames already drawn from its source.
pub(super) struct Upload<'a> {
    feed: FrameSource<'a>,
    kept: Vec<Bytes>,
    len: u64,
    /// Whether frames are kept; otherwise the body can be sent only once.
    keep: bool,
    /// Error of the source.
    fault: Option<String>,
}

impl<'a> Upload<'a> {
    pub(super) fn new(client: &ClientState, source: &'a mut dyn ChunkSource) -> Self {
        let len = source.len();
        let keep = len <= client.write_memory() || !client.config.unsigned_payload;
        Self { feed: FrameSource::new(source), kept: Vec::new(), len, keep, fault: None }
    }

    /// Sends the body with `send` while it is being generated.
    pub(super) async fn through<T>(
        &mut self,
        client: &Arc<ClientState>,
        send: impl AsyncFnOnce(RequestBody) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.sound()?;
        if self.feed.left == 0 {
            return send(RequestBody::frames(self.kept.iter().cloned())).await;
        }
        let (sender, body) = RequestBody::stream(self.len);
        let result = {
            let mut pump = std::pin::pin!(self.pump(client, sender));
            let mut send = std::pin::pin!(send(body));
            let mut pumping = true;
            std::future::poll_fn(|cx| {
                pumping = pumping && pump.as_mut().poll(cx).is_pending();
                // A refusal may arrive before the body has been sent.
                send.as_mut().poll(cx)
            })
            .await
        };
        self.sound()?;
        let repeatable = self.is_repeatable();
        result.map_err(|failure| if repeatable { failure } else { once_only(failure, client.write_memory()) })
    }

    fn sound(&self) -> Result<(), Failure> {
        match &self.fault {
            Some(fault) => Err(Failure::new(ErrorKind::Invalid, Outcome::Io, fault.clone())),
            None => Ok(()),
        }
    }

    /// Returns every frame to the pool.
    pub(super) fn done(self, client: &Arc<ClientState>) {
        with_pool(client, |pool| pool.give(self.kept));
    }

    fn draw(&mut self, client: &Arc<ClientState>) -> Option<Bytes> {
        match with_pool(client, |pool| self.feed.next(pool, u64::MAX)) {
            Ok(frame) => frame,
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }

    /// Sends all frames into the body of a request, from the start.
    async fn pump(&mut self, client: &Arc<ClientState>, sender: mpsc::Sender<Bytes>) {
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

    /// Returns whether all frames drawn so far are still available.
    fn is_repeatable(&self) -> bool {
        self.kept.iter().map(|frame| frame.len() as u64).sum::<u64>() == self.len - self.feed.left
    }

    /// Returns sent frames to the pool.
    fn recycle(&mut self, client: &Arc<ClientState>) {
        // The last two frames may still be in use by the connection.
        let done = self.kept.len().saturating_sub(2);
        with_pool(client, |pool| pool.give(self.kept.drain(..done)));
    }
}

impl ClientState {
    /// Writes an object, in one request or in parts.
    pub(super) async fn put(self: &Arc<Self>, key: &str, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let spec = RequestSpec::new(self, "writing", OpKind::Put, Method::PUT, Some(key));
        spec.check(self)?;
        if multipart::is_multipart(&self.config, source.len()) {
            return Box::pin(multipart::put_parts(self, key, source)).await;
        }
        let len = source.len();
        let mut upload = Upload::new(self, source);
        let hash = self.prepare(&mut upload).await;
        let once = async |attempt: &mut ActiveAttempt<'_>| {
            let send = async |body| self.put_body(attempt, &spec, &hash, body).await;
            upload.through(self, send).await
        };
        let (_etag, receipt) = RetryLoop::new(self, &spec).run((OpKind::Put, 0, Some(len)), len, once).await?;
        upload.done(self);
        Ok(receipt)
    }

    /// Returns the most bytes that one write may hold in memory.
    pub(super) fn write_memory(&self) -> u64 {
        self.config.part_size.saturating_mul(u64::from(self.config.part_concurrency.max(1)))
    }

    /// Draws the first frame, or all frames if the signature covers them; returns the hash to sign.
    pub(super) async fn prepare(self: &Arc<Self>, upload: &mut Upload<'_>) -> String {
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

    /// Sends a body, waits for the response, and returns the entity tag.
    pub(super) async fn put_body(
        self: &Arc<Self>,
        attempt: &mut ActiveAttempt<'_>,
        spec: &RequestSpec<'_>,
        hash: &str,
        mut body: RequestBody,
    ) -> Result<String, Failure> {
        let len = body.len();
        let sent = (len > 0).then(|| body.watch(&self.time));
        let request = self.request(attempt.endpoint, spec, hash, body)?;
        let response = self.exchange(attempt, request).await;
        attempt.record.bytes = sent.as_ref().map_or(0, |sent| sent.bytes());
        let response = response?;
        attempt.record.first_byte = Some(self.time.now());
        if !response.head.status.is_success() {
            return Err(self.refusal(attempt, response).await);
        }
        let etag = response.head.headers.get(header::ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.text(attempt, response).await?;
        Ok(etag.unwrap_or_default())
    }
}

/// Marks a failure as final, because the body was too long to keep and cannot be sent again.
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
