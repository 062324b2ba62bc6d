//! What the program says: rank 0's lines on the terminal and in the log file, diagnostics of the libraries, failures.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use crate::exit::{Code, Failure};
use crate::launch::Environment;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
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
    pub(crate) fn new(quiet: bool, verbose: u8) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => Self::Normal,
            (false, 1) => Self::Verbose,
            (false, _) => Self::Debug,
        }
    }
}

/// Sends the libraries' diagnostics to standard error, filtered by `RUST_LOG` or by the verbosity.
pub(crate) fn init(verbosity: Verbosity, env: &Environment) {
    let default = match verbosity {
        Verbosity::Quiet => "error",
        Verbosity::Normal => "warn",
        Verbosity::Verbose => "info",
        Verbosity::Debug => "debug",
    };
    let filter = env.get("RUST_LOG").map_or_else(|| EnvFilter::new(default), EnvFilter::new);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}

/// Prints one failure on standard error.
pub(crate) fn failure(failure: &Failure) {
    if !failure.message.is_empty() {
        let _ = writeln!(std::io::stderr(), "dlio-rs: error: {failure}");
    }
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Unexpected, format_args!("writing to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// One line each.
pub(crate) fn lines<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    texts.into_iter().fold(String::new(), |mut all, text| {
        all.push_str(text.as_ref());
        all.push('\n');
        all
    })
}

/// The run's log: the file that the reference writes, and the terminal. Only rank 0 has one that speaks.
pub(crate) struct Log {
    terminal: bool,
    bars: Option<indicatif::MultiProgress>,
    file: Mutex<Option<File>>,
}

impl Log {
    /// A log that says nothing: every rank but 0.
    pub(crate) fn silent() -> Self {
        Self { terminal: false, bars: None, file: Mutex::new(None) }
    }

    /// Rank 0's log; the file is made anew.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn create(path: &Path, verbosity: Verbosity) -> Result<Self, Failure> {
        use std::io::IsTerminal as _;
        let file = File::create(path).map_err(|error| Failure::file("creating the log file", path, &error))?;
        let terminal = verbosity > Verbosity::Quiet;
        let bars = (terminal && std::io::stderr().is_terminal()).then(indicatif::MultiProgress::new);
        Ok(Self { terminal, bars, file: Mutex::new(Some(file)) })
    }

    /// Where progress bars are drawn, on a terminal.
    pub(crate) fn bars(&self) -> Option<&indicatif::MultiProgress> {
        self.bars.as_ref()
    }

    /// One line at the reference's OUTPUT level.
    pub(crate) fn line(&self, line: &str) {
        self.leveled("OUTPUT", line);
    }

    /// One line at WARNING level.
    pub(crate) fn warning(&self, line: &str) {
        self.leveled("WARNING", line);
    }

    /// One line at INFO level: to the file only.
    pub(crate) fn info(&self, line: &str) {
        self.to_file(&format!("[INFO] {line}"));
    }

    fn leveled(&self, level: &str, line: &str) {
        let text = format!("[{level}] {line}");
        self.to_file(&text);
        if !self.terminal {
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
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A log line that cannot be written (disk full) must not end a run whose results are still good.
        if let Some(open) = file.as_mut()
            && let Err(error) = writeln!(open, "{text}")
        {
            tracing::warn!("the log file cannot be written any more: {error}");
            *file = None;
        }
    }
}

/// Prints a remark on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "dlio-rs: {text}");
}
