//! The log of a run: lines go to the log file and to the observer.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::failure::Failure;
use crate::front_end::{RunObserver, Silent};
use crate::message::{Level, Verbosity};

/// The log of a run. Only rank 0 has a log, except with `dlio_benchmark`, where all ranks append to one file.
pub(crate) struct Log {
    /// Lowest level of lines for the observer; `None`: it gets none.
    terminal: Option<Level>,
    /// Lowest level of lines in the file.
    threshold: Level,
    observer: Arc<dyn RunObserver>,
    file: LogFile,
}

/// Log file; clones write to the same file, from any thread.
#[derive(Clone, Default)]
pub(crate) struct LogFile(Arc<Mutex<Option<File>>>);

impl Log {
    /// Returns a log without outputs: that of ranks other than 0.
    pub(crate) fn silent() -> Self {
        let observer = Arc::new(Silent);
        Self { terminal: None, threshold: Level::Critical, observer, file: LogFile::default() }
    }

    /// Returns a log that appends to the file that rank 0 created. If this rank cannot open it, lines go to the
    /// observer only.
    pub(crate) fn append(path: &Path, observer: &Arc<dyn RunObserver>) -> Self {
        let observer = Arc::clone(observer);
        let file = File::options().append(true).open(path).ok();
        Self { terminal: Some(Level::Warning), threshold: Level::Warning, observer, file: LogFile::of(file) }
    }

    /// Returns a handle of this log for other threads. A rank without a log of its own appends to the file at `path`
    /// and, unless the verbosity is quiet, sends its lines to the observer.
    pub(crate) fn speaker(&self, path: &Path, verbosity: Verbosity, observer: &Arc<dyn RunObserver>) -> Self {
        if self.file.is_open() {
            return self.handle();
        }
        let terminal = (verbosity > Verbosity::Quiet).then_some(Level::Warning);
        Self { terminal, ..Self::append(path, observer) }
    }

    /// Returns a second handle of this log, for other threads.
    pub(crate) fn handle(&self) -> Self {
        let (observer, file) = (Arc::clone(&self.observer), self.file.clone());
        Self { terminal: self.terminal, threshold: self.threshold, observer, file }
    }

    /// Sets the lowest level of lines for the file and the observer.
    pub(crate) fn at_level(self, level: Level) -> Self {
        Self { terminal: Some(level), threshold: level, ..self }
    }

    /// Whether lines of this level have any destination.
    pub(crate) fn is_enabled(&self, level: Level) -> bool {
        level >= self.threshold || self.terminal.is_some_and(|least| level >= least)
    }

    /// Creates rank 0's log; an existing file is replaced.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(crate) fn create(path: &Path, verbosity: Verbosity, observer: &Arc<dyn RunObserver>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::file("creating the log file", path, &error);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // Append mode, so that several ranks do not overwrite each other's lines.
        let file = File::options().create(true).append(true).open(path).map_err(failed)?;
        let terminal = match verbosity {
            Verbosity::Quiet => None,
            Verbosity::Normal => Some(Level::Warning),
            Verbosity::Verbose => Some(Level::Info),
            Verbosity::Debug => Some(Level::Debug),
        };
        let observer = Arc::clone(observer);
        Ok(Self { terminal, threshold: Level::Debug, observer, file: LogFile::of(Some(file)) })
    }

    /// Logs one line at DLIO's level OUTPUT.
    pub(crate) fn line(&self, line: &str) {
        self.leveled(Level::Output, line);
    }

    /// Logs one line at level WARNING.
    pub(crate) fn warning(&self, line: &str) {
        self.leveled(Level::Warning, line);
    }

    /// Logs one line at level INFO, which the observer gets only with `-v` or a lower threshold.
    pub(crate) fn info(&self, line: &str) {
        self.leveled(Level::Info, line);
    }

    /// Logs one line at this level.
    pub(crate) fn leveled(&self, level: Level, line: &str) {
        let text = format!("[{}] {line}", level.name());
        if level >= self.threshold {
            self.to_file(&text);
        }
        if self.terminal.is_none_or(|least| level < least) {
            return;
        }
        self.observer.message(level, &text);
    }

    fn to_file(&self, text: &str) {
        self.file.line(text);
    }

    /// Returns the log file.
    pub(crate) fn file(&self) -> LogFile {
        self.file.clone()
    }
}

impl LogFile {
    fn of(file: Option<File>) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    fn is_open(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Appends a line without level and time stamp.
    pub(crate) fn line(&self, text: &str) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A failure to write a log line, as on a full disk, must not end a run whose results are still good.
        if let Some(open) = file.as_mut()
            && let Err(error) = open.write_all(format!("{text}\n").as_bytes())
        {
            tracing::warn!("the log file cannot be written any more: {error}");
            *file = None;
        }
    }
}
