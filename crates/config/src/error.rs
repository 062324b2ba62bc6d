//! Errors of a configuration. Each problem states its place, its key, the expected value and the value that was found.
//!
//! All errors of this crate belong to one class: the configuration is invalid. When they occur, nothing has been read
//! from or written to storage.

use std::fmt;
use std::sync::Arc;

/// The place where a key or a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// Name of the file, as the user gave it.
        name: Arc<str>,
        /// Line number, counted from 1; `None` means the whole file.
        line: Option<u32>,
    },
    /// On the command line: the text of the override, with secrets hidden.
    Override(Arc<str>),
    /// Nowhere: the value is a default of the program.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { name, line: Some(line) } => write!(f, "{name}:{line}"),
            Place::File { name, line: None } => f.write_str(name),
            Place::Override(text) => write!(f, "override {text}"),
            Place::Default => f.write_str("default"),
        }
    }
}

/// One problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Place where the key or value was written.
    pub place: Place,
    /// Dotted key without the prefix `workload.`; empty if the problem concerns no key.
    pub key: String,
    /// The expected value, the value that was found, and the remedy.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(place: &Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.clone(), key: key.into(), message: message.into() }
    }

    /// Returns the line number, counted from 1, if the problem is in the file.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        match &self.place {
            Place::File { line, .. } => *line,
            Place::Override(_) | Place::Default => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Place::Default {
            write!(f, "{}: ", self.place)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The configuration is invalid. The error lists every problem that was found, at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct Error {
    problems: Vec<Problem>,
}

impl Error {
    pub(crate) fn all(problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "an error without a problem");
        Self { problems }
    }

    /// Returns the problems, in the order of the checks; never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
