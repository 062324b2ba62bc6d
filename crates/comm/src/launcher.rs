//! Detects the launcher that started this process, and checks that the MPI library sees the same world.
//!
//! If the launcher belongs to another MPI than the library, the result is N worlds of one rank, without an error:
//! each would generate the whole dataset and report its own metrics. The check finds this before the first operation.

use crate::error::Error;
use crate::mpi_family::Family;

/// Environment variable that selects how ranks find each other; see [`World`].
pub const COMM: &str = "DLIO_RS_COMM";

/// Environment variable that names the file of the MPI library.
pub const MPI: &str = "DLIO_RS_MPI";

/// The way in which the ranks of a run find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum World {
    /// Through MPI if an MPI launcher is detected; otherwise this process is alone.
    #[default]
    Auto,
    /// Through MPI, even if no launcher is detected.
    Mpi,
    /// Not at all: every process is a world of its own.
    Solo,
}

/// A launcher detected by its environment variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// Its name, for messages.
    pub name: &'static str,
    /// Number of ranks that it started, or a lower bound if it only provides the number on this node.
    pub size: Option<u32>,
    /// Rank of this process.
    pub rank: Option<u32>,
    /// The variable by which it was detected.
    pub variable: &'static str,
    /// MPI families through which its processes can find each other, best first; empty if it is not an MPI launcher.
    pub families: &'static [Family],
    /// The variables of its table row that are set, as `NAME=value`.
    pub variables: Vec<String>,
}

/// The environment variables of a launcher.
struct LauncherRow {
    name: &'static str,
    size: &'static str,
    rank: &'static str,
    /// Variable with the rank within the node; empty if the launcher sets none or its name is unknown.
    local_rank: &'static str,
    /// Variables that must be set for this launcher to be detected.
    proof: Proof,
    /// See [`Launcher::families`].
    families: &'static [Family],
}

/// Environment variables that prove which launcher started a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The size; the rank may be missing.
    Size,
    /// The rank; the launcher sets no size.
    Rank,
    /// Both, because several launchers set the size, or because the names are common words.
    Both,
}

/// Open MPI's ranks find each other through its own launchers and `PMIx`.
const OPEN_MPI: &[Family] = &[Family::OpenMpi];
/// Ranks of MPICH and its derivatives find each other through PMI.
const MPICH: &[Family] = &[Family::Mpich];
/// Both families can use this launcher's service; the installed library decides.
const EITHER: &[Family] = &[Family::OpenMpi, Family::Mpich];
/// Both families can use this launcher's service, and the vendor's library, which is derived from MPICH, is preferred.
const VENDOR: &[Family] = &[Family::Mpich, Family::OpenMpi];
/// The launcher has no service through which ranks of MPI find each other.
const NONE: &[Family] = &[];

impl LauncherRow {
    const fn new(name: &'static str, size: &'static str, rank: &'static str, proof: Proof) -> Self {
        Self { name, size, rank, local_rank: "", proof, families: NONE }
    }

    const fn mpi(self, families: &'static [Family]) -> Self {
        Self { families, ..self }
    }

    const fn local_rank(self, local_rank: &'static str) -> Self {
        Self { local_rank, ..self }
    }
}

/// Known launchers in order of precedence: an MPI launcher inside a Slurm step precedes the step, which precedes the
/// launcher of the container. `SLURM_NTASKS` is not used, because an allocation without a step sets it too.
const KNOWN: &[LauncherRow] = &[
    LauncherRow::new("Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", Proof::Size)
        .mpi(OPEN_MPI)
        .local_rank("OMPI_COMM_WORLD_LOCAL_RANK"),
    LauncherRow::new("MVAPICH2's mpirun", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", Proof::Size).mpi(MPICH),
    LauncherRow::new("PALS (Cray's mpiexec)", "PMI_SIZE", "PALS_RANKID", Proof::Both).mpi(VENDOR),
    LauncherRow::new("PALS (Cray's mpiexec)", "", "PALS_RANKID", Proof::Rank)
        .mpi(VENDOR)
        .local_rank("PALS_LOCAL_RANKID"),
    LauncherRow::new("Flux", "PMI_SIZE", "FLUX_TASK_RANK", Proof::Both).mpi(EITHER),
    LauncherRow::new("a PMI launcher (MPICH's or Intel MPI's mpiexec)", "PMI_SIZE", "PMI_RANK", Proof::Size).mpi(MPICH),
    LauncherRow::new("Hydra (MPICH's or Intel MPI's mpiexec)", "MPI_LOCALNRANKS", "PMI_RANK", Proof::Size)
        .mpi(MPICH)
        .local_rank("MPI_LOCALRANKID"),
    LauncherRow::new("Slurm's srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", Proof::Size)
        .mpi(EITHER)
        .local_rank("SLURM_LOCALID"),
    LauncherRow::new("a PMIx launcher", "", "PMIX_RANK", Proof::Rank).mpi(EITHER),
    LauncherRow::new("Flux without PMI", "FLUX_JOB_SIZE", "FLUX_TASK_RANK", Proof::Both),
    LauncherRow::new("Horovod", "HOROVOD_SIZE", "HOROVOD_RANK", Proof::Both),
    LauncherRow::new("torchrun or a PyTorch job", "WORLD_SIZE", "RANK", Proof::Both),
    LauncherRow::new("AWS Batch", "AWS_BATCH_JOB_NUM_NODES", "AWS_BATCH_JOB_NODE_INDEX", Proof::Both),
    LauncherRow::new("an Indexed Job of Kubernetes", "", "JOB_COMPLETION_INDEX", Proof::Rank),
];

/// Detects the launcher of this process; `env` looks up an environment variable.
#[must_use]
pub fn detect(env: &dyn Fn(&str) -> Option<String>) -> Option<Launcher> {
    let number = |name: &str| env(name).and_then(|value| value.trim().parse::<u32>().ok());
    KNOWN.iter().find_map(|row| {
        let (size, rank) = (number(row.size), number(row.rank));
        let variable = match (row.proof, size, rank) {
            (Proof::Rank, _, Some(_)) => row.rank,
            (Proof::Both, Some(_), Some(_)) | (Proof::Size, Some(_), _) => row.size,
            _ => return None,
        };
        let shown = |name: &str| env(name).map(|value| format!("{name}={}", value.trim()));
        let variables = [row.size, row.rank].iter().filter_map(|name| shown(name)).collect();
        // Slurm's own PMI makes every task of the step a rank. Hydra's proxies are tasks of a step too, but one per
        // node.
        let is_srun = row.size == "PMI_SIZE"
            && (number("SLURM_STEP_NUM_TASKS"), number("SLURM_PROCID")) == (size, rank)
            && rank.is_some()
            && env("MPI_LOCALNRANKS").is_none();
        let (name, families) = if is_srun { ("Slurm's srun (PMI)", VENDOR) } else { (row.name, row.families) };
        Some(Launcher { name, size, rank, variable, families, variables })
    })
}

/// Returns the variable with this process's rank within its node, and its value; `env` looks up an environment
/// variable.
#[must_use]
pub fn local_rank(env: &dyn Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    let known = KNOWN.iter().map(|row| row.local_rank).filter(|name| !name.is_empty());
    known.map(|name| (name, env(name))).find_map(|(name, value)| Some((name, value?)))
}

impl Launcher {
    /// Returns whether its processes find each other through MPI.
    #[must_use]
    pub fn is_mpi(&self) -> bool {
        !self.families.is_empty()
    }

    /// Returns whether MPI is needed to find other ranks. The single task of a Slurm step, such as an interactive
    /// shell, needs none, and most MPI libraries cannot join there.
    #[must_use]
    pub fn needs_mpi(&self) -> bool {
        self.is_mpi() && !(self.variable == "SLURM_STEP_NUM_TASKS" && self.size == Some(1))
    }

    /// Returns whether the launcher started, or may have started, more than one process.
    #[must_use]
    pub fn is_plural(&self) -> bool {
        match (self.size, self.rank) {
            (Some(size), _) => size > 1,
            (None, Some(rank)) => rank > 0 || !self.is_mpi(),
            (None, None) => false,
        }
    }
}

/// Checks a world of one rank against the launcher; `library` names the MPI library in use, if any.
///
/// # Errors
/// When the launcher started several ranks and the MPI library sees only this one.
pub fn check(launcher: Option<&Launcher>, world_size: u32, library: Option<&str>) -> Result<(), Error> {
    let Some(launcher) = launcher.filter(|launcher| launcher.is_plural() && world_size <= 1) else { return Ok(()) };
    let variables = launcher.variables.join(", ");
    let (world, remedy) = if launcher.is_mpi() {
        let library = library.unwrap_or("its MPI library");
        (
            format!("but {library} sees a world of 1 rank"),
            "start it with the mpirun of that library, or under Slurm with the matching `srun --mpi=…` plug-in, or name the \
             launcher's library with --mpi FILE",
        )
    } else {
        ("which is no MPI launcher".to_owned(), "start the ranks with `mpirun`")
    };
    Err(Error::Library(format!(
        "this process was started by {} ({variables}), {world}: every process would do the whole run by \
         itself; {remedy}, or set {COMM}=solo if that is meant",
        launcher.name
    )))
}

/// Parses the value of [`COMM`].
///
/// # Errors
/// When the value is unknown.
pub fn world(word: Option<&str>) -> Result<World, Error> {
    match word.map(str::trim) {
        None | Some("" | "auto") => Ok(World::Auto),
        Some("mpi") => Ok(World::Mpi),
        Some("solo") => Ok(World::Solo),
        Some(other) => Err(Error::Library(format!("{COMM}: expected auto, mpi or solo, found {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, Launcher, World, check, detect, local_rank, world};

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
            (&[("PALS_RANKID", "3"), ("PMI_SIZE", "4"), ("PMI_RANK", "3")], "PMI_SIZE", Some(4), Some(3)),
            (&[("PALS_RANKID", "3")], "PALS_RANKID", None, Some(3)),
            (&[("PMI_SIZE", "4"), ("PMI_RANK", "2"), ("FLUX_TASK_RANK", "2")], "PMI_SIZE", Some(4), Some(2)),
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
    fn the_pmi_of_srun_is_told_from_hydra_within_a_step() {
        let ranks = [("PMI_SIZE", "8"), ("PMI_RANK", "3")];
        let srun = found(&[ranks[0], ranks[1], ("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_PROCID", "3")]).unwrap();
        assert_eq!((srun.name, srun.families), ("Slurm's srun (PMI)", super::VENDOR));
        let hydra = found(&[ranks[0], ranks[1], ("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_PROCID", "1")]).unwrap();
        assert_eq!((hydra.rank, hydra.families), (Some(3), super::MPICH));
        // One rank per node: the numbers are equal, but a variable of Hydra's is set.
        let step = [("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_PROCID", "3"), ("MPI_LOCALNRANKS", "1")];
        assert_eq!(found(&[&ranks[..], &step].concat()).map(|hydra| hydra.families), Some(super::MPICH));
    }

    #[test]
    fn the_one_task_of_a_slurm_step_needs_nobody() {
        let step = |tasks| found(&[("SLURM_STEP_NUM_TASKS", tasks), ("SLURM_PROCID", "0")]).unwrap();
        assert!(!step("1").needs_mpi() && step("2").needs_mpi());
        assert!(found(&[("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")]).unwrap().needs_mpi());
        assert!(!found(&[("WORLD_SIZE", "4"), ("RANK", "0")]).unwrap().needs_mpi());
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
        let message = check(launcher.as_ref(), 1, Some("MPICH 4")).unwrap_err().to_string();
        let names = ["PMI_SIZE=4", "PMI_RANK=1", "MPICH 4 sees a world of 1 rank", "DLIO_RS_COMM=solo"];
        assert!(names.iter().all(|name| message.contains(name)), "{message}");
        assert!(check(launcher.as_ref(), 4, None).is_ok());
    }

    #[test]
    fn a_rank_above_zero_in_a_world_of_one_is_refused_too() {
        assert!(check(found(&[("PMIX_RANK", "1")]).as_ref(), 1, None).is_err());
        assert!(check(found(&[("PMIX_RANK", "0")]).as_ref(), 1, None).is_ok());
    }

    #[test]
    fn one_rank_is_one_rank_however_it_was_started() {
        assert!(check(found(&[("OMPI_COMM_WORLD_SIZE", "1")]).as_ref(), 1, None).is_ok());
        assert!(check(None, 1, None).is_ok());
    }

    #[test]
    fn every_row_of_several_ranks_is_refused_in_a_world_of_one_by_its_variables() {
        for row in KNOWN {
            let variables: Vec<(&str, &str)> =
                [(row.size, "4"), (row.rank, "1")].into_iter().filter(|(name, _)| !name.is_empty()).collect();
            let launcher = found(&variables).unwrap();
            assert_eq!((launcher.name, launcher.rank), (row.name, Some(1)));
            let message = check(Some(&launcher), 1, None).unwrap_err().to_string();
            for (name, value) in &variables {
                assert!(message.contains(&format!("{name}={value}")), "{message}");
            }
            assert!(message.contains("mpirun") && message.contains("DLIO_RS_COMM=solo"), "{message}");
            if !row.size.is_empty() {
                let one = found(&[(row.size, "1"), (row.rank, "0")]);
                assert!(check(one.as_ref(), 1, None).is_ok(), "{} with one rank", row.name);
            }
        }
    }

    #[test]
    fn a_pod_of_an_indexed_job_cannot_know_that_it_is_the_only_one() {
        assert!(check(found(&[("JOB_COMPLETION_INDEX", "0")]).as_ref(), 1, None).is_err());
        let inside = found(&[("JOB_COMPLETION_INDEX", "0"), ("OMPI_COMM_WORLD_SIZE", "2")]);
        assert!(check(inside.as_ref(), 2, None).is_ok(), "mpirun in a pod is mpirun");
    }

    #[test]
    fn the_rank_within_the_node_is_read_where_a_launcher_sets_it() {
        let read = |variables: &[(&str, &str)]| {
            local_rank(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        for name in ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID", "PALS_LOCAL_RANKID"] {
            assert_eq!(read(&[(name, "3")]), Some((name, "3".to_owned())));
        }
        let mpirun_in_a_step = [("SLURM_LOCALID", "0"), ("OMPI_COMM_WORLD_LOCAL_RANK", "2")];
        assert_eq!(read(&mpirun_in_a_step).map(|(_, rank)| rank), Some("2".to_owned()));
        assert_eq!(read(&[("OMPI_COMM_WORLD_RANK", "1")]), None);
    }

    #[test]
    fn common_words_alone_are_no_launcher() {
        assert_eq!(found(&[("WORLD_SIZE", "4")]), None);
        assert_eq!(found(&[("RANK", "2")]), None);
        assert_eq!(found(&[("WORLD_SIZE", "four"), ("RANK", "0")]), None);
    }

    #[test]
    fn a_process_is_a_world_of_its_own_when_the_user_says_so() {
        assert_eq!(world(Some("solo")).ok(), Some(World::Solo));
        assert_eq!((world(None).ok(), world(Some("auto")).ok()), (Some(World::Auto), Some(World::Auto)));
        assert_eq!(world(Some("mpi")).ok(), Some(World::Mpi));
        assert!(world(Some("mpi4py")).unwrap_err().to_string().contains("expected auto, mpi or solo"));
    }
}
