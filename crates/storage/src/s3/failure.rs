//! Failures of requests: the reason, whether a retry makes sense, and what the user can do.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dlio_event::Outcome;
use http::{HeaderMap, StatusCode, header};

use super::clock::unix_seconds;
use super::xml;
use crate::ErrorKind;

/// The failure of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) outcome: Outcome,
    pub(super) status: i16,
    /// Error code of the response (`NoSuchKey`), empty if it contained none.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry: Retry,
    /// Pause that the server asks for.
    pub(super) retry_after: Option<Duration>,
    /// Time without a byte when the attempt was given up.
    pub(super) silent: Duration,
}

/// Whether a failed request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// Never, because it would fail again.
    Never,
    /// After a pause.
    Later,
    /// Immediately and without counting, because the server had closed an idle connection.
    Free,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            kind,
            outcome,
            status: 0,
            code: String::new(),
            message: message.into(),
            retry: Retry::Never,
            retry_after: None,
            silent: Duration::ZERO,
        }
    }

    /// An invalid request or response, for which a retry makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, Outcome::ClientError, message)
    }

    pub(super) fn later(mut self) -> Self {
        self.retry = Retry::Later;
        self
    }

    pub(super) fn timeout(what: &str, limit: Duration) -> Self {
        let seconds = (limit.as_secs_f64() * 10.0).round() / 10.0;
        let message = format!("{what} for {seconds} s; check that the endpoint is up and not overloaded");
        Self { silent: limit, ..Self::new(ErrorKind::Unreachable, Outcome::Timeout, message).later() }
    }

    /// The endpoint cannot be reached.
    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unreachable, Outcome::Connect, message).later()
    }

    pub(super) fn connect(message: impl std::fmt::Display) -> Self {
        let text = format!("{message}; check that the endpoint is up and that storage.endpoint_uris names it");
        Self::new(ErrorKind::Unreachable, Outcome::Connect, text).later()
    }

    /// The connection broke before the response.
    pub(super) fn broken(error: &dyn std::error::Error) -> Self {
        let mut text = format!("the connection broke: {error}");
        if let Some(source) = error.source() {
            text = format!("{text} ({source})");
        }
        Self::new(ErrorKind::Unreachable, Outcome::Connect, text).later()
    }

    pub(super) fn short(expected: u64, got: u64) -> Self {
        let message = format!("the answer ended after {got} of {expected} bytes");
        Self::new(ErrorKind::Corrupt, Outcome::ShortRead, message).later()
    }

    /// Returns whether the failure has this status and, if the response contained a code, this code.
    pub(super) fn is(&self, status: i16, code: &str) -> bool {
        self.status == status && (self.code.is_empty() || self.code == code)
    }
}

/// A response other than success, with what is needed to explain it.
pub(super) struct S3Error<'a> {
    pub(super) bucket: &'a str,
    pub(super) region: &'a str,
    pub(super) signed: bool,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a str,
}

impl S3Error<'_> {
    pub(super) fn failure(&self) -> Failure {
        let code = xml::text(self.body, "Code").unwrap_or_default();
        let said = xml::text(self.body, "Message").unwrap_or_default();
        let mut message = format!("HTTP {}", self.status.as_u16());
        if code.is_empty() {
            message
                .push_str(self.status.canonical_reason().map(|reason| format!(" {reason}")).as_deref().unwrap_or(""));
        } else {
            message.push(' ');
            message.push_str(&code);
        }
        if !said.is_empty() {
            message = format!("{message}: {}", said.trim_end_matches('.'));
        }
        if let Some(advice) = self.advice(&code) {
            message = format!("{message}; {advice}");
        }
        let status = self.status.as_u16();
        let (kind, outcome) = match (status, code.as_str()) {
            (404, "NoSuchBucket") => (ErrorKind::NoBucket, Outcome::NotFound),
            (404, _) => (ErrorKind::NotFound, Outcome::NotFound),
            (401 | 403, _) => (ErrorKind::Denied, Outcome::ClientError),
            (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull") => (ErrorKind::Full, Outcome::ServerError),
            (412, _) => (ErrorKind::Corrupt, Outcome::ClientError),
            (429 | 503, _) | (_, "SlowDown") => (ErrorKind::Server, Outcome::Throttled),
            (408, _) | (400, "RequestTimeout") => (ErrorKind::Server, Outcome::Timeout),
            (500.., _) => (ErrorKind::Server, Outcome::ServerError),
            _ => (ErrorKind::Invalid, Outcome::ClientError),
        };
        let retry = if kind == ErrorKind::Server && status != 501 { Retry::Later } else { Retry::Never };
        let retry_after = retry_after(self.headers, unix_seconds());
        let status = i16::try_from(status).unwrap_or(0);
        Failure { kind, outcome, status, code, message, retry, retry_after, silent: Duration::ZERO }
    }

    /// Returns by how many seconds this node's clock is ahead of the server's (negative: behind), if that explains
    /// the error.
    fn skew(&self, code: &str, now: u64) -> Option<i64> {
        let least = match (code, self.status.as_u16()) {
            ("RequestTimeTooSkewed", _) => 0,
            // Servers that do not compare times compute another signature.
            ("SignatureDoesNotMatch" | "InvalidRequest" | "RequestExpired" | "AuthFailure" | "", 400 | 401 | 403) => {
                300
            }
            ("AccessDenied" | "ExpiredToken" | "InvalidToken", _) => 900,
            _ => return None,
        };
        let date = self.headers.get(header::DATE)?.to_str().ok()?;
        let skew = i64::try_from(now).ok()?.saturating_sub(i64::try_from(seconds_since_1970(date)?).ok()?);
        (skew.abs() > least).then_some(skew)
    }

    fn advice(&self, code: &str) -> Option<String> {
        if let Some(skew) = self.skew(code, unix_seconds()) {
            let (by, which) = (skew.unsigned_abs(), if skew > 0 { "ahead of" } else { "behind" });
            return Some(format!(
                "the clock of this node is {by} s {which} the server's: synchronise it (chrony, NTP); credentials are not to blame"
            ));
        }
        let text = match (code, self.status.as_u16()) {
            ("InvalidAccessKeyId", _) => {
                "check storage.storage_options.access_key_id or AWS_ACCESS_KEY_ID: the endpoint does not know it".into()
            }
            ("SignatureDoesNotMatch", _) => {
                "check storage.storage_options.secret_access_key or AWS_SECRET_ACCESS_KEY: it is not the key's secret"
                    .into()
            }
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
                "the temporary credentials (AWS_SESSION_TOKEN) have expired: get new ones".into()
            }
            ("RequestTimeTooSkewed", _) => {
                "the clock of this node and the server's are too far apart: synchronise it (chrony, NTP)".into()
            }
            ("NoSuchBucket", _) => format!(
                "check the bucket name `{}` (dataset.data_folder or storage.storage_root), or generate the dataset there first: \
                 `generate` makes the bucket",
                self.bucket
            ),
            ("NoSuchKey", _) => "generate the dataset first, or check data_folder and the file counts".into(),
            ("EntityTooLarge", _) => "lower the size from which objects are written in parts".into(),
            (_, 301 | 302 | 307 | 308) | ("AuthorizationHeaderMalformed", _) => self.elsewhere()?,
            (_, 401 | 403) if !self.signed => {
                "the request was not signed: set storage.storage_options.access_key_id and secret_access_key, or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .into()
            }
            // A response to HEAD has no body that could distinguish the cases.
            ("", 401 | 403) => format!(
                "the credentials are wrong or may not do this in bucket `{}`: check \
                 storage.storage_options.access_key_id and secret_access_key, or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY",
                self.bucket
            ),
            ("InvalidBucketName", _) => format!(
                "the server takes no bucket of the name `{}`: 3 to 63 lower-case letters, digits and `-`, see \
                 storage.storage_root",
                self.bucket
            ),
            ("AccessDenied", _) => format!("these credentials may not do this in bucket `{}`", self.bucket),
            (_, 412) => "the object was replaced while it was being read".into(),
            _ => return None,
        };
        Some(text)
    }

    /// Returns the target of a redirect.
    fn elsewhere(&self) -> Option<String> {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let region = header("x-amz-bucket-region").or_else(|| xml::text(self.body, "Region"));
        if let Some(region) = region.filter(|region| region != self.region) {
            return Some(format!(
                "bucket `{}` is in region {region}: set storage.storage_options.region={region}",
                self.bucket
            ));
        }
        let target = xml::text(self.body, "Endpoint").or_else(|| header("location"))?;
        let target = self.without_bucket(&target);
        Some(format!("the server sends this elsewhere: put {target} into storage.endpoint_uris"))
    }

    /// Returns the endpoint in an address that may contain a request path or begin with the bucket.
    fn without_bucket(&self, target: &str) -> String {
        let (scheme, rest) = target.split_once("://").unwrap_or(("https", target));
        let host = rest.split('/').next().unwrap_or(rest);
        let host = host.strip_prefix(self.bucket).and_then(|rest| rest.strip_prefix('.')).unwrap_or(host);
        format!("{scheme}://{host}")
    }
}

/// Parses `Retry-After`, in seconds or as a date; `now` is in seconds since 1970.
fn retry_after(headers: &HeaderMap, now: u64) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(Duration::from_secs(seconds_since_1970(text)?.saturating_sub(now)))
}

/// Parses the date of an HTTP header into seconds since 1970.
fn seconds_since_1970(date: &str) -> Option<u64> {
    let date: SystemTime = httpdate::parse_http_date(date).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_ask_for_a_pause_in_seconds_or_until_a_date() {
        let after = |text: &str| {
            let headers = [(header::RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
            retry_after(&headers, 1_445_412_470).map(|pause| pause.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(10));
        assert_eq!(after("Wed, 21 Oct 2015 07:27:00 GMT"), Some(0), "a date that is over");
        assert_eq!((after("soon"), after("-1")), (None, None));
        let asked = refused(503, &[("retry-after", "7")], "<Code>SlowDown</Code>");
        assert_eq!(asked.retry_after, Some(Duration::from_secs(7)));
    }

    fn refused(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let status = StatusCode::from_u16(status).unwrap();
        S3Error { bucket: "data", region: "us-east-1", signed: true, status, headers: &headers, body }.failure()
    }

    #[test]
    fn the_wrong_secret_names_the_key_to_check() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>No match.</Message></Error>";
        let failure = refused(403, &[], body);
        assert_eq!(failure.kind, ErrorKind::Denied);
        assert_eq!(failure.retry, Retry::Never);
        assert_eq!(
            failure.message,
            "HTTP 403 SignatureDoesNotMatch: No match; check storage.storage_options.secret_access_key or \
             AWS_SECRET_ACCESS_KEY: it is not the key's secret"
        );
    }

    #[test]
    fn a_refusal_without_words_names_what_may_be_wrong() {
        let message = refused(403, &[], "").message;
        assert!(message.starts_with("HTTP 403 Forbidden; the credentials are wrong or may not"), "{message}");
        assert!(message.contains("AWS_SECRET_ACCESS_KEY"), "{message}");
    }

    #[test]
    fn a_bucket_name_that_the_server_refuses_is_told_with_the_rule() {
        let message = refused(400, &[], "<Error><Code>InvalidBucketName</Code></Error>").message;
        assert!(message.contains("`data`: 3 to 63 lower-case letters"), "{message}");
    }

    #[test]
    fn a_redirect_names_the_region_to_set() {
        let failure = refused(301, &[("x-amz-bucket-region", "eu-west-1")], "");
        assert!(failure.message.contains("storage.storage_options.region=eu-west-1"), "{}", failure.message);
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>";
        assert!(refused(400, &[], body).message.contains("region=eu-north-1"));
        let failure = refused(307, &[("location", "http://target:51081")], "");
        assert!(failure.message.contains("http://target:51081"), "{}", failure.message);
    }

    #[test]
    fn a_redirect_names_the_endpoint_without_bucket_and_path() {
        let body = "<Error><Code>PermanentRedirect</Code><Endpoint>data.s3-eu-west-1.example.com</Endpoint></Error>";
        let message = refused(301, &[], body).message;
        assert!(message.contains("HTTP 301 PermanentRedirect; the server sends this elsewhere"), "{message}");
        assert!(message.contains("put https://s3-eu-west-1.example.com into"), "{message}");
        let message = refused(307, &[("location", "http://target:51081/data/key?x=y")], "").message;
        assert!(message.contains("put http://target:51081 into"), "{message}");
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_from_a_key_that_is() {
        let headers: HeaderMap =
            [(header::DATE, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap())].into_iter().collect();
        let skew = |code: &str, now| {
            let (status, body) = (StatusCode::FORBIDDEN, "");
            S3Error { bucket: "b", region: "r", signed: true, status, headers: &headers, body }.skew(code, now)
        };
        let date = 1_445_412_480;
        assert_eq!(skew("SignatureDoesNotMatch", date + 3600), Some(3600));
        assert_eq!(skew("", date - 3600), Some(-3600));
        assert_eq!(skew("RequestTimeTooSkewed", date + 60), Some(60));
        assert_eq!(skew("SignatureDoesNotMatch", date + 60), None);
        assert_eq!((skew("AccessDenied", date + 600), skew("InvalidAccessKeyId", date + 3600)), (None, None));
        let message =
            refused(403, &[("date", "Wed, 21 Oct 2015 07:28:00 GMT")], "<Code>SignatureDoesNotMatch</Code>").message;
        assert!(message.contains("ahead of the server's: synchronise it"), "{message}");
    }

    #[test]
    fn a_missing_bucket_is_told_from_a_missing_object() {
        assert_eq!(refused(404, &[], "<Code>NoSuchBucket</Code>").kind, ErrorKind::NoBucket);
        assert_eq!(refused(404, &[], "<Code>NoSuchKey</Code>").kind, ErrorKind::NotFound);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(refused(status, &[], "").retry, Retry::Later, "{status}");
        }
        for status in [400, 401, 403, 404, 409, 412, 416, 501, 507] {
            assert_eq!(refused(status, &[], "").retry, Retry::Never, "{status}");
        }
        assert_eq!(refused(503, &[], "<Code>SlowDown</Code>").outcome, Outcome::Throttled);
        assert_eq!(refused(403, &[], "<Code>RequestTimeTooSkewed</Code>").retry, Retry::Never);
    }
}
