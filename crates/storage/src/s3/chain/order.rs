//! The order of the sources, and which of them the environment and the profile configure. This module performs no
//! I/O.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::metadata::{CONTAINER_HOST, Container, INSTANCE, Metadata, check_host};
use super::options::ChainOptions;
use super::profiles::{Profiles, Variables, expand, value, variable};
use super::services::Services;
use super::source::{Keys, Source};
use super::sso::{Sso, cache_name};
use super::sts::{Role, WebIdentity};
use crate::s3::proxy::PROXY_VARIABLES;

/// Reason why a source is not asked.
pub(super) enum NoCredentials {
    /// Name of the source, and what it lacks.
    Absent(String, String),
    /// The source lacks something, and the message of another source covers it.
    Silent,
    /// Name of the source, and the error in its configuration.
    Wrong(String, String),
}

/// A source and its name.
type Step = Result<(String, Source), NoCredentials>;

/// The sources in the order of the AWS CLI.
pub(super) const STEPS: [fn(&ChainOptions<'_>) -> Step; 6] =
    [of_environment, of_role, of_web_identity, of_profile, of_container, of_instance];

/// Environment variables and profiles.
#[derive(Clone, Copy)]
struct Places<'a> {
    variables: &'a Variables,
    profiles: &'a Profiles,
}

impl<'a> Places<'a> {
    fn of(options: &ChainOptions<'a>) -> Self {
        Self { variables: options.variables, profiles: options.profiles }
    }
}

fn of_environment(options: &ChainOptions<'_>) -> Step {
    const NAME: &str = "AWS_ACCESS_KEY_ID";
    match environment_keys(options.variables) {
        Ok(Some(keys)) => Ok((NAME.to_owned(), Source::Keys(keys))),
        Ok(None) => {
            let empty = options.variables.contains_key(NAME);
            Err(NoCredentials::Absent(NAME.to_owned(), if empty { "empty" } else { "not set" }.to_owned()))
        }
        Err(why) => Err(NoCredentials::Wrong(NAME.to_owned(), why)),
    }
}

fn environment_keys(variables: &Variables) -> Result<Option<Keys>, String> {
    let get = |name| variable(variables, name).map(str::to_owned);
    let Some(id) = get("AWS_ACCESS_KEY_ID") else { return Ok(None) };
    let secret = get("AWS_SECRET_ACCESS_KEY").ok_or("it is set but AWS_SECRET_ACCESS_KEY is not; set both or none")?;
    Ok(Some(Keys { id, secret, token: get("AWS_SESSION_TOKEN").or_else(|| get("AWS_SECURITY_TOKEN")) }))
}

fn of_role(options: &ChainOptions<'_>) -> Step {
    let places = Places::of(options);
    let profile = places.profiles.name();
    if !takes_role(places.profiles, profile) {
        return Err(NoCredentials::Silent);
    }
    let name = format!("role_arn of the AWS profile {profile}");
    match role(places, profile, &mut vec![profile.to_owned()]) {
        Ok(source) => Ok((name, source)),
        Err(why) => Err(NoCredentials::Wrong(name, why)),
    }
}

/// Returns whether a profile is a role that is assumed with other credentials.
fn takes_role(profiles: &Profiles, profile: &str) -> bool {
    profiles.setting(profile, "role_arn").is_some() && profiles.setting(profile, "web_identity_token_file").is_none()
}

fn has_static_keys(profiles: &Profiles, profile: &str) -> bool {
    ["aws_access_key_id", "aws_secret_access_key"].iter().any(|key| profiles.setting(profile, key).is_some())
}

/// Returns the role of a profile, with the credentials that assume it; `visited` contains the profiles on the way to
/// it.
fn role(places: Places<'_>, profile: &str, visited: &mut Vec<String>) -> Result<Source, String> {
    let get = |key| places.profiles.setting(profile, key);
    if let Some(device) = get("mfa_serial") {
        return Err(format!(
            "mfa_serial: the role needs a code of {device}, which a run cannot ask for; take temporary credentials along: \
             eval \"$(aws configure export-credentials --profile {profile} --format env)\""
        ));
    }
    let seconds = get("duration_seconds")
        .map(|text| text.parse().map_err(|_| format!("duration_seconds: expected whole seconds, found {text:?}")))
        .transpose()?;
    let (base, base_name) = match (get("source_profile"), get("credential_source")) {
        (Some(_), Some(_)) => return Err("it has both source_profile and credential_source; keep one".to_owned()),
        (None, None) => return Err("it has neither source_profile nor credential_source; add one".to_owned()),
        (None, Some(word)) => (named_source(places, word)?, format!("credential_source {word}")),
        (Some(source), None) => {
            check_loop(places.profiles, profile, source, visited)?;
            visited.push(source.to_owned());
            let base =
                base_profile(places, source, visited).map_err(|why| format!("source_profile {source}: {why}"))?;
            (base, format!("source_profile {source}"))
        }
    };
    Ok(Source::Role(Box::new(Role {
        arn: get("role_arn").unwrap_or_default().to_owned(),
        session: get("role_session_name").map(str::to_owned),
        external_id: get("external_id").map(str::to_owned),
        seconds,
        base,
        base_name,
    })))
}

/// Checks for loops: a profile may be its own source only if it has keys.
fn check_loop(profiles: &Profiles, profile: &str, source: &str, visited: &[String]) -> Result<(), String> {
    if !profiles.has(source) {
        return Err(format!("source_profile: there is no profile {source:?}"));
    }
    let seen = visited.iter().any(|name| name == source);
    if seen && (source != profile || !has_static_keys(profiles, source)) {
        return Err(format!("source_profile goes round in a circle: {} → {source}", visited.join(" → ")));
    }
    Ok(())
}

fn base_profile(places: Places<'_>, profile: &str, visited: &mut Vec<String>) -> Result<Source, String> {
    if takes_role(places.profiles, profile) && !has_static_keys(places.profiles, profile) {
        return role(places, profile, visited);
    }
    if let Some((_, source)) = web_identity(places, profile, false)? {
        return Ok(source);
    }
    keys_of_profile(places, profile)?
        .map(|(_, source)| source)
        .ok_or_else(|| "the profile has no credentials".to_owned())
}

fn named_source(places: Places<'_>, word: &str) -> Result<Source, String> {
    let wrong = |why: String| format!("credential_source {word}: {why}");
    match word.to_ascii_lowercase().as_str() {
        "environment" => environment_keys(places.variables)
            .map_err(wrong)?
            .map(Source::Keys)
            .ok_or_else(|| wrong("AWS_ACCESS_KEY_ID is not set".to_owned())),
        "ecscontainer" => container(places.variables).map_err(wrong)?.ok_or_else(|| wrong(NO_CONTAINER.to_owned())),
        "ec2instancemetadata" => instance(places).map_err(wrong),
        _ => {
            Err(format!("credential_source: expected Environment, EcsContainer or Ec2InstanceMetadata, found {word:?}"))
        }
    }
}

fn of_web_identity(options: &ChainOptions<'_>) -> Step {
    const FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
    let places = Places::of(options);
    match web_identity(places, places.profiles.name(), true) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(NoCredentials::Absent(FILE.to_owned(), "not set".to_owned())),
        Err(why) => Err(NoCredentials::Wrong("web identity".to_owned(), why)),
    }
}

/// Returns the role assumed with a web identity token; environment variables take precedence over the profile's
/// settings where they apply.
fn web_identity(places: Places<'_>, profile: &str, environment: bool) -> Result<Option<(String, Source)>, String> {
    let get = |name: &'static str, key: &'static str| {
        let said = variable(places.variables, name).filter(|_| environment).map(|value| (name, value));
        said.or_else(|| places.profiles.setting(profile, key).map(|value| (key, value)))
    };
    let Some((from, file)) = get("AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file") else { return Ok(None) };
    let (_, arn) = get("AWS_ROLE_ARN", "role_arn")
        .ok_or_else(|| format!("{from} is set but no role is named; set AWS_ROLE_ARN, or role_arn of the profile"))?;
    let token_file = home_path(places.variables, file)?;
    let session = get("AWS_ROLE_SESSION_NAME", "role_session_name").map(|(_, name)| name.to_owned());
    let name = format!("web identity ({from})");
    Ok(Some((name, Source::WebIdentity(WebIdentity { arn: arn.to_owned(), session, token_file }))))
}

fn home_path(variables: &Variables, path: &str) -> Result<PathBuf, String> {
    expand(variables, path).ok_or_else(|| format!("{path}: there is no home folder (HOME)"))
}

fn of_profile(options: &ChainOptions<'_>) -> Step {
    let places = Places::of(options);
    let profile = places.profiles.name();
    let name = format!("AWS profile {profile}");
    match keys_of_profile(places, profile) {
        Ok(Some(found)) => Ok(found),
        Ok(None) if places.profiles.has(profile) => {
            let why = "it has no keys, role_arn, web_identity_token_file, SSO or credential_process";
            Err(NoCredentials::Absent(name, why.to_owned()))
        }
        Ok(None) => Err(NoCredentials::Absent(name, "it is in neither of the AWS configuration files".to_owned())),
        Err(why) => Err(NoCredentials::Wrong(name, why)),
    }
}

/// Returns the credentials of a profile without a role: SSO, keys of the credentials file, a command, or keys of the
/// configuration file.
fn keys_of_profile(places: Places<'_>, profile: &str) -> Result<Option<(String, Source)>, String> {
    let profiles = places.profiles;
    if let Some(sso) = sso(places, profile)? {
        return Ok(Some((format!("SSO of the AWS profile {profile}"), Source::Sso(sso))));
    }
    let keys = |get: &dyn Fn(&str) -> Option<String>| -> Result<Option<(String, Source)>, String> {
        let Some(id) = get("aws_access_key_id") else { return Ok(None) };
        let secret = get("aws_secret_access_key");
        let secret = secret.ok_or("aws_access_key_id is given but aws_secret_access_key is not; set both or none")?;
        let token = get("aws_session_token").or_else(|| get("aws_security_token"));
        Ok(Some((format!("keys of the AWS profile {profile}"), Source::Keys(Keys { id, secret, token }))))
    };
    if let Some(found) = keys(&|key| profiles.in_credentials(profile, key).map(str::to_owned))? {
        return Ok(Some(found));
    }
    if profiles.setting(profile, "login_session").is_some() {
        return Err(format!(
            "login_session: sessions of `aws login` are known to the AWS CLI only; let it hand them on: credential_process = aws \
             configure export-credentials --profile {profile} in a profile of its own"
        ));
    }
    if let Some(command) = profiles.setting(profile, "credential_process") {
        let name = format!("credential_process of the AWS profile {profile}");
        return Ok(Some((name, Source::Process(command.to_owned()))));
    }
    keys(&|key| profiles.in_config(profile, key).map(str::to_owned))
}

fn sso(places: Places<'_>, profile: &str) -> Result<Option<Sso>, String> {
    let profiles = places.profiles;
    let own = |key: &str| profiles.setting(profile, key).map(str::to_owned);
    if own("sso_role_name").is_none() && own("sso_account_id").is_none() {
        return Ok(None);
    }
    let session = own("sso_session");
    let section = match &session {
        Some(name) => {
            Some(profiles.sso_session(name).ok_or_else(|| format!("there is no section [sso-session {name}]"))?)
        }
        None => None,
    };
    let get = |key: &str| {
        let shared = section.and_then(|section| value(section, key)).map(str::to_owned);
        match (own(key), shared) {
            (Some(own), Some(shared)) if own != shared => {
                Err(format!("{key} is {own} in the profile and {shared} in its sso-session"))
            }
            (own, shared) => own.or(shared).ok_or_else(|| format!("{key} is missing for SSO")),
        }
    };
    let (start_url, region) = (get("sso_start_url")?, get("sso_region")?);
    let folder = home_path(places.variables, "~/.aws/sso/cache")?;
    Ok(Some(Sso {
        profile: profile.to_owned(),
        account: get("sso_account_id")?,
        role: get("sso_role_name")?,
        cache: folder.join(cache_name(session.as_ref().unwrap_or(&start_url))),
        renewable: session.is_some(),
        start_url,
        region,
    }))
}

const NO_CONTAINER: &str =
    "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set";

fn of_container(options: &ChainOptions<'_>) -> Step {
    const NAME: &str = "container credentials";
    if let Some(why) = &options.no_metadata {
        return Err(NoCredentials::Absent(NAME.to_owned(), why.clone()));
    }
    match container(options.variables) {
        Ok(Some(source)) => Ok((NAME.to_owned(), source)),
        Ok(None) => Err(NoCredentials::Absent(NAME.to_owned(), NO_CONTAINER.to_owned())),
        Err(why) => Err(NoCredentials::Wrong(NAME.to_owned(), why)),
    }
}

fn container(variables: &Variables) -> Result<Option<Source>, String> {
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let url = match variable(variables, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        Some(path) => format!("{CONTAINER_HOST}{path}"),
        None => match variable(variables, FULL) {
            Some(url) => url.to_owned(),
            None => return Ok(None),
        },
    };
    check_host(&url).map_err(|why| format!("{FULL}: {why}"))?;
    let token_file = variable(variables, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from);
    let token = variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").filter(|token| !token.is_empty()).cloned();
    Ok(Some(Source::Container(Container { url, token, token_file })))
}

fn of_instance(options: &ChainOptions<'_>) -> Step {
    const NAME: &str = "instance metadata";
    if let Some(why) = &options.no_metadata {
        return Err(NoCredentials::Absent(NAME.to_owned(), why.clone()));
    }
    match instance(Places::of(options)) {
        Ok(source) => Ok((NAME.to_owned(), source)),
        Err(why) => Err(NoCredentials::Absent(NAME.to_owned(), why)),
    }
}

fn instance(places: Places<'_>) -> Result<Source, String> {
    let is = |word: Option<&str>, expected: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(expected));
    let get = |name: &str, key: &str| variable(places.variables, name).or_else(|| places.profiles.get(key));
    if is(variable(places.variables, "AWS_EC2_METADATA_DISABLED"), "true") {
        return Err("not asked: AWS_EC2_METADATA_DISABLED is true".to_owned());
    }
    let ipv6 = is(get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode"), "ipv6");
    let url = get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint");
    let number = |name: &str, key: &str| -> Result<u32, String> {
        let Some(text) = get(name, key) else { return Ok(1) };
        let number = text.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| format!("{name}: expected a whole number from 1, found {text:?}"))
    };
    Ok(Source::Metadata(Metadata {
        url: url.unwrap_or(INSTANCE[usize::from(ipv6)]).to_owned(),
        limit: Duration::from_secs(number("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout")?.into()),
        attempts: number("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "metadata_service_num_attempts")?,
        v1_disabled: is(get("AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled"), "true"),
    }))
}

/// Returns the endpoints of the services: those configured for the AWS CLI, which differ from those of a workload.
pub(super) fn services(options: &ChainOptions<'_>) -> Services {
    let Places { variables, profiles } = Places::of(options);
    let configured = |service: &str| {
        if profiles.ignores_endpoints(variables) {
            return None;
        }
        let own = format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase());
        let said = variable(variables, &own).or_else(|| variable(variables, "AWS_ENDPOINT_URL")).map(str::to_owned);
        said.or_else(|| profiles.service_endpoint(service)).or_else(|| profiles.get("endpoint_url").map(str::to_owned))
    };
    let names = PROXY_VARIABLES.iter().flat_map(|name| [(*name).to_owned(), name.to_ascii_uppercase()]);
    let proxies = names.filter_map(|name| variables.get(&name).map(|value| (name, value.clone()))).collect();
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| variable(variables, name));
    Services {
        region: region.or_else(|| profiles.get("region")).map(str::to_owned),
        sts: configured("sts"),
        sso: configured("sso"),
        sso_oidc: configured("sso_oidc"),
        ca_bundle: options.ca_bundle.as_deref().map(Path::to_owned),
        proxies,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::s3::chain::config_file::words;

    /// Describes the request of a source, in the form of the recorded cases.
    fn words_of(source: &Source) -> Value {
        match source {
            Source::Keys(keys) => json!({"keys": [keys.id, keys.secret, keys.token]}),
            Source::Process(command) => json!({"process": words(command).unwrap()}),
            Source::Role(role) => json!({
                "role": [role.arn, role.session, role.external_id, role.seconds], "base": words_of(&role.base),
            }),
            Source::WebIdentity(found) => json!({"identity": [found.arn, found.session, found.token_file]}),
            Source::Sso(sso) => {
                let session = sso.renewable.then_some("corp");
                json!({"sso": [sso.region, sso.start_url, sso.account, sso.role, session]})
            }
            Source::Container(_) | Source::Metadata(_) => json!("metadata"),
        }
    }

    /// Returns the first configured source.
    fn chosen(variables: &Variables, profiles: &Profiles) -> Value {
        let options =
            ChainOptions { variables, profiles, ca_bundle: None, before: Vec::new(), no_metadata: Some(String::new()) };
        for step in STEPS {
            match step(&options) {
                Ok((_, source)) => return words_of(&source),
                Err(NoCredentials::Wrong(..)) => return json!("wrong"),
                Err(_) => {}
            }
        }
        Value::Null
    }

    #[test]
    fn files_and_variables_mean_what_they_mean_to_the_aws_cli() {
        let cases: Value = serde_json::from_str(include_str!("../../../tests/aws_config/cases.json")).unwrap();
        for case in cases.as_array().unwrap() {
            let folder = tempfile::tempdir().unwrap();
            let mut variables: Variables = serde_json::from_value(case["env"].clone()).unwrap();
            variables.insert("HOME".to_owned(), folder.path().to_str().unwrap().to_owned());
            for (file, variable) in [("config", "AWS_CONFIG_FILE"), ("credentials", "AWS_SHARED_CREDENTIALS_FILE")] {
                let path = folder.path().join(file);
                std::fs::write(&path, case[file].as_str().unwrap()).unwrap();
                variables.insert(variable.to_owned(), path.to_str().unwrap().to_owned());
            }
            let name = &case["name"];
            let profiles = Profiles::read(&variables);
            assert_eq!(profiles.is_err(), case["files"] == "wrong", "{name}: {profiles:?}");
            let Ok(profiles) = profiles else { continue };
            let region = variable(&variables, "AWS_DEFAULT_REGION").or_else(|| profiles.get("region"));
            assert_eq!(json!(region), case["region"], "{name}");
            assert_eq!(json!(profiles.path("ca_bundle", &variables)), case["ca_bundle"], "{name}");
            assert_eq!(json!(profiles.below("s3", "addressing_style")), case["addressing_style"], "{name}");
            assert_eq!(chosen(&variables, &profiles), case["source"], "{name}");
        }
    }

    #[test]
    fn services_have_their_own_endpoints_before_the_general_ones() {
        let profiles = Profiles::default();
        let variables =
            [("AWS_ENDPOINT_URL", "http://all"), ("AWS_ENDPOINT_URL_STS", "http://sts"), ("AWS_REGION", "R-1")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let options = ChainOptions {
            variables: &variables,
            profiles: &profiles,
            ca_bundle: None,
            before: Vec::new(),
            no_metadata: None,
        };
        let found = services(&options);
        assert_eq!((found.sts.as_deref(), found.sso.as_deref()), (Some("http://sts"), Some("http://all")));
        assert_eq!(found.region.as_deref(), Some("R-1"));
    }
}
