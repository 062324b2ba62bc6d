//! Why a HEAD was refused. Its answer has no body that could say so; a request whose answer has one is sent, once for each of the
//! first refusals, so that a run in which many are expected is not made of questions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dlio_event::OpKind;
use http::{Method, header};

use super::Shared;
use super::body::Outgoing;
use super::bucket::after;
use super::failure::Failure;
use super::request::{Call, Failed, Tries, Try, put_header};
use super::sign::EMPTY_SHA256;
use crate::{Attempts, Error, ErrorKind, Receipt};

/// Refusals of a client whose reasons are asked for.
const ASKED: u64 = 16;

impl Failure {
    /// Whether an answer to HEAD was a refusal that does not say why.
    pub(super) fn lacks_reason(&self) -> bool {
        self.code.is_empty() && matches!(self.kind, ErrorKind::Denied | ErrorKind::Invalid) && self.status != 0
    }
}

impl Shared {
    /// The failure of a HEAD of an object with the server's reason: a GET of its first byte has one.
    pub(super) async fn with_reason(self: &Arc<Self>, key: &str, refused: Box<Failed>) -> Error {
        if !refused.failure.lacks_reason() || self.counts.reasons.fetch_add(1, Ordering::Relaxed) >= ASKED {
            return refused.error;
        }
        let mut error = refused.error;
        match self.first_byte(key).await {
            // An object without bytes has no first one.
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
        let call = Call::new(self, "looking up", OpKind::GetRange, Method::GET, Some(key));
        let mut tries = Tries::new(self, &call);
        loop {
            let mut attempt = tries.begin(call.kind, 0, Some(1)).await?;
            match self.first_byte_once(&mut attempt, &call).await {
                Ok(()) => return Ok(tries.succeed(attempt, 0).attempts),
                Err(failure) => tries.failed(attempt, failure).await?,
            }
        }
    }

    async fn first_byte_once(self: &Arc<Self>, attempt: &mut Try<'_>, call: &Call<'_>) -> Result<(), Failure> {
        let mut request = self.request(attempt.endpoint, call, EMPTY_SHA256, Outgoing::empty())?;
        put_header(request.headers_mut(), header::RANGE, "bytes=0-0")?;
        let answer = self.exchange(attempt, request).await?;
        attempt.record.first_byte = Some(self.time.now());
        // An answer that does not keep to the range is not read; its connection ends with it.
        if answer.head.status.is_success() { Ok(()) } else { Err(self.refusal(attempt, answer).await) }
    }

    /// Whether a bucket is there although a HEAD of it was refused: it is, if it can be listed; else the server says why not.
    pub(super) async fn why_denied(self: &Arc<Self>, refused: Error) -> Result<Receipt, Error> {
        let mut call = Call::new(self, "looking up", OpKind::List, Method::GET, None);
        call.query.push_str("list-type=2&max-keys=1");
        match self.simple(&call, Bytes::new()).await {
            Ok(answer) => {
                let mut receipt = answer.receipt;
                receipt.attempts.insert_many(0, refused.attempts);
                Ok(receipt)
            }
            Err(told) => Err(after(refused.attempts, told.error)),
        }
    }
}
