//! Which launcher started this process, and whether the MPI library agrees with it.
//!
//! A launcher of another MPI than the one that the binary was built with silently gives N worlds of one rank: each
//! would generate the whole data set and report its own metrics. This is found before the first operation.

use crate::Error;

/// A launcher that left its variables in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// What it is, for messages.
    pub name: &'static str,
    /// Ranks that it says it started (at least, where it only tells those of this node).
    pub size: Option<u32>,
    /// Rank that it gave this process.
    pub rank: Option<u32>,
    /// The variable that gave it away.
    pub variable: &'static str,
}

/// What one launcher sets.
struct Signs {
    name: &'static str,
    size: &'static str,
    rank: &'static str,
}

/// In the order of trust: an MPI launcher inside a Slurm step counts before the step. `SLURM_NTASKS` is not here: a
/// mere allocation sets it.
const KNOWN: &[Signs] = &[
    Signs { name: "Open MPI's mpirun", size: "OMPI_COMM_WORLD_SIZE", rank: "OMPI_COMM_WORLD_RANK" },
    Signs { name: "MVAPICH2's mpirun", size: "MV2_COMM_WORLD_SIZE", rank: "MV2_COMM_WORLD_RANK" },
    Signs { name: "a PMI launcher (MPICH's or Intel MPI's mpiexec)", size: "PMI_SIZE", rank: "PMI_RANK" },
    Signs { name: "Hydra (MPICH's or Intel MPI's mpiexec)", size: "MPI_LOCALNRANKS", rank: "PMI_RANK" },
    Signs { name: "Slurm's srun", size: "SLURM_STEP_NUM_TASKS", rank: "SLURM_PROCID" },
    Signs { name: "a PMIx launcher", size: "", rank: "PMIX_RANK" },
];

/// Finds the launcher of this process; `env` looks a variable up.
#[must_use]
pub fn detect(env: &dyn Fn(&str) -> Option<String>) -> Option<Launcher> {
    let number = |name: &str| env(name).and_then(|value| value.trim().parse::<u32>().ok());
    KNOWN.iter().find_map(|signs| {
        let (size, rank) = (number(signs.size), number(signs.rank));
        // Only PMIx tells no size, and only there does a rank count by itself.
        let variable = match (size, signs.size) {
            (Some(_), _) => signs.size,
            (None, "") if rank.is_some() => signs.rank,
            _ => return None,
        };
        Some(Launcher { name: signs.name, size, rank, variable })
    })
}

/// Checks that a world of one rank is what the launcher started.
///
/// # Errors
/// When the launcher announced more ranks than one and the MPI library sees only this one.
pub fn check(launcher: Option<&Launcher>, world_size: u32) -> Result<(), Error> {
    let Some(launcher) = launcher else { return Ok(()) };
    let value = match (launcher.size, launcher.rank) {
        (Some(size), _) if size > 1 => size,
        (None, Some(rank)) if rank > 0 => rank,
        _ => return Ok(()),
    };
    if world_size > 1 {
        return Ok(());
    }
    Err(Error::Library(format!(
        "this process was started by {} ({}={value}), but its MPI library sees a world of 1 rank: every process would \
         do the whole run by itself; start it with the mpirun of the MPI library that this binary is linked with \
         (`ldd` shows it), or under Slurm with the matching `srun --mpi=…` plug-in",
        launcher.name, launcher.variable
    )))
}

#[cfg(test)]
mod tests {
    use super::{Launcher, check, detect};

    fn found(variables: &[(&str, &str)]) -> Option<Launcher> {
        detect(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn each_launcher_is_found_by_its_variables() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<u32>, Option<u32>);
        let cases: &[Case] = &[
            (&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")], "OMPI_COMM_WORLD_SIZE", Some(4), Some(3)),
            (&[("PMI_SIZE", "8"), ("PMI_RANK", "0"), ("MPI_LOCALNRANKS", "4")], "PMI_SIZE", Some(8), Some(0)),
            (&[("MPI_LOCALNRANKS", "4")], "MPI_LOCALNRANKS", Some(4), None),
            (&[("MV2_COMM_WORLD_SIZE", "2"), ("MV2_COMM_WORLD_RANK", "1")], "MV2_COMM_WORLD_SIZE", Some(2), Some(1)),
            (&[("SLURM_STEP_NUM_TASKS", "16"), ("SLURM_PROCID", "5")], "SLURM_STEP_NUM_TASKS", Some(16), Some(5)),
            (&[("PMIX_RANK", "2")], "PMIX_RANK", None, Some(2)),
        ];
        for (variables, variable, size, rank) in cases {
            let launcher = found(variables).unwrap();
            assert_eq!((launcher.variable, launcher.size, launcher.rank), (*variable, *size, *rank));
        }
    }

    #[test]
    fn a_slurm_allocation_without_srun_is_no_launcher() {
        assert_eq!(found(&[("SLURM_NTASKS", "16"), ("SLURM_PROCID", "0"), ("SLURM_JOB_ID", "7")]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn mpirun_inside_a_slurm_step_counts_before_the_step() {
        let launcher =
            found(&[("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_PROCID", "1"), ("OMPI_COMM_WORLD_SIZE", "8")]).unwrap();
        assert_eq!(launcher.size, Some(8));
    }

    #[test]
    fn a_launcher_of_another_library_is_refused_with_both_sizes_named() {
        let launcher = found(&[("PMI_SIZE", "4"), ("PMI_RANK", "1")]);
        let message = check(launcher.as_ref(), 1).unwrap_err().to_string();
        assert!(message.contains("PMI_SIZE=4") && message.contains("world of 1 rank"), "{message}");
        assert!(check(launcher.as_ref(), 4).is_ok());
    }

    #[test]
    fn a_rank_above_zero_in_a_world_of_one_is_refused_too() {
        assert!(check(found(&[("PMIX_RANK", "1")]).as_ref(), 1).is_err());
        assert!(check(found(&[("PMIX_RANK", "0")]).as_ref(), 1).is_ok());
    }

    #[test]
    fn one_rank_is_one_rank_however_it_was_started() {
        assert!(check(found(&[("OMPI_COMM_WORLD_SIZE", "1")]).as_ref(), 1).is_ok());
        assert!(check(None, 1).is_ok());
    }
}
