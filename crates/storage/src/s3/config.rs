//! Configuration of the client: plain values that the caller derives from the workload.

use std::path::PathBuf;
use std::time::Duration;

use dlio_event::S3Uri;

use super::credentials::Credentials;
use super::proxy::Proxies;
use super::renewal::Renewal;
use super::retry::RetryPolicy;

/// Distribution of a rank's requests over several endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadBalance {
    /// In turn.
    #[default]
    RoundRobin,
    /// Randomly, with a seed.
    Random,
    /// To the endpoint with the fewest requests of this process in flight.
    LeastOutstanding,
}

/// Mapping of ranks to endpoints if every rank uses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// `rank mod n`: neighbours use different endpoints.
    #[default]
    Modulo,
    /// `rank · n / size`: neighbours share an endpoint.
    Block,
}

/// Returns the index of the endpoint that a rank of a world of `size` ranks uses; 0 if there are no endpoints.
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

/// The part of a request that names the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// In the host name at AWS, otherwise in the path.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// In the host name, before the endpoint's; in the path if no such host name is possible, as in botocore.
    Virtual,
    /// Nowhere: the endpoint's host is the bucket.
    Host,
}

/// Configuration of a client.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// `http(s)://host[:port][/path]`; empty: the regional endpoint of AWS.
    pub endpoints: Vec<String>,
    /// Bucket.
    pub bucket: String,
    /// Prefix of every key, without a trailing slash; may be empty.
    pub prefix: String,
    /// Region in signatures.
    pub region: String,
    /// Credentials; `None`: requests are not signed.
    pub credentials: Option<Credentials>,
    /// Source of newer credentials, if these expire.
    pub renewal: Option<Renewal>,
    /// The part of a request that names the bucket.
    pub addressing: Addressing,
    /// Retry policy.
    pub retry: RetryPolicy,
    /// Whether requests to a failing endpoint go to the others; otherwise they wait for it.
    pub failover: bool,
    /// Number of endpoints at the end of the list that are used only while none of the others answers.
    pub spares: usize,
    /// Choice among several endpoints.
    pub load_balance: LoadBalance,
    /// Size in bytes from which objects are written in parts.
    pub multipart_threshold: u64,
    /// Size of a part in bytes (S3 requires at least 5 MiB); larger for objects that would need more than 10,000
    /// parts.
    pub part_size: u64,
    /// Most parts of one object in memory at a time: one write uses at most `part_concurrency × part_size` bytes.
    pub part_concurrency: u32,
    /// An attempt fails when no byte moved for this long.
    pub request_timeout: Duration,
    /// An attempt fails when no connection was made for this long.
    pub connect_timeout: Duration,
    /// Whether uploads are signed without a hash of their bytes; otherwise every body is hashed (about 0.7
    /// CPU-seconds per GiB).
    pub unsigned_payload: bool,
    /// PEM file with certificate authorities for https endpoints, in addition to the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Whether the certificates of https endpoints are checked; otherwise all are accepted.
    pub verify: bool,
    /// Proxies for the endpoints.
    pub proxies: Proxies,
    /// Seed of random choices (pauses, endpoints).
    pub seed: u64,
}

impl S3Config {
    /// Returns the default configuration for a bucket behind these endpoints.
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

    /// Returns the full key of a key relative to the root.
    pub(super) fn full_key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix.trim_end_matches('/')) }
    }

    /// Returns `s3://bucket/key` of a key relative to the root, including the prefix.
    pub(super) fn uri(&self, key: &str) -> String {
        format!("{}/{}", S3Uri::of_bucket(&self.bucket), self.full_key(key))
    }

    /// Returns `s3://bucket/`, without the prefix of the root.
    pub(super) fn bucket_uri(&self) -> String {
        format!("{}/", S3Uri::of_bucket(&self.bucket))
    }
}

#[cfg(test)]
mod tests {
    use dlio_event::Secret;

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
