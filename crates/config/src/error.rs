//! What is wrong with a configuration: every problem with its place, its key, what was expected and what was found.
//!
//! All errors of this crate belong to one class, "the configuration is wrong"; nothing has been read or written yet.

use std::fmt;
use std::sync::Arc;

/// Where a key or a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, on a line counted from 1; `None` when the whole file is meant.
    File {
        /// Name of the file as the user gave it.
        name: Arc<str>,
        /// Line, counted from 1.
        line: Option<u32>,
    },
    /// On the command line; the text of the override, without secrets.
    Override(Arc<str>),
    /// Nowhere: a default of the program.
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

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// Dotted key without the `workload.` prefix; empty when no key is concerned.
    pub key: String,
    /// What was expected, what was found, what to do.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(place: &Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.clone(), key: key.into(), message: message.into() }
    }

    /// Line in the file, when it was written in the file.
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

/// The configuration cannot be used; at least one problem, all that were found.
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

    /// What is wrong, in the order of the checks; never empty.
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
