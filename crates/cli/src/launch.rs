//! How this process was started: the environment, read once, and the communicator that follows from it.

use std::collections::BTreeMap;
use std::rc::Rc;

use dlio_comm::{Communicator, launcher};

use crate::exit::{Code, Failure};
#[cfg(feature = "mpi")]
use crate::ranks::REPORT_AFTER;

/// The environment variables of the process.
pub(crate) type Environment = BTreeMap<String, String>;

/// Reads the environment; names and values that are not Unicode are left out, no key of ours can be among them.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The command line, for a trace: in words that are not Unicode, other bytes are replaced.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Keeps the kernel from giving this process huge pages. Buffers are small and used again and again: huge pages gain nothing
/// there (reading from the page cache takes the same CPU time, shuffling fifty million files half the system time without
/// them) and cost 20 MiB a rank; 128 threads beside two lanes take 112 MiB in place of 815 MiB. An analysis of ten million
/// events takes a quarter less time and a tenth less memory without them.
pub(crate) fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("huge pages stay: {error}");
    }
}

/// Lets this process have as many open files and connections as it may: lanes and endpoints multiply.
pub(crate) fn raise_descriptor_limit() {
    let limit = dlio_server::raise_descriptor_limit();
    tracing::debug!("limit on file descriptors: {limit:?}");
}

/// The launcher that this environment tells of.
pub(crate) fn detect(env: &Environment) -> Option<launcher::Launcher> {
    launcher::detect(&|name: &str| env.get(name).cloned())
}

/// Joins the ranks that a launcher started, or makes a world of one.
///
/// # Errors
/// When a launcher announces more ranks than the MPI library sees.
pub(crate) fn communicator(env: &Environment) -> Result<Rc<dyn Communicator>, Failure> {
    let solo = launcher::is_solo(env.get(launcher::COMM).map(String::as_str)).map_err(Failure::usage)?;
    let Some(launcher) = detect(env).filter(|_| !solo) else {
        return Ok(Rc::new(dlio_comm::Solo::new()));
    };
    if !launcher.mpi {
        launcher::check(Some(&launcher), 1)?;
        return Ok(Rc::new(dlio_comm::Solo::new()));
    }
    let comm = join(&launcher)?;
    launcher::check(Some(&launcher), comm.place().size)?;
    Ok(comm)
}

#[cfg(feature = "mpi")]
fn join(launcher: &launcher::Launcher) -> Result<Rc<dyn Communicator>, Failure> {
    // The library waits for all ranks and can be asked for nothing meanwhile.
    let name = launcher.name;
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
    // Without it nothing is said, and nothing else is lost.
    drop(std::thread::Builder::new().name("joining".to_owned()).spawn(watch));
    let world = dlio_comm::Mpi::init();
    drop(joined);
    Ok(Rc::new(world?))
}

#[cfg(not(feature = "mpi"))]
fn join(_launcher: &launcher::Launcher) -> Result<Rc<dyn Communicator>, Failure> {
    Ok(Rc::new(dlio_comm::Solo::new()))
}

/// Runs a command's asynchronous part on this thread.
///
/// # Errors
/// When the runtime cannot be made, or what the command returns.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Unexpected, format_args!("starting the I/O runtime: {error}")))?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}
