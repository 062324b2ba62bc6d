//! What a check found: pass, fail with the evidence and a remedy, or not checked with the reason.

use serde::{Deserialize, Serialize};

use dlio_run::failure::Code;

/// The result of a check; unknown is a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// As the workload needs it; the evidence.
    Pass(String),
    /// Not as the workload needs it.
    Fail {
        /// What was seen.
        evidence: String,
        /// What to do.
        remedy: String,
        /// How the program exits for it.
        code: Code,
    },
    /// Nobody knows; why.
    NotChecked(String),
}

/// One check of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// Stable name: `endpoint.tcp`, `space`, …
    pub(crate) name: String,
    /// What was checked: an endpoint, a folder, a host.
    pub(crate) subject: String,
    /// The host that checked it.
    pub(crate) host: String,
    /// The result.
    pub(crate) verdict: Verdict,
}

/// Where checks are collected.
#[derive(Debug)]
pub(crate) struct Checks {
    host: String,
    pub(crate) list: Vec<Check>,
}

impl Checks {
    /// None yet, of this host.
    pub(crate) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), list: Vec::new() }
    }

    /// Adds one.
    pub(crate) fn add(&mut self, name: &str, subject: impl Into<String>, verdict: Verdict) {
        let (name, subject, host) = (name.to_owned(), subject.into(), self.host.clone());
        self.list.push(Check { name, subject, host, verdict });
    }
}

impl Verdict {
    pub(crate) fn pass(evidence: impl Into<String>) -> Self {
        Self::Pass(evidence.into())
    }

    /// A failure of the storage.
    pub(crate) fn fail(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::fail_as(Code::Storage, evidence, remedy)
    }

    /// A failure of another class.
    pub(crate) fn fail_as(code: Code, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Fail { evidence: evidence.into(), remedy: remedy.into(), code }
    }

    pub(crate) fn not_checked(reason: impl Into<String>) -> Self {
        Self::NotChecked(reason.into())
    }

    /// The word for people and programs.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Fail { .. } => "fail",
            Self::NotChecked(_) => "not checked",
        }
    }
}
