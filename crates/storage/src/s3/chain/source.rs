//! One source of credentials: a value that says all that is needed to ask it, now and again before what it gave ends, on any rank.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metadata::{self, Container, Metadata};
use super::sso::{self, Sso};
use super::sts::{self, Role, WebIdentity};
use super::{process, time};
use crate::s3::sign::unix_time;
use crate::s3::{Credentials, Secret, Temporary};

/// Keys that stand somewhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

/// Where credentials come from. It holds secrets: it is sent to other ranks, never stored or printed, and has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Source {
    Keys(Keys),
    /// The command of `credential_process`.
    Process(String),
    Role(Box<Role>),
    WebIdentity(WebIdentity),
    Sso(Sso),
    Container(Container),
    Metadata(Metadata),
}

/// Where the services are that sources ask.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Services {
    pub(super) region: Option<String>,
    /// Configured endpoints; `None`: those of AWS.
    pub(super) sts: Option<String>,
    pub(super) sso: Option<String>,
    pub(super) sso_oidc: Option<String>,
    pub(super) ca_bundle: Option<PathBuf>,
    /// Variables about proxies, which may hold a password.
    pub(super) proxies: Vec<(String, String)>,
}

/// What a source gives, or why it gives nothing.
pub(super) type Fetched<'a> = Pin<Box<dyn Future<Output = Result<Temporary, String>> + Send + 'a>>;

impl Source {
    /// Asks the source.
    ///
    /// # Errors
    /// When it has nothing, or refuses, in words.
    pub(super) fn fetch<'a>(&'a self, services: &'a Services) -> Fetched<'a> {
        Box::pin(async move {
            match self {
                Self::Keys(keys) => Ok(keys.credentials()),
                Self::Process(command) => process::credentials(command).await,
                Self::Role(role) => sts::assume(role, services).await,
                Self::WebIdentity(identity) => sts::assume_with_token(identity, services).await,
                Self::Sso(sso) => sso::credentials(sso, services).await,
                Self::Container(container) => metadata::of_container(container, services).await,
                Self::Metadata(metadata) => metadata::of_instance(metadata).await,
            }
        })
    }
}

impl Keys {
    fn credentials(&self) -> Temporary {
        let (access_key_id, secret_access_key) = (self.id.clone(), Secret::new(&*self.secret));
        let session_token = self.token.as_deref().map(Secret::new);
        Temporary { credentials: Credentials { access_key_id, secret_access_key, session_token }, ends: None }
    }
}

/// Credentials with the end that their source tells in text; `None`: they have none.
///
/// # Errors
/// When the end is no moment, or has passed.
pub(super) fn expiring(credentials: Credentials, end: Option<&str>) -> Result<Temporary, String> {
    let Some(text) = end.filter(|end| !end.is_empty()) else { return Ok(Temporary { credentials, ends: None }) };
    let end = time::parse(text).ok_or_else(|| format!("Expiration {text:?}, which is no moment"))?;
    until(credentials, end, unix_time())
}

/// The same with a moment since 1970.
///
/// # Errors
/// When it has passed.
pub(super) fn until(credentials: Credentials, end: Duration, now: Duration) -> Result<Temporary, String> {
    if end <= now {
        return Err(format!("credentials that ended at {}; it is {}", time::format(end), time::format(now)));
    }
    Ok(Temporary { credentials, ends: Some(end) })
}
