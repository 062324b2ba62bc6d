//! Which launcher started this process, and whether the MPI library agrees with it.
//!
//! A launcher of another MPI than the one that the binary was built with silently gives N worlds of one rank: each
//! would generate the whole data set and report its own metrics. This is found before the first operation.

use crate::Error;

/// Variable by which a user says that every process is a world of its own.
pub const COMM: &str = "DLIO_RS_COMM";

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
    /// Whether its processes find each other through MPI.
    pub mpi: bool,
    /// The variables of its table row that are set, as `NAME=value`.
    pub variables: Vec<String>,
}

/// What one launcher sets.
struct Signs {
    name: &'static str,
    size: &'static str,
    rank: &'static str,
    /// Its processes find each other through MPI; otherwise nothing here makes one world of them.
    mpi: bool,
}

const fn mpi(name: &'static str, size: &'static str, rank: &'static str) -> Signs {
    Signs { name, size, rank, mpi: true }
}

const fn foreign(name: &'static str, size: &'static str, rank: &'static str) -> Signs {
    Signs { name, size, rank, mpi: false }
}

/// In the order of trust: an MPI launcher inside a Slurm step counts before the step, and before whatever has started the
/// container that it runs in. `SLURM_NTASKS` is not here: a mere allocation sets it.
const KNOWN: &[Signs] = &[
    mpi("Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    mpi("MVAPICH2's mpirun", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    mpi("a PMI launcher (MPICH's or Intel MPI's mpiexec)", "PMI_SIZE", "PMI_RANK"),
    mpi("Hydra (MPICH's or Intel MPI's mpiexec)", "MPI_LOCALNRANKS", "PMI_RANK"),
    mpi("Slurm's srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    mpi("a PMIx launcher", "", "PMIX_RANK"),
    foreign("Flux", "FLUX_JOB_SIZE", "FLUX_TASK_RANK"),
    foreign("Horovod", "HOROVOD_SIZE", "HOROVOD_RANK"),
    foreign("torchrun or a PyTorch job", "WORLD_SIZE", "RANK"),
    foreign("AWS Batch", "AWS_BATCH_JOB_NUM_NODES", "AWS_BATCH_JOB_NODE_INDEX"),
    foreign("an Indexed Job of Kubernetes", "", "JOB_COMPLETION_INDEX"),
];

/// Finds the launcher of this process; `env` looks a variable up.
#[must_use]
pub fn detect(env: &dyn Fn(&str) -> Option<String>) -> Option<Launcher> {
    let number = |name: &str| env(name).and_then(|value| value.trim().parse::<u32>().ok());
    KNOWN.iter().find_map(|signs| {
        let (size, rank) = (number(signs.size), number(signs.rank));
        // A row without a size is known by its rank. One that is not MPI's must have both: the names are common words.
        let variable = match (size, rank, signs.size) {
            (None, Some(_), "") => signs.rank,
            (Some(_), Some(_), _) => signs.size,
            (Some(_), None, _) if signs.mpi => signs.size,
            _ => return None,
        };
        let shown = |name: &str| env(name).map(|value| format!("{name}={}", value.trim()));
        let variables = [signs.size, signs.rank].iter().filter_map(|name| shown(name)).collect();
        Some(Launcher { name: signs.name, size, rank, variable, mpi: signs.mpi, variables })
    })
}

impl Launcher {
    /// Whether it says that there are more processes than this one, or cannot say that there are not.
    #[must_use]
    pub fn is_plural(&self) -> bool {
        match (self.size, self.rank) {
            (Some(size), _) => size > 1,
            (None, Some(rank)) => rank > 0 || !self.mpi,
            (None, None) => false,
        }
    }
}

/// Checks that a world of one rank is what the launcher started.
///
/// # Errors
/// When the launcher announced more ranks than one and the MPI library sees only this one.
pub fn check(launcher: Option<&Launcher>, world_size: u32) -> Result<(), Error> {
    let Some(launcher) = launcher.filter(|launcher| launcher.is_plural() && world_size <= 1) else { return Ok(()) };
    let variables = launcher.variables.join(", ");
    let (world, remedy) = if launcher.mpi {
        (
            "but its MPI library sees a world of 1 rank",
            "start it with the mpirun of the MPI library that this binary is linked with (`ldd` shows it), or under Slurm with \
         the matching `srun --mpi=…` plug-in",
        )
    } else {
        ("which is no MPI launcher", "start the ranks with `mpirun`")
    };
    Err(Error::Library(format!(
        "this process was started by {} ({variables}), {world}: every process would do the whole run by \
         itself; {remedy}, or set {COMM}=solo if that is meant",
        launcher.name
    )))
}

/// What [`COMM`] says: whether this process is a world of its own whatever has started it.
///
/// # Errors
/// A word that means nothing.
pub fn is_solo(word: Option<&str>) -> Result<bool, Error> {
    match word.map(str::trim) {
        None | Some("" | "auto") => Ok(false),
        Some("solo") => Ok(true),
        Some(other) => Err(Error::Library(format!("{COMM}: expected solo or auto, found {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, Launcher, check, detect, is_solo};

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
        let names = ["PMI_SIZE=4", "PMI_RANK=1", "world of 1 rank", "DLIO_RS_COMM=solo"];
        assert!(names.iter().all(|name| message.contains(name)), "{message}");
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

    #[test]
    fn every_row_of_several_ranks_is_refused_in_a_world_of_one_by_its_variables() {
        for signs in KNOWN {
            let variables: Vec<(&str, &str)> =
                [(signs.size, "4"), (signs.rank, "1")].into_iter().filter(|(name, _)| !name.is_empty()).collect();
            let launcher = found(&variables).unwrap();
            assert_eq!((launcher.name, launcher.rank), (signs.name, Some(1)));
            let message = check(Some(&launcher), 1).unwrap_err().to_string();
            for (name, value) in &variables {
                assert!(message.contains(&format!("{name}={value}")), "{message}");
            }
            assert!(message.contains("mpirun") && message.contains("DLIO_RS_COMM=solo"), "{message}");
            if !signs.size.is_empty() {
                let one = found(&[(signs.size, "1"), (signs.rank, "0")]);
                assert!(check(one.as_ref(), 1).is_ok(), "{} with one rank", signs.name);
            }
        }
    }

    #[test]
    fn a_pod_of_an_indexed_job_cannot_know_that_it_is_the_only_one() {
        assert!(check(found(&[("JOB_COMPLETION_INDEX", "0")]).as_ref(), 1).is_err());
        let inside = found(&[("JOB_COMPLETION_INDEX", "0"), ("OMPI_COMM_WORLD_SIZE", "2")]);
        assert!(check(inside.as_ref(), 2).is_ok(), "mpirun in a pod is mpirun");
    }

    #[test]
    fn common_words_alone_are_no_launcher() {
        assert_eq!(found(&[("WORLD_SIZE", "4")]), None);
        assert_eq!(found(&[("RANK", "2")]), None);
        assert_eq!(found(&[("WORLD_SIZE", "four"), ("RANK", "0")]), None);
    }

    #[test]
    fn a_process_is_a_world_of_its_own_when_the_user_says_so() {
        assert_eq!(is_solo(Some("solo")).ok(), Some(true));
        assert_eq!((is_solo(None).ok(), is_solo(Some("auto")).ok()), (Some(false), Some(false)));
        assert!(is_solo(Some("mpi4py")).unwrap_err().to_string().contains("expected solo or auto"));
    }
}
