//! The same storage through `aws-sdk-s3`: slower (it has a floor of about 75 µs of CPU per request), but it is the
//! client that other tools use. For comparison, and for endpoints that only it gets along with.
//!
//! Choice of endpoint, retries, attempts and messages are those of [`S3`]; the SDK's own retries are off.
//! Payloads are never hashed.

mod connector;
mod transfer;

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use aws_credential_types::provider::{self, ProvideCredentials};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use dlio_event::{OpKind, Outcome, TimeSource};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use connector::{Connector, Fixed, Told};

use super::bucket::{Pages, after, forgiven};
use super::endpoints::Endpoint;
use super::failure::Failure;
use super::multipart;
use super::renewal::Renewal;
use super::request::{Call, Failed, Tries, invalid};
use super::{S3, S3Config, Shared};
use crate::traits::{look_up_object, no_folder, no_updates};
use crate::{
    Attempts, ChunkSource, Error, ErrorKind, Found, Future, Metadata, Object, Receipt, Staged, Storage, Updatable,
    Update,
};

struct Lane {
    owner: Weak<Shared>,
    clients: Vec<Client>,
}

thread_local! {
    /// The SDK's clients of this thread, one per endpoint: their connections belong to the thread's runtime.
    static LANES: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
}

/// A bucket through the AWS SDK.
#[derive(Clone)]
pub struct SdkS3 {
    shared: Arc<Shared>,
}

impl SdkS3 {
    /// A client for a bucket; connects to nothing yet.
    ///
    /// # Errors
    /// As [`S3::new`].
    pub fn new(config: S3Config, time: Arc<dyn TimeSource>) -> Result<Self, Error> {
        S3::new(config, time).map(|S3 { shared }| Self { shared })
    }

    /// The same bucket as another client's, with what that one knows of its endpoints.
    #[must_use]
    pub fn beside(client: &S3) -> Self {
        Self { shared: Arc::clone(&client.shared) }
    }

    /// This thread's client for an endpoint.
    fn client(&self, endpoint: &Endpoint) -> Client {
        LANES.with_borrow_mut(|lanes| {
            let address = Arc::as_ptr(&self.shared);
            let known = lanes.iter().position(|lane| std::ptr::eq(lane.owner.as_ptr(), address));
            let index = known.unwrap_or_else(|| {
                lanes.retain(|lane| lane.owner.strong_count() > 0);
                let clients = self.shared.endpoints.iter().map(|endpoint| connect(&self.shared, endpoint)).collect();
                lanes.push(Lane { owner: Arc::downgrade(&self.shared), clients });
                lanes.len() - 1
            });
            lanes[index].clients[endpoint.index].clone()
        })
    }

    fn bucket(&self) -> &str {
        &self.shared.config.bucket
    }

    /// A request without a payload, with its tries.
    async fn simple<T, E, F>(&self, call: &Call<'_>, send: impl Fn(Client) -> F) -> Result<(T, Attempts), Box<Failed>>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: std::future::Future<Output = Result<T, SdkError<E>>>,
    {
        let mut tries = Tries::new(&self.shared, call);
        loop {
            let mut attempt = tries.begin(call.kind, 0, None).await?;
            let answer = send(self.client(attempt.endpoint));
            let failure = match self.shared.while_moving(&attempt, None, answer).await {
                Ok(Ok(answer)) => {
                    attempt.record.status = 200;
                    attempt.record.first_byte = Some(self.shared.time.now());
                    return Ok((answer, tries.succeed(attempt, 0).attempts));
                }
                Ok(Err(error)) => failure(&self.shared, &error),
                Err(failure) => failure,
            };
            tries.failed(attempt, failure).await?;
        }
    }

    async fn head(&self, key: &str) -> Result<(Metadata, Receipt), Error> {
        self.head_tag(key).await.map(|(metadata, _, receipt)| (metadata, receipt))
    }

    async fn head_tag(&self, key: &str) -> Result<(Metadata, Option<String>, Receipt), Error> {
        let call = Call::new(&self.shared, "looking up", OpKind::Head, Method::HEAD, Some(key));
        call.check(&self.shared)?;
        let full = self.shared.config.full_key(key);
        let send = |client: Client| client.head_object().bucket(self.bucket()).key(&full).send();
        let (answer, attempts) = match self.simple(&call, send).await {
            Ok(answered) => answered,
            Err(refused) => return Err(self.shared.with_reason(key, refused).await),
        };
        let size = answer.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        let tag = answer.e_tag().map(str::to_owned);
        Ok((Metadata { size }, tag, Receipt { bytes: 0, attempts }))
    }

    async fn list_all(&self, prefix: &str, page: &mut dyn FnMut(&[Found])) -> Result<Receipt, Error> {
        let call = Call::new(&self.shared, "listing", OpKind::List, Method::GET, None);
        let root = self.shared.config.full_key("");
        let full = format!("{root}{prefix}");
        let mut receipt = Receipt::default();
        let mut token: Option<String> = None;
        let mut pages = Pages::default();
        loop {
            let send = |client: Client| {
                let request = client.list_objects_v2().bucket(self.bucket()).prefix(&full);
                request.set_continuation_token(token.clone()).send()
            };
            let (answer, attempts) = match self.simple(&call, send).await {
                Ok(answered) => answered,
                Err(failed) => return Err(after(receipt.attempts, failed.error)),
            };
            receipt.attempts.extend(attempts);
            let found = answer.contents().iter().filter_map(|entry| {
                let size = entry.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                Some(Found { key: entry.key()?.strip_prefix(&root)?.to_owned(), size })
            });
            let found: Vec<Found> = found.collect();
            page(&found);
            let next = answer.next_continuation_token().map(str::to_owned);
            match pages.next(&found, answer.is_truncated() == Some(true), next) {
                Ok(None) => return Ok(receipt),
                Ok(next) => token = next,
                Err(why) => return Err(Pages::error(&self.shared, &call, prefix, (why, receipt.attempts))),
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<Receipt, Error> {
        let call = Call::new(&self.shared, "deleting", OpKind::Delete, Method::DELETE, Some(key));
        call.check(&self.shared)?;
        let full = self.shared.config.full_key(key);
        match self.simple(&call, |client| client.delete_object().bucket(self.bucket()).key(&full).send()).await {
            Ok((_, attempts)) => Ok(Receipt { bytes: 0, attempts }),
            Err(failed) if failed.failure.is(404, "NoSuchKey") => Ok(forgiven(failed)),
            Err(failed) => Err(failed.error),
        }
    }

    async fn create_bucket(&self) -> Result<Receipt, Error> {
        let call = Call::new(&self.shared, "looking up", OpKind::Head, Method::HEAD, None);
        let earlier = match self.simple(&call, |client| client.head_bucket().bucket(self.bucket()).send()).await {
            Ok((_, attempts)) => return Ok(Receipt { bytes: 0, attempts }),
            Err(failed) if failed.error.kind == ErrorKind::NotFound => failed.error.attempts,
            Err(failed) if failed.failure.lacks_reason() => return self.shared.why_denied(failed.error).await,
            Err(failed) => return Err(failed.error),
        };
        let call = Call::new(&self.shared, "creating", OpKind::CreateNamespace, Method::PUT, None);
        let place = self.shared.location_constraint().map(|region| {
            CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region)).build()
        });
        let send = |client: Client| {
            client.create_bucket().bucket(self.bucket()).set_create_bucket_configuration(place.clone()).send()
        };
        let later = match self.simple(&call, send).await {
            Ok((_, attempts)) => attempts,
            Err(failed) if failed.failure.is(409, "BucketAlreadyOwnedByYou") => failed.error.attempts,
            Err(failed) => return Err(after(earlier, failed.error)),
        };
        Ok(Receipt { bytes: 0, attempts: earlier.into_iter().chain(later).collect() })
    }
}

/// The SDK's client for one endpoint.
fn connect(client: &Arc<Shared>, endpoint: &Endpoint) -> Client {
    let config = &client.config;
    let mut builder = Builder::new()
        .behavior_version_latest()
        .region(Region::new(config.region.clone()))
        .endpoint_resolver(Fixed::new(endpoint))
        .http_client(Connector::new(client, endpoint))
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Garage and radosgw reject the trailing checksums that are the default.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    builder = match (&config.credentials, &config.renewal) {
        (Some(_), Some(renewal)) => {
            // They are kept new elsewhere.
            builder.credentials_provider(renewal.clone()).identity_cache(IdentityCache::no_cache())
        }
        (Some(given), None) => {
            let token = given.session_token.as_ref().map(|token| token.expose().to_owned());
            let secret = given.secret_access_key.expose();
            builder.credentials_provider(Credentials::new(&given.access_key_id, secret, token, None, "dlio-rs"))
        }
        (None, _) => builder.allow_no_auth(),
    };
    Client::from_conf(builder.build())
}

/// What an error of the SDK means.
fn failure<E>(client: &Shared, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let raw = service.raw();
            let status = StatusCode::from_u16(raw.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if status.is_success() {
                let message = format!("the SDK does not understand the answer: {}", DisplayErrorContext(service.err()));
                return Failure::new(ErrorKind::Server, Outcome::ServerError, message);
            }
            let mut headers = HeaderMap::new();
            for name in ["x-amz-bucket-region", "location", "retry-after", "date"] {
                if let Some(value) = raw.headers().get(name).and_then(|value| HeaderValue::from_str(value).ok()) {
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
            let said = service.err();
            let (code, text) = (said.code().unwrap_or_default(), said.message().unwrap_or_default());
            let made = format!("<Code>{code}</Code><Message>{text}</Message>");
            let body = raw.body().bytes().filter(|body| !body.is_empty()).unwrap_or(made.as_bytes());
            client.judge(status, &headers, body)
        }
        SdkError::TimeoutError(_) => Failure::timeout("no connection was made", client.config.connect_timeout),
        SdkError::DispatchFailure(why) => {
            let source = why.as_connector_error().and_then(std::error::Error::source);
            match source.and_then(|source| source.downcast_ref::<Told>()) {
                Some(Told(failure)) => failure.clone(),
                None => Failure::connect(DisplayErrorContext(error)),
            }
        }
        SdkError::ResponseError(_) => Failure::broken(error),
        _ => invalid(DisplayErrorContext(error).to_string()),
    }
}

impl Storage for SdkS3 {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        let object = transfer::SdkObject::new(self, key);
        Box::pin(std::future::ready(Ok(Box::new(object) as Box<dyn Object>)))
    }

    fn update<'a>(&'a self, key: &'a str, _how: Update) -> Future<'a, Box<dyn Updatable>> {
        no_updates(self.uri(key))
    }

    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt> {
        Box::pin(self.put(key, source))
    }

    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged> {
        Box::pin(multipart::stage_parts(self, key, source))
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(multipart::publish(self, staged))
    }

    fn discard<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt> {
        Box::pin(multipart::discard(self, staged))
    }

    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)> {
        Box::pin(self.head(key))
    }

    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)> {
        look_up_object(self, key)
    }

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[Found])) -> Future<'a, Receipt> {
        Box::pin(self.list_all(prefix, page))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt> {
        Box::pin(self.remove(key))
    }

    fn create_root(&self) -> Future<'_, Receipt> {
        Box::pin(self.create_bucket())
    }

    fn create_folder<'a>(&'a self, _key: &'a str) -> Future<'a, Receipt> {
        Box::pin(std::future::ready(Ok(Receipt::default())))
    }

    fn remove_folder<'a>(&'a self, _key: &'a str) -> Future<'a, (bool, Receipt)> {
        no_folder()
    }

    fn blocks(&self) -> bool {
        false
    }

    fn uri(&self, key: &str) -> String {
        self.shared.config.uri(key)
    }

    fn root_uri(&self) -> String {
        self.shared.config.bucket_uri()
    }
}

impl ProvideCredentials for Renewal {
    fn provide_credentials<'a>(&'a self) -> provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let (newest, ends) = self.newest();
        let token = newest.session_token.as_ref().map(|token| token.expose().to_owned());
        let secret = newest.secret_access_key.expose();
        let ends = ends.map(|ends| std::time::UNIX_EPOCH + ends);
        let found = aws_credential_types::Credentials::new(&newest.access_key_id, secret, token, ends, "dlio-rs");
        provider::future::ProvideCredentials::ready(Ok(found))
    }
}
