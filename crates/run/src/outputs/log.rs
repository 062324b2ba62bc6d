//! What the program says: rank 0's lines on the terminal and in the log file, diagnostics of the libraries, failures.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::{Code, Failure};
use crate::launch::Environment;

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

impl Verbosity {
    /// From the switches of the command line.
    pub fn new(quiet: bool, verbose: u8) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => Self::Normal,
            (false, 1) => Self::Verbose,
            (false, _) => Self::Debug,
        }
    }
}

/// Sends the libraries' diagnostics to standard error, filtered by `RUST_LOG` or by the verbosity.
pub fn init(verbosity: Verbosity, env: &Environment) {
    let default = match verbosity {
        Verbosity::Quiet => LevelFilter::ERROR,
        Verbosity::Normal => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::INFO,
        Verbosity::Debug => LevelFilter::DEBUG,
    };
    // s3s, the server's library, reports every refused request as an error, which the client is told anyway, and dumps
    // whole requests at debug level: RUST_LOG=s3s=debug shows them.
    let default = Targets::new().with_default(default).with_target("s3s", LevelFilter::OFF);
    let filter = match env.get("RUST_LOG").filter(|asked| !asked.is_empty()).map(|asked| asked.parse::<Targets>()) {
        Some(Ok(asked)) => asked,
        Some(Err(why)) => {
            let line = format!(
                "dlio-rs: warning: RUST_LOG is ignored: {why}; expected a level (debug) or a list of TARGET=LEVEL\n"
            );
            let _ = std::io::stderr().write_all(line.as_bytes());
            default
        }
        None => default,
    };
    let colours = crate::terminal::takes_colours(env, std::io::stderr().is_terminal());
    let records = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours).without_time();
    tracing_subscriber::registry().with(records.with_filter(filter)).init();
}

/// Prints one failure on standard error, in one piece: ranks that fail at the same moment share it. The output folder's
/// list of runs will say so.
pub fn failure(failure: &Failure) {
    /// What was said last: two threads may find the same end of the run.
    static SAID: Mutex<String> = Mutex::new(String::new());
    crate::output_folder::failed(failure);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !failure.said && !failure.message.is_empty() && *said != failure.message {
        said.clone_from(&failure.message);
        let line = format!("dlio-rs: error: {failure}\n");
        let columns = crate::terminal::error_columns(&crate::launch::environment());
        let _ = std::io::stderr().write_all(crate::terminal::wrapped(&line, columns).as_bytes());
    }
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
///
/// # Errors
/// When the output cannot be written.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Unexpected, format_args!("writing to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// One line each.
pub fn lines<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    texts.into_iter().fold(String::new(), |mut all, text| {
        all.push_str(text.as_ref());
        all.push('\n');
        all
    })
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
    bars: Option<indicatif::MultiProgress>,
    file: LogFile,
}

/// The file of a log, which another thread can write to as well.
#[derive(Clone, Default)]
pub struct LogFile(Arc<Mutex<Option<File>>>);

impl Log {
    /// A log that says nothing: every rank but 0.
    pub fn silent() -> Self {
        Self { terminal: None, threshold: Level::Critical, bars: None, file: LogFile::default() }
    }

    /// The log of a rank that writes to the file that rank 0 has made; a rank that cannot see it speaks on the terminal.
    pub fn append(path: &Path) -> Self {
        let file = File::options().append(true).open(path).ok();
        Self { terminal: Some(Level::Warning), threshold: Level::Warning, bars: None, file: LogFile::of(file) }
    }

    /// A second handle of this log, for other threads; a rank without a log of its own speaks in the file at `path` and, unless the
    /// user wants quiet, on the terminal.
    pub fn speaker(&self, path: &Path, verbosity: Verbosity) -> Self {
        if self.file.is_open() {
            return self.handle();
        }
        let terminal = (verbosity > Verbosity::Quiet).then_some(Level::Warning);
        Self { terminal, ..Self::append(path) }
    }

    /// A second handle of this log, for other threads.
    pub fn handle(&self) -> Self {
        let (bars, file) = (self.bars.clone(), self.file.clone());
        Self { terminal: self.terminal, threshold: self.threshold, bars, file }
    }

    /// The same log with the reference's threshold for file and terminal, and without progress bars.
    pub fn at_level(self, level: Level) -> Self {
        Self { terminal: Some(level), threshold: level, bars: None, ..self }
    }

    /// Whether lines of a level go anywhere.
    pub fn hears(&self, level: Level) -> bool {
        level >= self.threshold || self.terminal.is_some_and(|least| level >= least)
    }

    /// Rank 0's log; the file is made anew.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, verbosity: Verbosity) -> Result<Self, Failure> {
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
        let bars = terminal.and_then(|_| bars());
        Ok(Self { terminal, threshold: Level::Debug, bars, file: LogFile::of(Some(file)) })
    }

    /// Where progress bars are drawn, on a terminal.
    pub fn bars(&self) -> Option<indicatif::MultiProgress> {
        self.bars.clone()
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
        match &self.bars {
            Some(bars) => bars.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{text}");
            }),
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
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

/// Where live lines are drawn: standard error, if it is a terminal.
pub fn bars() -> Option<indicatif::MultiProgress> {
    std::io::stderr().is_terminal().then(indicatif::MultiProgress::new)
}

/// Prints a remark on standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "dlio-rs: {text}");
}
