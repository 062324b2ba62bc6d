//! Buckets named by the host of a request, `BUCKET.DOMAIN`, in addition to those named by its path.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The domains whose subdomains are buckets.
pub(super) struct Domains(Vec<String>);

impl Domains {
    /// Returns the given domains and `localhost`, whose subdomains many systems resolve.
    pub(super) fn new(given: &[String]) -> Self {
        let given = given.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase());
        Self(given.chain(["localhost".to_owned()]).collect())
    }

    /// Returns the bucket that a host names; `None` if the path names it.
    fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = port.map_or(host, |(name, _)| name).trim_end_matches('.');
        self.0.iter().find_map(|domain| {
            let at = name.len().checked_sub(domain.len() + 1)?;
            let (bucket, rest) = name.split_at_checked(at)?;
            let is_below = rest.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(domain));
            (is_below && !bucket.is_empty()).then_some(bucket)
        })
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let named = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => named.with_bucket(bucket),
            None => named,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_of_a_domain_are_buckets() {
        let domains = Domains::new(&["s3.example.org".to_owned(), ".Lab.".to_owned()]);
        for (host, bucket) in [
            ("data.s3.example.org", Some("data")),
            ("my.data.S3.example.org.:9000", Some("my.data")),
            ("x.lab:80", Some("x")),
            ("b.localhost:9000", Some("b")),
            ("s3.example.org:9000", None),
            (".s3.example.org", None),
            ("xs3.example.org", None),
            ("localhost", None),
            ("node7:9000", None),
            ("ü.lab", Some("ü")),
        ] {
            assert_eq!(domains.bucket(host), bucket, "{host}");
        }
    }
}
