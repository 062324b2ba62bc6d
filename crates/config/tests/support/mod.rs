//! Helpers to load a configuration in one expression and to look up values by key.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::collections::BTreeMap;

use dlio_config::vocabulary::Dialect;
use dlio_config::{Error, Loaded, NoticeCode, Override, Source, load};
use serde_json::Value;

pub(crate) fn yaml(text: &str) -> Case<'_> {
    Case { yaml: text, overrides: Vec::new(), env: BTreeMap::new(), dialect: None }
}

pub(crate) struct Case<'a> {
    yaml: &'a str,
    overrides: Vec<&'a str>,
    env: BTreeMap<String, String>,
    dialect: Option<Dialect>,
}

impl<'a> Case<'a> {
    pub(crate) fn with(mut self, text: &'a str) -> Self {
        self.overrides.push(text);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, Error> {
        let overrides = self.overrides.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>()?;
        load(&Source { name: "my.yaml", yaml: self.yaml }, &overrides, &self.env, self.dialect)
    }

    pub(crate) fn ok(&self) -> Loaded {
        self.load().expect("the configuration is usable")
    }

    pub(crate) fn refused(&self) -> String {
        self.load().expect_err("the configuration is refused").to_string()
    }

    /// Returns the texts of the notices with a code.
    pub(crate) fn notices(&self, code: NoticeCode) -> Vec<String> {
        self.ok().notices.into_iter().filter(|notice| notice.code == code).map(|notice| notice.text).collect()
    }
}

/// Collects the leaves of a value by their dotted keys.
pub(crate) fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&path, value, into);
            }
        }
        other => {
            into.insert(prefix.to_owned(), other.clone());
        }
    }
}
