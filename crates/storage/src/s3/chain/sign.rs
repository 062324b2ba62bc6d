//! Signature Version 4 for the few requests for credentials; requests to S3 have their own signer with a cache.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::s3::clock::iso_basic;
use crate::s3::credentials::Credentials;
use crate::s3::sign::{hex, mac, sha256};

/// The signed request: a POST of a form to the root of a host.
#[derive(Debug)]
pub(super) struct Form<'a> {
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) body: &'a str,
}

/// Content type of a form.
pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Returns the headers that sign a form at a time since 1970.
pub(super) fn headers(form: &Form<'_>, credentials: &Credentials, now: Duration) -> Vec<(&'static str, String)> {
    let date = iso_basic(now.as_secs());
    let mut covered =
        vec![("content-type", FORM.to_owned()), ("host", form.host.to_owned()), ("x-amz-date", date.clone())];
    if let Some(token) = &credentials.session_token {
        covered.push(("x-amz-security-token", token.expose().to_owned()));
    }
    let names = covered.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines = covered.iter().map(|(name, value)| format!("{name}:{value}\n")).collect::<Vec<_>>().concat();
    let canonical = format!("POST\n{}\n\n{lines}\n{names}\n{}", form.path, sha256([form.body.as_bytes()]));
    let scope = format!("{}/{}/{}/aws4_request", &date[..8], form.region, form.service);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256([canonical.as_bytes()]));
    let start = format!("AWS4{}", credentials.secret_access_key.expose());
    let mut key = mac(start.as_bytes(), &date[..8]);
    for part in [form.region, form.service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = Hmac::<Sha256>::new_from_slice(&key).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(text.as_bytes());
            hex(&mac.finalize().into_bytes())
        },
    );
    let id = &credentials.access_key_id;
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    covered.retain(|(name, _)| *name != "host");
    covered.push(("authorization", authorization));
    covered
}

#[cfg(test)]
mod tests {
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;

    use super::*;
    use dlio_event::Secret;

    /// The SDK's signer is the oracle.
    #[test]
    fn forms_sign_as_the_sdk_signs_them() {
        let second = 1_700_000_000;
        let body = "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx";
        for token in [None, Some("to/ken+")] {
            let identity =
                aws_credential_types::Credentials::new("AKID", "secret", token.map(str::to_owned), None, "test").into();
            let params = SigningParams::builder()
                .identity(&identity)
                .region("eu-west-3")
                .name("sts")
                .time(std::time::UNIX_EPOCH + Duration::from_secs(second))
                .settings(SigningSettings::default())
                .build()
                .unwrap()
                .into();
            let headers = [("content-type", FORM), ("host", "sts.eu-west-3.amazonaws.com")].into_iter();
            let request = SignableRequest::new(
                "POST",
                "https://sts.eu-west-3.amazonaws.com/",
                headers,
                SignableBody::Bytes(body.as_bytes()),
            );
            let (_, theirs) = sign(request.unwrap(), &params).unwrap().into_parts();
            let mut credentials = Credentials::new("AKID", "secret");
            credentials.session_token = token.map(Secret::new);
            let form =
                Form { service: "sts", region: "eu-west-3", host: "sts.eu-west-3.amazonaws.com", path: "/", body };
            let ours = super::headers(&form, &credentials, Duration::from_secs(second));
            let (_, authorization) = ours.last().unwrap();
            assert_eq!(authorization.rsplit('=').next().unwrap(), theirs);
        }
    }
}
