//! Credentials of the machine or container of this process: the container endpoint of ECS and EKS, and the instance
//! metadata service of EC2, version 2 or, if that is refused, version 1.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use dlio_event::Secret;
use http::{Method, Uri};
use serde::{Deserialize, Serialize};

use super::expiry::expiring;
use super::http::{NoResponse, Query, ServiceResponse, ask};
use super::services::Services;
use crate::s3::credentials::{Credentials, Temporary};

/// Host of `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
pub(super) const CONTAINER_HOST: &str = "http://169.254.170.2";
/// Addresses of the instance metadata service, by `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE`.
pub(super) const INSTANCE: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];
/// Hosts to which plain HTTP is allowed, in addition to those of this machine.
const HOSTS: [&str; 4] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "localhost"];
/// Longest wait for the container endpoint, per attempt.
const LIMIT: Duration = Duration::from_secs(2);
/// Attempts at the container endpoint, and the pause between them.
const ATTEMPTS: (u32, Duration) = (3, Duration::from_secs(1));
/// Path of the role names.
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// The container endpoint.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Container {
    pub(super) url: String,
    pub(super) token: Option<String>,
    /// Read for every request, because its content changes.
    pub(super) token_file: Option<PathBuf>,
}

/// The instance metadata service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metadata {
    pub(super) url: String,
    pub(super) limit: Duration,
    pub(super) attempts: u32,
    pub(super) v1_disabled: bool,
}

/// Response of both services.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CredentialResponse {
    code: Option<String>,
    message: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// Checks whether credentials may be requested from the URL of a container endpoint, to which a secret token is sent.
///
/// # Errors
/// When the URL is invalid, or names a host without TLS on which others can listen.
pub(super) fn check_host(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if loopback || HOSTS.contains(&host) => Ok(()),
        Some("http") => Err(format!(
            "plain HTTP to {host:?} is not allowed; expected https, an address of this machine, or one of {}",
            HOSTS.join(", ")
        )),
        _ => Err(format!("expected http://host or https://host, found {url:?}")),
    }
}

/// # Errors
/// When the endpoint provides no credentials, with the reason.
pub(super) async fn of_container(container: &Container, services: &Services) -> Result<Temporary, String> {
    check_host(&container.url)?;
    let token =
        match &container.token_file {
            Some(path) => Some(crate::regular_file::read_text(path).map_err(|error| {
                format!("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: reading {}: {error}", path.display())
            })?),
            None => container.token.clone(),
        };
    if token.as_ref().is_some_and(|token| token.contains(['\r', '\n'])) {
        return Err("the authorization token has a line break, which no header can have".to_owned());
    }
    // Plain HTTP is used for this machine and its agents, which are not behind a proxy.
    let secure = container.url.starts_with("https:");
    let get = Query::get(&container.url, LIMIT);
    let mut query = if secure { Query::of(services, &container.url, LIMIT) } else { get };
    query.headers.push(("accept", "application/json".to_owned()));
    query.headers.extend(token.map(|token| ("authorization", token)));
    let mut attempt = 1;
    let answer = loop {
        let why = match ask(&query).await {
            Ok(answer) if answer.status == 200 => break answer,
            Ok(answer) => refused(&container.url, &answer),
            Err(failure @ NoResponse::Address(_)) => return Err(failure.why()),
            Err(failure) => failure.why(),
        };
        if attempt == ATTEMPTS.0 {
            return Err(format!("{why} ({attempt} attempts)"));
        }
        attempt += 1;
        tokio::time::sleep(ATTEMPTS.1).await;
    };
    given(&container.url, &answer)
}

/// # Errors
/// When the service does not respond or there is no role, with the reason.
pub(super) async fn of_instance(metadata: &Metadata) -> Result<Temporary, String> {
    let base = metadata.url.trim_end_matches('/');
    let token = instance_token(metadata, base).await?;
    let get = async |path: &str| -> Result<ServiceResponse, String> {
        let url = format!("{base}/{path}");
        let mut query = Query::get(&url, metadata.limit);
        query.headers.extend(token.clone().map(|token| ("x-aws-ec2-metadata-token", token)));
        let mut answer = ask(&query).await;
        for _ in 1..metadata.attempts {
            if matches!(&answer, Ok(answer) if answer.status == 200) {
                break;
            }
            answer = ask(&query).await;
        }
        match answer.map_err(NoResponse::why)? {
            answer if answer.status == 200 && !answer.body.trim().is_empty() => Ok(answer),
            answer if answer.status == 404 || answer.status == 200 => {
                Err(format!("{base} knows no role of this instance ({path})"))
            }
            answer => Err(refused(&url, &answer)),
        }
    };
    let role = get(ROLES).await?.body;
    let role = role.lines().next().unwrap_or_default().trim().to_owned();
    let path = format!("{ROLES}{role}");
    let answer = get(&path).await?;
    given(&format!("{base}/{path}"), &answer)
}

/// Requests the token of version 2; `None` if version 1 must be used.
async fn instance_token(metadata: &Metadata, base: &str) -> Result<Option<String>, String> {
    let url = format!("{base}/latest/api/token");
    let mut query = Query { method: Method::PUT, ..Query::get(&url, metadata.limit) };
    query.headers.push(("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned()));
    let mut attempt = 1;
    let why = loop {
        let retry = match ask(&query).await {
            Ok(answer) if answer.status == 200 => return Ok(Some(answer.body.trim().to_owned())),
            Ok(answer) if matches!(answer.status, 403..=405) => break refused(&url, &answer),
            Ok(answer) if answer.status == 400 => return Err(refused(&url, &answer)),
            Ok(answer) => refused(&url, &answer),
            // With a hop limit of 1, the request reaches the service from a container but the response is dropped.
            Err(NoResponse::Unanswered(why)) => break why,
            Err(failure) => failure.why(),
        };
        if attempt >= metadata.attempts {
            return Err(retry);
        }
        attempt += 1;
    };
    if metadata.v1_disabled { Err(format!("{why}; version 1 of the service is disabled")) } else { Ok(None) }
}

fn refused(url: &str, answer: &ServiceResponse) -> String {
    let said: String = answer.body.trim().chars().take(200).collect();
    let said = if said.is_empty() { said } else { format!(": {said}") };
    format!("{url} answers HTTP {}{said}", answer.status)
}

fn given(url: &str, answer: &ServiceResponse) -> Result<Temporary, String> {
    let given: CredentialResponse = serde_json::from_str(&answer.body)
        .map_err(|error| format!("{url} answers no JSON that can be read ({error})"))?;
    if let Some(code) = given.code.filter(|code| code != "Success") {
        return Err(format!("{url} answers {code}: {}", given.message.unwrap_or_default()));
    }
    let missing = |name: &str| format!("{url} answers without {name}");
    let credentials = Credentials {
        access_key_id: given.access_key_id.filter(|id| !id.is_empty()).ok_or_else(|| missing("AccessKeyId"))?,
        secret_access_key: Secret::new(given.secret_access_key.ok_or_else(|| missing("SecretAccessKey"))?),
        session_token: given.token.filter(|token| !token.is_empty()).map(Secret::new),
    };
    expiring(credentials, given.expiration.as_deref()).map_err(|why| format!("{url} answers with {why}"))
}
