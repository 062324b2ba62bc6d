//! Searches for MPI libraries: first next to the launcher that started this process, then where the dynamic loader
//! looks.

use std::path::{Path, PathBuf};

use crate::mpi_family::Family;

/// Returns the file names of a family's libraries, newest ABI last: the ABI that programs link with today comes
/// first.
fn names(family: Family) -> &'static [&'static str] {
    match family {
        Family::OpenMpi => &["libmpi.so.40"],
        // MPICH and Intel MPI, Debian's MPICH, Cray MPICH.
        Family::Mpich => &["libmpi.so.12", "libmpich.so.12", "libmpi_cray.so.12", "libmpi_gnu.so.12"],
    }
}

/// File names that are common to all families.
const COMMON: &[&str] = &["libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi_abi.so", "libmpi.so"];

/// Programs that start ranks, or run between a launcher and its ranks.
const LAUNCHERS: &[&str] = &[
    "orterun",
    "orted",
    "prterun",
    "prted",
    "prte",
    "mpirun",
    "mpiexec",
    "mpiexec.hydra",
    "hydra_pmi_proxy",
    "hydra_bstrap_proxy",
    "mpirun.openmpi",
    "mpirun.mpich",
    "mpiexec.gforker",
];

/// Library folders, relative to the folder of a launcher.
const FOLDERS: &[&str] =
    &["../lib", "../lib64", "../lib/release", "../lib/x86_64-linux-gnu", "../lib/aarch64-linux-gnu"];

/// Returns candidate library files for a launcher of these families, best first; `launcher` is its program.
pub(super) fn candidates(families: &[Family], launcher: Option<&Path>) -> Vec<PathBuf> {
    let names = || families.iter().flat_map(|family| names(*family)).chain(COMMON);
    let beside = launcher.and_then(Path::parent).into_iter().flat_map(|folder| {
        let exists = move |path: &PathBuf| path.exists();
        FOLDERS.iter().flat_map(move |lib| names().map(move |name| folder.join(lib).join(name)).filter(exists))
    });
    beside.chain(names().map(PathBuf::from)).collect()
}

/// Returns the program of the launcher that started this process, if it is among the nearest ancestors.
pub(super) fn launcher_program() -> Option<PathBuf> {
    /// Ancestors to look at, because shells, wrappers and debuggers may run in between.
    const ANCESTORS: usize = 6;
    let mut process = std::process::id();
    for _ in 0..ANCESTORS {
        process = parent(process)?;
        let Ok(program) = std::fs::read_link(format!("/proc/{process}/exe")) else { continue };
        let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if LAUNCHERS.contains(&name) {
            return Some(program);
        }
    }
    None
}

/// Returns the parent of a process; `None` for the first process.
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // State and parent follow the program's name, which may contain spaces and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok().filter(|parent| *parent > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_own_library_comes_before_those_of_the_system() {
        let root = tempfile::tempdir().unwrap();
        for file in ["bin/mpiexec.hydra", "lib/libmpi.so.12", "lib/libmpi_abi.so.1"] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let launcher = root.path().join("bin/mpiexec.hydra");
        let found = candidates(&[Family::Mpich], Some(&launcher));
        let bin = root.path().join("bin");
        assert_eq!(found[..2], [bin.join("../lib/libmpi.so.12"), bin.join("../lib/libmpi_abi.so.1")]);
        assert_eq!(found[2], PathBuf::from("libmpi.so.12"));
        assert!(!found.contains(&PathBuf::from("libmpi.so.40")));
    }

    #[test]
    fn every_family_is_looked_for_where_the_launcher_says_nothing() {
        let found = candidates(&[Family::Mpich, Family::OpenMpi], None);
        let at = |name: &str| found.iter().position(|path| path == Path::new(name)).unwrap();
        assert!(at("libmpich.so.12") < at("libmpi.so.40") && at("libmpi.so.40") < at("libmpi_abi.so.1"));
    }

    #[test]
    fn the_parent_of_this_process_is_known() {
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
        assert_eq!(parent(u32::MAX), None);
    }
}
