//! The profiles of the shared AWS configuration files, and the selection of one by the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config_file::{Section, Sections, nested, parse, plain, words};

/// Environment variables by name, passed as a value by the code that reads the environment.
pub type Variables = BTreeMap<String, String>;

/// Returns a variable that is set and not empty.
pub(super) fn variable<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// The contents of both files, and the selected profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles {
    /// Profiles of the configuration file.
    config: BTreeMap<String, Section>,
    /// Profiles of the credentials file.
    credentials: BTreeMap<String, Section>,
    sso_sessions: BTreeMap<String, Section>,
    services: BTreeMap<String, Section>,
    /// Variable that selected the profile, and the profile's name.
    chosen: Option<(&'static str, String)>,
}

impl Profiles {
    /// Reads the files that the environment names, or those in `~/.aws`. A missing file is empty, as for the AWS CLI.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or neither contains the profile that a variable names.
    pub fn read(variables: &Variables) -> Result<Self, String> {
        let config = read(variables, "AWS_CONFIG_FILE", "~/.aws/config")?;
        let credentials = read(variables, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")?;
        let mut profiles = Self::of(config, credentials);
        profiles.choose(variables)?;
        Ok(profiles)
    }

    fn of(config: Sections, credentials: Sections) -> Self {
        let mut profiles = Self::default();
        for (name, section) in config {
            let parts = words(&name).unwrap_or_default();
            let place = match parts.first().map(String::as_str) {
                Some("profile") => &mut profiles.config,
                Some("sso-session") => &mut profiles.sso_sessions,
                Some("services") => &mut profiles.services,
                _ if name == "default" => {
                    profiles.config.entry(name).or_default().extend(section);
                    continue;
                }
                _ => continue,
            };
            if let [_, name] = &parts[..] {
                place.entry(name.clone()).or_default().extend(section);
            }
        }
        profiles.credentials = credentials.into_iter().collect();
        profiles
    }

    /// Selects the profile that the environment names.
    fn choose(&mut self, variables: &Variables) -> Result<(), String> {
        let named = |name| variable(variables, name).map(|value| (name, value.to_owned()));
        self.chosen = ["AWS_DEFAULT_PROFILE", "AWS_PROFILE"].into_iter().find_map(named);
        let Some((variable, name)) = self.chosen.as_ref().filter(|(_, name)| !self.has(name)) else { return Ok(()) };
        let known: Vec<&str> = self.names().collect();
        let known = if known.is_empty() { String::new() } else { format!("; they have {}", known.join(", ")) };
        Err(format!(
            "{variable}: the profile {name:?} is in neither of the AWS configuration files; expected [profile {name}] \
             in ~/.aws/config or [{name}] in ~/.aws/credentials (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE){known}"
        ))
    }

    /// Returns the names of all profiles, sorted.
    fn names(&self) -> impl Iterator<Item = &str> {
        let more = self.credentials.keys().filter(|name| !self.config.contains_key(*name));
        let mut names: Vec<&str> = self.config.keys().chain(more).map(String::as_str).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// Returns whether a profile is in one of the files.
    pub(super) fn has(&self, profile: &str) -> bool {
        self.config.contains_key(profile) || self.credentials.contains_key(profile)
    }

    /// Returns the name of the profile that a variable selected; `None` for the default profile.
    #[must_use]
    pub fn chosen(&self) -> Option<&str> {
        self.chosen.as_ref().map(|(_, name)| name.as_str())
    }

    /// Returns the name of the selected profile.
    pub(super) fn name(&self) -> &str {
        self.chosen().unwrap_or("default")
    }

    /// Returns a setting of the selected profile; the credentials file takes precedence, as for the AWS CLI.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.setting(self.name(), key)
    }

    /// Returns a path setting, in which `~` is the home folder.
    #[must_use]
    pub fn path(&self, key: &str, variables: &Variables) -> Option<PathBuf> {
        expand(variables, self.get(key)?)
    }

    /// Returns a setting of a profile.
    pub(super) fn setting(&self, profile: &str, key: &str) -> Option<&str> {
        self.in_credentials(profile, key).or_else(|| self.in_config(profile, key))
    }

    /// Returns a setting from the credentials file only.
    pub(super) fn in_credentials(&self, profile: &str, key: &str) -> Option<&str> {
        value(self.credentials.get(profile)?, key)
    }

    /// Returns a setting from the configuration file only.
    pub(super) fn in_config(&self, profile: &str, key: &str) -> Option<&str> {
        value(self.config.get(profile)?, key)
    }

    /// Returns the section `[sso-session NAME]`.
    pub(super) fn sso_session(&self, name: &str) -> Option<&Section> {
        self.sso_sessions.get(name)
    }

    /// Returns a setting nested below a key of the selected profile, such as `addressing_style` below `s3`.
    #[must_use]
    pub fn below(&self, key: &str, inner: &str) -> Option<String> {
        let name = self.name();
        let sections = [self.credentials.get(name), self.config.get(name)];
        sections.into_iter().flatten().find_map(|section| inside(section, key, inner))
    }

    /// Returns `endpoint_url` of a service in the section `services` that the selected profile names.
    #[must_use]
    pub fn service_endpoint(&self, service: &str) -> Option<String> {
        let services = self.services.get(self.get("services")?)?;
        inside(services, service, "endpoint_url")
    }

    /// Returns an error if the selected profile names a section `services` that does not exist, because requests
    /// would go to the wrong store.
    #[must_use]
    pub fn missing_services(&self) -> Option<String> {
        let name = self.get("services").filter(|name| !self.services.contains_key(*name))?;
        Some(format!(
            "the AWS profile {} has services = {name}, but there is no section [services {name}] in ~/.aws/config (AWS_CONFIG_FILE)",
            self.name()
        ))
    }

    /// Returns whether configured endpoint URLs are ignored; the variable takes precedence over the profile.
    #[must_use]
    pub fn ignores_endpoints(&self, variables: &Variables) -> bool {
        let said = variable(variables, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        said.or_else(|| self.get("ignore_configured_endpoint_urls"))
            .is_some_and(|word| word.eq_ignore_ascii_case("true"))
    }

    /// Returns the setting from which the selected profile gets keys, in order of precedence; `None` if there is
    /// none.
    #[must_use]
    pub fn keys_by(&self) -> Option<&'static str> {
        const WAYS: [&str; 7] = [
            "role_arn",
            "web_identity_token_file",
            "sso_account_id",
            "sso_role_name",
            "login_session",
            "credential_process",
            "aws_access_key_id",
        ];
        let shared = self.in_credentials(self.name(), "aws_access_key_id").map(|_| "aws_access_key_id");
        let (before, after) = WAYS.split_at(4);
        let first = |ways: &[&'static str]| ways.iter().copied().find(|way| self.get(way).is_some());
        first(before).or(shared).or_else(|| first(after))
    }
}

/// Returns a value of one line. A command is taken whole, because ` #` may belong to it.
pub(super) fn value<'a>(section: &'a Section, key: &str) -> Option<&'a str> {
    let value = section.get(key)?;
    if key == "credential_process" { Some(value.as_str()).filter(|value| !value.is_empty()) } else { plain(value) }
}

fn inside(section: &Section, key: &str, inner: &str) -> Option<String> {
    let below = nested(section.get(key)?).ok()??;
    plain(below.get(inner)?).map(str::to_owned)
}

/// Reads the sections of a file that a variable names.
fn read(variables: &Variables, name: &str, usual: &str) -> Result<Sections, String> {
    let named = variable(variables, name);
    let Some(path) = expand(variables, named.unwrap_or(usual)) else { return Ok(Sections::new()) };
    if !path.is_file() {
        return Ok(Sections::new());
    }
    let wrong = |why: String| match named {
        Some(_) => format!("{name}: {}: {why}", path.display()),
        None => format!("{}: {why}", path.display()),
    };
    let text = crate::regular_file::read_text(&path).map_err(|error| wrong(error.to_string()))?;
    let sections = parse(&text).map_err(wrong)?;
    for (section, values) in &sections {
        for (key, value) in values {
            nested(value).map_err(|why| wrong(format!("[{section}] {key}: {why}")))?;
        }
    }
    Ok(sections)
}

/// Replaces `~` and variables in a path; `None` if it needs a home folder and there is none.
pub(super) fn expand(variables: &Variables, path: &str) -> Option<PathBuf> {
    let path = substitute(variables, path);
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = variables.get("HOME").filter(|home| !home.is_empty())?;
            Some(Path::new(home).join(rest.trim_start_matches('/')))
        }
        _ => Some(PathBuf::from(path)),
    }
}

/// Replaces `$NAME` and `${NAME}`; unset variables are kept.
fn substitute(variables: &Variables, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let inner = &rest[1..];
        let letters = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, len) = match inner.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some((name, _)) => (name, name.len() + 3),
            None => (&inner[..letters(inner)], letters(inner) + 1),
        };
        match variables.get(name) {
            Some(value) => out.push_str(value),
            None => out.push_str(&rest[..len]),
        }
        rest = &rest[len..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn paths_begin_at_the_home_folder_and_hold_variables() {
        let env = variables(&[("HOME", "/home/me"), ("LAB", "lab")]);
        assert_eq!(expand(&env, "~/.aws/$LAB/${LAB}-x/$NONE").unwrap(), Path::new("/home/me/.aws/lab/lab-x/$NONE"));
        assert_eq!(expand(&env, "/etc/~").unwrap(), Path::new("/etc/~"));
        assert_eq!(expand(&Variables::new(), "~/.aws/config"), None);
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let env = variables(&[("AWS_CONFIG_FILE", path.to_str().unwrap())]);
        assert_eq!(Profiles::read(&env).unwrap(), Profiles::default(), "what is not there is empty");
        std::fs::write(&path, "[default]\nregion\n").unwrap();
        let wrong = Profiles::read(&env).unwrap_err();
        assert!(wrong.starts_with("AWS_CONFIG_FILE: /") && wrong.contains("line 2: "), "{wrong}");
        std::fs::write(&path, "[default]\ns3 =\n  addressing_style\n").unwrap();
        assert!(Profiles::read(&env).unwrap_err().contains("[default] s3: expected key = value"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(Profiles::read(&env).is_err());
        let device = variables(&[("AWS_CONFIG_FILE", "/dev/null")]);
        assert_eq!(Profiles::read(&device).unwrap(), Profiles::default());
    }

    #[test]
    fn a_profile_that_is_nowhere_is_an_error_that_names_those_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, "[profile lab]\nregion = eu\n[default]\n").unwrap();
        let env = variables(&[("AWS_CONFIG_FILE", path.to_str().unwrap()), ("AWS_PROFILE", "nowhere")]);
        let wrong = Profiles::read(&env).unwrap_err();
        let both =
            [("AWS_CONFIG_FILE", path.to_str().unwrap()), ("AWS_PROFILE", "nowhere"), ("AWS_DEFAULT_PROFILE", "lab")];
        assert_eq!(Profiles::read(&variables(&both)).unwrap().chosen(), Some("lab"), "the AWS CLI's order");
        assert!(wrong.starts_with("AWS_PROFILE: ") && wrong.ends_with("they have default, lab"), "{wrong}");
    }

    #[test]
    fn a_section_of_services_that_is_named_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let env = variables(&[("AWS_CONFIG_FILE", path.to_str().unwrap())]);
        let config = "[default]\nservices = store\nendpoint_url = http://general:1\n";
        std::fs::write(&path, config).unwrap();
        let wrong = Profiles::read(&env).unwrap().missing_services().unwrap();
        assert!(wrong.contains("services = store, but there is no section [services store]"), "{wrong}");
        std::fs::write(&path, format!("{config}[services store]\ns3 =\n  endpoint_url = http://own:1\n")).unwrap();
        let read = Profiles::read(&env).unwrap();
        assert_eq!((read.missing_services(), read.service_endpoint("s3")), (None, Some("http://own:1".to_owned())));
    }
}
