//! Which launcher started this process, and whether the MPI library agrees with it.
//!
//! A launcher of another MPI than the one that the binary was built with silently gives N worlds of one rank: each
//! would generate the whole data set and report its own metrics. This is found before the first operation.

use crate::error::Error;
use crate::mpi_world::Family;

/// Variable by which a user says how ranks find each other; see [`World`].
pub const COMM: &str = "DLIO_RS_COMM";

/// Variable that names the file of the MPI library.
pub const MPI: &str = "DLIO_RS_MPI";

/// How the ranks of a run find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum World {
    /// Through MPI where an MPI launcher is seen, else this process is alone.
    #[default]
    Auto,
    /// Through MPI, whatever has started this process.
    Mpi,
    /// Every process is a world of its own.
    Solo,
}

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
    /// The MPI libraries through which its processes can find each other, best first; none: it is no MPI launcher.
    pub families: &'static [Family],
    /// The variables of its table row that are set, as `NAME=value`.
    pub variables: Vec<String>,
}

/// What one launcher sets.
struct Signs {
    name: &'static str,
    size: &'static str,
    rank: &'static str,
    /// Variable with the rank within the node; empty where the launcher sets none or its name is not known.
    local_rank: &'static str,
    /// Variables that must be set for this launcher to be recognized.
    proof: Proof,
    /// As in [`Launcher`].
    families: &'static [Family],
}

/// Variables that prove which launcher started a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The size; the rank may be missing.
    Size,
    /// The rank: there is no variable for the size.
    Rank,
    /// Size and rank: several launchers set the size, or the names are common words.
    Both,
}

/// Open MPI's ranks find each other through its own launchers and `PMIx`.
const OPEN_MPI: &[Family] = &[Family::OpenMpi];
/// MPICH's and its kin's through PMI.
const MPICH: &[Family] = &[Family::Mpich];
/// Through a service that both speak; which one is meant, the library tells that is installed.
const EITHER: &[Family] = &[Family::OpenMpi, Family::Mpich];
/// As before, where MPICH's kin is the vendor's.
const VENDOR: &[Family] = &[Family::Mpich, Family::OpenMpi];
/// Nothing here makes one world of them.
const NONE: &[Family] = &[];

impl Signs {
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

/// In the order of trust: an MPI launcher inside a Slurm step counts before the step, and before whatever has started the
/// container that it runs in. `SLURM_NTASKS` is not here: a mere allocation sets it.
const KNOWN: &[Signs] = &[
    Signs::new("Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", Proof::Size)
        .mpi(OPEN_MPI)
        .local_rank("OMPI_COMM_WORLD_LOCAL_RANK"),
    Signs::new("MVAPICH2's mpirun", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", Proof::Size).mpi(MPICH),
    Signs::new("PALS (Cray's mpiexec)", "PMI_SIZE", "PALS_RANKID", Proof::Both).mpi(VENDOR),
    Signs::new("PALS (Cray's mpiexec)", "", "PALS_RANKID", Proof::Rank).mpi(VENDOR).local_rank("PALS_LOCAL_RANKID"),
    Signs::new("Flux", "PMI_SIZE", "FLUX_TASK_RANK", Proof::Both).mpi(EITHER),
    Signs::new("a PMI launcher (MPICH's or Intel MPI's mpiexec)", "PMI_SIZE", "PMI_RANK", Proof::Size).mpi(MPICH),
    Signs::new("Hydra (MPICH's or Intel MPI's mpiexec)", "MPI_LOCALNRANKS", "PMI_RANK", Proof::Size)
        .mpi(MPICH)
        .local_rank("MPI_LOCALRANKID"),
    Signs::new("Slurm's srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", Proof::Size)
        .mpi(EITHER)
        .local_rank("SLURM_LOCALID"),
    Signs::new("a PMIx launcher", "", "PMIX_RANK", Proof::Rank).mpi(EITHER),
    Signs::new("Flux without PMI", "FLUX_JOB_SIZE", "FLUX_TASK_RANK", Proof::Both),
    Signs::new("Horovod", "HOROVOD_SIZE", "HOROVOD_RANK", Proof::Both),
    Signs::new("torchrun or a PyTorch job", "WORLD_SIZE", "RANK", Proof::Both),
    Signs::new("AWS Batch", "AWS_BATCH_JOB_NUM_NODES", "AWS_BATCH_JOB_NODE_INDEX", Proof::Both),
    Signs::new("an Indexed Job of Kubernetes", "", "JOB_COMPLETION_INDEX", Proof::Rank),
];

/// Finds the launcher of this process; `env` looks a variable up.
#[must_use]
pub fn detect(env: &dyn Fn(&str) -> Option<String>) -> Option<Launcher> {
    let number = |name: &str| env(name).and_then(|value| value.trim().parse::<u32>().ok());
    KNOWN.iter().find_map(|signs| {
        let (size, rank) = (number(signs.size), number(signs.rank));
        let variable = match (signs.proof, size, rank) {
            (Proof::Rank, _, Some(_)) => signs.rank,
            (Proof::Both, Some(_), Some(_)) | (Proof::Size, Some(_), _) => signs.size,
            _ => return None,
        };
        let shown = |name: &str| env(name).map(|value| format!("{name}={}", value.trim()));
        let variables = [signs.size, signs.rank].iter().filter_map(|name| shown(name)).collect();
        // Slurm's own PMI: every task of the step is a rank. Hydra's helpers are tasks of a step as well, but one per node.
        let is_srun = signs.size == "PMI_SIZE"
            && (number("SLURM_STEP_NUM_TASKS"), number("SLURM_PROCID")) == (size, rank)
            && rank.is_some()
            && env("MPI_LOCALNRANKS").is_none();
        let (name, families) = if is_srun { ("Slurm's srun (PMI)", VENDOR) } else { (signs.name, signs.families) };
        Some(Launcher { name, size, rank, variable, families, variables })
    })
}

/// The variable that holds the rank of this process within its node, and its value; `env` looks a variable up.
#[must_use]
pub fn local_rank(env: &dyn Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    let known = KNOWN.iter().map(|signs| signs.local_rank).filter(|name| !name.is_empty());
    known.map(|name| (name, env(name))).find_map(|(name, value)| Some((name, value?)))
}

impl Launcher {
    /// Whether its processes find each other through MPI.
    #[must_use]
    pub fn is_mpi(&self) -> bool {
        !self.families.is_empty()
    }

    /// Whether there is somebody to find through MPI. The one task of a Slurm step, as an interactive shell is one, needs nobody,
    /// and most MPI libraries cannot join there.
    #[must_use]
    pub fn needs_mpi(&self) -> bool {
        self.is_mpi() && !(self.variable == "SLURM_STEP_NUM_TASKS" && self.size == Some(1))
    }

    /// Whether it says that there are more processes than this one, or cannot say that there are not.
    #[must_use]
    pub fn is_plural(&self) -> bool {
        match (self.size, self.rank) {
            (Some(size), _) => size > 1,
            (None, Some(rank)) => rank > 0 || !self.is_mpi(),
            (None, None) => false,
        }
    }
}

/// Checks that a world of one rank is what the launcher started; `library` says which MPI library sees it, if one does.
///
/// # Errors
/// When the launcher announced more ranks than one and the MPI library sees only this one.
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

/// What [`COMM`] says.
///
/// # Errors
/// A word that means nothing.
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
        // One rank per node: the numbers are alike, but Hydra says of itself that it is there.
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
        for signs in KNOWN {
            let variables: Vec<(&str, &str)> =
                [(signs.size, "4"), (signs.rank, "1")].into_iter().filter(|(name, _)| !name.is_empty()).collect();
            let launcher = found(&variables).unwrap();
            assert_eq!((launcher.name, launcher.rank), (signs.name, Some(1)));
            let message = check(Some(&launcher), 1, None).unwrap_err().to_string();
            for (name, value) in &variables {
                assert!(message.contains(&format!("{name}={value}")), "{message}");
            }
            assert!(message.contains("mpirun") && message.contains("DLIO_RS_COMM=solo"), "{message}");
            if !signs.size.is_empty() {
                let one = found(&[(signs.size, "1"), (signs.rank, "0")]);
                assert!(check(one.as_ref(), 1, None).is_ok(), "{} with one rank", signs.name);
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
