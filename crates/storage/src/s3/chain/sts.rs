//! Roles of the Security Token Service, assumed with other credentials or with the token of an identity provider.

use std::path::PathBuf;
use std::time::Duration;

use dlio_event::Secret;
use http::{Method, Uri};
use serde::{Deserialize, Serialize};

use super::expiry::expiring;
use super::http::{NoResponse, Query, ServiceResponse, ask};
use super::services::Services;
use super::sign::{self, FORM, Form};
use super::source::Source;
use crate::s3::clock::unix_time;
use crate::s3::credentials::{Credentials, Temporary};
use crate::s3::{aws, encode, xml};

/// Longest wait for a response.
pub(super) const LIMIT: Duration = Duration::from_secs(15);
/// Attempts if the service does not respond or is overloaded, and the pause between them.
pub(super) const ATTEMPTS: (u32, Duration) = (3, Duration::from_millis(500));

/// A role that is assumed with other credentials.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) seconds: Option<u32>,
    /// Source of the other credentials, and its name in messages.
    pub(super) base: Source,
    pub(super) base_name: String,
}

/// A role that is assumed with a web identity token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WebIdentity {
    pub(super) arn: String,
    pub(super) session: Option<String>,
    /// Read for every request, because its content changes.
    pub(super) token_file: PathBuf,
}

/// # Errors
/// When the other credentials are not available, or the service refuses, with the reason.
pub(super) async fn assume(role: &Role, services: &Services) -> Result<Temporary, String> {
    let base = role.base.fetch(services).await.map_err(|why| format!("{}: {why}", role.base_name))?;
    let mut fields = fields("AssumeRole", &role.arn, role.session.as_deref());
    fields.extend(role.external_id.clone().map(|id| ("ExternalId", id)));
    fields.extend(role.seconds.map(|seconds| ("DurationSeconds", seconds.to_string())));
    call(&fields, Some(&base.credentials), services).await
}

/// # Errors
/// When the token cannot be read, or the service refuses, with the reason.
pub(super) async fn assume_with_token(identity: &WebIdentity, services: &Services) -> Result<Temporary, String> {
    let path = &identity.token_file;
    let token = crate::regular_file::read_text(path)
        .map_err(|error| format!("reading the web identity token {}: {error}", path.display()))?;
    let mut fields = fields("AssumeRoleWithWebIdentity", &identity.arn, identity.session.as_deref());
    fields.push(("WebIdentityToken", token.trim().to_owned()));
    call(&fields, None, services).await
}

fn fields(action: &str, arn: &str, session: Option<&str>) -> Vec<(&'static str, String)> {
    let session = session.map_or_else(|| format!("dlio-rs-{}", unix_time().as_secs()), str::to_owned);
    vec![
        ("Action", action.to_owned()),
        ("Version", "2011-06-15".to_owned()),
        ("RoleArn", arn.to_owned()),
        ("RoleSessionName", session),
    ]
}

/// Sends a form, signed if there are credentials, and parses the credentials in the response.
async fn call(
    fields: &[(&'static str, String)],
    signer: Option<&Credentials>,
    services: &Services,
) -> Result<Temporary, String> {
    let body: String = fields.iter().fold(String::new(), |mut body, (name, value)| {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        encode::query(&mut body, value);
        body
    });
    let region = services.region.as_deref();
    let url = services.sts.clone().unwrap_or_else(|| endpoint(region));
    let uri: Uri = url.parse().map_err(|error| format!("the STS endpoint {url:?} is no URL: {error}"))?;
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut attempt = 1;
    loop {
        let region = region.unwrap_or("us-east-1");
        let form = Form { service: "sts", region, host, path: uri.path(), body: &body };
        let headers = match signer {
            Some(credentials) => sign::headers(&form, credentials, unix_time()),
            None => vec![("content-type", FORM.to_owned())],
        };
        let body = body.clone().into_bytes();
        let query = Query { method: Method::POST, headers, body, ..Query::of(services, &url, LIMIT) };
        let (why, passing) = match ask(&query).await {
            Ok(answer) if answer.status == 200 => return read(&url, &answer),
            Ok(answer) => (refusal(&url, &answer), is_passing(&answer)),
            Err(failure @ NoResponse::Address(_)) => (format!("STS: {}", failure.why()), false),
            Err(failure) => (format!("STS: {}", failure.why()), true),
        };
        if !passing || attempt == ATTEMPTS.0 {
            return Err(why);
        }
        attempt += 1;
        tokio::time::sleep(ATTEMPTS.1).await;
    }
}

/// Returns the service's endpoint in a region; the global one if no region is given.
fn endpoint(region: Option<&str>) -> String {
    match region {
        Some(region) => format!("https://sts.{region}.{}", aws::domain(region)),
        None => "https://sts.amazonaws.com".to_owned(),
    }
}

/// Returns whether a later attempt may have another result.
fn is_passing(answer: &ServiceResponse) -> bool {
    answer.status >= 500
        || answer.status == 429
        || ["Throttling", "IDPCommunicationError"]
            .iter()
            .any(|code| xml::text(&answer.body, "Code").is_some_and(|found| found.starts_with(code)))
}

fn refusal(url: &str, answer: &ServiceResponse) -> String {
    let (code, message) = (xml::text(&answer.body, "Code"), xml::text(&answer.body, "Message"));
    let words: Vec<String> = [code, message].into_iter().flatten().collect();
    let said = if words.is_empty() { answer.body.trim().chars().take(200).collect() } else { words.join(": ") };
    format!("{url} answers HTTP {}{}{said}", answer.status, if said.is_empty() { "" } else { " " })
}

fn read(url: &str, answer: &ServiceResponse) -> Result<Temporary, String> {
    let field = |name: &str| {
        let found = xml::text(&answer.body, name).filter(|text| !text.is_empty());
        found.ok_or_else(|| format!("{url} answers without {name}"))
    };
    let credentials = Credentials {
        access_key_id: field("AccessKeyId")?,
        secret_access_key: Secret::new(field("SecretAccessKey")?),
        session_token: field("SessionToken").ok().map(Secret::new),
    };
    let end = xml::text(&answer.body, "Expiration");
    expiring(credentials, end.as_deref()).map_err(|why| format!("{url} answers with {why}"))
}
