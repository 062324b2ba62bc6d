//! Notices about a configuration that is valid.

use std::fmt;

use serde::Serialize;

/// Severity of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The user should know about it.
    Info,
    /// The configuration probably does not say what the user meant.
    Warning,
}

/// Topic of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeCode {
    /// An unknown key, which nothing reads.
    UnknownKey,
    /// A key that the reference accepts and that has no effect.
    IgnoredKey,
    /// A key or section that another one replaces.
    Shadowed,
    /// A key that is parsed and checked, but that this version does not act on.
    NotYetActedOn,
    /// The reference does something other than the key says, and this run copies it.
    Quirk,
    /// A value that the reference would refuse, with the meaning that it has here.
    Accepted,
    /// An override for Hydra itself.
    IgnoredOverride,
    /// Samples that are left out because all ranks run the same number of steps.
    Remainder,
    /// A value without effect, which is probably a mistake.
    Suspicious,
}

/// A notice for the user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Notice {
    /// Severity.
    pub severity: Severity,
    /// Topic.
    pub code: NoticeCode,
    /// The text, with file and line if they are known.
    pub text: String,
}

impl Notice {
    /// Returns an informational notice.
    #[must_use]
    pub fn info(code: NoticeCode, text: impl Into<String>) -> Self {
        Self { severity: Severity::Info, code, text: text.into() }
    }

    /// Returns a warning.
    #[must_use]
    pub fn warning(code: NoticeCode, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, code, text: text.into() }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
