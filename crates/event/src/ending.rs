//! How a run ended: the one notion of it, from the engine to footers, summaries and reports.
//!
//! Invariant: [`Ending::Completed`] is said only after the last planned operation. The text of an ending is stable:
//! `completed`, `interrupted by SIGTERM`, `aborted: …`, `failed: …`; what [`std::fmt::Display`] writes, [`str::parse`] reads.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How one rank's part of a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Ending {
    /// The last planned operation was done.
    Completed,
    /// A signal or a caller asked the rank to end before that.
    Interrupted {
        /// Name of the signal, as `SIGTERM`.
        signal: String,
    },
    /// Another rank's failure ended this rank.
    Aborted {
        /// Which rank failed, as far as this one knows.
        message: String,
    },
    /// An error of this rank, or one that all ranks agreed on, ended it.
    Failed {
        /// The error in one line.
        message: String,
    },
}

impl Ending {
    /// A failure with this message, in one line.
    #[must_use]
    pub fn failed(message: &str) -> Self {
        Self::Failed { message: one_line(message) }
    }

    /// Ended because another rank failed.
    #[must_use]
    pub fn aborted(message: &str) -> Self {
        Self::Aborted { message: one_line(message) }
    }

    /// Whether the last planned operation was done.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        *self == Self::Completed
    }

    /// The first word of the text: `completed`, `interrupted`, `aborted` or `failed`.
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

/// A text that is no ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnEnding(String);

impl fmt::Display for NotAnEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no ending of a run: expected `completed`, `interrupted by SIGNAL`, `aborted: …` or `failed: …`",
            self.0
        )
    }
}

impl std::error::Error for NotAnEnding {}

impl FromStr for Ending {
    type Err = NotAnEnding;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let after = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
        if text == "completed" {
            return Ok(Self::Completed);
        }
        let interrupted = || after("interrupted by ").map(|signal| Self::Interrupted { signal });
        let aborted = || after("aborted: ").map(|message| Self::Aborted { message });
        let failed = || after("failed: ").map(|message| Self::Failed { message });
        interrupted().or_else(aborted).or_else(failed).ok_or_else(|| NotAnEnding(text.to_owned()))
    }
}

impl From<Ending> for String {
    fn from(ending: Ending) -> Self {
        ending.to_string()
    }
}

impl TryFrom<String> for Ending {
    type Error = NotAnEnding;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// How much a run was to do, as far as it was planned: what a report compares with what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Planned {
    /// Epochs; 0: nothing is trained.
    pub epochs: u32,
    /// Training steps of each epoch.
    pub steps: u64,
    /// Files of the data set that are generated or verified, by all ranks together.
    pub files: u64,
    /// Checkpoints that a run without training saves.
    pub checkpoints_saved: u64,
    /// Checkpoints that a run without training loads.
    pub checkpoints_loaded: u64,
    /// Operations of a recorded trace that are replayed, by all ranks together.
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
