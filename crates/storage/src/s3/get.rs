//! GET requests of the client.

use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderValue};
use http_body_util::BodyExt;

use super::body::RequestBody;
use super::client_state::ClientState;
use super::failure::Failure;
use super::reading::{BodyHeaders, Reader, Reading};
use super::request::put_header;
use super::request_spec::RequestSpec;
use super::retry_loop::ActiveAttempt;
use super::sign::EMPTY_SHA256;
use crate::{Error, Metadata, Receipt};

/// Returns the size of the whole object, from `Content-Range` or else `Content-Length`.
fn object_size(headers: &http::HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match text(header::CONTENT_RANGE) {
        Some(range) => range.rsplit_once('/')?.1.trim().parse().ok(),
        None => text(header::CONTENT_LENGTH)?.parse().ok(),
    }
}

impl Reader for Arc<ClientState> {
    fn client(&self) -> &Arc<ClientState> {
        self
    }

    async fn size(&self, key: &str) -> Result<(Metadata, Receipt), Error> {
        self.head(key).await
    }

    async fn get_once(
        &self,
        attempt: &mut ActiveAttempt<'_>,
        spec: &RequestSpec<'_>,
        reading: &mut Reading<'_>,
    ) -> Result<(), Failure> {
        let mut request = self.request(attempt.endpoint, spec, EMPTY_SHA256, RequestBody::empty())?;
        if let Some(range) = reading.header() {
            put_header(request.headers_mut(), header::RANGE, &range)?;
        }
        if let Some(etag) = reading.version() {
            put_header(request.headers_mut(), header::IF_MATCH, etag)?;
        }
        let mut response = self.exchange(attempt, request).await?;
        if response.head.status == StatusCode::RANGE_NOT_SATISFIABLE && !reading.is_whole() {
            // A range beyond the end is empty, which is no error.
            attempt.record.first_byte = Some(self.time.now());
            let (head, _) = self.text(attempt, response).await?;
            return reading
                .nothing_there(head.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()));
        }
        if !response.head.status.is_success() {
            return Err(self.refusal(attempt, response).await);
        }
        attempt.record.object_size = object_size(&response.head.headers);
        let text = |name| response.head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        reading.expect(&BodyHeaders {
            length: text(header::CONTENT_LENGTH).and_then(|value| value.parse().ok()),
            content_range: text(header::CONTENT_RANGE),
            etag: text(header::ETAG),
        })?;
        let limit = self.config.request_timeout;
        while !reading.is_complete() {
            match self.patient(attempt, limit, response.body.frame()).await {
                None => return Err(Failure::timeout("no byte moved", limit)),
                Some(None) => break,
                Some(Some(Err(error))) => return Err(reading.broke(&error)),
                Some(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        reading.deliver(attempt, self, &data)?;
                    }
                }
            }
        }
        reading.end(attempt, self)?;
        if !reading.is_cut() {
            self.finish(attempt, response);
        }
        Ok(())
    }
}
