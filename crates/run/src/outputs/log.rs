//! The log of a run: rank 0's lines, in the log file and for the observer.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::failure::Failure;
use crate::front_end::{RunObserver, Silent};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    /// Progress and results.
    Normal,
    /// Decisions as well.
    Verbose,
    /// Everything.
    Debug,
}

/// The reference's levels, by weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Level {
    /// 10
    Debug,
    /// 20
    Info,
    /// 30; the reference's threshold where nothing else is set.
    Warning,
    /// 35: progress and results.
    Output,
    /// 40
    Error,
    /// 50
    Critical,
}

impl Level {
    fn name(self) -> &'static str {
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

/// The run's log: the file that the reference writes, and the terminal. Only rank 0 has one that speaks, except where all
/// ranks append to the reference's file.
pub struct Log {
    /// Lines below this level stay off the terminal; `None`: all do.
    terminal: Option<Level>,
    /// The same for the file.
    threshold: Level,
    observer: Arc<dyn RunObserver>,
    file: LogFile,
}

/// The file of a log, which another thread can write to as well.
#[derive(Clone, Default)]
pub struct LogFile(Arc<Mutex<Option<File>>>);

impl Log {
    /// A log that says nothing: every rank but 0.
    pub fn silent() -> Self {
        let observer = Arc::new(Silent);
        Self { terminal: None, threshold: Level::Critical, observer, file: LogFile::default() }
    }

    /// The log of a rank that writes to the file that rank 0 has made; a rank that cannot see it speaks on the terminal.
    pub fn append(path: &Path, observer: &Arc<dyn RunObserver>) -> Self {
        let observer = Arc::clone(observer);
        let file = File::options().append(true).open(path).ok();
        Self { terminal: Some(Level::Warning), threshold: Level::Warning, observer, file: LogFile::of(file) }
    }

    /// A second handle of this log, for other threads; a rank without a log of its own speaks in the file at `path` and, unless the
    /// user wants quiet, on the terminal.
    pub fn speaker(&self, path: &Path, verbosity: Verbosity, observer: &Arc<dyn RunObserver>) -> Self {
        if self.file.is_open() {
            return self.handle();
        }
        let terminal = (verbosity > Verbosity::Quiet).then_some(Level::Warning);
        Self { terminal, ..Self::append(path, observer) }
    }

    /// A second handle of this log, for other threads.
    pub fn handle(&self) -> Self {
        let (observer, file) = (Arc::clone(&self.observer), self.file.clone());
        Self { terminal: self.terminal, threshold: self.threshold, observer, file }
    }

    /// The same log with the reference's threshold for file and terminal.
    pub fn at_level(self, level: Level) -> Self {
        Self { terminal: Some(level), threshold: level, ..self }
    }

    /// Whether lines of a level go anywhere.
    pub fn hears(&self, level: Level) -> bool {
        level >= self.threshold || self.terminal.is_some_and(|least| level >= least)
    }

    /// Rank 0's log; the file is made anew.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, verbosity: Verbosity, observer: &Arc<dyn RunObserver>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::file("creating the log file", path, &error);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // Appending, so that the lines of several ranks do not overwrite each other.
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

    /// One line at the reference's OUTPUT level.
    pub fn line(&self, line: &str) {
        self.leveled(Level::Output, line);
    }

    /// One line at WARNING level.
    pub fn warning(&self, line: &str) {
        self.leveled(Level::Warning, line);
    }

    /// One line at INFO level: to the file only, unless the reference's threshold says otherwise.
    pub fn info(&self, line: &str) {
        self.leveled(Level::Info, line);
    }

    /// One line at a level.
    pub fn leveled(&self, level: Level, line: &str) {
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

    /// Its file.
    pub fn file(&self) -> LogFile {
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

    /// Appends a line as it is.
    pub fn line(&self, text: &str) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A log line that cannot be written (disk full) must not end a run whose results are still good.
        if let Some(open) = file.as_mut()
            && let Err(error) = open.write_all(format!("{text}\n").as_bytes())
        {
            tracing::warn!("the log file cannot be written any more: {error}");
            *file = None;
        }
    }
}
