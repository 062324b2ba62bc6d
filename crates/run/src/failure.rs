//! Failures of a run and their classes. Front ends map classes to exit codes.

use std::fmt;

use dlio_engine::ErrorClass;
use dlio_storage::ErrorKind;

/// Class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Code {
    /// An unexpected error.
    Unexpected,
    /// The command line or the configuration is wrong.
    Usage,
    /// The storage cannot be used: endpoint, credentials, bucket, permission, space.
    Storage,
    /// Data are missing or damaged.
    Data,
    /// A problem of the ranks: launcher, communicator, differing plans, failure of another rank.
    Ranks,
    /// A trace cannot be read or written.
    Trace,
    /// A replay violated a bound of `--require`.
    Requirement,
    /// A metric crossed a threshold of `analyze --fail-if`.
    Threshold,
    /// A wait lasted longer than the stall timeout.
    Stalled,
    /// The output folder is in use, or holds files that are not replaced.
    Folder,
    /// SIGHUP: the terminal went away.
    HungUp,
    /// SIGINT: Ctrl-C.
    Interrupted,
    /// SIGQUIT.
    Quit,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGTERM.
    Terminated,
    /// SIGXCPU: the limit on CPU time.
    CpuTime,
}

/// A failure of a command.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// Class of the failure.
    pub code: Code,
    /// Text for the user: the object, what was expected, and what to do.
    pub message: String,
    /// The failure has been reported already, or another rank reports it.
    #[serde(default)]
    pub reported: bool,
    /// Only this rank knows of the failure: the front end has to end the other ranks with
    /// [`dlio_comm::Communicator::abort`].
    #[serde(default)]
    pub alone: bool,
}

impl Failure {
    /// Creates a failure.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), reported: false, alone: false }
    }

    /// Marks the failure as reported: it is returned but not printed.
    #[must_use]
    pub fn already_reported(self) -> Self {
        Self { reported: true, ..self }
    }

    /// Marks the failure as known to this rank alone.
    pub(crate) fn of_this_rank(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Creates a failure of class [`Code::Usage`]: something that the user typed or wrote is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message)
    }

    /// Creates a failure of reading or writing the file `path`; `doing` is the first word of the message.
    #[must_use]
    pub fn file(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Code::Storage, format_args!("{doing} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<dlio_storage::Error> for Failure {
    fn from(error: dlio_storage::Error) -> Self {
        let code = match error.kind {
            ErrorKind::NotFound | ErrorKind::Corrupt => Code::Data,
            _ => Code::Storage,
        };
        Self::new(code, error)
    }
}

impl From<dlio_comm::Error> for Failure {
    fn from(error: dlio_comm::Error) -> Self {
        let code = match error {
            dlio_comm::Error::Cancelled => Code::Interrupted,
            dlio_comm::Error::Stalled(_) => Code::Stalled,
            dlio_comm::Error::Aborted { .. } | dlio_comm::Error::Library(_) => Code::Ranks,
        };
        Self::new(code, error)
    }
}

/// Converts an error of the engine.
#[must_use]
pub fn of_engine(error: &dlio_engine::Error) -> Failure {
    let code = match error.class() {
        // A resource limit of the machine; `doctor` puts it into the same class.
        _ if matches!(error, dlio_engine::Error::LaneStart { .. }) => Code::Storage,
        ErrorClass::Storage(ErrorKind::NotFound | ErrorKind::Corrupt) | ErrorClass::Corrupt => Code::Data,
        ErrorClass::Storage(_) => Code::Storage,
        ErrorClass::Plan | ErrorClass::Aborted | ErrorClass::Comm => Code::Ranks,
        ErrorClass::Cancelled => Code::Interrupted,
        ErrorClass::Stalled => Code::Stalled,
        ErrorClass::Trace => Code::Trace,
        ErrorClass::Internal => Code::Unexpected,
    };
    Failure::new(code, chain(error))
}

/// Formats an error and its sources on one line, separated by colons.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
