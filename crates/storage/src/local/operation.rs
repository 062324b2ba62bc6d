//! Records of one file operation: its attempts, and the error with the path and a remedy.

use std::io;
use std::path::Path;

use dlio_event::{Nanos, OpKind, Outcome, TimeSource};

use crate::{Attempt, Attempts, ByteRange, Error, ErrorKind};

/// A file operation in progress.
pub(super) struct Operation<'a> {
    time: &'a dyn TimeSource,
    doing: &'static str,
    attempts: Attempts,
}

impl<'a> Operation<'a> {
    pub(super) fn new(time: &'a dyn TimeSource, doing: &'static str) -> Self {
        Self { time, doing, attempts: Attempts::new() }
    }

    pub(super) fn now(&self) -> Nanos {
        self.time.now()
    }

    /// Runs one group of system calls and records it as an attempt without bytes.
    pub(super) fn step<T>(&mut self, kind: OpKind, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let start = self.now();
        let result = work();
        let attempt = Attempt { end: self.now(), ..Attempt::started(kind, start) };
        self.record(attempt, result.as_ref().err());
        result
    }

    /// Records an attempt; an error sets its outcome and status.
    pub(super) fn record(&mut self, mut attempt: Attempt, error: Option<&io::Error>) {
        if let Some(error) = error {
            attempt.status = error.raw_os_error().and_then(|errno| i16::try_from(-errno).ok()).unwrap_or(0);
            attempt.outcome = match kind_of(error) {
                ErrorKind::NotFound => Outcome::NotFound,
                ErrorKind::Unreachable => Outcome::Timeout,
                _ => Outcome::Io,
            };
        }
        self.attempts.push(attempt);
    }

    /// Returns the attempts of a successful operation.
    pub(super) fn done(self) -> Attempts {
        self.attempts
    }

    /// Returns the error of a failed system call.
    pub(super) fn failed(self, path: &Path, range: Option<ByteRange>, error: &io::Error) -> Error {
        let message = match advice(error) {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        };
        self.refused(path, range, kind_of(error), message)
    }

    /// Returns an error that no system call reported.
    pub(super) fn refused(self, path: &Path, range: Option<ByteRange>, kind: ErrorKind, message: String) -> Error {
        let object = path.display().to_string();
        Error { kind, doing: self.doing, object, range, endpoint: None, message, attempts: self.attempts }
    }
}

/// Returns the class of an operating-system error.
pub(super) fn kind_of(error: &io::Error) -> ErrorKind {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => ErrorKind::NotFound,
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => ErrorKind::Denied,
        Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::Full,
        Some(libc::EINVAL | libc::EISDIR | libc::ENAMETOOLONG | libc::ELOOP | libc::EFBIG) => ErrorKind::Invalid,
        None if error.kind() == io::ErrorKind::InvalidInput => ErrorKind::Invalid,
        Some(libc::ETIMEDOUT | libc::ESHUTDOWN | libc::ENOTCONN | libc::EHOSTDOWN) => ErrorKind::Unreachable,
        _ => ErrorKind::Io,
    }
}

/// Returns a remedy for the user, if one is known.
fn advice(error: &io::Error) -> Option<&'static str> {
    Some(match error.raw_os_error()? {
        libc::ENOENT => "check the folder, or generate the dataset there first",
        libc::ENOTDIR => "a part of the path is a file, not a folder",
        libc::EACCES | libc::EPERM => "give this user permission on the file and on every folder above it",
        libc::EROFS => "the file system is mounted read-only; choose another folder",
        libc::ENOSPC => "the file system is full: free space or inodes there, or choose another folder",
        libc::EDQUOT => "the quota is used up: free space there, or ask for more",
        libc::EMFILE => "this process has too many open files: raise `ulimit -n`",
        libc::ENFILE => "the system has too many open files: raise fs.file-max",
        libc::EISDIR => "it is a folder, not a file",
        libc::ENAMETOOLONG => "shorten the folder or the file prefix",
        libc::ESTALE => {
            "the file server no longer knows this file: it was replaced or the export changed; mount it anew"
        }
        libc::EIO => "the device or the file server failed: see the kernel log",
        libc::ETIMEDOUT | libc::ESHUTDOWN | libc::ENOTCONN | libc::EHOSTDOWN => {
            "the file server does not answer: check the mount"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use dlio_event::{OpKind, Outcome};

    use super::Operation;
    use crate::conformance::Ticks;
    use crate::{ByteRange, Error, ErrorKind};

    fn error(errno: i32) -> Error {
        let ticks = Ticks::default();
        let mut operation = Operation::new(&ticks, "writing");
        let error = operation.step::<()>(OpKind::Write, || Err(io::Error::from_raw_os_error(errno))).unwrap_err();
        operation.failed(Path::new("/data/train/a.npz"), Some(ByteRange::new(4096, 100)), &error)
    }

    #[test]
    fn a_full_file_system_says_so() {
        for errno in [libc::ENOSPC, libc::EDQUOT] {
            let error = error(errno);
            assert_eq!(error.kind, ErrorKind::Full);
            assert_eq!((error.attempts[0].status, error.outcome()), (-i16::try_from(errno).unwrap(), Outcome::Io));
        }
        let text = error(libc::ENOSPC).to_string();
        assert!(text.starts_with("writing /data/train/a.npz bytes 4096..4196: No space left on device"), "{text}");
        assert!(text.contains("the file system is full: free space"), "{text}");
    }

    #[test]
    fn errnos_have_the_class_that_decides_the_exit_code() {
        let cases = [
            (libc::ENOENT, ErrorKind::NotFound),
            (libc::ENOTDIR, ErrorKind::NotFound),
            (libc::EACCES, ErrorKind::Denied),
            (libc::EROFS, ErrorKind::Denied),
            (libc::EISDIR, ErrorKind::Invalid),
            (libc::ENOTCONN, ErrorKind::Unreachable),
            (libc::EMFILE, ErrorKind::Io),
            (libc::EIO, ErrorKind::Io),
        ];
        for (errno, kind) in cases {
            assert_eq!(error(errno).kind, kind, "{errno}");
        }
    }
}
