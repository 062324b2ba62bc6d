//! The environment of this process, which is read once, and the options that replace variables.

use std::path::Path;
use std::sync::OnceLock;

use dlio_comm::launcher;
use dlio_run::launch::Environment;

/// Values of command line options that replace variables.
static FLAGS: OnceLock<Vec<(&str, String)>> = OnceLock::new();

/// Lets the options `--comm` and `--mpi`, which every command has, replace their variables.
pub(crate) fn heed(comm: Option<&str>, mpi: Option<&Path>) {
    let comm = comm.map(|word| (launcher::COMM, word.to_owned()));
    let mpi = mpi.map(|file| (launcher::MPI, file.to_string_lossy().into_owned()));
    // The command line is parsed once, so the first value stays.
    let _ = FLAGS.set(comm.into_iter().chain(mpi).collect());
}

/// Returns the environment of the process. Names and values that are not Unicode are left out, because no variable of
/// this program can be among them. If `HOME` is not set, it is the user's home folder, as for the AWS CLI.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn environment() -> Environment {
    // The environment is read before MPI libraries add variables of their own.
    static READ: OnceLock<Environment> = OnceLock::new();
    let read = || {
        let mut variables: Environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        if !variables.contains_key("HOME") {
            let home = std::env::home_dir().and_then(|home| home.into_os_string().into_string().ok());
            variables.extend(home.map(|home| ("HOME".to_owned(), home)));
        }
        variables
    };
    let mut variables = READ.get_or_init(read).clone();
    variables.extend(FLAGS.get().into_iter().flatten().map(|(name, value)| ((*name).to_owned(), value.clone())));
    variables
}
