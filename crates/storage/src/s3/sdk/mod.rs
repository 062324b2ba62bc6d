//! The same storage through `aws-sdk-s3`: slower (at least about 75 µs of CPU time per request), but it is the client
//! that other tools use. It serves for comparison, and for endpoints that only work with the SDK.
//!
//! Choice of endpoint, retries, attempts and messages are those of [`S3`]; the SDK's own retries are disabled.
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

use connector::{Connector, FixedEndpoint, SdkFailure};

use super::bucket::{Pages, after, forgiven};
use super::client::S3;
use super::client_state::ClientState;
use super::config::S3Config;
use super::endpoints::Endpoint;
use super::failure::Failure;
use super::multipart;
use super::reading::RemoteObject;
use super::renewal::Renewal;
use super::request_spec::{Failed, RequestSpec};
use super::retry_loop::RetryLoop;
use crate::traits::{look_up_object, no_folder, no_updates};
use crate::{
    Attempts, ChunkSource, Error, ErrorKind, Future, ListEntry, Metadata, Object, Receipt, Staged, Storage, Updatable,
    Update,
};

struct ThreadClients {
    owner: Weak<ClientState>,
    clients: Vec<Client>,
}

thread_local! {
    /// The SDK clients of this thread, one per endpoint, because their connections belong to the thread's runtime.
    static CLIENTS: RefCell<Vec<ThreadClients>> = const { RefCell::new(Vec::new()) };
}

/// A bucket through the AWS SDK.
#[derive(Clone)]
pub struct SdkS3 {
    shared: Arc<ClientState>,
}

impl SdkS3 {
    /// Creates a client for a bucket, without connecting.
    ///
    /// # Errors
    /// When [`S3::new`] would return an error.
    pub fn new(config: S3Config, time: Arc<dyn TimeSource>) -> Result<Self, Error> {
        S3::new(config, time).map(|S3 { shared }| Self { shared })
    }

    /// Returns a client for the same bucket that shares the state of `client`, such as the health of its endpoints.
    #[must_use]
    pub fn beside(client: &S3) -> Self {
        Self { shared: Arc::clone(&client.shared) }
    }

    /// Returns this thread's SDK client for an endpoint.
    fn client(&self, endpoint: &Endpoint) -> Client {
        CLIENTS.with_borrow_mut(|threads_clients| {
            let address = Arc::as_ptr(&self.shared);
            let known = threads_clients.iter().position(|lane| std::ptr::eq(lane.owner.as_ptr(), address));
            let index = known.unwrap_or_else(|| {
                threads_clients.retain(|lane| lane.owner.strong_count() > 0);
                let clients = self.shared.endpoints.iter().map(|endpoint| connect(&self.shared, endpoint)).collect();
                threads_clients.push(ThreadClients { owner: Arc::downgrade(&self.shared), clients });
                threads_clients.len() - 1
            });
            threads_clients[index].clients[endpoint.index].clone()
        })
    }

    fn bucket(&self) -> &str {
        &self.shared.config.bucket
    }

    /// Sends a request without a payload, with retries.
    async fn simple<T, E, F>(
        &self,
        spec: &RequestSpec<'_>,
        send: impl Fn(Client) -> F,
    ) -> Result<(T, Attempts), Box<Failed>>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: std::future::Future<Output = Result<T, SdkError<E>>>,
    {
        let mut retries = RetryLoop::new(&self.shared, spec);
        loop {
            let mut attempt = retries.begin(spec.kind, 0, None).await?;
            let answer = send(self.client(attempt.endpoint));
            let failure = match self.shared.while_moving(&attempt, None, answer).await {
                Ok(Ok(answer)) => {
                    attempt.record.status = 200;
                    attempt.record.first_byte = Some(self.shared.time.now());
                    return Ok((answer, retries.succeed(attempt, 0).attempts));
                }
                Ok(Err(error)) => failure(&self.shared, &error),
                Err(failure) => failure,
            };
            retries.failed(attempt, failure).await?;
        }
    }

    async fn head(&self, key: &str) -> Result<(Metadata, Receipt), Error> {
        self.head_tag(key).await.map(|(metadata, _, receipt)| (metadata, receipt))
    }

    async fn head_tag(&self, key: &str) -> Result<(Metadata, Option<String>, Receipt), Error> {
        let spec = RequestSpec::new(&self.shared, "looking up", OpKind::Head, Method::HEAD, Some(key));
        spec.check(&self.shared)?;
        let full = self.shared.config.full_key(key);
        let send = |client: Client| client.head_object().bucket(self.bucket()).key(&full).send();
        let (answer, attempts) = match self.simple(&spec, send).await {
            Ok(answered) => answered,
            Err(refused) => return Err(self.shared.with_reason(key, refused).await),
        };
        let size = answer.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        let tag = answer.e_tag().map(str::to_owned);
        Ok((Metadata { size }, tag, Receipt { bytes: 0, attempts }))
    }

    async fn list_all(&self, prefix: &str, page: &mut dyn FnMut(&[ListEntry])) -> Result<Receipt, Error> {
        let spec = RequestSpec::new(&self.shared, "listing", OpKind::List, Method::GET, None);
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
            let (answer, attempts) = match self.simple(&spec, send).await {
                Ok(answered) => answered,
                Err(failed) => return Err(after(receipt.attempts, failed.error)),
            };
            receipt.attempts.extend(attempts);
            let found = answer.contents().iter().filter_map(|entry| {
                let size = entry.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                Some(ListEntry { key: entry.key()?.strip_prefix(&root)?.to_owned(), size })
            });
            let found: Vec<ListEntry> = found.collect();
            page(&found);
            let next = answer.next_continuation_token().map(str::to_owned);
            match pages.next(&found, answer.is_truncated() == Some(true), next) {
                Ok(None) => return Ok(receipt),
                Ok(next) => token = next,
                Err(why) => return Err(Pages::error(&self.shared, &spec, prefix, (why, receipt.attempts))),
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<Receipt, Error> {
        let spec = RequestSpec::new(&self.shared, "deleting", OpKind::Delete, Method::DELETE, Some(key));
        spec.check(&self.shared)?;
        let full = self.shared.config.full_key(key);
        match self.simple(&spec, |client| client.delete_object().bucket(self.bucket()).key(&full).send()).await {
            Ok((_, attempts)) => Ok(Receipt { bytes: 0, attempts }),
            Err(failed) if failed.failure.is(404, "NoSuchKey") => Ok(forgiven(failed)),
            Err(failed) => Err(failed.error),
        }
    }

    async fn create_bucket(&self) -> Result<Receipt, Error> {
        let spec = RequestSpec::new(&self.shared, "looking up", OpKind::Head, Method::HEAD, None);
        let earlier = match self.simple(&spec, |client| client.head_bucket().bucket(self.bucket()).send()).await {
            Ok((_, attempts)) => return Ok(Receipt { bytes: 0, attempts }),
            Err(failed) if failed.error.kind == ErrorKind::NotFound => failed.error.attempts,
            Err(failed) if failed.failure.lacks_reason() => return self.shared.why_denied(failed.error).await,
            Err(failed) => return Err(failed.error),
        };
        let spec = RequestSpec::new(&self.shared, "creating", OpKind::CreateNamespace, Method::PUT, None);
        let place = self.shared.location_constraint().map(|region| {
            CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region)).build()
        });
        let send = |client: Client| {
            client.create_bucket().bucket(self.bucket()).set_create_bucket_configuration(place.clone()).send()
        };
        let later = match self.simple(&spec, send).await {
            Ok((_, attempts)) => attempts,
            Err(failed) if failed.failure.is(409, "BucketAlreadyOwnedByYou") => failed.error.attempts,
            Err(failed) => return Err(after(earlier, failed.error)),
        };
        Ok(Receipt { bytes: 0, attempts: earlier.into_iter().chain(later).collect() })
    }
}

/// Creates the SDK client for one endpoint.
fn connect(client: &Arc<ClientState>, endpoint: &Endpoint) -> Client {
    let config = &client.config;
    let mut builder = Builder::new()
        .behavior_version_latest()
        .region(Region::new(config.region.clone()))
        .endpoint_resolver(FixedEndpoint::new(endpoint))
        .http_client(Connector::new(client, endpoint))
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Garage and radosgw reject the trailing checksums that are the default.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    builder = match (&config.credentials, &config.renewal) {
        (Some(_), Some(renewal)) => {
            // The renewal is done elsewhere.
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

/// Converts an error of the SDK into a failure.
fn failure<E>(client: &ClientState, error: &SdkError<E>) -> Failure
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
            match source.and_then(|source| source.downcast_ref::<SdkFailure>()) {
                Some(SdkFailure(failure)) => failure.clone(),
                None => Failure::connect(DisplayErrorContext(error)),
            }
        }
        SdkError::ResponseError(_) => Failure::broken(error),
        _ => Failure::invalid(DisplayErrorContext(error).to_string()),
    }
}

impl Storage for SdkS3 {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        let object = RemoteObject::new(self.clone(), key);
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

    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[ListEntry])) -> Future<'a, Receipt> {
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
