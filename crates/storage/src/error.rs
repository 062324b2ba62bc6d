//! Storage errors carry the noun and the next step: operation, object, range, endpoint, status.

use std::fmt;

use dlio_event::Outcome;

use crate::{Attempts, ByteRange};

/// The class of a storage error; it decides the exit code and whether a retry makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object or directory does not exist, or the server does not say what does not.
    NotFound,
    /// The bucket does not exist.
    NoBucket,
    /// Wrong or missing credentials, or no permission.
    Denied,
    /// The endpoint cannot be reached, or did not answer in time.
    Unreachable,
    /// The server failed, or asked for less, more often than the attempts allow.
    Server,
    /// No space, quota exceeded.
    Full,
    /// Fewer bytes than promised, or content that the sink refused.
    Corrupt,
    /// The request cannot be carried out as asked (alignment, range, key).
    Invalid,
    /// Any other operating-system error.
    Io,
}

/// An operation that failed.
#[derive(Debug)]
pub struct Error {
    /// Class.
    pub kind: ErrorKind,
    /// What was being done: `reading`, `writing`, `listing`, …
    pub doing: &'static str,
    /// Full name of the object.
    pub object: String,
    /// Byte range, where one was asked for.
    pub range: Option<ByteRange>,
    /// Endpoint of the last attempt.
    pub endpoint: Option<String>,
    /// What went wrong, with HTTP status and server's message or the system's words; and what to do.
    pub message: String,
    /// Everything that was tried.
    pub attempts: Attempts,
}

impl Error {
    /// The outcome that the last attempt had.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.attempts.last().map_or(Outcome::Io, |attempt| attempt.outcome)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.doing, self.object)?;
        if let Some(range) = self.range {
            match range.len {
                Some(len) => write!(f, " bytes {}..{}", range.offset, range.offset.saturating_add(len))?,
                None if range.offset > 0 => write!(f, " from byte {}", range.offset)?,
                None => {}
            }
        }
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
        }
        write!(f, ": {}", self.message)?;
        let tries = self.attempts.iter().map(|attempt| u32::from(attempt.number) + 1).max().unwrap_or(0);
        if tries > 1 {
            write!(f, " (after {tries} attempts)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
