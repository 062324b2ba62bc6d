//! Where credentials come from: given values first, then the AWS chain. Only rank 0 asks; the others are told.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_credential_types::provider::ProvideCredentials;

use super::{Credentials, Secret, Temporary};
use crate::{Attempts, Error, ErrorKind};

/// Longest wait for the instance metadata service, which most machines do not have.
const METADATA_LIMIT: Duration = Duration::from_secs(3);
/// Longest wait for the chain as a whole (web identity and SSO ask servers).
const CHAIN_LIMIT: Duration = Duration::from_secs(20);
/// First byte of the broadcast form.
const FORM: u8 = 1;

/// What the workload and the command line say.
#[derive(Debug, Clone, Default)]
pub struct CredentialOptions {
    /// `storage.storage_options.access_key_id`
    pub access_key_id: Option<String>,
    /// `storage.storage_options.secret_access_key`
    pub secret_access_key: Option<Secret>,
    /// Token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Profile of the shared AWS configuration files; `None`: the default one.
    pub profile: Option<String>,
    /// `storage.storage_options.region`
    pub region: Option<String>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What requests are signed with.
    pub credentials: Credentials,
    /// Region, where one is named.
    pub region: Option<String>,
    /// When the credentials end, since 1970; `None`: never, or nobody says.
    pub ends: Option<Duration>,
}

/// Credentials and region: the given ones, else those of the AWS chain (environment, profile, web identity, SSO,
/// container, instance metadata).
///
/// # Errors
/// When only half of a key is given, or the chain has none.
pub async fn resolve_credentials(options: &CredentialOptions) -> Result<Resolved, Error> {
    let region = match &options.region {
        Some(region) => Some(region.clone()),
        None => chain_region(options).await,
    };
    let Temporary { credentials, ends } = match (&options.access_key_id, &options.secret_access_key) {
        (Some(id), Some(secret)) => {
            let (access_key_id, secret_access_key) = (id.clone(), secret.clone());
            let session_token = options.session_token.clone();
            Temporary { credentials: Credentials { access_key_id, secret_access_key, session_token }, ends: None }
        }
        (Some(_), None) => return Err(half("access_key_id", "secret_access_key")),
        (None, Some(_)) => return Err(half("secret_access_key", "access_key_id")),
        (None, None) => chain(options, region.clone()).await?,
    };
    Ok(Resolved { credentials, region, ends })
}

/// Asks the AWS chain once more: for a rank that renews by itself what rank 0 has found.
///
/// # Errors
/// When the chain of this process has no credentials.
pub async fn renew_credentials(options: &CredentialOptions) -> Result<Temporary, Error> {
    chain(options, options.region.clone()).await
}

fn half(given: &str, missing: &str) -> Error {
    error(
        ErrorKind::Invalid,
        format!("storage.storage_options.{given} is given but {missing} is not; set both or none"),
    )
}

fn error(kind: ErrorKind, message: String) -> Error {
    Error {
        kind,
        doing: "finding credentials for",
        object: "S3".to_owned(),
        range: None,
        endpoint: None,
        message,
        attempts: Attempts::new(),
    }
}

/// Environment and profile only: asking the metadata service would delay every machine that has none.
async fn chain_region(options: &CredentialOptions) -> Option<String> {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
    chain.region().await.map(|region| region.to_string())
}

async fn chain(options: &CredentialOptions, region: Option<String>) -> Result<Temporary, Error> {
    let metadata = imds::Client::builder()
        .max_attempts(1)
        .connect_timeout(Duration::from_secs(1))
        .read_timeout(Duration::from_secs(1))
        .operation_timeout(METADATA_LIMIT)
        .build();
    let region = aws_config::Region::new(region.unwrap_or_else(|| "us-east-1".to_owned()));
    let mut builder = DefaultCredentialsChain::builder().imds_client(metadata).region(region);
    if let Some(name) = &options.profile {
        builder = builder.profile_name(name);
    }
    let found = tokio::time::timeout(CHAIN_LIMIT, async { builder.build().await.provide_credentials().await }).await;
    let why = match found {
        Ok(Ok(found)) => {
            let credentials = Credentials {
                access_key_id: found.access_key_id().to_owned(),
                secret_access_key: Secret::new(found.secret_access_key()),
                session_token: found.session_token().map(Secret::new),
            };
            let ends = found.expiry().and_then(|end| end.duration_since(std::time::UNIX_EPOCH).ok());
            return Ok(Temporary { credentials, ends });
        }
        Ok(Err(why)) => {
            std::error::Error::source(&why).map_or_else(|| why.to_string(), |source| format!("{why}: {source}"))
        }
        Err(_) => format!("no answer within {CHAIN_LIMIT:?}"),
    };
    Err(error(
        ErrorKind::Denied,
        format!(
            "no source has any ({why}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, an AWS profile, or \
             storage.storage_options.access_key_id and secret_access_key"
        ),
    ))
}

impl Credentials {
    /// The form in which rank 0 tells the others. It contains the secret: send it, never store or print it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let token = self.session_token.as_ref().map(Secret::expose);
        let mut out = vec![FORM, u8::from(token.is_some())];
        for text in [&self.access_key_id, self.secret_access_key.expose(), token.unwrap_or_default()] {
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Reads [`Credentials::to_bytes`]; `None` when the bytes are something else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[form, token], mut rest) = bytes.split_first_chunk::<2>()?;
        let mut text = || {
            let (len, tail) = rest.split_first_chunk::<8>()?;
            let (text, tail) = tail.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
            rest = tail;
            String::from_utf8(text.to_vec()).ok()
        };
        let (id, secret, session) = (text()?, text()?, text()?);
        if form != FORM || token > 1 || !rest.is_empty() {
            return None;
        }
        let session_token = (token == 1).then(|| Secret::new(session));
        Some(Self { access_key_id: id, secret_access_key: Secret::new(secret), session_token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn the_broadcast_form_holds_everything() {
        let plain = Credentials::new("AKID", "sécret");
        let temporary = Credentials { session_token: Some(Secret::new("")), ..plain.clone() };
        for credentials in [plain, temporary] {
            let bytes = credentials.to_bytes();
            assert_eq!(Credentials::from_bytes(&bytes).as_ref(), Some(&credentials));
            for end in 0..bytes.len() {
                assert_eq!(Credentials::from_bytes(&bytes[..end]), None, "cut at {end}");
            }
        }
    }

    #[test]
    fn half_a_key_names_the_missing_half() {
        let options = CredentialOptions {
            access_key_id: Some("AKID".into()),
            region: Some("eu-west-1".into()),
            ..CredentialOptions::default()
        };
        let error = run(resolve_credentials(&options)).unwrap_err();
        assert!(error.to_string().contains("secret_access_key is not"), "{error}");
    }

    #[test]
    fn given_values_win() {
        let options = CredentialOptions {
            access_key_id: Some("AKID".into()),
            secret_access_key: Some(Secret::new("s")),
            region: Some("eu-west-1".into()),
            ..CredentialOptions::default()
        };
        let found = run(resolve_credentials(&options)).unwrap();
        assert_eq!((found.credentials.access_key_id.as_str(), found.region.as_deref()), ("AKID", Some("eu-west-1")));
        assert_eq!(found.ends, None);
    }
}
