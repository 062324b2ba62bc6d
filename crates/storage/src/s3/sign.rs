//! Signature Version 4. The signing key of the day and the formatted time of the second are kept between requests.
//! Invariant: the signature covers method, path, query, host, date, payload hash and session token.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::clock::{iso_basic, unix_seconds};
use super::credentials::Credentials;

type HmacSha256 = Hmac<Sha256>;

/// SHA-256 of the empty string.
pub(super) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Placeholder for the hash of a body that is not hashed.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The signed parts of a request. Path and query are percent-encoded; the query is sorted by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) host: &'a str,
    pub(super) payload: &'a str,
}

/// Signs requests; each thread has its own signer, which caches the key.
#[derive(Debug)]
pub(super) struct Signer {
    second: u64,
    /// `20130524T000000Z`
    date: String,
    scope: String,
    key: Option<HmacSha256>,
}

impl Signer {
    pub(super) fn new() -> Self {
        Self { second: u64::MAX, date: String::new(), scope: String::new(), key: None }
    }

    /// Returns the values of `x-amz-date` and `authorization`.
    pub(super) fn sign(&mut self, credentials: &Credentials, region: &str, signed: &Signed<'_>) -> (&str, String) {
        self.sign_at(unix_seconds(), credentials, region, signed)
    }

    pub(super) fn sign_at(
        &mut self,
        second: u64,
        credentials: &Credentials,
        region: &str,
        signed: &Signed<'_>,
    ) -> (&str, String) {
        self.turn_to(second, credentials, region);
        let token = credentials.session_token.as_ref();
        let names = match token {
            Some(_) => "host;x-amz-content-sha256;x-amz-date;x-amz-security-token",
            None => "host;x-amz-content-sha256;x-amz-date",
        };
        let mut hash = Sha256::new();
        for part in [signed.method, "\n", signed.path, "\n", signed.query, "\nhost:", signed.host] {
            hash.update(part);
        }
        for part in ["\nx-amz-content-sha256:", signed.payload, "\nx-amz-date:", &self.date, "\n"] {
            hash.update(part);
        }
        if let Some(token) = token {
            for part in ["x-amz-security-token:", token.expose(), "\n"] {
                hash.update(part);
            }
        }
        for part in ["\n", names, "\n", signed.payload] {
            hash.update(part);
        }
        let Some(mut mac) = self.key.clone() else { return (&self.date, String::new()) };
        for part in ["AWS4-HMAC-SHA256\n", &self.date, "\n", &self.scope, "\n", &hex(&hash.finalize())] {
            mac.update(part.as_bytes());
        }
        let mut authorization = String::with_capacity(256);
        for part in ["AWS4-HMAC-SHA256 Credential=", &credentials.access_key_id, "/", &self.scope] {
            authorization.push_str(part);
        }
        for part in [", SignedHeaders=", names, ", Signature=", &hex(&mac.finalize().into_bytes())] {
            authorization.push_str(part);
        }
        (&self.date, authorization)
    }

    /// Updates date and key to this second.
    fn turn_to(&mut self, second: u64, credentials: &Credentials, region: &str) {
        if self.second == second {
            return;
        }
        let same_day = self.second != u64::MAX && self.second / 86_400 == second / 86_400;
        self.second = second;
        self.date = iso_basic(second);
        if same_day {
            return;
        }
        let day = &self.date[..8];
        self.scope = format!("{day}/{region}/s3/aws4_request");
        let start = format!("AWS4{}", credentials.secret_access_key.expose());
        let mut key = mac(start.as_bytes(), day);
        for part in [region, "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        self.key = HmacSha256::new_from_slice(&key).ok();
    }
}

/// Returns the HMAC-SHA256 of a text.
pub(super) fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of any length; the fallback is never taken.
    let Ok(mut mac) = HmacSha256::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Returns lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// Returns the SHA-256 of a body in hexadecimal.
pub(super) fn sha256<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for frame in frames {
        hash.update(frame);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlio_event::Secret;

    #[test]
    fn dates_are_civil() {
        assert_eq!(iso_basic(0), "19700101T000000Z");
        assert_eq!(iso_basic(1_369_353_600), "20130524T000000Z");
        assert_eq!(iso_basic(951_827_696), "20000229T123456Z");
        assert_eq!(iso_basic(4_107_542_399), "21000228T235959Z");
    }

    fn signature(authorization: &str) -> &str {
        authorization.rsplit('=').next().unwrap()
    }

    /// "GET Bucket Lifecycle" of "Signature Calculations for the Authorization Header" in the S3 API reference.
    #[test]
    fn the_documented_example_signs_as_documented() {
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let covered = Signed {
            method: "GET",
            path: "/",
            query: "lifecycle=",
            host: "examplebucket.s3.amazonaws.com",
            payload: EMPTY_SHA256,
        };
        let mut signer = Signer::new();
        let (date, authorization) = signer.sign_at(1_369_353_600, &credentials, "us-east-1", &covered);
        assert_eq!(date, "20130524T000000Z");
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
    }

    #[test]
    fn the_documented_listing_signs_as_documented() {
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let covered = Signed {
            method: "GET",
            path: "/",
            query: "max-keys=2&prefix=J",
            host: "examplebucket.s3.amazonaws.com",
            payload: EMPTY_SHA256,
        };
        let mut signer = Signer::new();
        // A signature on the previous day must not leave its key in the cache.
        signer.sign_at(1_369_353_599, &credentials, "us-east-1", &covered);
        let (_, authorization) = signer.sign_at(1_369_353_600, &credentials, "us-east-1", &covered);
        assert_eq!(signature(&authorization), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    /// The SDK's signer is the oracle for cases without an example in the documentation.
    #[test]
    fn tokens_and_odd_keys_sign_as_the_sdk_signs_them() {
        use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
        use aws_sigv4::sign::v4::SigningParams;

        let second = 1_700_000_000;
        let mut path = String::from("/bucket/");
        super::super::encode::path(&mut path, "data set/ü+%=&'(x).npz");
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = aws_sigv4::http_request::PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = aws_sigv4::http_request::UriPathNormalizationMode::Disabled;
        let identity =
            aws_credential_types::Credentials::new("AKID", "secret", Some("to/ken+".into()), None, "test").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("eu-west-3")
            .name("s3")
            .time(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let uri = format!("http://127.0.0.1:9000{path}?partNumber=7&uploadId=a%2Fb");
        let request = SignableRequest::new("PUT", &uri, std::iter::empty(), SignableBody::UnsignedPayload).unwrap();
        let (_, theirs) = sign(request, &params).unwrap().into_parts();

        let mut credentials = Credentials::new("AKID", "secret");
        credentials.session_token = Some(Secret::new("to/ken+"));
        let covered = Signed {
            method: "PUT",
            path: &path,
            query: "partNumber=7&uploadId=a%2Fb",
            host: "127.0.0.1:9000",
            payload: UNSIGNED_PAYLOAD,
        };
        let mut signer = Signer::new();
        let (_, ours) = signer.sign_at(second, &credentials, "eu-west-3", &covered);
        assert_eq!(signature(&ours), theirs);
    }
}
