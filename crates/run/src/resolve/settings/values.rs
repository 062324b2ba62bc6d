//! The values that all sources give for settings.

use std::collections::BTreeMap;

use dlio_config::Loaded;
use dlio_config::dialect::Rules;
use dlio_config::location::Location;
use serde_json::Value;

use super::Source;
use crate::launch::{self, Environment};
use crate::options::Options;
use crate::resolve::aws_profile::Profile;
use crate::resolve::config_source::ConfigSource;

/// Name of the source that only the fork's jobs have.
pub const MARKS: &str = "marks of the fork";
const DATA: &str = "dataset.data_folder";
const ROOT: &str = "storage.storage_root";

/// All sources of settings with their content.
pub struct SettingValues<'a> {
    /// Configuration that the user selected.
    pub wanted: &'a ConfigSource,
    /// The loaded configuration.
    pub loaded: &'a Loaded,
    /// Environment variables.
    pub env: &'a Environment,
    /// Profile of the AWS CLI.
    pub profile: &'a Profile,
    /// Given command line options by name.
    pub flags: &'a BTreeMap<String, String>,
    /// Endpoints that the registry announces; `None`: there is no registry.
    pub registry: Option<&'a [String]>,
    /// Whether the registry has a key pair.
    pub registry_keys: bool,
    /// Whether data or checkpoints are on S3.
    pub on_s3: bool,
}

/// Returns the command line options that other sources can set as well.
#[must_use]
pub fn flags(wanted: &ConfigSource, target: &Options) -> BTreeMap<String, String> {
    let Options { registry, output, no_verify_ssl, .. } = target;
    let paths = [("--registry", registry), ("--output", output)];
    let paths =
        paths.into_iter().filter_map(|(name, path)| Some((name.to_owned(), path.as_ref()?.display().to_string())));
    let unverified = no_verify_ssl.then(|| ("--no-verify-ssl".to_owned(), "true".to_owned()));
    paths.chain(unverified).chain(wanted.flags.clone()).collect()
}

impl SettingValues<'_> {
    pub(super) fn rules(&self) -> &'static Rules {
        self.loaded.workload.dlio_rs.dialect.rules()
    }

    /// Returns the value that a source gives; `None`: none.
    #[must_use]
    pub fn text(&self, source: Source) -> Option<String> {
        let said = match source {
            Source::Flag(name) => self.flags.get(name).cloned(),
            Source::Key("hydra.run.dir") => self.hydra_folder(),
            Source::Key(key) => {
                self.key(key).filter(|_| dlio_config::has_key(key, self.loaded.workload.dlio_rs.dialect))
            }
            // A root without a scheme is combined with a folder without a scheme.
            Source::Scheme(ROOT) if self.has_scheme(DATA) => {
                self.key(ROOT).filter(|root| !matches!(root.as_str(), "." | "./"))
            }
            Source::Scheme(key) => self.key(key).filter(|_| self.has_scheme(key)),
            Source::Variable("DLIO_OUTPUT_FOLDER") => self.output_variable(),
            Source::Variable("DLIO_RS_COMM") => self.variable("DLIO_RS_COMM").filter(|word| word.trim() == "solo"),
            Source::Variable(name @ ("AWS_ENDPOINT_URL_S3" | "AWS_ENDPOINT_URL")) => {
                self.variable(name).filter(|_| !self.profile.ignores_endpoints)
            }
            Source::Variable(name) => self.variable(name).map(|value| shown(name, value)),
            Source::Profile(member) => self.profile(member),
            Source::Registry => self.registry.map(|endpoints| endpoints.join(",")),
            Source::RegistryKeys => self.registry_keys.then(|| "***".to_owned()),
            Source::Marks => self.wanted.marks.clone(),
            Source::Launcher => launch::detect(self.env).map(|launcher| launcher.variables.join(", ")),
        };
        said.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Returns the name of a source for messages.
    pub(super) fn name(&self, source: Source) -> String {
        match source {
            Source::Flag(name) | Source::Variable(name) => name.to_owned(),
            Source::Key("hydra.run.dir") => "hydra.run.dir".to_owned(),
            Source::Key(key) | Source::Scheme(key) if self.is_overridden(key) => format!("override {key}"),
            Source::Key(key) | Source::Scheme(key) => key.to_owned(),
            Source::Profile(member) => {
                let member = self.profile.keys_by.filter(|_| member == "aws_access_key_id").unwrap_or(member);
                format!("{member} of the AWS profile {}", self.profile.chosen.as_deref().unwrap_or("default"))
            }
            Source::Registry | Source::RegistryKeys => "registry".to_owned(),
            Source::Marks => MARKS.to_owned(),
            Source::Launcher => "launcher".to_owned(),
        }
    }

    fn has_scheme(&self, key: &str) -> bool {
        self.key(key).is_some_and(|text| !matches!(Location::parse(&text), Ok(Location::Plain(_))))
    }

    /// Returns `DLIO_OUTPUT_FOLDER` of a run as `dlio_benchmark` in dialect `mlperf`.
    fn output_variable(&self) -> Option<String> {
        let run = self.wanted.hydra.as_ref().filter(|_| self.rules().reads_fork_environment)?;
        run.output.as_ref().map(|path| path.display().to_string())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn key(&self, key: &str) -> Option<String> {
        let pointer = format!("/workload/{}", key.replace('.', "/"));
        match self.loaded.resolved.pointer(&pointer)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Array(items) => Some(
                items
                    .iter()
                    .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                    .collect::<Vec<_>>()
                    .join(","),
            ),
            other => Some(other.to_string()),
        }
    }

    fn hydra_folder(&self) -> Option<String> {
        let Some(run) = &self.wanted.hydra else { return self.loaded.hydra_run_dir.clone() };
        // Hydra's files are written there in any case, so the value is used.
        let elsewhere = self.key("output.folder").or_else(|| self.output_variable()).is_some();
        (!elsewhere).then(|| run.folder.display().to_string())
    }

    fn is_overridden(&self, key: &str) -> bool {
        self.wanted.overrides.iter().any(|text| {
            let name = text.trim_start_matches('+').split('=').next().unwrap_or_default();
            name.strip_prefix("workload.").unwrap_or(name) == key
        })
    }

    fn profile(&self, member: &str) -> Option<String> {
        let Profile { region, service_endpoint, endpoint, keys_by, ca_bundle, addressing_style, .. } = self.profile;
        let urls = !self.profile.ignores_endpoints;
        match member {
            "services.s3.endpoint_url" => service_endpoint.clone().filter(|_| urls),
            "endpoint_url" => endpoint.clone().filter(|_| urls),
            "region" => region.clone(),
            "ca_bundle" => ca_bundle.clone(),
            "aws_access_key_id" => keys_by.map(|_| "***".to_owned()),
            "s3.addressing_style" => addressing_style.clone(),
            _ => None,
        }
    }
}

/// Returns a value with its secret masked.
fn shown(name: &str, value: String) -> String {
    match name {
        _ if value.trim().is_empty() => value,
        "AWS_SECRET_ACCESS_KEY" => "***".to_owned(),
        // The URL of a proxy may contain a password.
        _ if name.to_ascii_uppercase().ends_with("_PROXY") => match value.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => value,
        },
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_proxys_password_may_have_any_sign_and_is_not_shown() {
        assert_eq!(super::shown("HTTP_PROXY", "http://u:p@ss@host:1".to_owned()), "***@host:1");
    }
}
