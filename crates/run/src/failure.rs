//! Failures of a run, and their classes, which front ends turn into exit codes.

use std::fmt;

/// Class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Code {
    /// Unexpected.
    Unexpected,
    /// Command line or configuration.
    Usage,
    /// Endpoint, credentials, bucket, permission, space.
    Storage,
    /// Missing or damaged data.
    Data,
    /// Launcher, communicator, differing plans, another rank.
    Ranks,
    /// A trace cannot be read or written.
    Trace,
    /// A replay did not keep a bound of `--require`.
    Requirement,
    /// A metric crossed a threshold of `analyze --fail-if`.
    Threshold,
    /// A wait lasted longer than `--stall-timeout`.
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

/// A failure of a command: what to print and how to exit.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// Class.
    pub code: Code,
    /// One clear error: the noun, what was expected, what to do.
    pub message: String,
    /// Somebody has said it already.
    #[serde(default)]
    pub said: bool,
    /// This rank alone knows of it: the front end has to end the other ranks, with [`dlio_comm::Communicator::abort`].
    #[serde(default)]
    pub alone: bool,
}

impl Failure {
    /// A failure with this class and text.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), said: false, alone: false }
    }

    /// The same failure, to be returned but not printed.
    pub fn already_said(self) -> Self {
        Self { said: true, ..self }
    }

    /// The same failure of a rank whose others do not know of it.
    pub(crate) fn of_this_rank(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Something the user typed or wrote is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message)
    }

    /// Reading or writing an output file failed.
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
        use dlio_storage::ErrorKind;
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
