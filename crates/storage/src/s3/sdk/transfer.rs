//! Reads and writes payload through the SDK, with the same accounting as the other client.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use dlio_event::OpKind;
use http::Method;

use super::super::body::RequestBody;
use super::super::client_state::ClientState;
use super::super::connect::with_pool;
use super::super::content_range::ContentRange;
use super::super::failure::Failure;
use super::super::multipart::{self, Part, UploadedPart, Uploader};
use super::super::put::Upload;
use super::super::reading::{BodyHeaders, Reader, Reading};
use super::super::request_spec::{Failed, RequestSpec};
use super::super::retry_loop::{ActiveAttempt, RetryLoop};
use super::{SdkS3, failure};
use crate::{Attempts, ByteRange, ChunkSource, Error, Metadata, Receipt};

impl Reader for SdkS3 {
    fn client(&self) -> &Arc<ClientState> {
        &self.shared
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
        let full = self.shared.config.full_key(spec.key.unwrap_or_default());
        let limit = self.shared.config.request_timeout;
        let request = self.client(attempt.endpoint).get_object().bucket(self.bucket()).key(full);
        let request = request.set_range(reading.header()).set_if_match(reading.version().map(str::to_owned));
        let mut answer = match self.shared.while_moving(attempt, None, request.send()).await? {
            Ok(answer) => answer,
            Err(error) => {
                let failure = failure(&self.shared, &error);
                if failure.status == 416 && !reading.is_whole() {
                    // A range beyond the end is empty, which is no error.
                    attempt.record.status = failure.status;
                    attempt.record.first_byte = Some(self.shared.time.now());
                    return reading.nothing_there(None);
                }
                return Err(failure);
            }
        };
        attempt.record.status = if answer.content_range().is_some() { 206 } else { 200 };
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        attempt.record.object_size = answer.content_range().map_or(length, |text| ContentRange::parse(text)?.total);
        reading.expect(&BodyHeaders { length, content_range: answer.content_range(), etag: answer.e_tag() })?;
        while !reading.is_complete() {
            match self.shared.patient(attempt, limit, answer.body.next()).await {
                None => return Err(Failure::timeout("no byte moved", limit)),
                Some(None) => break,
                Some(Some(Err(error))) => return Err(reading.broke(&error)),
                Some(Some(Ok(data))) => reading.deliver(attempt, &self.shared, &data)?,
            }
        }
        reading.end(attempt, &self.shared)
    }
}

impl SdkS3 {
    pub(super) async fn put(&self, key: &str, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let spec = RequestSpec::new(&self.shared, "writing", OpKind::Put, Method::PUT, Some(key));
        spec.check(&self.shared)?;
        let len = source.len();
        if multipart::is_multipart(&self.shared.config, len) {
            return Box::pin(multipart::put_parts(self, key, source)).await;
        }
        let full = self.shared.config.full_key(key);
        let mut upload = Upload::new(&self.shared, source);
        let once = async |attempt: &mut ActiveAttempt<'_>| {
            let send = async |body| self.put_once(attempt, &full, body).await;
            upload.through(&self.shared, send).await
        };
        let ((), receipt) = RetryLoop::new(&self.shared, &spec).run((OpKind::Put, 0, Some(len)), len, once).await?;
        upload.done(&self.shared);
        Ok(receipt)
    }

    async fn put_once(
        &self,
        attempt: &mut ActiveAttempt<'_>,
        full: &str,
        mut body: RequestBody,
    ) -> Result<(), Failure> {
        let sent = body.watch(&self.shared.time);
        let len = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let request = self.client(attempt.endpoint).put_object().bucket(self.bucket()).key(full).content_length(len);
        let request = request.body(stream(body)).customize().disable_payload_signing();
        let answer = self.shared.while_moving(attempt, Some(&sent), request.send()).await;
        (attempt.record.bytes, attempt.record.last_byte) = (sent.bytes(), sent.ended());
        answer?.map_err(|error| failure(&self.shared, &error))?;
        attempt.record.status = 200;
        attempt.record.first_byte = Some(self.shared.time.now());
        Ok(())
    }

    /// Uploads a part; returns its entity tag.
    async fn part_once(
        &self,
        attempt: &mut ActiveAttempt<'_>,
        place: (&str, &str, u64),
        mut body: RequestBody,
    ) -> Result<String, Failure> {
        let (full, id, number) = place;
        let sent = body.watch(&self.shared.time);
        let len = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let request = self.client(attempt.endpoint).upload_part().bucket(self.bucket()).key(full).upload_id(id);
        let request = request.part_number(part_number(number)).content_length(len).body(stream(body));
        let request = request.customize().disable_payload_signing();
        let answer = self.shared.while_moving(attempt, Some(&sent), request.send()).await;
        (attempt.record.bytes, attempt.record.last_byte) = (sent.bytes(), sent.ended());
        let answer = answer?.map_err(|error| failure(&self.shared, &error))?;
        attempt.record.status = 200;
        attempt.record.first_byte = Some(self.shared.time.now());
        Ok(answer.e_tag().unwrap_or_default().to_owned())
    }
}

fn stream(body: RequestBody) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(body))
}

/// At most 10,000, by the choice of the part size.
fn part_number(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl Uploader for SdkS3 {
    fn client(&self) -> &Arc<ClientState> {
        &self.shared
    }

    async fn create(&self, key: &str) -> Result<(String, Attempts), Error> {
        let spec = RequestSpec::new(&self.shared, "writing", OpKind::MultipartCreate, Method::POST, Some(key));
        let full = self.shared.config.full_key(key);
        let send = |client: Client| client.create_multipart_upload().bucket(self.bucket()).key(&full).send();
        let (answer, attempts) = Box::pin(self.simple(&spec, send)).await?;
        Ok((answer.upload_id().unwrap_or_default().to_owned(), attempts))
    }

    async fn part(&self, key: &str, id: &str, part: Part) -> Result<UploadedPart, Error> {
        let mut spec =
            RequestSpec::new(&self.shared, "writing a part of", OpKind::MultipartPart, Method::PUT, Some(key));
        spec.range = Some(ByteRange::new(part.offset, part.len));
        let full = self.shared.config.full_key(key);
        let once = async |attempt: &mut ActiveAttempt<'_>| {
            let body = RequestBody::frames(part.frames.iter().cloned());
            self.part_once(attempt, (&full, id, part.number), body).await
        };
        let what = (spec.kind, part.offset, Some(part.len));
        let (etag, receipt) = RetryLoop::new(&self.shared, &spec).run(what, part.len, once).await?;
        with_pool(&self.shared, |pool| pool.give(part.frames));
        Ok(UploadedPart { number: part.number, etag, attempts: receipt.attempts })
    }

    async fn complete(&self, key: &str, id: &str, parts: &[(u64, String)]) -> Result<Attempts, Box<Failed>> {
        let spec = RequestSpec::new(&self.shared, "completing", OpKind::MultipartComplete, Method::POST, Some(key));
        let full = self.shared.config.full_key(key);
        let parts = parts
            .iter()
            .map(|(number, etag)| CompletedPart::builder().part_number(part_number(*number)).e_tag(etag).build());
        let done = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let send = |client: Client| {
            let request = client.complete_multipart_upload().bucket(self.bucket()).key(&full).upload_id(id);
            request.multipart_upload(done.clone()).send()
        };
        self.simple(&spec, send).await.map(|(_, attempts)| attempts)
    }

    async fn stored(&self, key: &str) -> Result<(u64, Option<String>, Attempts), Error> {
        self.head_tag(key).await.map(|(metadata, tag, receipt)| (metadata.size, tag, receipt.attempts))
    }

    fn abort(&self, key: String, id: String) -> impl std::future::Future<Output = Attempts> + Send + 'static {
        let storage = self.clone();
        async move {
            let doing = "aborting the upload of";
            let spec = RequestSpec::new(&storage.shared, doing, OpKind::MultipartAbort, Method::DELETE, Some(&key));
            let full = storage.shared.config.full_key(&key);
            let bucket = storage.bucket();
            let send = |client: Client| client.abort_multipart_upload().bucket(bucket).key(&full).upload_id(&id).send();
            match storage.simple(&spec, send).await {
                Ok((_, attempts)) => attempts,
                Err(failed) => failed.error.attempts,
            }
        }
    }
}
