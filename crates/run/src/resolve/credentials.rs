//! The credentials of a run: those of the registry or the configuration take precedence over the AWS credential chain.

use std::path::PathBuf;

use dlio_config::Workload;
use dlio_config::workload::Storage;
use dlio_storage::s3::Credentials;
use dlio_storage::s3::chain::{self, ChainOptions, Tried};
use dlio_storage::{Error, ErrorKind};

use crate::failure::Failure;
use crate::resolve::setting_sources::SettingSources;

const ID: &str = "storage.storage_options.access_key_id";
const SECRET: &str = "storage.storage_options.secret_access_key";

/// Returns the key pair that the registry or the configuration gives; otherwise `before` receives the places that were searched.
///
/// # Errors
/// Only half of a key pair is given.
pub fn given(
    storage: &Storage,
    places: &SettingSources<'_>,
    before: &mut Vec<Tried>,
) -> Result<Option<Credentials>, Failure> {
    if let Some(registry) = &places.registry {
        if let Some(pair) = &registry.credentials {
            return Ok(Some(Credentials::new(&pair.access_key, &pair.secret_key)));
        }
        before.push(Tried {
            source: format!("registry {}", registry.folder.display()),
            why: "no keys are announced there, as its servers were started with keys of their own (--access-key, --secret-key): \
                  give the same keys to this run"
                .to_owned(),
        });
    }
    // An empty value counts as missing.
    let id = storage.access_key_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    let secret =
        storage.secret_access_key.as_ref().map(|secret| secret.expose().trim()).filter(|text| !text.is_empty());
    let half = |given: &str, missing: &str| {
        Err(Failure::usage(format_args!("{given} is given but {missing} is not; set both or none")))
    };
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some(Credentials::new(id, secret))),
        (Some(_), None) => half(ID, SECRET),
        (None, Some(_)) => half(SECRET, ID),
        (None, None) => {
            let why = if storage.access_key_id.is_some() { "empty" } else { "not given" };
            before.push(Tried { source: ID.to_owned(), why: why.to_owned() });
            Ok(None)
        }
    }
}

/// Returns the options for a search along the AWS credential chain.
#[must_use]
pub fn options<'a>(places: &'a SettingSources<'_>, ca_bundle: Option<PathBuf>, before: Vec<Tried>) -> ChainOptions<'a> {
    let no_metadata = places.registry.as_ref().map(|_| {
        "not asked: servers of a registry know the keys of their command lines only (--access-key)".to_owned()
    });
    ChainOptions { variables: places.env, profiles: &places.profile.files, ca_bundle, before, no_metadata }
}

/// Returns the source that a run would ask first, without any request; `None`: nothing is on S3, a registry
/// may have keys, or no source is configured.
///
/// # Errors
/// A source is configured wrongly; a run would fail with the same message.
pub fn source(workload: &Workload, places: &SettingSources<'_>) -> Result<Option<String>, Failure> {
    if !places.on_s3 || places.has_registry() {
        return Ok(None);
    }
    let mut before = Vec::new();
    if given(&workload.storage, places, &mut before)?.is_some() {
        return Ok(Some(ID.to_owned()));
    }
    chain::configured(&options(places, None, before)).map_err(failure)
}

/// Converts an error of the chain to a failure: a wrong configuration, or a source without credentials.
#[must_use]
pub fn failure(error: Error) -> Failure {
    if error.kind == ErrorKind::Invalid { Failure::usage(error) } else { error.into() }
}
