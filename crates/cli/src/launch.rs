//! Start of the process: its command line, and the communicator that its launcher asks for.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use dlio_comm::launcher::{Launcher, World};
use dlio_comm::{Communicator, launcher};

use dlio_run::launch::{Environment, detect};

use dlio_run::failure::{Code, Failure};
use dlio_run::ranks::REPORT_AFTER;

/// Returns the command line for traces. Bytes that are not Unicode are replaced, and secrets are masked.
pub(crate) fn command_line() -> Vec<String> {
    shown(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
}

/// Masks the secrets among the words of a command line.
fn shown(words: impl Iterator<Item = String>) -> Vec<String> {
    const OPTION: &str = "--secret-key";
    let mut follows = false;
    let star = |word: String| {
        let is_secret = std::mem::replace(&mut follows, word == OPTION);
        let (name, _) = word.split_once('=').unwrap_or((&word, ""));
        match name {
            _ if is_secret => "***".to_owned(),
            OPTION if name != word => format!("{OPTION}=***"),
            _ => dlio_config::without_secret(&word),
        }
    };
    words.map(star).collect()
}

/// Disables transparent huge pages for this process. Buffers are small and reused, so huge pages gain nothing (reading
/// from the page cache takes the same CPU time; shuffling 50 million files takes half the system time without them) and
/// cost 20 MiB per rank. 128 threads beside two lanes use 112 MiB instead of 815 MiB, and an analysis of 10 million
/// events takes a quarter less time and a tenth less memory.
pub(crate) fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("huge pages stay: {error}");
    }
}

/// Joins the ranks that a launcher started, or creates a world of one rank.
///
/// # Errors
/// If a launcher announces more ranks than the MPI library sees, or no MPI library can be used.
pub(crate) fn communicator(env: &Environment) -> Result<Rc<dyn Communicator>, Failure> {
    let launcher = detect(env);
    match launcher::world(env.get(launcher::COMM).map(String::as_str)).map_err(Failure::usage)? {
        World::Solo => return Ok(Rc::new(dlio_comm::Solo::new())),
        World::Auto if mpi_library(env).is_none() && !launcher.as_ref().is_some_and(Launcher::needs_mpi) => {
            launcher::check(launcher.as_ref(), 1, None)?;
            return Ok(Rc::new(dlio_comm::Solo::new()));
        }
        World::Auto | World::Mpi => {}
    }
    // Launchers other than MPI's do not say which library to use.
    let launcher = launcher.filter(Launcher::is_mpi);
    let comm = join(mpi_library(env).as_deref(), launcher.as_ref())?;
    let library = dlio_comm::Mpi::library().map(|library| library.to_string());
    launcher::check(launcher.as_ref(), comm.place().size, library.as_deref())?;
    Ok(comm)
}

/// Returns the file of the MPI library that the user named.
pub(crate) fn mpi_library(env: &Environment) -> Option<PathBuf> {
    env.get(launcher::MPI).map(|file| file.trim()).filter(|file| !file.is_empty()).map(PathBuf::from)
}

fn join(library: Option<&Path>, launcher: Option<&Launcher>) -> Result<Rc<dyn Communicator>, Failure> {
    // `MPI_Init` blocks until all ranks have joined, so a thread reports a long wait.
    let name = launcher.map_or("the launcher", |launcher| launcher.name);
    let (joined, waiting) = std::sync::mpsc::channel::<()>();
    let watch = move || {
        let mut waited = std::time::Duration::ZERO;
        while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = waiting.recv_timeout(REPORT_AFTER) {
            waited += REPORT_AFTER;
            crate::log::note(&format!(
                "waiting {} s for all ranks that {name} has started to join (MPI_Init)",
                waited.as_secs()
            ));
        }
    };
    // Without the thread only the report is missing.
    drop(std::thread::Builder::new().name("joining".to_owned()).spawn(watch));
    let world = dlio_comm::Mpi::init(library, launcher);
    drop(joined);
    Ok(Rc::new(world?))
}

/// Runs a future on this thread.
///
/// # Errors
/// If the runtime cannot be created, or the error of the future.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Unexpected, format_args!("starting the I/O runtime: {error}")))?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_command_line_is_kept_without_its_secrets() {
        let words =
            "dlio-rs --secret-key a --secret-key=b ++x.secret_access_key=c x={secret_access_key:d,region:r} --output e";
        let kept = super::shown(words.split(' ').map(str::to_owned)).join(" ");
        let expected =
            "dlio-rs --secret-key *** --secret-key=*** ++x.secret_access_key=*** x={secret_access_key=*** --output e";
        assert_eq!(kept, expected);
    }
}
