//! Storage errors name the operation, object, range, endpoint and status, and the next step for the user.

use std::fmt;

use dlio_event::Outcome;

use crate::{Attempts, ByteRange};

/// Class of a storage error; it determines the exit code and whether a retry makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object or directory does not exist, or the server reports that something is missing without naming it.
    NotFound,
    /// The bucket does not exist.
    NoBucket,
    /// Wrong or missing credentials, or no permission.
    Denied,
    /// The endpoint cannot be reached, or did not respond in time.
    Unreachable,
    /// The server failed or throttled the request on every permitted attempt.
    Server,
    /// The storage is full, or a quota is exceeded.
    Full,
    /// The read returned fewer bytes than announced, or content that the sink rejected.
    Corrupt,
    /// The request is invalid: alignment, range or key.
    Invalid,
    /// Any other error of the operating system.
    Io,
}

/// A failed storage operation.
#[derive(Debug)]
pub struct Error {
    /// Class of the error.
    pub kind: ErrorKind,
    /// The failed operation as a participle: `reading`, `writing`, `listing`, …
    pub doing: &'static str,
    /// Full name of the object.
    pub object: String,
    /// Requested byte range, if any.
    pub range: Option<ByteRange>,
    /// Endpoint of the last attempt; `None` on local storage.
    pub endpoint: Option<String>,
    /// Cause, with the HTTP status and the server's message or the system's error text, and a remedy.
    pub message: String,
    /// All attempts of the operation.
    pub attempts: Attempts,
}

impl Error {
    /// Returns the outcome of the last attempt.
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
