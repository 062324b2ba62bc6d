//! Reads and writes of payload through the SDK, with the bookkeeping of the other client.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use dlio_event::OpKind;
use http::Method;

use super::super::body::Outgoing;
use super::super::connect::with_pool;
use super::super::content_range::ContentRange;
use super::super::failure::Failure;
use super::super::get::{Promise, Reading};
use super::super::multipart::{self, Part, Stored, Uploader};
use super::super::put::Upload;
use super::super::request::{Call, Failed, Tries, Try};
use super::{SdkS3, Shared, failure};
use crate::{Attempts, ByteRange, ChunkSink, ChunkSource, Error, Future, Object, Receipt, Version};

/// An object of a bucket; opening it asked the server nothing.
pub(super) struct SdkObject {
    storage: SdkS3,
    key: Box<str>,
    opened: Attempts,
}

impl SdkObject {
    pub(super) fn new(storage: &SdkS3, key: &str) -> Self {
        Self { storage: storage.clone(), key: key.into(), opened: Attempts::new() }
    }
}

impl Object for SdkObject {
    fn size(&self) -> Option<u64> {
        None
    }

    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.storage.get(&self.key, Reading::new(range, sink)))
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(self.storage.get(&self.key, Reading::first(limit, sink)))
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        Box::pin(self.storage.get(&self.key, Reading::new(range, sink).of(version)))
    }
}

impl SdkS3 {
    async fn get(&self, key: &str, mut reading: Reading<'_>) -> Result<Receipt, Error> {
        let range = reading.range();
        let mut call = Call::new(&self.shared, "reading", OpKind::Get, Method::GET, Some(key));
        call.check(&self.shared)?;
        if range.len == Some(0) {
            return Ok(Receipt::default());
        }
        call.range = (range != ByteRange::ALL).then_some(range);
        let full = self.shared.config.full_key(key);
        let (mut tries, mut asked) = (Tries::new(&self.shared, &call), Attempts::new());
        loop {
            let mut attempt = reading.begin(&mut tries).await?;
            let outcome = match self.get_once(&mut attempt, &full, &mut reading).await {
                Ok(()) if reading.is_in_doubt() => reading.settle(self.head(key).await, &mut asked),
                outcome => outcome,
            };
            match outcome {
                Ok(()) => {
                    let mut receipt = tries.succeed(attempt, reading.delivered());
                    receipt.attempts.extend(asked);
                    return Ok(receipt);
                }
                Err(failure) => tries.failed(attempt, failure).await?,
            }
        }
    }

    async fn get_once(&self, attempt: &mut Try<'_>, full: &str, reading: &mut Reading<'_>) -> Result<(), Failure> {
        let limit = self.shared.config.request_timeout;
        let request = self.client(attempt.endpoint).get_object().bucket(self.bucket()).key(full);
        let request = request.set_range(reading.header()).set_if_match(reading.version().map(str::to_owned));
        let mut answer = match self.shared.while_moving(attempt, None, request.send()).await? {
            Ok(answer) => answer,
            Err(error) => {
                let failure = failure(&self.shared, &error);
                if failure.status == 416 && !reading.is_whole() {
                    // Beyond the end there is nothing to read, which is no error.
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
        reading.expect(&Promise { length, content_range: answer.content_range(), etag: answer.e_tag() })?;
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

    pub(super) async fn put(&self, key: &str, source: &mut dyn ChunkSource) -> Result<Receipt, Error> {
        let call = Call::new(&self.shared, "writing", OpKind::Put, Method::PUT, Some(key));
        call.check(&self.shared)?;
        let len = source.len();
        if multipart::wanted(&self.shared.config, len) {
            return Box::pin(multipart::put_parts(self, key, source)).await;
        }
        let full = self.shared.config.full_key(key);
        let mut upload = Upload::new(&self.shared, source);
        let mut tries = Tries::new(&self.shared, &call);
        let receipt = loop {
            let mut attempt = tries.begin(OpKind::Put, 0, Some(len)).await?;
            let send = async |body| self.put_once(&mut attempt, &full, body).await;
            match upload.through(&self.shared, send).await {
                Ok(()) => break tries.succeed(attempt, len),
                Err(failure) => tries.failed(attempt, failure).await?,
            }
        };
        upload.done(&self.shared);
        Ok(receipt)
    }

    async fn put_once(&self, attempt: &mut Try<'_>, full: &str, mut body: Outgoing) -> Result<(), Failure> {
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

    /// Sends a part; returns its entity tag.
    async fn part_once(
        &self,
        attempt: &mut Try<'_>,
        place: (&str, &str, u64),
        mut body: Outgoing,
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

fn stream(body: Outgoing) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(body))
}

/// At most 10,000 by the choice of the part size.
fn part_number(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl Uploader for SdkS3 {
    fn client(&self) -> &Arc<Shared> {
        &self.shared
    }

    async fn create(&self, key: &str) -> Result<(String, Attempts), Error> {
        let call = Call::new(&self.shared, "writing", OpKind::MultipartCreate, Method::POST, Some(key));
        let full = self.shared.config.full_key(key);
        let send = |client: Client| client.create_multipart_upload().bucket(self.bucket()).key(&full).send();
        let (answer, attempts) = Box::pin(self.simple(&call, send)).await?;
        Ok((answer.upload_id().unwrap_or_default().to_owned(), attempts))
    }

    async fn part(&self, key: &str, id: &str, part: Part) -> Result<Stored, Error> {
        let mut call = Call::new(&self.shared, "writing a part of", OpKind::MultipartPart, Method::PUT, Some(key));
        call.range = Some(ByteRange::new(part.offset, part.len));
        let full = self.shared.config.full_key(key);
        let mut tries = Tries::new(&self.shared, &call);
        loop {
            let mut attempt = tries.begin(call.kind, part.offset, Some(part.len)).await?;
            let body = Outgoing::frames(part.frames.iter().cloned());
            match self.part_once(&mut attempt, (&full, id, part.number), body).await {
                Ok(etag) => {
                    with_pool(&self.shared, |pool| pool.give(part.frames));
                    let attempts = tries.succeed(attempt, part.len).attempts;
                    return Ok(Stored { number: part.number, etag, attempts });
                }
                Err(failure) => tries.failed(attempt, failure).await?,
            }
        }
    }

    async fn complete(&self, key: &str, id: &str, parts: &[(u64, String)]) -> Result<Attempts, Box<Failed>> {
        let call = Call::new(&self.shared, "completing", OpKind::MultipartComplete, Method::POST, Some(key));
        let full = self.shared.config.full_key(key);
        let parts = parts
            .iter()
            .map(|(number, etag)| CompletedPart::builder().part_number(part_number(*number)).e_tag(etag).build());
        let done = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let send = |client: Client| {
            let request = client.complete_multipart_upload().bucket(self.bucket()).key(&full).upload_id(id);
            request.multipart_upload(done.clone()).send()
        };
        self.simple(&call, send).await.map(|(_, attempts)| attempts)
    }

    async fn stored(&self, key: &str) -> Result<(u64, Option<String>, Attempts), Error> {
        self.head_tag(key).await.map(|(metadata, tag, receipt)| (metadata.size, tag, receipt.attempts))
    }

    fn abort(&self, key: String, id: String) -> impl std::future::Future<Output = Attempts> + Send + 'static {
        let storage = self.clone();
        async move {
            let doing = "aborting the upload of";
            let call = Call::new(&storage.shared, doing, OpKind::MultipartAbort, Method::DELETE, Some(&key));
            let full = storage.shared.config.full_key(&key);
            let bucket = storage.bucket();
            let send = |client: Client| client.abort_multipart_upload().bucket(bucket).key(&full).upload_id(&id).send();
            match storage.simple(&call, send).await {
                Ok((_, attempts)) => attempts,
                Err(failed) => failed.error.attempts,
            }
        }
    }
}
