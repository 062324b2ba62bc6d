//! Options of the credential chain.

use std::path::PathBuf;

use super::profiles::{Profiles, Variables};

/// Options of the credential chain.
#[derive(Debug)]
pub struct ChainOptions<'a> {
    /// The environment.
    pub variables: &'a Variables,
    /// The shared configuration files.
    pub profiles: &'a Profiles,
    /// Certificates that are trusted in addition to the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Sources that were tried before the chain.
    pub before: Vec<Tried>,
    /// Why container and instance must not be asked; `None`: they may be.
    pub no_metadata: Option<String>,
}

/// A source without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Name of the source.
    pub source: String,
    /// Reason.
    pub why: String,
}
