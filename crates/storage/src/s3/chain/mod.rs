//! Credentials as the AWS CLI finds them: environment, profile, role, identity provider, SSO, command, container,
//! instance.
//!
//! Invariant: nothing here reads the environment, which is passed as a value. The first configured source is
//! decisive: if it fails, no other is asked, because the run would otherwise use another identity.

mod config_file;
mod expiry;
mod http;
mod metadata;
mod options;
mod order;
mod process;
mod profiles;
mod services;
mod sign;
mod source;
mod sso;
mod sts;
mod time;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::credentials::Temporary;
use crate::{Attempts, Error, ErrorKind};
pub use options::{ChainOptions, Tried};
use order::NoCredentials;
pub use profiles::{Profiles, Variables};
use services::Services;
use source::Source;

/// Time after which the user is told what is being waited for.
const NOTICE: Duration = Duration::from_secs(3);

/// A source that provided credentials, to be asked again before they expire. It may contain secrets: send it, never
/// store or print it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Provider {
    name: String,
    source: Source,
    services: Services,
}

impl Provider {
    /// Returns the name of the source for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fetches new credentials.
    ///
    /// # Errors
    /// When the source provides none, with the reason.
    pub async fn fetch(&self) -> Result<Temporary, String> {
        self.source.fetch(&self.services).await.map_err(|why| format!("{}: {why}", self.name))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name)
    }
}

/// Returns the name of the source that would be asked first, without asking it; `None` if none is configured, apart
/// from the instance metadata that every process may ask.
///
/// # Errors
/// When a source is configured incorrectly.
pub fn configured(options: &ChainOptions<'_>) -> Result<Option<String>, Error> {
    for step in order::STEPS {
        match step(options) {
            Ok((_, Source::Metadata(_))) => return Ok(None),
            Ok((name, _)) => return Ok(Some(name)),
            Err(NoCredentials::Wrong(source, why)) => {
                return Err(failed(ErrorKind::Invalid, &source, &why, &options.before));
            }
            Err(NoCredentials::Absent(..) | NoCredentials::Silent) => {}
        }
    }
    Ok(None)
}

/// Asks one source after the other; `notice` is called with the name of a slow one.
///
/// # Errors
/// When no source has credentials, or a configured one fails.
pub async fn find(options: ChainOptions<'_>, notice: &dyn Fn(&str)) -> Result<(Temporary, Provider), Error> {
    let mut tried = options.before.clone();
    let services = order::services(&options);
    for step in order::STEPS {
        let (name, source) = match step(&options) {
            Ok(found) => found,
            Err(NoCredentials::Absent(source, why)) => {
                tried.push(Tried { source, why });
                continue;
            }
            Err(NoCredentials::Silent) => continue,
            Err(NoCredentials::Wrong(source, why)) => return Err(failed(ErrorKind::Invalid, &source, &why, &tried)),
        };
        let last = matches!(source, Source::Metadata(_));
        let provider = Provider { name, source, services: services.clone() };
        match waited(provider.source.fetch(&provider.services), &provider.name, notice).await {
            Ok(found) => return Ok((found, provider)),
            Err(why) if last => tried.push(Tried { source: provider.name, why }),
            Err(why) => return Err(failed(ErrorKind::Denied, &provider.name, &why, &tried)),
        }
    }
    let message = format!(
        "no source has any; tried, in this order:{}\nset AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, an AWS profile (AWS_PROFILE), or \
         storage.storage_options.access_key_id and secret_access_key",
        list(&tried)
    );
    Err(error(ErrorKind::Denied, message))
}

async fn waited<T>(future: impl Future<Output = T>, name: &str, notice: &dyn Fn(&str)) -> T {
    let mut future = std::pin::pin!(future);
    if let Ok(done) = tokio::time::timeout(NOTICE, &mut future).await {
        return done;
    }
    notice(&format!("waiting for credentials: {name}"));
    future.await
}

fn failed(kind: ErrorKind, source: &str, why: &str, tried: &[Tried]) -> Error {
    let before = if tried.is_empty() { String::new() } else { format!("\nwithout success before it:{}", list(tried)) };
    error(kind, format!("{source}: {why}{before}"))
}

fn list(tried: &[Tried]) -> String {
    tried.iter().map(|Tried { source, why }| format!("\n  {source}: {why}")).collect::<Vec<_>>().concat()
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

#[cfg(test)]
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
