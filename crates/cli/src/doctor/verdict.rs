//! The result of a check: pass, fail with evidence and remedy, or not checked with a reason.

use serde::{Deserialize, Serialize};

use dlio_run::failure::Code;

/// The result of a check, which may be unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// The requirement is met; the evidence.
    Pass(String),
    /// The requirement is not met.
    Fail {
        /// Observed facts.
        evidence: String,
        /// Advice to the user.
        remedy: String,
        /// Exit code of the program for this failure.
        code: Code,
    },
    /// The check was not possible; the reason.
    NotChecked(String),
}

/// One check of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// Stable name: `endpoint.tcp`, `space`, …
    pub(crate) name: String,
    /// The checked item: an endpoint, a folder, a host.
    pub(crate) subject: String,
    /// Host that ran the check.
    pub(crate) host: String,
    /// The result.
    pub(crate) verdict: Verdict,
}

/// A collection of checks.
#[derive(Debug)]
pub(crate) struct Checks {
    host: String,
    pub(crate) list: Vec<Check>,
}

impl Checks {
    /// Creates an empty collection for a host.
    pub(crate) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), list: Vec::new() }
    }

    /// Adds a check.
    pub(crate) fn add(&mut self, name: &str, subject: impl Into<String>, verdict: Verdict) {
        let (name, subject, host) = (name.to_owned(), subject.into(), self.host.clone());
        self.list.push(Check { name, subject, host, verdict });
    }
}

impl Verdict {
    pub(crate) fn pass(evidence: impl Into<String>) -> Self {
        Self::Pass(evidence.into())
    }

    /// Creates a failure with the exit code of storage.
    pub(crate) fn fail(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::fail_as(Code::Storage, evidence, remedy)
    }

    /// Creates a failure with another exit code.
    pub(crate) fn fail_as(code: Code, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Fail { evidence: evidence.into(), remedy: remedy.into(), code }
    }

    pub(crate) fn not_checked(reason: impl Into<String>) -> Self {
        Self::NotChecked(reason.into())
    }

    /// Returns the word in text and JSON reports.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Fail { .. } => "fail",
            Self::NotChecked(_) => "not checked",
        }
    }
}
