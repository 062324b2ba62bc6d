//! A source of credentials: a value with everything needed to ask it, now and again before they expire, on any rank.

use std::pin::Pin;

use dlio_event::Secret;
use serde::{Deserialize, Serialize};

use super::metadata::{self, Container, Metadata};
use super::process;
use super::services::Services;
use super::sso::{self, Sso};
use super::sts::{self, Role, WebIdentity};
use crate::s3::credentials::{Credentials, Temporary};

/// Static keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

/// A source of credentials. It contains secrets: it is sent to other ranks, never stored or printed, and has no
/// `Debug`.
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

/// Future of the credentials, or of the reason why there are none.
pub(super) type Fetched<'a> = Pin<Box<dyn Future<Output = Result<Temporary, String>> + Send + 'a>>;

impl Source {
    /// Asks the source.
    ///
    /// # Errors
    /// When it has no credentials or refuses, with the reason.
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
