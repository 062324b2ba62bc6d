//! How to reach a bucket: plain values, made by the command line from the workload.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use dlio_event::S3Uri;

use super::{Proxies, Renewal, RetryPolicy};

/// A value that never appears in a log, a trace or an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for the code that must sign or send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Public name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// Token of temporary credentials.
    pub session_token: Option<Secret>,
}

impl Credentials {
    /// Long-lived credentials.
    #[must_use]
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: Secret::new(secret_access_key),
            session_token: None,
        }
    }
}

/// How one rank spreads its requests over several endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadBalance {
    /// In turn.
    #[default]
    RoundRobin,
    /// At random, seeded.
    Random,
    /// To the endpoint with the fewest requests of this process in flight.
    LeastOutstanding,
}

/// How ranks are mapped to endpoints when every rank uses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// `rank mod n`: neighbours use different endpoints.
    #[default]
    Modulo,
    /// `rank · n / size`: neighbours share an endpoint.
    Block,
}

/// Index of the endpoint that a rank of a world of `size` uses; 0 when there is none to choose from.
#[must_use]
pub fn assign(rank: u32, size: u32, endpoints: &[String], mapping: Mapping) -> usize {
    let count = endpoints.len() as u64;
    if count == 0 {
        return 0;
    }
    let rank = u64::from(rank);
    let index = match mapping {
        Mapping::Modulo => rank % count,
        Mapping::Block => (rank * count / u64::from(size.max(1))).min(count - 1),
    };
    usize::try_from(index).unwrap_or(0)
}

/// Where requests name the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// In the host name at AWS, else in the path.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// In the host name, before the endpoint's; in the path where no host can be named so, as botocore does it.
    Virtual,
    /// Nowhere: the endpoint's host stands for the bucket.
    Host,
}

/// Everything that the client must know.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// `http(s)://host[:port][/path]`; empty: the regional endpoint of AWS.
    pub endpoints: Vec<String>,
    /// Bucket.
    pub bucket: String,
    /// Prefix of every key, without a slash at its end; may be empty.
    pub prefix: String,
    /// Region that signatures name.
    pub region: String,
    /// `None`: requests are not signed.
    pub credentials: Option<Credentials>,
    /// Newer credentials than those, where they end.
    pub renewal: Option<Renewal>,
    /// Where requests name the bucket.
    pub addressing: Addressing,
    /// When requests that fail are sent again.
    pub retry: RetryPolicy,
    /// Requests to an endpoint that fails go to the others; `false`: they wait for it.
    pub failover: bool,
    /// Endpoints at the end of the list that are used only while none of the others answers.
    pub spares: usize,
    /// Choice among several endpoints.
    pub load_balance: LoadBalance,
    /// Objects of this many bytes and more are written in parts.
    pub multipart_threshold: u64,
    /// Bytes of a part (S3 wants at least 5 MiB); grows for objects that would need more than 10,000 parts.
    pub part_size: u64,
    /// Parts of one object that exist in memory at a time: the memory of one write is at most
    /// `part_concurrency × part_size`.
    pub part_concurrency: u32,
    /// An attempt is given up when no byte moved for this long.
    pub request_timeout: Duration,
    /// An attempt is given up when no connection was made for this long.
    pub connect_timeout: Duration,
    /// Sign uploads without a hash of their bytes; `false` hashes every body (about 0.7 CPU-seconds per GiB).
    pub unsigned_payload: bool,
    /// PEM file of certificate authorities that https endpoints may use beside the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Check the certificates of https endpoints; `false` accepts every one.
    pub verify: bool,
    /// Proxies that lead to endpoints.
    pub proxies: Proxies,
    /// Seed of the random choices (pauses, endpoints).
    pub seed: u64,
}

impl S3Config {
    /// The defaults for a bucket behind these endpoints.
    #[must_use]
    pub fn new(endpoints: Vec<String>, bucket: impl Into<String>) -> Self {
        Self {
            endpoints,
            bucket: bucket.into(),
            prefix: String::new(),
            region: "us-east-1".to_owned(),
            credentials: None,
            renewal: None,
            addressing: Addressing::default(),
            retry: RetryPolicy::default(),
            failover: false,
            spares: 0,
            load_balance: LoadBalance::default(),
            multipart_threshold: 32 << 20,
            part_size: 16 << 20,
            part_concurrency: 4,
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            unsigned_payload: true,
            ca_bundle: None,
            verify: true,
            proxies: Proxies::default(),
            seed: 0,
        }
    }

    /// Full key of a key relative to the root.
    pub(super) fn full_key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix.trim_end_matches('/')) }
    }

    /// `s3://bucket/key` of a key relative to the root, whose prefix it has.
    pub(super) fn uri(&self, key: &str) -> String {
        format!("{}/{}", S3Uri::of_bucket(&self.bucket), self.full_key(key))
    }

    /// `s3://bucket/`, without the prefix of the root.
    pub(super) fn bucket_uri(&self) -> String {
        format!("{}/", S3Uri::of_bucket(&self.bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|k| format!("http://node{k}:9000")).collect()
    }

    #[test]
    fn modulo_gives_neighbours_different_endpoints() {
        let chosen: Vec<usize> = (0..5).map(|rank| assign(rank, 5, &names(2), Mapping::Modulo)).collect();
        assert_eq!(chosen, [0, 1, 0, 1, 0]);
    }

    #[test]
    fn block_gives_neighbours_the_same_endpoint() {
        let chosen: Vec<usize> = (0..6).map(|rank| assign(rank, 6, &names(4), Mapping::Block)).collect();
        assert_eq!(chosen, [0, 0, 1, 2, 2, 3]);
        assert_eq!(assign(9, 4, &names(3), Mapping::Block), 2, "a rank outside the world still gets an endpoint");
        assert_eq!(assign(3, 4, &[], Mapping::Block), 0);
    }

    #[test]
    fn secrets_do_not_print() {
        let mut config = S3Config::new(names(1), "b");
        let credentials = Credentials::new("AKID", "hunter2");
        config.credentials = Some(Credentials { session_token: Some(Secret::new("tok3n")), ..credentials });
        let text = format!("{config:?}");
        assert!(text.contains("AKID") && !text.contains("hunter2") && !text.contains("tok3n"));
    }

    #[test]
    fn the_prefix_is_part_of_the_name() {
        let mut config = S3Config::new(names(1), "b");
        assert_eq!(config.uri("train/x"), "s3://b/train/x");
        config.prefix = "data/run1".into();
        assert_eq!(config.uri("train/x"), "s3://b/data/run1/train/x");
        assert_eq!(config.bucket_uri(), "s3://b/");
    }
}
