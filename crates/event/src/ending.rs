//! How a run ended. The engine, trace footers, summaries and reports all use this type.
//!
//! Invariant: [`Ending::Completed`] is set only after the last planned operation. The text of an ending is stable:
//! `completed`, `interrupted by SIGTERM`, `aborted: …` or `failed: …`. [`str::parse`] reads back what
//! [`std::fmt::Display`] writes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the part of a run that belongs to one rank ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Ending {
    /// The last planned operation was completed.
    Completed,
    /// A signal or a caller stopped the rank before its last planned operation.
    Interrupted {
        /// Name of the signal, for example `SIGTERM`.
        signal: String,
    },
    /// The rank was stopped because another rank failed.
    Aborted {
        /// The rank that failed, as far as this rank knows.
        message: String,
    },
    /// An error on this rank, or an error that all ranks agreed on, stopped the rank.
    Failed {
        /// The error message, on one line.
        message: String,
    },
}

impl Ending {
    /// Returns a failure whose message is put on one line.
    #[must_use]
    pub fn failed(message: &str) -> Self {
        Self::Failed { message: one_line(message) }
    }

    /// Returns the ending of a rank that was stopped because another rank failed; the message is put on one line.
    #[must_use]
    pub fn aborted(message: &str) -> Self {
        Self::Aborted { message: one_line(message) }
    }

    /// Returns whether the last planned operation was completed.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        *self == Self::Completed
    }

    /// Returns the first word of the text: `completed`, `interrupted`, `aborted` or `failed`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted { .. } => "interrupted",
            Self::Aborted { .. } => "aborted",
            Self::Failed { .. } => "failed",
        }
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Interrupted { signal } => write!(f, "interrupted by {signal}"),
            Self::Aborted { message } => write!(f, "aborted: {message}"),
            Self::Failed { message } => write!(f, "failed: {message}"),
        }
    }
}

/// The error for a text that does not describe an ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseEndingError(String);

impl fmt::Display for ParseEndingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an ending of a run: expected `completed`, `interrupted by SIGNAL`, `aborted: …` or `failed: …`",
            self.0
        )
    }
}

impl std::error::Error for ParseEndingError {}

impl FromStr for Ending {
    type Err = ParseEndingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let after = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
        if text == "completed" {
            return Ok(Self::Completed);
        }
        let interrupted = || after("interrupted by ").map(|signal| Self::Interrupted { signal });
        let aborted = || after("aborted: ").map(|message| Self::Aborted { message });
        let failed = || after("failed: ").map(|message| Self::Failed { message });
        interrupted().or_else(aborted).or_else(failed).ok_or_else(|| ParseEndingError(text.to_owned()))
    }
}

impl From<Ending> for String {
    fn from(ending: Ending) -> Self {
        ending.to_string()
    }
}

impl TryFrom<String> for Ending {
    type Error = ParseEndingError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Amount of work that was planned for a run. A report compares it with the work that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Planned {
    /// Number of epochs; 0 if the run does not train.
    pub epochs: u32,
    /// Training steps per epoch.
    pub steps: u64,
    /// Dataset files that all ranks together generate or verify.
    pub files: u64,
    /// Checkpoints that a run without training saves.
    pub checkpoints_saved: u64,
    /// Checkpoints that a run without training loads.
    pub checkpoints_loaded: u64,
    /// Operations of a recorded trace that all ranks together replay.
    pub operations: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_ending_is_read_back_as_the_ending() {
        let endings = [
            (Ending::Completed, "completed"),
            (Ending::Interrupted { signal: "SIGTERM".to_owned() }, "interrupted by SIGTERM"),
            (Ending::aborted("rank 3 failed"), "aborted: rank 3 failed"),
            (Ending::failed("no space left: /t: \"a\""), "failed: no space left: /t: \"a\""),
        ];
        for (ending, text) in endings {
            assert_eq!(ending.to_string(), text);
            assert_eq!(text.parse(), Ok(ending.clone()));
            assert!(text.starts_with(ending.state()));
        }
    }

    #[test]
    fn another_text_is_no_ending_and_a_message_has_one_line() {
        assert!("complete".parse::<Ending>().unwrap_err().to_string().contains("\"complete\""));
        assert_eq!(Ending::failed("one\n  two\n").to_string(), "failed: one two");
    }
}
