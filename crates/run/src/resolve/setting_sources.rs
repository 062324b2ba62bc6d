//! Sources of settings other than the configuration: options, environment, AWS profile, registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dlio_config::Loaded;
use dlio_storage::registry::{self, KeyPair};

use crate::options::Options;

use crate::backend::location::Target;
use crate::failure::{Code, Failure};
use crate::front_end::RunObserver;
use crate::launch::Environment;
use crate::resolve::aws_profile::Profile;
use crate::resolve::config_source::ConfigSource;
use crate::resolve::location;
use crate::resolve::settings::SettingValues;

/// The content of all sources of settings.
pub struct SettingSources<'a> {
    wanted: &'a ConfigSource,
    /// The configuration without overrides from the environment.
    written: &'a Loaded,
    /// Environment variables.
    pub env: &'a Environment,
    flags: BTreeMap<String, String>,
    /// The AWS profile; empty if nothing is on S3, so that a missing profile is no error then.
    pub profile: Profile,
    /// Content of the registry, if there is one.
    pub registry: Option<Registry>,
    /// Whether data or checkpoints are on S3.
    pub on_s3: bool,
    folder: Option<PathBuf>,
}

/// The content of a registry.
pub struct Registry {
    /// Folder of the registry.
    pub folder: PathBuf,
    /// Endpoints of the servers.
    pub endpoints: Vec<String>,
    /// Key pair that the servers accept.
    pub credentials: Option<KeyPair>,
}

impl<'a> SettingSources<'a> {
    /// Reads all sources except the registry; `flags` are the given options by name.
    ///
    /// # Errors
    /// A data location is invalid, or the AWS profile that the environment names does not exist.
    pub fn new(
        wanted: &'a ConfigSource,
        flags: BTreeMap<String, String>,
        (written, loaded): (&'a Loaded, &Loaded),
        env: &'a Environment,
    ) -> Result<Self, Failure> {
        let workload = &loaded.workload;
        let data = Target::of(workload)?;
        let checkpoints = workload.workflow.checkpoint.then(|| Target::of_checkpoints(workload)).transpose()?;
        let on_s3 = [Some(data), checkpoints].iter().flatten().any(|target| matches!(target, Target::S3 { .. }));
        let profile = if on_s3 { Profile::read(env)? } else { Profile::default() };
        let named = workload.dlio_rs.registry.as_ref().map(|path| location::named("dlio_rs.registry", Path::new(path)));
        let folder = flags.get("--registry").map_or(named.transpose(), |path| Ok(Some(PathBuf::from(path))))?;
        Ok(Self { wanted, written, env, flags, profile, registry: None, on_s3, folder })
    }

    /// Waits up to `--registry-wait` until every endpoint of the named registry is announced; does nothing if no registry is named.
    ///
    /// # Errors
    /// The registry cannot be read, or endpoints are still missing after that time.
    pub async fn read_registry(
        &mut self,
        target: &Options,
        observer: &dyn RunObserver,
        remarks: &mut Vec<String>,
    ) -> Result<(), Failure> {
        self.folder = target.registry.clone().or(self.folder.take());
        self.look_into_registry(target.registry_wait, observer, remarks).await
    }

    /// Like [`Self::read_registry`], with this time limit.
    ///
    /// # Errors
    /// If the registry cannot be read or has no servers when the time is over.
    pub async fn look_into_registry(
        &mut self,
        patience: std::time::Duration,
        observer: &dyn RunObserver,
        remarks: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let Some(folder) = self.folder.as_ref().filter(|_| self.on_s3) else { return Ok(()) };
        let found = registry::wait(folder, patience, |text| observer.note(text))
            .await
            .map_err(|error| Failure::new(Code::Storage, crate::failure::chain(&error)))?;
        for stale in &found.stale {
            let (name, reason) = (&stale.name, &stale.reason);
            remarks.push(format!("registry {}: {name} is left over and ignored: {reason}", folder.display()));
        }
        remarks.push(format!("{} endpoint(s) from the registry {}", found.endpoints.len(), folder.display()));
        let endpoints = found.endpoints.into_iter().map(|announced| announced.endpoint).collect();
        self.registry = Some(Registry { folder: folder.clone(), endpoints, credentials: found.credentials });
        Ok(())
    }

    /// Returns whether a registry is named.
    #[must_use]
    pub fn has_registry(&self) -> bool {
        self.folder.is_some()
    }

    /// Returns the content of all sources.
    #[must_use]
    pub fn given(&self) -> SettingValues<'_> {
        let registry = self.registry.as_ref();
        SettingValues {
            wanted: self.wanted,
            loaded: self.written,
            env: self.env,
            profile: &self.profile,
            flags: &self.flags,
            registry: registry.map(|found| found.endpoints.as_slice()),
            registry_keys: registry.is_some_and(|found| found.credentials.is_some()),
            on_s3: self.on_s3,
        }
    }
}
