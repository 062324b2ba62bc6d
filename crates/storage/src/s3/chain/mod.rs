//! Credentials as the AWS CLI finds them: environment, profile, role, identity provider, SSO, command, container, instance.
//!
//! Invariant: nothing here reads the environment; it comes as a value. The first source that is configured is the one that counts: where
//! it fails, no other is asked, as otherwise a run would go on as somebody else.

mod config_file;
mod http;
mod metadata;
mod order;
mod process;
mod profiles;
mod sign;
mod source;
mod sso;
mod sts;
mod time;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Temporary;
use crate::{Attempts, Error, ErrorKind};
use order::Nothing;
pub use profiles::{Profiles, Variables};
use source::{Services, Source};

/// After this long somebody is told what is waited for.
const NOTICE: Duration = Duration::from_secs(3);

/// Where to look for credentials.
#[derive(Debug)]
pub struct ChainOptions<'a> {
    /// The environment.
    pub variables: &'a Variables,
    /// The configuration files.
    pub profiles: &'a Profiles,
    /// Certificates that count besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// What was looked at before the chain.
    pub before: Vec<Tried>,
    /// Why the container and the instance are not to be asked; `None`: they are.
    pub no_metadata: Option<String>,
}

/// A source that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its name.
    pub source: String,
    /// Why it gave nothing.
    pub why: String,
}

/// A source that gave credentials, to be asked again before they end. It may hold secrets: send it, never store or print it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Provider {
    name: String,
    source: Source,
    services: Services,
}

impl Provider {
    /// The name of the source, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for new credentials.
    ///
    /// # Errors
    /// When the source gives none, in words.
    pub async fn fetch(&self) -> Result<Temporary, String> {
        self.source.fetch(&self.services).await.map_err(|why| format!("{}: {why}", self.name))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name)
    }
}

/// The name of the source that would be asked first, without asking anybody; `None`: none is configured, or only what every
/// process may ask for, the instance metadata.
///
/// # Errors
/// When a source is configured wrongly.
pub fn configured(options: &ChainOptions<'_>) -> Result<Option<String>, Error> {
    for step in order::STEPS {
        match step(options) {
            Ok((_, Source::Metadata(_))) => return Ok(None),
            Ok((name, _)) => return Ok(Some(name)),
            Err(Nothing::Wrong(source, why)) => return Err(failed(ErrorKind::Invalid, &source, &why, &options.before)),
            Err(Nothing::Absent(..) | Nothing::Silent) => {}
        }
    }
    Ok(None)
}

/// Asks one source after the other; `notice` hears of the one that lets everybody wait.
///
/// # Errors
/// When no source has credentials, or one that is configured fails.
pub async fn find(options: ChainOptions<'_>, notice: &dyn Fn(&str)) -> Result<(Temporary, Provider), Error> {
    let mut tried = options.before.clone();
    let services = order::services(&options);
    for step in order::STEPS {
        let (name, source) = match step(&options) {
            Ok(found) => found,
            Err(Nothing::Absent(source, why)) => {
                tried.push(Tried { source, why });
                continue;
            }
            Err(Nothing::Silent) => continue,
            Err(Nothing::Wrong(source, why)) => return Err(failed(ErrorKind::Invalid, &source, &why, &tried)),
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

pub(super) fn error(kind: ErrorKind, message: String) -> Error {
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

/// The domain of AWS's services in a region.
pub(super) fn domain(region: &str) -> &'static str {
    OTHERS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("amazonaws.com", |(_, domain)| domain)
}

/// Whether a host is in a domain of AWS's services.
pub(super) fn is_of_aws(host: &str) -> bool {
    let within = |domain: &str| host.strip_suffix(domain).is_some_and(|before| before.ends_with('.'));
    within("amazonaws.com") || OTHERS.iter().any(|(_, domain)| within(domain))
}

/// Beginnings of the regions whose services have another domain, and these domains.
const OTHERS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
];

#[cfg(test)]
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
