//! Rules that rewrite recorded names and endpoints, and the selection of a share of all objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dlio_config::location::Location;
use dlio_event::mix::{finalize, fnv1a_64};

use super::Error;

/// Records whether a rule has been applied.
#[derive(Debug, Clone, Default)]
pub(super) struct Used(Arc<AtomicBool>);

impl Used {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Rules are equal even if only one of them has been applied.
impl PartialEq for Used {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Used {}

/// A rule that rewrites names.
#[derive(Debug, Clone)]
pub struct Rule {
    used: Used,
    from: From,
    /// Replacements, one of which is chosen per object.
    to: Vec<String>,
}

#[derive(Debug, Clone)]
enum From {
    Prefix(String),
    Pattern(regex_lite::Regex),
}

impl Rule {
    /// Parses `FROM=TO`, which replaces a prefix, or `re:PATTERN=>TO`, which replaces the match of a regular expression
    /// (`$1` and `${name}` are its groups). Several targets are separated by `|`.
    ///
    /// # Errors
    /// [`Error::Option`] if the text is not a rule.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Option(format!("--map {text}: {why}"));
        let (from, to) = if let Some(rest) = text.strip_prefix("re:") {
            let (pattern, to) = rest.split_once("=>").ok_or_else(|| wrong("expected re:PATTERN=>TO"))?;
            let pattern = regex_lite::Regex::new(pattern).map_err(|error| wrong(&error.to_string()))?;
            (From::Pattern(pattern), to)
        } else {
            let (from, to) = text.split_once('=').ok_or_else(|| wrong("expected FROM=TO, two beginnings of names"))?;
            (From::Prefix(from.to_owned()), to)
        };
        let to: Vec<String> = to.split('|').map(str::to_owned).collect();
        if to.iter().any(String::is_empty) {
            return Err(wrong("a target is empty"));
        }
        if let Some(Err(why)) = to.iter().map(|to| Location::parse(to)).find(Result::is_err) {
            return Err(wrong(&why));
        }
        Ok(Self { used: Used::default(), from, to })
    }

    /// Returns whether the rule has been applied to an object of this rank.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used.get()
    }

    /// Returns the left-hand side of the rule, for messages.
    pub(super) fn from(&self) -> String {
        match &self.from {
            From::Prefix(prefix) => prefix.clone(),
            From::Pattern(pattern) => format!("re:{pattern}"),
        }
    }

    /// Returns the rewritten name of `uri`; `None` if the rule does not apply. If there are several targets, every rank
    /// and every pass chooses the same target for an object.
    pub(super) fn apply(&self, uri: &str) -> Option<String> {
        let to = || {
            let count = self.to.len() as u64;
            self.to.get(usize::try_from(spread(plain(uri)) % count.max(1)).unwrap_or(0)).map_or("", String::as_str)
        };
        let rewritten = match &self.from {
            From::Prefix(prefix) => rest(uri, prefix).map(|rest| format!("{}{rest}", to())),
            From::Pattern(pattern) => pattern.is_match(uri).then(|| pattern.replace(uri, to()).into_owned()),
        };
        rewritten.inspect(|_| self.used.set())
    }
}

/// Returns the part of a name after a prefix; `./x` and `x` are the same name.
fn rest<'a>(uri: &'a str, prefix: &str) -> Option<&'a str> {
    let is_relative = !uri.starts_with('/') && !uri.contains("://");
    let begins = |prefix: &&str| is_relative || !prefix.is_empty();
    uri.strip_prefix(prefix)
        .or_else(|| Some(plain(prefix)).filter(begins).and_then(|prefix| plain(uri).strip_prefix(prefix)))
}

/// Removes a leading `./`.
fn plain(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest.trim_start_matches('/');
    }
    name
}

/// A rule that rewrites endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRule {
    /// Recorded endpoint.
    pub from: String,
    /// Endpoint of the replay.
    pub to: String,
    pub(super) used: Used,
}

impl EndpointRule {
    /// Parses `FROM=TO` with two endpoints (`http://host:port`).
    ///
    /// # Errors
    /// [`Error::Option`] if the text is not a rule.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::Option(format!("--map-endpoint {text}: expected FROM=TO, such as http://a:9000=http://b:9000"));
        let (from, to) = text.split_once('=').ok_or_else(wrong)?;
        let (from, to) = (from.trim_end_matches('/'), to.trim_end_matches('/'));
        if from.is_empty() || !to.contains("://") {
            return Err(wrong());
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned(), used: Used::default() })
    }

    /// Returns whether the rule has been applied to an operation of this rank.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used.get()
    }
}

/// A share of all objects, selected by their names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl Share {
    /// Parses `N%`, where N is above 0 and at most 100.
    ///
    /// # Errors
    /// [`Error::Option`] if the text is not a share.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
        match number {
            Ok(number) if number > 0.0 && number <= 100.0 => Ok(Self(number / 100.0)),
            _ => Err(Error::Option(format!("--sample-objects {text}: expected a share such as 10%"))),
        }
    }

    pub(super) fn has(self, uri: &str) -> bool {
        (spread(uri) >> 11) as f64 / (1u64 << 53) as f64 <= self.0
    }
}

/// Returns a well-mixed number for a name, which is the same on every machine.
fn spread(uri: &str) -> u64 {
    finalize(fnv1a_64(uri.bytes()))
}
