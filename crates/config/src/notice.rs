//! Things a user should know about a configuration that is usable.

use std::fmt;

use serde::Serialize;

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Probably not what was meant.
    Warning,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeCode {
    /// A key that nobody reads.
    UnknownKey,
    /// A key that the reference accepts and that has no effect.
    IgnoredKey,
    /// A key or section that another one replaces.
    Shadowed,
    /// Parsed and checked, but this version does nothing with it.
    NotYetActedOn,
    /// The reference does something else than the key says, and so does this run.
    Quirk,
    /// A value that the reference would refuse, and what it is taken for.
    Accepted,
    /// An override for Hydra itself.
    IgnoredOverride,
    /// Samples that equal steps on all ranks leave out.
    Remainder,
    /// A value without effect, probably a mistake.
    Suspicious,
}

/// One notice: one sentence for a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub code: NoticeCode,
    /// The sentence, with file and line where it has them.
    pub text: String,
}

impl Notice {
    /// Something worth knowing.
    #[must_use]
    pub fn info(code: NoticeCode, text: impl Into<String>) -> Self {
        Self { severity: Severity::Info, code, text: text.into() }
    }

    /// Something that is probably not what was meant.
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
