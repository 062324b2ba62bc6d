//! The resolved run: rank 0 resolves it and every rank receives it, so that nothing depends on the environment of remote nodes.
//! It holds the configuration text, the environment values that it names, endpoints, credentials and the output folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dlio_config::vocabulary::Dialect;
use dlio_config::workload::Storage;
use dlio_config::{Loaded, Workload};
use dlio_event::TimeSource;
use dlio_storage::s3::chain::{self, Provider};
use dlio_storage::s3::{Renewal, Temporary};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::front_end::{FrontEnd, RunObserver};
use crate::host::wall_clock::Anchor;
use crate::launch::Environment;
use crate::options::Options;
use crate::resolve::config_source::{ConfigSource, parse_overrides};
use crate::resolve::connections::Connections;
use crate::resolve::location;
use crate::resolve::setting_sources::SettingSources;
use crate::resolve::settings::{self, Report};
use crate::resolve::{credentials, endpoints, environment};

/// Name of the setting of the output folder.
const OUTPUT: &str = "output folder";

/// A run whose settings are all resolved.
#[derive(Clone, Serialize, Deserialize)]
pub struct ResolvedRun {
    /// Configuration text and overrides.
    pub wanted: ConfigSource,
    /// Environment values that the configuration names.
    env: BTreeMap<String, String>,
    /// Overrides from environment variables and options.
    settings: Vec<String>,
    /// S3 endpoints in their configured order; empty for local storage.
    pub endpoints: Vec<String>,
    /// Serialized S3 credentials; empty: none are needed.
    pub credentials: Vec<u8>,
    /// Expiry of the credentials as time since 1970; `None`: they do not expire, or the expiry is unknown.
    pub credentials_end: Option<Duration>,
    /// Provider of new credentials.
    pub provider: Option<Provider>,
    /// Renewal of the credentials on this rank.
    #[serde(skip)]
    pub renewal: Option<Renewal>,
    /// S3 region.
    pub region: String,
    /// Proxies, certificates and addressing style.
    pub connections: Connections,
    /// Output folder.
    #[serde(with = "crate::resolve::wire_path")]
    pub output: PathBuf,
    /// Whether the output folder was not named, so that a new one is created for this run.
    pub output_named_here: bool,
    /// Content of the lock file that rank 0 has in the output folder; empty: there is none.
    pub output_token: String,
    /// Clocks of rank 0 at the start.
    pub anchor: Anchor,
    /// Command line, for the trace.
    pub argv: Vec<String>,
    /// Remarks of rank 0 about these choices.
    pub remarks: Vec<String>,
    /// Origins of the settings, and values that were given but are not used.
    pub report: Report,
}

/// Reads the file `.env`, if it exists and the dialect uses it.
fn dotenv_text(path: &Path, wanted: bool) -> Result<Option<String>, Failure> {
    if !wanted {
        return Ok(None);
    }
    match dlio_storage::regular_file::read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::usage(format_args!("reading {}: {error}", path.display()))),
    }
}

impl ResolvedRun {
    /// Resolves all settings; only rank 0 calls it.
    ///
    /// # Errors
    /// The configuration is invalid, the registry is empty or credentials are missing.
    pub async fn resolve(
        wanted: ConfigSource,
        target: &Options,
        front: &FrontEnd,
        time: &dyn TimeSource,
    ) -> Result<Self, Failure> {
        let env = &front.environment;
        let overrides = parse_overrides(wanted.overrides.iter().map(String::as_str))?;
        let env_of_config = dlio_config::env_names(&wanted.yaml, &overrides)
            .into_iter()
            .filter_map(|name| env.get(&name).map(|value| (name, value.clone())))
            .collect();
        let mut request = Self {
            wanted,
            env: env_of_config,
            settings: Vec::new(),
            endpoints: Vec::new(),
            credentials: Vec::new(),
            credentials_end: None,
            provider: None,
            renewal: None,
            region: String::new(),
            connections: Connections::default(),
            output: PathBuf::new(),
            output_named_here: false,
            output_token: String::new(),
            anchor: Anchor::now(time),
            argv: front.command_line.clone(),
            remarks: Vec::new(),
            report: Report::default(),
        };
        let written = request.load()?;
        let env = &request.take_environment(env)?;
        request.settings.extend(target.retry_for.map(|time| format!("++dlio_rs.retry_for={}", time.as_secs_f64())));
        request.settings.extend(target.no_verify_ssl.then(|| "++storage.storage_options.verify=false".to_owned()));
        let loaded = request.load()?;
        request.remarks.extend(request.wanted.hydra.iter().flat_map(|run| run.remarks.clone()));
        let wanted = request.wanted.clone();
        let flags = settings::flags(&wanted, target);
        let mut places = SettingSources::new(&wanted, flags, (&written, &loaded), env)?;
        places.read_registry(target, &*front.observer, &mut request.remarks).await?;
        request.report = Report::new(&places.given());
        request.report.settle("dialect", loaded.workload.dlio_rs.dialect.word());
        request.output = request.output_folder(&loaded, target, time)?;
        if places.on_s3 {
            let loaded = request.take_addressing(loaded, &places)?;
            request.resolve_s3(&loaded.workload, &places, &*front.observer).await?;
        }
        Ok(request)
    }

    /// Loads the configuration, which is the same on every rank.
    ///
    /// # Errors
    /// The configuration is invalid.
    pub fn load(&self) -> Result<Loaded, Failure> {
        load_with(&self.wanted, &self.settings, &self.env)
    }

    /// Returns whether `--retry-for` is given.
    #[must_use]
    pub fn has_retry_flag(&self) -> bool {
        self.settings.iter().any(|setting| setting.starts_with("++dlio_rs.retry_for="))
    }

    /// Whether data or checkpoints are on S3.
    #[must_use]
    pub fn uses_s3(&self) -> bool {
        !self.credentials.is_empty()
    }

    /// Applies environment variables to keys that the configuration does not set. Dialect `mlperf` also reads the file `.env`, whose
    /// variables have lower precedence than those of the process. Returns all variables.
    fn take_environment(&mut self, env: &Environment) -> Result<Environment, Failure> {
        const FILE: &str = ".env";
        let loaded = self.load()?;
        let mut env = env.clone();
        if let Some(text) =
            dotenv_text(Path::new(FILE), loaded.workload.dlio_rs.dialect.rules().reads_fork_environment)?
        {
            let before = env.len();
            for (name, value) in environment::dotenv(&text) {
                env.entry(name).or_insert(value);
            }
            self.remarks.push(format!("{} variable(s) from {FILE}", env.len() - before));
        }
        let settings = environment::settings(&env, &loaded)?;
        self.remarks.extend(settings.remarks);
        self.settings = settings.overrides;
        Ok(env)
    }

    /// Takes the addressing style from the AWS profile if no key sets it.
    fn take_addressing(&mut self, loaded: Loaded, places: &SettingSources<'_>) -> Result<Loaded, Failure> {
        let storage = &loaded.workload.storage;
        let said = storage.addressing_style.is_some() || storage.s3_force_path_style.is_some();
        match &places.profile.addressing_style {
            Some(style) if !said => {
                self.settings.push(format!("++storage.storage_options.addressing_style={style}"));
                self.load()
            }
            _ => Ok(loaded),
        }
    }

    /// Returns the output folder from the table of settings, or a dated folder.
    fn output_folder(&mut self, loaded: &Loaded, target: &Options, time: &dyn TimeSource) -> Result<PathBuf, Failure> {
        let row = self.report.rows.iter().find(|row| row.setting == OUTPUT && !row.from.is_empty());
        let configured = row.map(|row| location::named(&row.from, Path::new(&row.value))).transpose()?;
        self.output_named_here = configured.is_none();
        // The option takes precedence over the table, which holds text, because a path need not be Unicode.
        let configured = target.output.clone().or(configured);
        let folder = configured.unwrap_or_else(|| {
            let stamp = self.anchor.stamp(time.now()).replace(['T', ':'], "-");
            let seconds = stamp.split('.').next().unwrap_or_default();
            Path::new("hydra_log").join(&loaded.workload.model.name).join(seconds)
        });
        std::path::absolute(&folder).map_err(|error| Failure::file("finding the output folder", &folder, &error))
    }

    /// Resolves endpoints, keys, region and certificates; those of a registry are used together and take precedence.
    async fn resolve_s3(
        &mut self,
        workload: &Workload,
        places: &SettingSources<'_>,
        observer: &dyn RunObserver,
    ) -> Result<(), Failure> {
        self.endpoints = match &places.registry {
            Some(found) => found.endpoints.clone(),
            None => endpoints::choose(workload, &places.given())?,
        };
        self.report.settle(settings::ENDPOINTS, self.endpoints.join(", "));
        let region = self.report.value("region").map(str::to_owned);
        self.connections = Connections::find(workload, &mut self.report, places.env, places.registry.is_some());
        self.remarks.extend(self.connections.check(workload, &self.endpoints, region.as_deref())?);
        self.region = region.unwrap_or_else(|| "us-east-1".to_owned());
        self.find_credentials(&workload.storage, places, observer).await
    }

    /// Finds the credentials: keys of the registry or the configuration, then the AWS credential chain.
    async fn find_credentials(
        &mut self,
        storage: &Storage,
        places: &SettingSources<'_>,
        observer: &dyn RunObserver,
    ) -> Result<(), Failure> {
        let mut before = Vec::new();
        let Some(keys) = credentials::given(storage, places, &mut before)? else {
            let options = credentials::options(places, self.connections.ca_bundle.clone(), before);
            let (found, provider) =
                chain::find(options, &|text: &str| observer.note(text)).await.map_err(credentials::failure)?;
            let Temporary { credentials, ends } = found;
            self.remarks.push(format!("credentials: {}", provider.name()));
            self.credentials = credentials.to_bytes();
            self.credentials_end = ends;
            self.provider = ends.map(|_| provider);
            return Ok(());
        };
        self.credentials = keys.to_bytes();
        Ok(())
    }
}

/// Loads a configuration with these environment values.
///
/// # Errors
/// The configuration is invalid; the message lists all errors.
pub fn load(wanted: &ConfigSource, env: &BTreeMap<String, String>) -> Result<Loaded, Failure> {
    load_with(wanted, &[], env)
}

fn load_with(wanted: &ConfigSource, settings: &[String], env: &BTreeMap<String, String>) -> Result<Loaded, Failure> {
    let overrides = parse_overrides(wanted.overrides.iter().chain(settings).map(String::as_str))?;
    let dialect = wanted.dialect.as_deref().and_then(Dialect::from_word);
    let source = dlio_config::Source { name: &wanted.name, yaml: &wanted.yaml };
    let loaded = dlio_config::load(&source, &overrides, env, dialect).map_err(Failure::usage)?;
    if wanted.strict {
        loaded.strict().map_err(Failure::usage)?;
    }
    Ok(loaded)
}
