//! Connection settings of the endpoints: proxies, certificates and addressing style. Rank 0 reads the environment; every rank applies
//! the values.

use std::path::PathBuf;
use std::sync::Arc;

use dlio_config::Workload;
use dlio_config::vocabulary::AddressingStyle;
use dlio_engine::MonotonicClock;
use dlio_storage::s3::{Addressing, PROXY_VARIABLES, Proxies, S3, S3Config};
use serde::{Deserialize, Serialize};

use crate::backend::location::Target;
use crate::failure::Failure;
use crate::launch::Environment;
use crate::resolve::settings::Report;

/// Name of the setting of certificate authorities.
const AUTHORITIES: &str = "certificate authorities";

/// The connection settings that rank 0 found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Connections {
    /// Certificate authorities for https endpoints, in addition to the system's.
    #[serde(with = "crate::resolve::wire_path::optional")]
    pub ca_bundle: Option<PathBuf>,
    /// Environment variables of proxies.
    proxies: Vec<(String, String)>,
}

impl Connections {
    /// Finds the settings in keys, environment and profile; the endpoints of a registry are accessed without a proxy.
    pub fn find(workload: &Workload, report: &mut Report, env: &Environment, registry: bool) -> Self {
        let bundle = workload.storage.ca_bundle.clone();
        if let Some(bundle) = &bundle {
            report.settle(AUTHORITIES, bundle);
        }
        let bundle = bundle.or_else(|| report.value(AUTHORITIES).map(str::to_owned));
        let names = PROXY_VARIABLES.iter().flat_map(|name| [(*name).to_owned(), name.to_ascii_uppercase()]);
        let set = names.filter_map(|name| env.get(&name).map(|value| (name, value.clone())));
        let proxies = if registry { Vec::new() } else { set.collect() };
        Self { ca_bundle: bundle.map(PathBuf::from), proxies }
    }

    /// Applies the settings to the configuration of a client.
    ///
    /// # Errors
    /// A request would use a proxy that is not an HTTP proxy.
    pub fn apply(&self, workload: &Workload, config: &mut S3Config) -> Result<(), Failure> {
        let get = |name: &str| self.proxies.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        config.proxies = Proxies::from_variables(get);
        config.proxies.check(&config.endpoints).map_err(Failure::usage)?;
        config.ca_bundle.clone_from(&self.ca_bundle);
        config.verify = workload.storage.verify;
        config.addressing = match (workload.storage.addressing_style, workload.storage.s3_force_path_style) {
            (Some(AddressingStyle::Auto), _) | (None, None) => Addressing::Auto,
            (Some(AddressingStyle::Path), _) | (None, Some(true)) => Addressing::Path,
            (Some(AddressingStyle::Virtual), _) | (None, Some(false)) => Addressing::Virtual,
            (Some(AddressingStyle::Host), _) => Addressing::Host,
        };
        Ok(())
    }

    /// Creates a client for all endpoints as a run would, and returns remarks about its connections.
    ///
    /// # Errors
    /// A run could not create the client.
    pub fn check(
        &self,
        workload: &Workload,
        endpoints: &[String],
        region: Option<&str>,
    ) -> Result<Vec<String>, Failure> {
        let bucket = |target| if let Target::S3 { bucket, .. } = target { Some(bucket) } else { None };
        let data = bucket(Target::of(workload)?);
        let bucket = data.map_or_else(|| Target::of_checkpoints(workload).map(bucket), |data| Ok(Some(data)))?;
        let Some(bucket) = bucket else { return Ok(Vec::new()) };
        let mut config = S3Config::new(endpoints.to_vec(), bucket);
        if let Some(region) = region {
            region.clone_into(&mut config.region);
        }
        self.apply(workload, &mut config)?;
        let client = S3::new(config, Arc::new(MonotonicClock))?;
        let lines = client.proxied();
        Ok(lines.iter().map(|(endpoint, proxy)| format!("{endpoint} is reached through the proxy {proxy}")).collect())
    }
}

/// Returns warnings about the connections to these endpoints.
#[must_use]
pub fn warnings(workload: &Workload, endpoints: &[String]) -> Vec<String> {
    let secure = endpoints.is_empty() || endpoints.iter().any(|uri| uri.starts_with("https:"));
    match (workload.storage.verify, secure) {
        (true, _) => Vec::new(),
        (false, true) => vec![
            "certificates are NOT checked (storage.storage_options.verify=false or --no-verify-ssl): whoever answers at an https \
             endpoint gets data and signed requests; for more than a test put its authority's certificate into AWS_CA_BUNDLE"
                .to_owned(),
        ],
        (false, false) => {
            vec!["storage.storage_options.verify=false has no effect: no endpoint is https".to_owned()]
        }
    }
}
