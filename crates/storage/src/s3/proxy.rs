//! Which proxy leads to an endpoint, as curl and botocore read the variables: `http_proxy`, `https_proxy`, `all_proxy` and
//! `no_proxy`, each also in capitals; where both are there, lower case counts, also when it is empty.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};

use super::Secret;

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Name that is looked up and verified; without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether the proxy itself is spoken to through TLS.
    pub(super) tls: bool,
    /// Value of `Proxy-Authorization`.
    authorization: Option<Secret>,
    /// Variable that names it.
    variable: String,
}

/// The proxies of a process's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Result<Proxy, String>>,
    https: Option<Result<Proxy, String>>,
    except: Exceptions,
}

/// The names of the variables that are read, in lower case.
pub const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

impl Proxies {
    /// The proxies that variables name; `variable` gives the value of one, if it is set. What is no HTTP proxy is an error only to
    /// who would go through it.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            let upper = name.to_ascii_uppercase();
            let found = variable(name).map(|value| (name.to_owned(), value));
            found.or_else(|| variable(&upper).map(|value| (upper, value)))
        };
        let [http, https, all, except] = PROXY_VARIABLES.map(get);
        let chosen = |own: Option<(String, String)>| {
            // An empty value of its own means no proxy at all.
            own.or_else(|| all.clone()).filter(|(_, value)| !value.trim().is_empty())
        };
        let parse = |own| chosen(own).map(|(name, value)| Proxy::parse(&name, value.trim()));
        Self {
            http: parse(http),
            https: parse(https),
            except: Exceptions::parse(&except.map(|(_, value)| value).unwrap_or_default()),
        }
    }

    /// The proxy that leads to a host, if one does.
    ///
    /// # Errors
    /// When it is no HTTP proxy; the message names the variable and never shows a password.
    pub(super) fn to(&self, tls: bool, host: &str, port: u16) -> Result<Option<&Proxy>, String> {
        let proxy = if tls { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.except.hold(host, port)).map(Result::as_ref).transpose().map_err(Clone::clone)
    }

    /// Whether requests to these endpoints, to those of AWS where there are none, can go through the proxies that they have.
    ///
    /// # Errors
    /// When one would go through what is no HTTP proxy.
    pub fn check(&self, endpoints: &[String]) -> Result<(), String> {
        if endpoints.is_empty() {
            return self.to(true, "s3.amazonaws.com", 443).map(drop);
        }
        // What is no address is told by those who read it.
        let uris = endpoints.iter().filter_map(|text| text.parse::<Uri>().ok());
        uris.into_iter().try_for_each(|uri| {
            let tls = uri.scheme_str() == Some("https");
            let port = port(&uri, tls).unwrap_or_default();
            self.to(tls, uri.host().unwrap_or_default(), port).map(drop)
        })
    }
}

impl Proxy {
    fn parse(variable: &str, text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{variable}: the proxy {why}; expected http://[USER:PASSWORD@]HOST:PORT");
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => {
                return Err(wrong(&format!(
                    "has the scheme {other}, which is not supported here (requests go through HTTP proxies only)"
                )));
            }
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, address)| (Some(user), address));
        let uri: Uri = format!("{scheme}://{address}").parse().map_err(|_| wrong("is no address"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
        let port = port(&uri, tls).ok_or_else(|| wrong("has a port that is none from 1 to 65535"))?;
        let authorization = user.map(|user| Secret::new(format!("Basic {}", STANDARD.encode(unescaped(user)))));
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port, tls, authorization, variable: variable.to_owned() })
    }

    /// Value of `Proxy-Authorization`.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.authorization.as_ref()?.expose()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether a user and a password are known for it.
    pub(super) fn has_user(&self) -> bool {
        self.authorization.is_some()
    }
}

/// Its address without the password, and the variable that names it.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls, variable, .. } = self;
        let scheme = if *tls { "https" } else { "http" };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "{scheme}://{host}:{port} ({variable})")
    }
}

/// The port of an address; `None`: it is none from 1 to 65535.
pub(super) fn port(uri: &Uri, tls: bool) -> Option<u16> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // Only those of an IPv6 address are between brackets.
    let has_port = authority.rsplit(['@', ']']).next().is_some_and(|rest| rest.contains(':'));
    if has_port { uri.port_u16().filter(|&port| port > 0) } else { Some(if tls { 443 } else { 80 }) }
}

/// Undoes the percent-encoding of a user and a password; `+` is itself.
fn unescaped(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// Hosts that are reached without a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Exceptions {
    all: bool,
    list: Vec<(Exception, Option<u16>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// A host and all below it.
    Domain(String),
    /// Addresses that share so many first bits.
    Network(IpAddr, u32),
}

impl Exceptions {
    fn parse(text: &str) -> Self {
        let entries = text.split([',', ' ', '\t', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        let mut exceptions = Self::default();
        for entry in entries {
            if entry == "*" {
                exceptions.all = true;
            } else {
                exceptions.list.push(exception(entry));
            }
        }
        exceptions
    }

    fn hold(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let names = |exception: &Exception| match (exception, address) {
            (Exception::Network(network, bits), Some(address)) => shares(*network, address, *bits),
            (Exception::Domain(domain), None) => {
                host == *domain || host.strip_suffix(domain).is_some_and(|before| before.ends_with('.'))
            }
            _ => false,
        };
        self.all || self.list.iter().any(|(exception, only)| only.is_none_or(|only| only == port) && names(exception))
    }
}

fn exception(entry: &str) -> (Exception, Option<u16>) {
    let network = |address: IpAddr, bits: u32| Exception::Network(address, bits);
    let whole = |address: IpAddr| network(address, if address.is_ipv4() { 32 } else { 128 });
    let bare = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    if let Some((address, bits)) = entry.split_once('/')
        && let (Some(address), Ok(bits)) = (bare(address), bits.parse())
    {
        return (network(address, bits), None);
    }
    if let Some(address) = bare(entry) {
        return (whole(address), None);
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => port.parse().map_or((entry, None), |port| (host, Some(port))),
        None => (entry, None),
    };
    if let Some(address) = bare(host) {
        return (whole(address), port);
    }
    let domain = host.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
    (Exception::Domain(domain), port)
}

/// Whether two addresses of one family have the same first bits.
fn shares(network: IpAddr, address: IpAddr, bits: u32) -> bool {
    let (ours, theirs, width) = match (network, address) {
        (IpAddr::V4(ours), IpAddr::V4(theirs)) => (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32),
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
        _ => return false,
    };
    let rest = u32::saturating_sub(width, bits);
    ours.checked_shr(rest).unwrap_or(0) == theirs.checked_shr(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn port(variables: &[(&str, &str)], tls: bool) -> Option<u16> {
        proxies(variables).to(tls, "s3.example.com", 443).unwrap().map(|proxy| proxy.port)
    }

    #[test]
    fn every_scheme_has_its_variable_and_one_is_for_all() {
        let both = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "b:2")];
        assert_eq!((port(&both, false), port(&both, true)), (Some(1), Some(2)));
        let all = [("ALL_PROXY", "http://c:3"), ("http_proxy", "http://a:1")];
        assert_eq!((port(&all, false), port(&all, true)), (Some(1), Some(3)));
        assert_eq!(port(&[("http_proxy", "http://a")], false), Some(80));
        assert_eq!(port(&[], false), None);
    }

    #[test]
    fn lower_case_comes_first_and_empty_means_none() {
        assert_eq!(port(&[("HTTP_PROXY", "http://a:1"), ("http_proxy", "http://b:2")], false), Some(2));
        assert_eq!(port(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "")], true), None);
        assert_eq!(port(&[("ALL_PROXY", "http://a:1"), ("https_proxy", " ")], true), None);
    }

    #[test]
    fn a_password_is_sent_and_never_shown() {
        let proxies = proxies(&[("https_proxy", "http://us%40er:p%3Ass@proxy.local:3128/")]);
        let proxy = proxies.to(true, "host", 443).unwrap().unwrap();
        assert_eq!(proxy.authorization().unwrap(), format!("Basic {}", STANDARD.encode("us@er:p:ss")).as_str());
        assert_eq!(proxy.to_string(), "http://proxy.local:3128 (https_proxy)");
        assert!(!format!("{proxies:?}{proxy}").contains("ss"), "{proxies:?}");
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_by_its_variable() {
        let refused =
            |text: &str| proxies(&[("ALL_PROXY", text), ("NO_PROXY", "near")]).to(true, "host", 443).unwrap_err();
        assert!(refused("socks5://p:1080").starts_with("ALL_PROXY: the proxy has the scheme socks5"));
        assert!(refused("http://").contains("ALL_PROXY"));
        assert!(!refused("http://user:secret@ho st").contains("secret"));
        for port in ["99999", "0", ""] {
            assert!(refused(&format!("http://user@[::1]:{port}")).contains("none from 1 to 65535"), "{port}");
        }
    }

    #[test]
    fn what_nobody_goes_through_may_be_anything() {
        let wrong = proxies(&[("ALL_PROXY", "socks5://p:1080"), ("http_proxy", "a:1"), ("NO_PROXY", "near")]);
        let check = |texts: &[&str]| wrong.check(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(check(&["https://near:9000/x", "http://far"]), Ok(()));
        assert!(check(&["https://near", "https://far"]).unwrap_err().contains("socks5") && check(&[]).is_err());
    }

    #[test]
    fn exceptions_are_hosts_domains_ports_and_networks() {
        let holds = |list: &str, host: &str, port: u16| Exceptions::parse(list).hold(host, port);
        for (list, host) in [
            ("*", "anything"),
            ("localhost, s3.local", "s3.local"),
            (".local", "s3.local"),
            ("local", "a.b.LOCAL."),
            ("*.local", "s3.local"),
            ("127.0.0.1", "127.0.0.1"),
            ("10.0.0.0/8", "10.200.3.4"),
            ("fd00::/8", "fd12::1"),
            ("::1", "[::1]"),
            ("s3.local:9000", "s3.local"),
            ("[::1]:9000", "::1"),
            ("0.0.0.0/0", "8.8.8.8"),
        ] {
            assert!(holds(list, host, 9000), "{list} for {host}");
        }
        for (list, host) in [
            ("", "s3.local"),
            ("local", "s3-local"),
            ("s3.local:9001", "s3.local"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.0/8", "10.example.com"),
            ("0.0.1", "127.0.0.1"),
            ("::/0", "127.0.0.1"),
        ] {
            assert!(!holds(list, host, 9000), "{list} for {host}");
        }
    }
}
