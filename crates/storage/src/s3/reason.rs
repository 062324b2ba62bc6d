//! Determines why a HEAD was refused. Its response has no body with a reason, so a GET is sent instead, once for each
//! of the first refusals of a client: a run with many expected refusals must not double its requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dlio_event::OpKind;
use http::{Method, header};

use super::body::RequestBody;
use super::bucket::after;
use super::client_state::ClientState;
use super::failure::Failure;
use super::request::put_header;
use super::request_spec::{Failed, RequestSpec};
use super::retry_loop::{ActiveAttempt, RetryLoop};
use super::sign::EMPTY_SHA256;
use crate::{Attempts, Error, ErrorKind, Receipt};

/// Number of refusals per client whose reason is determined.
const ASKED: u64 = 16;

impl Failure {
    /// Returns whether a HEAD was refused without a reason.
    pub(super) fn lacks_reason(&self) -> bool {
        self.code.is_empty() && matches!(self.kind, ErrorKind::Denied | ErrorKind::Invalid) && self.status != 0
    }
}

impl ClientState {
    /// Returns the failure of a HEAD with the server's reason, which a GET of the first byte returns.
    pub(super) async fn with_reason(self: &Arc<Self>, key: &str, refused: Box<Failed>) -> Error {
        if !refused.failure.lacks_reason() || self.counts.reasons.fetch_add(1, Ordering::Relaxed) >= ASKED {
            return refused.error;
        }
        let mut error = refused.error;
        match self.first_byte(key).await {
            // An empty object has no first byte.
            Err(told) if told.failure.code.is_empty() || told.failure.status == 416 => {
                error.attempts.extend(told.error.attempts);
                error
            }
            Err(told) => after(error.attempts, told.error),
            Ok(attempts) => {
                error.attempts.extend(attempts);
                error.message += "; reading the object is allowed, looking it up (HEAD) is not";
                error
            }
        }
    }

    async fn first_byte(self: &Arc<Self>, key: &str) -> Result<Attempts, Box<Failed>> {
        let spec = RequestSpec::new(self, "looking up", OpKind::GetRange, Method::GET, Some(key));
        let once = async |attempt: &mut ActiveAttempt<'_>| self.first_byte_once(attempt, &spec).await;
        let ((), receipt) = RetryLoop::new(self, &spec).run((spec.kind, 0, Some(1)), 0, once).await?;
        Ok(receipt.attempts)
    }

    async fn first_byte_once(
        self: &Arc<Self>,
        attempt: &mut ActiveAttempt<'_>,
        spec: &RequestSpec<'_>,
    ) -> Result<(), Failure> {
        let mut request = self.request(attempt.endpoint, spec, EMPTY_SHA256, RequestBody::empty())?;
        put_header(request.headers_mut(), header::RANGE, "bytes=0-0")?;
        let response = self.exchange(attempt, request).await?;
        attempt.record.first_byte = Some(self.time.now());
        // A response that ignores the range is not read; its connection is dropped.
        if response.head.status.is_success() { Ok(()) } else { Err(self.refusal(attempt, response).await) }
    }

    /// Determines whether a bucket exists although HEAD was refused: it does if it can be listed; otherwise the
    /// server states the reason.
    pub(super) async fn why_denied(self: &Arc<Self>, refused: Error) -> Result<Receipt, Error> {
        let mut spec = RequestSpec::new(self, "looking up", OpKind::List, Method::GET, None);
        spec.query.push_str("list-type=2&max-keys=1");
        match self.simple(&spec, Bytes::new()).await {
            Ok(response) => {
                let mut receipt = response.receipt;
                receipt.attempts.insert_many(0, refused.attempts);
                Ok(receipt)
            }
            Err(told) => Err(after(refused.attempts, told.error)),
        }
    }
}
