//! Levels of messages, and the verbosity that a user asks for.

/// Which messages a user gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Only failures.
    Quiet,
    /// Progress and results.
    Normal,
    /// Also decisions and their reasons.
    Verbose,
    /// Everything.
    Debug,
}

/// DLIO's levels of log lines, from the lowest to the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Level {
    /// Python level 10.
    Debug,
    /// Python level 20.
    Info,
    /// Python level 30; DLIO's threshold by default.
    Warning,
    /// DLIO's own level 35: progress and results.
    Output,
    /// Python level 40.
    Error,
    /// Python level 50.
    Critical,
}

impl Level {
    /// Name in log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Output => "OUTPUT",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}
