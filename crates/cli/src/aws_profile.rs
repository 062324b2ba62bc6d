//! What a profile of the shared AWS configuration files says, as the AWS CLI reads them: the profile of `AWS_PROFILE` in
//! `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE`, and its section `services`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::exit::Failure;
use crate::launch::Environment;

/// Variable that leaves every configured endpoint URL out.
pub(crate) const IGNORE: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

/// A profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Its name, where a variable chose it; `None`: the default one.
    pub(crate) chosen: Option<String>,
    /// `region`
    pub(crate) region: Option<String>,
    /// `endpoint_url` of S3 in the profile's section `services`.
    pub(crate) service_endpoint: Option<String>,
    /// `endpoint_url` of the profile.
    pub(crate) endpoint: Option<String>,
    /// `ca_bundle`
    pub(crate) ca_bundle: Option<String>,
    /// Whether it has keys, or a way to come by some.
    pub(crate) has_keys: bool,
}

impl Profile {
    /// Reads the files that the environment names; files that do not exist are empty.
    ///
    /// # Errors
    /// When a file cannot be read, or the profile that a variable names is in none.
    pub(crate) fn read(env: &Environment) -> Result<Self, Failure> {
        let home = || env.get("HOME").map(|home| PathBuf::from(home).join(".aws"));
        let text = |variable: &str, name: &str| -> Result<String, Failure> {
            let named = env.get(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
            let Some(path) = named.or_else(|| home().map(|home| home.join(name))) else { return Ok(String::new()) };
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(Failure::usage(format_args!("{variable}: reading {}: {error}", path.display()))),
            }
        };
        let config = text("AWS_CONFIG_FILE", "config")?;
        let credentials = text("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
        Self::of(env, &config, &credentials)
    }

    /// The profile in the texts of the two files.
    fn of(env: &Environment, config: &str, credentials: &str) -> Result<Self, Failure> {
        let variable = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]
            .into_iter()
            .find_map(|name| env.get(name).filter(|value| !value.is_empty()).map(|value| (name, value.as_str())));
        let name = variable.map_or("default", |(_, name)| name);
        let (config, credentials) = (sections(config), sections(credentials));
        let of_config = [format!("profile {name}"), name.to_owned()];
        let of_config = of_config
            .iter()
            .find_map(|section| config.get(section).filter(|_| section.starts_with("profile ") || name == "default"));
        let of_credentials = credentials.get(name);
        if let (Some((variable, name)), None, None) = (variable, of_config, of_credentials) {
            return Err(Failure::usage(format_args!(
                "{variable}: the profile {name:?} is in neither of the AWS configuration files; expected [profile {name}] \
                 in ~/.aws/config or [{name}] in ~/.aws/credentials (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE)"
            )));
        }
        // Where both have a setting, the AWS CLI takes that of the credentials file.
        let get = |key: &str| {
            let found = [of_credentials, of_config].into_iter().flatten().find_map(|section| section.get(key));
            found.filter(|value| !value.is_empty()).cloned()
        };
        let services = get("services").and_then(|services| config.get(&format!("services {services}")));
        let ignored = get("ignore_configured_endpoint_urls").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let urls = |url: Option<String>| url.filter(|_| !ignored);
        let ways =
            ["aws_access_key_id", "credential_process", "role_arn", "sso_session", "sso_start_url", "login_session"];
        Ok(Self {
            chosen: variable.map(|(_, name)| name.to_owned()),
            region: get("region"),
            service_endpoint: urls(services.and_then(|services| services.get("s3.endpoint_url").cloned())),
            endpoint: urls(get("endpoint_url")),
            ca_bundle: get("ca_bundle"),
            has_keys: ways.iter().any(|way| get(way).is_some()),
        })
    }
}

/// Whether the environment leaves configured endpoint URLs out.
pub(crate) fn ignores_endpoints(env: &Environment) -> bool {
    env.get(IGNORE).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// The sections of an AWS configuration file; an indented line belongs to the key above it, as `key.inner`.
fn sections(text: &str) -> Sections {
    let mut sections = Sections::new();
    let (mut section, mut parent) = (String::new(), String::new());
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.split_whitespace().collect::<Vec<_>>().join(" ").replace(['"', '\''], "");
            parent.clear();
            sections.entry(section.clone()).or_default();
            continue;
        }
        let Some((key, value)) = bare.split_once('=') else { continue };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let value = value.split(" #").next().unwrap_or(value).split(" ;").next().unwrap_or(value).trim();
        let name = if line.starts_with([' ', '\t']) && !parent.is_empty() {
            format!("{parent}.{key}")
        } else {
            parent.clone_from(&key);
            key
        };
        sections.entry(section.clone()).or_default().insert(name, value.to_owned());
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
# ours
[default]
region = eu-west-1
endpoint_url = http://default:1

[profile lab]
region=us-west-2
services = lab-services
endpoint_url = http://lab:1 # general
s3 =
    endpoint_url = http://not-this:1

[profile bare]
ignore_configured_endpoint_urls = true
endpoint_url = http://ignored:1

[services lab-services]
dynamodb =
  endpoint_url = http://dynamo:1
s3 =
  endpoint_url = http://lab-s3:1
";
    const CREDENTIALS: &str = "[lab]\naws_access_key_id = a\naws_secret_access_key = b\n[keys]\naws_access_key_id=c\n";

    fn profile(name: Option<&str>) -> Result<Profile, Failure> {
        let env = name.map(|name| ("AWS_PROFILE".to_owned(), name.to_owned())).into_iter().collect();
        Profile::of(&env, CONFIG, CREDENTIALS)
    }

    #[test]
    fn the_profile_that_the_environment_names_is_read_with_its_services() {
        let lab = profile(Some("lab")).unwrap();
        assert_eq!(lab.region.as_deref(), Some("us-west-2"));
        assert_eq!(lab.service_endpoint.as_deref(), Some("http://lab-s3:1"));
        assert_eq!(lab.endpoint.as_deref(), Some("http://lab:1"));
        assert!(lab.has_keys);
    }

    #[test]
    fn without_a_name_it_is_the_default_one() {
        let default = profile(None).unwrap();
        assert_eq!(
            (default.region.as_deref(), default.endpoint.as_deref()),
            (Some("eu-west-1"), Some("http://default:1"))
        );
        assert_eq!((default.service_endpoint, default.has_keys, default.chosen), (None, false, None));
        assert_eq!(Profile::of(&Environment::new(), "", "").unwrap(), Profile::default());
    }

    #[test]
    fn a_profile_of_the_credentials_file_alone_will_do_and_one_of_neither_is_an_error() {
        assert!(profile(Some("keys")).unwrap().has_keys);
        let missing = profile(Some("nowhere")).unwrap_err().message;
        assert!(missing.contains("AWS_PROFILE") && missing.contains("[profile nowhere]"), "{missing}");
    }

    #[test]
    fn a_profile_may_leave_configured_endpoints_out() {
        assert_eq!(profile(Some("bare")).unwrap().endpoint, None);
    }
}
