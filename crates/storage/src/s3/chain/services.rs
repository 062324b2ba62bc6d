//! The services that issue credentials.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Locations of the services.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Services {
    pub(super) region: Option<String>,
    /// Configured endpoints; `None`: those of AWS.
    pub(super) sts: Option<String>,
    pub(super) sso: Option<String>,
    pub(super) sso_oidc: Option<String>,
    pub(super) ca_bundle: Option<PathBuf>,
    /// Environment variables that name proxies, which may contain a password.
    pub(super) proxies: Vec<(String, String)>,
}
