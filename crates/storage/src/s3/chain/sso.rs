//! IAM Identity Center (SSO): exchanges the token that `aws sso login` stored in `~/.aws/sso/cache` for a role's
//! credentials, and renews the token before it expires, if possible.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dlio_event::Secret;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::expiry::until;
use super::http::{NoResponse, Query, ServiceResponse, ask};
use super::services::Services;
use super::sts::{ATTEMPTS, LIMIT};
use super::time;
use crate::s3::clock::unix_time;
use crate::s3::credentials::{Credentials, Temporary};
use crate::s3::{aws, encode};

/// A token with less time left than this is renewed.
const LEAD: Duration = Duration::from_mins(15);

/// A role of an account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sso {
    pub(super) profile: String,
    pub(super) region: String,
    pub(super) start_url: String,
    pub(super) account: String,
    pub(super) role: String,
    /// File of the token.
    pub(super) cache: PathBuf,
    /// Whether the profile has an `sso_session`, whose tokens can be renewed.
    pub(super) renewable: bool,
}

/// Returns the name of the cache file of a session or, without one, of a start URL.
pub(super) fn cache_name(session_or_url: &str) -> String {
    use sha1::{Digest as _, Sha1};
    format!("{}.json", crate::s3::sign::hex(&Sha1::digest(session_or_url.as_bytes())))
}

/// # Errors
/// When there is no valid login, or the service refuses, with the reason.
pub(super) async fn credentials(sso: &Sso, services: &Services) -> Result<Temporary, String> {
    let token = token(sso, services).await?;
    let base = services
        .sso
        .clone()
        .unwrap_or_else(|| format!("https://portal.sso.{}.{}", sso.region, aws::domain(&sso.region)));
    let base = base.trim_end_matches('/');
    let mut url = format!("{base}/federation/credentials?role_name=");
    encode::query(&mut url, &sso.role);
    url.push_str("&account_id=");
    encode::query(&mut url, &sso.account);
    let mut query = Query::of(services, &url, LIMIT);
    query.headers.push(("x-amz-sso_bearer_token", token));
    let answer = answered(&query).await?;
    match answer.status {
        200 => read(base, &answer),
        401 => Err(login(sso, "the service refuses its token")),
        status => Err(format!(
            "{base} answers HTTP {status}: {} (role {} of account {})",
            message(&answer),
            sso.role,
            sso.account
        )),
    }
}

/// Sends a request, with retries if the service does not respond or is overloaded.
async fn answered(query: &Query<'_>) -> Result<ServiceResponse, String> {
    let mut attempt = 1;
    loop {
        let answer = ask(query).await;
        let passing = match &answer {
            Ok(answer) => answer.status >= 500 || answer.status == 429,
            Err(failure) => !matches!(failure, NoResponse::Address(_)),
        };
        if !passing || attempt == ATTEMPTS.0 {
            return answer.map_err(NoResponse::why);
        }
        attempt += 1;
        tokio::time::sleep(ATTEMPTS.1).await;
    }
}

/// Returns the access token, renewed if it expires soon.
async fn token(sso: &Sso, services: &Services) -> Result<String, String> {
    let path = &sso.cache;
    let shown = path.display();
    let text = match crate::regular_file::read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(login(sso, &format!("there is no token in {shown}")));
        }
        Err(error) => return Err(format!("reading {shown}: {error}")),
    };
    let kept: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| login(sso, &format!("{shown} cannot be read ({error})")))?;
    let field = |name: &str| kept.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let ends = field("expiresAt").and_then(time::parse);
    let (Some(token), Some(ends)) = (field("accessToken"), ends) else {
        return Err(login(sso, &format!("{shown} holds no token")));
    };
    let left = ends.saturating_sub(unix_time());
    let mut trouble = String::new();
    if sso.renewable && left < LEAD {
        match renew(sso, &kept, services).await {
            Ok(Some(renewed)) => return Ok(renewed),
            Ok(None) => {}
            Err(why) => trouble = format!(" and could not be renewed: {why}"),
        }
    }
    if left.is_zero() {
        return Err(login(sso, &format!("its token ended at {}{trouble}", time::format(ends))));
    }
    Ok(token.to_owned())
}

/// Exchanges a token for a new one, which is also stored in the cache for other programs; `None` if the token cannot
/// be renewed.
async fn renew(sso: &Sso, kept: &Map<String, Value>, services: &Services) -> Result<Option<String>, String> {
    let field = |name: &str| kept.get(name).and_then(Value::as_str);
    let (Some(client), Some(secret), Some(refresh)) = (field("clientId"), field("clientSecret"), field("refreshToken"))
    else {
        return Ok(None);
    };
    if field("registrationExpiresAt").and_then(time::parse).is_none_or(|end| end <= unix_time()) {
        return Ok(None);
    }
    let base = services
        .sso_oidc
        .clone()
        .unwrap_or_else(|| format!("https://oidc.{}.{}", sso.region, aws::domain(&sso.region)));
    let url = format!("{}/token", base.trim_end_matches('/'));
    let body = serde_json::json!({
        "grantType": "refresh_token", "clientId": client, "clientSecret": secret, "refreshToken": refresh,
    });
    let mut query = Query { method: Method::POST, ..Query::of(services, &url, LIMIT) };
    query.body = body.to_string().into_bytes();
    query.headers.push(("content-type", "application/json".to_owned()));
    let answer = answered(&query).await?;
    if answer.status != 200 {
        return Err(format!("{url} answers HTTP {}: {}", answer.status, message(&answer)));
    }
    let given: Map<String, Value> = serde_json::from_str(&answer.body)
        .map_err(|error| format!("{url} answers no JSON that can be read ({error})"))?;
    let token = given.get("accessToken").and_then(Value::as_str);
    let token = token.ok_or_else(|| format!("{url} answers without accessToken"))?.to_owned();
    let seconds = given.get("expiresIn").and_then(Value::as_u64).unwrap_or(0);
    let mut kept = kept.clone();
    let end = time::format(unix_time() + Duration::from_secs(seconds));
    kept.insert("accessToken".to_owned(), token.clone().into());
    kept.insert("expiresAt".to_owned(), end.into());
    if let Some(refresh) = given.get("refreshToken") {
        kept.insert("refreshToken".to_owned(), refresh.clone());
    }
    // If the cache cannot be written, the next program must log in again, but this one has its credentials.
    let _ = keep(&sso.cache, &Value::Object(kept).to_string());
    Ok(Some(token))
}

/// Replaces the cache file, which only its owner may read.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let beside = path.with_extension(format!("json.{}", std::process::id()));
    crate::replace_file(&beside, path, |beside| {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
        file.write_all(text.as_bytes())
    })
}

/// Returns advice for a missing login.
fn login(sso: &Sso, why: &str) -> String {
    format!(
        "the SSO session of profile {0:?} has to be begun again: {why}; run `aws sso login --profile {0}`",
        sso.profile
    )
}

fn message(answer: &ServiceResponse) -> String {
    let said: Option<Map<String, Value>> = serde_json::from_str(&answer.body).ok();
    let said = said.and_then(|said| {
        let words = ["message", "error_description", "error"].iter().find_map(|name| said.get(*name)?.as_str());
        words.map(str::to_owned)
    });
    said.unwrap_or_else(|| answer.body.trim().chars().take(200).collect())
}

fn read(base: &str, answer: &ServiceResponse) -> Result<Temporary, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct CredentialResponse {
        role_credentials: Keys,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Keys {
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
        /// Time in milliseconds since 1970.
        expiration: u64,
    }
    let CredentialResponse { role_credentials: keys } =
        serde_json::from_str(&answer.body).map_err(|error| format!("{base} answers no credentials ({error})"))?;
    let credentials = Credentials {
        access_key_id: keys.access_key_id,
        secret_access_key: Secret::new(keys.secret_access_key),
        session_token: keys.session_token.filter(|token| !token.is_empty()).map(Secret::new),
    };
    let why = |why| format!("{base} answers with {why}");
    until(credentials, Duration::from_millis(keys.expiration), unix_time()).map_err(why)
}
