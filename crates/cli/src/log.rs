//! Printing: results, failures, remarks, diagnostics of libraries.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use dlio_run::failure::{Code, Failure};
use dlio_run::launch::Environment;
use dlio_run::message::Verbosity;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Returns the verbosity for the options `--quiet` and `--verbose`.
pub(crate) fn verbosity(quiet: bool, verbose: u8) -> Verbosity {
    match (quiet, verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::Debug,
    }
}

/// Sends diagnostics of libraries to standard error, filtered by `RUST_LOG` or by the verbosity.
pub(crate) fn init(verbosity: Verbosity, env: &Environment) {
    let default = match verbosity {
        Verbosity::Quiet => LevelFilter::ERROR,
        Verbosity::Normal => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::INFO,
        Verbosity::Debug => LevelFilter::DEBUG,
    };
    // s3s, the server's library, logs every refused request as an error although the client gets it in the response,
    // and dumps whole requests at debug level. `RUST_LOG=s3s=debug` shows them.
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

/// Prints a failure on standard error with a single write, because ranks that fail at the same time share it. The
/// failure also becomes the ending of the run in `run.json`.
pub(crate) fn failure(failure: &Failure) {
    /// The last failure that was printed: two threads may find the same end of the run.
    static SAID: Mutex<String> = Mutex::new(String::new());
    crate::stop::stop().failed(failure);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !failure.reported && !failure.message.is_empty() && *said != failure.message {
        said.clone_from(&failure.message);
        let line = format!("dlio-rs: error: {failure}\n");
        let columns = crate::terminal::error_columns(&crate::environment::environment());
        let _ = std::io::stderr().write_all(crate::terminal::wrapped(&line, columns).as_bytes());
    }
}

/// Writes to standard output. A reader that closed the pipe (`| head`) is no failure.
///
/// # Errors
/// If the output cannot be written.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Unexpected, format_args!("writing to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Joins texts, each on its own line.
pub(crate) fn lines<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    texts.into_iter().fold(String::new(), |mut all, text| {
        all.push_str(text.as_ref());
        all.push('\n');
        all
    })
}

/// Prints a remark to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "dlio-rs: {text}");
}
