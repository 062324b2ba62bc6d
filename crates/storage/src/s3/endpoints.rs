//! The endpoints of a client, and the choice among them, with a count of the requests in flight on each.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use dlio_event::mix::splitmix64;

use super::config::{Addressing, LoadBalance, S3Config};
use super::health::Health;
use super::proxy::{self, Proxy};
use super::retry::RetryBudget;
use super::{aws, encode};

/// An endpoint: `http(s)://host[:port][/path]`.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Index in the list.
    pub(super) index: usize,
    /// Name in traces and messages.
    pub(super) name: Arc<str>,
    pub(super) tls: bool,
    /// Host name for lookup and verification; without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Value of the `Host` header.
    pub(super) authority: http::HeaderValue,
    /// Beginning of every request target, before the key: scheme and host for a proxy that requires absolute URLs,
    /// the endpoint's own path, and the bucket if the path names it.
    pub(super) base: String,
    /// Length of the part of `base` that precedes the path.
    pub(super) origin: usize,
    /// The endpoint's proxy, if any.
    pub(super) proxy: Option<Proxy>,
    /// `Proxy-Authorization` for a proxy that forwards plain HTTP.
    pub(super) proxy_authorization: Option<http::HeaderValue>,
    pub(super) health: Health,
    pub(super) budget: RetryBudget,
    /// Whether the check of the endpoint's scheme has been made.
    pub(super) looked_at: AtomicBool,
    in_flight: AtomicU32,
}

/// A request in flight; dropping it ends it.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Endpoint);

impl Endpoint {
    fn parse(index: usize, text: &str, config: &S3Config) -> Result<Self, String> {
        // The proxy's user may have a password.
        let shown = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, host)| format!("***@{host}"));
        let wrong = |why: &str| {
            format!("endpoint `{shown}` {why}; expected http://host[:port][/path] or https://host[:port][/path]")
        };
        let uri: http::Uri = text.parse().map_err(|error| wrong(&format!("is no address ({error})")))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(wrong("has no scheme that S3 uses")),
        };
        if uri.query().is_some() {
            return Err(wrong("has a query"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("has a user (keys go into storage.storage_options.access_key_id and secret_access_key)"));
        }
        let named = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
        let place = place(config, named, tls);
        let shown = if place == Place::Host { format!("{}.{named}", config.bucket) } else { named.to_owned() };
        let default_port = if tls { 443 } else { 80 };
        let port = proxy::port(&uri, tls).ok_or_else(|| wrong("has a port that is none from 1 to 65535"))?;
        let authority = if port == default_port { shown.clone() } else { format!("{shown}:{port}") };
        let host = shown.trim_matches(['[', ']']).to_owned();
        let proxy = config.proxies.to(tls, &host, port)?.cloned();
        let direct = proxy.as_ref().filter(|_| !tls);
        let mut base = if direct.is_some() { format!("http://{authority}") } else { String::new() };
        let origin = base.len();
        base.push_str(uri.path().trim_end_matches('/'));
        if place == Place::Path {
            base.push('/');
            encode::path(&mut base, &config.bucket);
        }
        Ok(Self {
            index,
            name: text.trim_end_matches('/').into(),
            tls,
            host,
            port,
            authority: authority.parse().map_err(|_| wrong("has characters that no host name has"))?,
            base,
            origin,
            proxy_authorization: direct.and_then(Proxy::authorization),
            proxy,
            health: Health::new(),
            budget: RetryBudget::default(),
            looked_at: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
        })
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    pub(super) fn host_header(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The part of a request that names the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Host,
    Nowhere,
}

/// Decides where requests to a host name the bucket.
fn place(config: &S3Config, host: &str, tls: bool) -> Place {
    let bucket = config.bucket.as_str();
    let wanted = match config.addressing {
        Addressing::Path => return Place::Path,
        Addressing::Host => return Place::Nowhere,
        Addressing::Virtual => true,
        Addressing::Auto => aws::is_of_aws(host),
    };
    if !wanted || !names_a_host(bucket, !tls) || host.parse::<Ipv4Addr>().is_ok() || host.starts_with('[') {
        return Place::Path;
    }
    // An endpoint that is the bucket's own host already names it.
    if host.strip_prefix(bucket).is_some_and(|rest| rest.starts_with('.')) { Place::Nowhere } else { Place::Host }
}

/// Returns whether a bucket can precede a host name. Wildcard certificates match one label, so a bucket with dots
/// requires plain HTTP.
fn names_a_host(bucket: &str, dots: bool) -> bool {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    (3..=63).contains(&bucket.len())
        && (dots || !bucket.contains('.'))
        && bucket.split('.').all(is_label)
        && bucket.parse::<Ipv4Addr>().is_err()
}

/// All endpoints of a client.
#[derive(Debug)]
pub(super) struct Endpoints {
    list: Vec<Endpoint>,
    strategy: LoadBalance,
    turn: AtomicU64,
    seed: u64,
    /// Index of the first spare.
    own: usize,
    failover: bool,
}

impl Endpoints {
    pub(super) fn new(config: &S3Config) -> Result<Self, String> {
        let regional = [format!("https://s3.{}.{}", config.region, aws::domain(&config.region))];
        let texts = if config.endpoints.is_empty() { &regional[..] } else { &config.endpoints };
        let list =
            texts.iter().enumerate().map(|(k, text)| Endpoint::parse(k, text, config)).collect::<Result<_, _>>()?;
        let list: Vec<Endpoint> = list;
        let own = list.len().saturating_sub(config.spares).max(1);
        let (turn, seed) = (AtomicU64::new(0), config.seed);
        Ok(Self { list, strategy: config.load_balance, turn, seed, own, failover: config.failover })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.list.iter()
    }

    /// Endpoints that are not spares.
    pub(super) fn own(&self) -> impl Iterator<Item = &Endpoint> {
        self.list[..self.own].iter()
    }

    pub(super) fn get(&self, index: usize) -> &Endpoint {
        &self.list[index]
    }

    /// Returns the endpoint of the next request, regardless of its health.
    pub(super) fn pick(&self) -> &Endpoint {
        let count = self.own;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = match self.strategy {
            LoadBalance::RoundRobin | LoadBalance::LeastOutstanding => reduce(turn, count),
            LoadBalance::Random => reduce(splitmix64(self.seed ^ splitmix64(turn)), count),
        };
        if self.strategy != LoadBalance::LeastOutstanding {
            return &self.list[first];
        }
        let in_turn = (0..count).map(|k| &self.list[(first + k) % count]);
        in_turn.min_by_key(|endpoint| endpoint.in_flight.load(Ordering::Relaxed)).unwrap_or(&self.list[0])
    }

    /// Returns the endpoint that takes requests of a failing one: the next one that answers, first among the rank's
    /// own. `None` if requests stay with their endpoint or no other answers.
    pub(super) fn instead_of(&self, index: usize) -> Option<&Endpoint> {
        if !self.failover {
            return None;
        }
        let own = index.min(self.own - 1);
        let own = (1..=self.own).map(|k| (own + k) % self.own);
        let others = own.chain(self.own..self.list.len()).filter(|&other| other != index);
        others.map(|other| &self.list[other]).find(|endpoint| endpoint.health.is_up())
    }
}

fn reduce(number: u64, count: usize) -> usize {
    usize::try_from(number % count as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::health::Evidence;
    use super::super::proxy::Proxies;
    use super::*;

    fn endpoints(count: usize, strategy: LoadBalance) -> Endpoints {
        let mut config = S3Config::new((0..count).map(|k| format!("http://n{k}:9000/")).collect(), "b");
        config.load_balance = strategy;
        Endpoints::new(&config).unwrap()
    }

    #[test]
    fn round_robin_takes_turns() {
        let endpoints = endpoints(3, LoadBalance::RoundRobin);
        let order: Vec<usize> = (0..6).map(|_| endpoints.pick().index).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn least_outstanding_prefers_the_idle_endpoint() {
        let endpoints = endpoints(2, LoadBalance::LeastOutstanding);
        let busy = endpoints.pick();
        let guard = busy.enter();
        assert!((0..4).all(|_| endpoints.pick().index != busy.index));
        drop(guard);
        assert!((0..4).any(|_| endpoints.pick().index == busy.index), "ties take turns");
    }

    #[test]
    fn random_reaches_every_endpoint_and_repeats_with_its_seed() {
        let draw = || {
            let endpoints = endpoints(4, LoadBalance::Random);
            (0..64).map(|_| endpoints.pick().index).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert!((0..4).all(|k| draw().contains(&k)));
    }

    fn down(endpoint: &Endpoint) {
        endpoint.health.failed(&endpoint.name, Evidence::Refused, (1, 1), "refused");
    }

    #[test]
    fn requests_go_elsewhere_only_where_that_was_asked_for() {
        let stay = endpoints(2, LoadBalance::RoundRobin);
        assert!(stay.instead_of(0).is_none());
        let mut config = S3Config::new((0..4).map(|k| format!("http://n{k}:9000/")).collect(), "b");
        (config.failover, config.spares) = (true, 2);
        let many = Endpoints::new(&config).unwrap();
        let order: Vec<usize> = (0..4).map(|_| many.pick().index).collect();
        assert_eq!(order, [0, 1, 0, 1], "spares have no turn");
        let instead = |index| many.instead_of(index).map(|endpoint| endpoint.index);
        assert_eq!((instead(0), instead(1)), (Some(1), Some(0)), "the rank's own come first");
        down(many.get(1));
        assert_eq!(instead(0), Some(2));
        (0..4).for_each(|index| down(many.get(index)));
        assert_eq!(instead(0), None);
    }

    #[test]
    fn addresses_are_checked_when_the_client_is_made() {
        let config = S3Config::new(vec![], "b");
        assert!(Endpoint::parse(0, "localhost:9000", &config).is_err());
        assert!(Endpoint::parse(0, "ftp://x", &config).unwrap_err().contains("scheme"));
        assert!(Endpoint::parse(0, "http://x/?a=b", &config).unwrap_err().contains("query"));
        assert!(Endpoint::parse(0, "http://key:secret@x", &config).unwrap_err().contains("access_key_id"));
        assert!(!Endpoint::parse(0, "http://key:secret@x", &config).unwrap_err().contains("secret@"));
        for text in ["http://x:99999", "https://[::1]:0/base", "http://x:"] {
            assert!(Endpoint::parse(0, text, &config).unwrap_err().contains("none from 1 to 65535"), "{text}");
        }
    }

    #[test]
    fn the_bucket_is_in_the_host_unless_it_is_in_the_path() {
        let mut config = S3Config::new(vec!["http://[::1]:9000".into()], "b");
        let endpoint = Endpoint::parse(0, "http://[::1]:9000", &config).unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.host_header()), ("::1", "[::1]:9000"));
        config.bucket = "data".into();
        let endpoint = Endpoint::parse(0, "https://s3.eu-west-1.amazonaws.com", &config).unwrap();
        assert_eq!((endpoint.host_header(), &*endpoint.base), ("data.s3.eu-west-1.amazonaws.com", ""));
    }

    #[test]
    fn every_region_of_aws_has_its_own_domain() {
        let host = |region: &str| {
            let config = S3Config { region: region.to_owned(), ..S3Config::new(vec![], "data") };
            Endpoints::new(&config).unwrap().get(0).host.clone()
        };
        assert_eq!(host("eu-west-1"), "data.s3.eu-west-1.amazonaws.com");
        assert_eq!(host("us-gov-west-1"), "data.s3.us-gov-west-1.amazonaws.com");
        assert_eq!(host("cn-north-1"), "data.s3.cn-north-1.amazonaws.com.cn");
        assert_eq!(host("us-iso-east-1"), "data.s3.us-iso-east-1.c2s.ic.gov");
        assert_eq!(host("us-isob-east-1"), "data.s3.us-isob-east-1.sc2s.sgov.gov");
    }

    fn addressed(addressing: Addressing, bucket: &str, text: &str) -> (String, String) {
        let config = S3Config { addressing, ..S3Config::new(vec![], bucket) };
        let endpoint = Endpoint::parse(0, text, &config).unwrap();
        (endpoint.host_header().to_owned(), endpoint.base)
    }

    #[test]
    fn every_way_to_address_a_bucket_has_its_host_and_path() {
        use Addressing::{Auto, Host, Path, Virtual};
        for (addressing, bucket, text, host, base) in [
            (Auto, "data", "http://s3.local:9000", "s3.local:9000", "/data"),
            (Auto, "data", "http://s3.local:9000/base/path/", "s3.local:9000", "/base/path/data"),
            (Virtual, "data", "http://s3.local:9000/base", "data.s3.local:9000", "/base"),
            (Virtual, "my.data", "http://s3.local", "my.data.s3.local", ""),
            (Virtual, "my.data", "https://s3.local", "s3.local", "/my.data"),
            (Virtual, "My_Data", "http://s3.local", "s3.local", "/My_Data"),
            (Virtual, "data", "http://127.0.0.1:9000", "127.0.0.1:9000", "/data"),
            (Virtual, "data", "http://[::1]:9000", "[::1]:9000", "/data"),
            (Virtual, "data", "http://data.s3.local", "data.s3.local", ""),
            (Host, "data", "http://cdn.local", "cdn.local", ""),
            (Auto, "my.data", "https://s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com", "/my.data"),
            (Path, "data", "https://s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com", "/data"),
        ] {
            assert_eq!(
                addressed(addressing, bucket, text),
                (host.into(), base.into()),
                "{addressing:?} {bucket} {text}"
            );
        }
    }

    #[test]
    fn only_a_proxy_for_plain_http_gets_whole_addresses() {
        let variables = |name: &str| name.ends_with("_proxy").then(|| "http://u:p@proxy:3128".to_owned());
        let proxies = Proxies::from_variables(|name| variables(name).filter(|_| name != "no_proxy"));
        let config = S3Config { proxies, ..S3Config::new(vec![], "data") };
        let plain = Endpoint::parse(0, "http://s3.local:9000", &config).unwrap();
        assert_eq!((&*plain.base, plain.origin), ("http://s3.local:9000/data", "http://s3.local:9000".len()));
        assert!(plain.proxy.is_some() && plain.proxy_authorization.is_some());
        let secure = Endpoint::parse(0, "https://s3.local", &config).unwrap();
        assert_eq!((&*secure.base, secure.origin), ("/data", 0));
        assert!(secure.proxy.is_some() && secure.proxy_authorization.is_none());
    }
}
