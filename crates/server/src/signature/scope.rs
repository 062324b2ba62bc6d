//! The signature of a request, in the header `Authorization` or in the query.

use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Method, Uri};

use super::canonical::{decoded, encode};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The part of a request that contains its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// `Authorization`
    Header,
    /// `X-Amz-Signature` and related parameters: a presigned URL.
    Query,
}

/// A signature of version 4 with its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) carrier: Carrier,
    pub(super) access_key: String,
    /// `20130524`
    pub(super) day: String,
    pub(super) region: String,
    pub(super) service: String,
    /// `20130524T000000Z`
    pub(super) time: String,
    /// Names of the signed headers, sorted.
    pub(super) headers: Vec<String>,
    pub(super) signature: String,
}

impl Signed {
    /// Parses the signature; `None` if there is none of version 4 or it is malformed, which `s3s` then refuses.
    pub(super) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            return Self::of_header(value.to_str().ok()?, headers);
        }
        // Forms contain their signature in the body.
        let query = uri.query().filter(|query| *method != Method::POST || query.contains("X-Amz-Signature"))?;
        if query.contains("X-Amz-Signature=") { Self::of_query(query) } else { None }
    }

    fn of_header(value: &str, headers: &HeaderMap) -> Option<Self> {
        let fields = value.strip_prefix(ALGORITHM)?;
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        };
        let time = headers.get("x-amz-date")?.to_str().ok()?.to_owned();
        Self::new(Carrier::Header, &field("Credential")?, time, &field("SignedHeaders")?, field("Signature")?)
    }

    fn of_query(query: &str) -> Option<Self> {
        let pairs = decoded(query);
        let value = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        value("X-Amz-Algorithm").filter(|algorithm| algorithm == ALGORITHM)?;
        let (time, signature) = (value("X-Amz-Date")?, value("X-Amz-Signature")?);
        Self::new(Carrier::Query, &value("X-Amz-Credential")?, time, &value("X-Amz-SignedHeaders")?, signature)
    }

    fn new(carrier: Carrier, credential: &str, time: String, headers: &str, signature: String) -> Option<Self> {
        let mut fields = credential.split('/');
        let mut next = || fields.next().map(str::to_owned);
        let (access_key, day, region, service) = (next()?, next()?, next()?, next()?);
        if fields.collect::<Vec<_>>() != ["aws4_request"] {
            return None;
        }
        let mut headers: Vec<_> = headers.split(';').map(str::to_ascii_lowercase).collect();
        headers.sort_unstable();
        Some(Self { carrier, access_key, day, region, service, time, headers, signature })
    }

    fn credential(&self) -> String {
        let Self { access_key, day, region, service, .. } = self;
        format!("{access_key}/{day}/{region}/{service}/aws4_request")
    }

    /// Returns the value of the header.
    pub(super) fn authorization(&self, signature: &str) -> String {
        let (credential, headers) = (self.credential(), self.headers.join(";"));
        format!("{ALGORITHM} Credential={credential}, SignedHeaders={headers}, Signature={signature}")
    }

    /// Returns a query with this credential and this signature in place of the existing ones.
    pub(super) fn query(&self, query: &str, signature: &str) -> String {
        let pairs = query.split('&').map(|pair| match pair.split_once('=').map_or(pair, |(name, _)| name) {
            "X-Amz-Credential" => format!("X-Amz-Credential={}", encode(self.credential().as_bytes(), false)),
            "X-Amz-Signature" => format!("X-Amz-Signature={signature}"),
            _ => pair.to_owned(),
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}
