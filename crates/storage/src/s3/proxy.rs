//! Selects the proxy of an endpoint from the environment, like curl and botocore: `http_proxy`, `https_proxy`,
//! `all_proxy` and `no_proxy`, each also in upper case. If both exist, the lower-case variable is used, even if it is
//! empty.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dlio_event::Secret;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Host name for lookup and verification; without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether the connection to the proxy uses TLS.
    pub(super) tls: bool,
    /// Value of `Proxy-Authorization`.
    authorization: Option<Secret>,
    /// Variable that names the proxy.
    variable: String,
}

/// The proxies named by the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Result<Proxy, String>>,
    https: Option<Result<Proxy, String>>,
    except: Exceptions,
}

/// Names of the variables, in lower case.
pub const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

impl Proxies {
    /// Reads the proxies from the environment; `variable` returns the value of a variable. A value that is not an
    /// HTTP proxy is an error only for requests that would use it.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            let upper = name.to_ascii_uppercase();
            let found = variable(name).map(|value| (name.to_owned(), value));
            found.or_else(|| variable(&upper).map(|value| (upper, value)))
        };
        let [http, https, all, except] = PROXY_VARIABLES.map(get);
        let chosen = |own: Option<(String, String)>| {
            // An empty variable disables the proxy.
            own.or_else(|| all.clone()).filter(|(_, value)| !value.trim().is_empty())
        };
        let parse = |own| chosen(own).map(|(name, value)| Proxy::parse(&name, value.trim()));
        Self {
            http: parse(http),
            https: parse(https),
            except: Exceptions::parse(&except.map(|(_, value)| value).unwrap_or_default()),
        }
    }

    /// Returns the proxy for a host, if any.
    ///
    /// # Errors
    /// When the value is not an HTTP proxy; the message names the variable and never contains a password.
    pub(super) fn to(&self, tls: bool, host: &str, port: u16) -> Result<Option<&Proxy>, String> {
        let proxy = if tls { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.except.hold(host, port)).map(Result::as_ref).transpose().map_err(Clone::clone)
    }

    /// Checks the proxies of these endpoints, or of the AWS endpoints if there are none.
    ///
    /// # Errors
    /// When one of the proxies is not an HTTP proxy.
    pub fn check(&self, endpoints: &[String]) -> Result<(), String> {
        if endpoints.is_empty() {
            return self.to(true, "s3.amazonaws.com", 443).map(drop);
        }
        // Invalid endpoint addresses are reported where they are parsed.
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
        let authorization = user.map(|user| {
            Secret::new(format!("Basic {}", STANDARD.encode(percent_decode_str(user).collect::<Vec<u8>>())))
        });
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port, tls, authorization, variable: variable.to_owned() })
    }

    /// Returns the value of `Proxy-Authorization`.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.authorization.as_ref()?.expose()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Returns whether user and password are known.
    pub(super) fn has_user(&self) -> bool {
        self.authorization.is_some()
    }
}

/// Shows the address without the password, and the variable that names the proxy.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls, variable, .. } = self;
        let scheme = if *tls { "https" } else { "http" };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "{scheme}://{host}:{port} ({variable})")
    }
}

/// Returns the port of an address; `None` if it is not between 1 and 65535.
pub(super) fn port(uri: &Uri, tls: bool) -> Option<u16> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // The colons of an IPv6 address are inside the brackets.
    let has_port = authority.rsplit(['@', ']']).next().is_some_and(|rest| rest.contains(':'));
    if has_port { uri.port_u16().filter(|&port| port > 0) } else { Some(if tls { 443 } else { 80 }) }
}

/// Hosts that are reached without a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Exceptions {
    all: bool,
    list: Vec<(Exception, Option<u16>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// A host and its subdomains.
    Domain(String),
    /// An address and the number of leading bits that must match.
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

/// Returns whether two addresses of the same family have the same leading bits.
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
