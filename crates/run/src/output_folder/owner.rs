//! The owner of an output folder, and whether its process is provably gone.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use dlio_storage::process::{ProcessScope, ProcessState, own_start_ticks};
use serde::{Deserialize, Serialize};

use crate::launch::Environment;

/// Environment variables that hold a scheduler's job number.
const JOB_VARIABLES: [&str; 6] = ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "COBALT_JOBID", "JOB_ID"];

/// The process that holds a folder, as described by the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// Name of the host.
    pub(super) host: String,
    /// The kernel's boot id: process ids are unique only within one boot.
    pub(super) boot_id: Option<String>,
    /// Namespace of the process id: containers on one host have several.
    pub(super) pid_namespace: Option<String>,
    /// Process id.
    pub(super) pid: i32,
    /// Start time of the process in clock ticks since boot: distinguishes it from a later process with the same id.
    pub(super) start_ticks: Option<u64>,
    /// Variable and number of the scheduler's job.
    pub(super) job: Option<String>,
    /// Command line.
    pub(super) command: String,
    /// Local time at which the run started.
    pub(super) started: String,
    /// Value that is different for every lock.
    pub(super) token: String,
}

/// State of an owner as seen from this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// The process is alive.
    Alive,
    /// The process has ended.
    Gone,
    /// The process belongs to another host, boot or container, which cannot be inspected from here.
    Unknown,
}

impl Owner {
    /// Describes this process.
    pub(super) fn this_process(argv: &[String], started: &str, job: Option<String>) -> Self {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let ProcessScope { host, boot, pid_namespace } = ProcessScope::now();
        let (boot_id, pid_namespace) = (known(boot), known(pid_namespace));
        let start_ticks = own_start_ticks();
        // A random number distinguishes the locks of one process: the keys of a hasher are random.
        let number = RandomState::new().build_hasher().finish();
        // A reused process id has another start time; another host or container has another name, boot id or namespace.
        let token = format!(
            "{}/{}/{pid}/{}/{number}",
            boot_id.as_deref().unwrap_or(&host),
            pid_namespace.as_deref().unwrap_or(&host),
            start_ticks.unwrap_or(0)
        );
        let (command, started) = (argv.join(" "), started.to_owned());
        Self { host, boot_id, pid_namespace, pid, start_ticks, job, command, started, token }
    }

    /// Returns the state of this owner as seen from the process `here`.
    pub(super) fn fate(&self, here: &Self, process_state: impl Fn(i32) -> ProcessState) -> OwnerState {
        let same = |mine: &Option<String>, theirs: &Option<String>| mine.is_some() && mine == theirs;
        if !same(&self.boot_id, &here.boot_id) || !same(&self.pid_namespace, &here.pid_namespace) {
            return OwnerState::Unknown;
        }
        match process_state(self.pid) {
            ProcessState::Absent | ProcessState::Present { zombie: true, .. } => OwnerState::Gone,
            ProcessState::Present { start_ticks, .. } if self.start_ticks.is_some_and(|ticks| ticks != start_ticks) => {
                OwnerState::Gone
            }
            ProcessState::Hidden | ProcessState::Present { .. } => OwnerState::Alive,
        }
    }
}

fn known(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on host {}", self.pid, self.host)?;
        if let Some(job) = &self.job {
            write!(f, ", {job}")?;
        }
        write!(f, ", since {}: `{}`", self.started, self.command)
    }
}

/// Returns the scheduler's job of an environment.
#[must_use]
pub fn job(env: &Environment) -> Option<String> {
    JOB_VARIABLES.iter().find_map(|name| Some(format!("{name} {}", env.get(*name).filter(|value| !value.is_empty())?)))
}

#[cfg(test)]
mod tests {
    use dlio_storage::process::process_state;

    use super::*;

    fn owner() -> Owner {
        Owner::this_process(&["dlio-rs".to_owned(), "replay".to_owned()], "2026-01-01T00:00:00", None)
    }

    #[test]
    fn this_process_is_alive() {
        let owner = owner();
        assert_eq!(owner.fate(&owner, process_state), OwnerState::Alive);
    }

    #[test]
    fn a_process_id_that_nobody_has_or_that_was_given_again_is_gone() {
        let mut owner = owner();
        owner.start_ticks = Some(7);
        assert_eq!(owner.fate(&owner, |_| ProcessState::Absent), OwnerState::Gone);
        let present = |zombie, start_ticks| move |_| ProcessState::Present { zombie, start_ticks };
        assert_eq!(owner.fate(&owner, present(false, 7)), OwnerState::Alive);
        assert_eq!(owner.fate(&owner, present(false, 8)), OwnerState::Gone, "another process has the id");
        assert_eq!(owner.fate(&owner, present(true, 7)), OwnerState::Gone, "a zombie writes nothing any more");
        assert_eq!(owner.fate(&owner, |_| ProcessState::Hidden), OwnerState::Alive);
    }

    #[test]
    fn another_boot_or_container_cannot_be_judged() {
        let here = owner();
        let absent = |_| ProcessState::Absent;
        let other_boot = Owner { boot_id: Some("other".to_owned()), ..here.clone() };
        assert_eq!(other_boot.fate(&here, absent), OwnerState::Unknown);
        let other_container = Owner { pid_namespace: Some("pid:[1]".to_owned()), ..here.clone() };
        assert_eq!(other_container.fate(&here, absent), OwnerState::Unknown);
        let nothing_known = Owner { boot_id: None, ..here.clone() };
        assert_eq!(nothing_known.fate(&nothing_known, absent), OwnerState::Unknown);
    }

    #[test]
    fn the_job_is_named_with_its_variable() {
        let env = |pairs: &[(&str, &str)]| -> Environment {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(job(&env(&[("SLURM_JOB_ID", "12")])).as_deref(), Some("SLURM_JOB_ID 12"));
        assert_eq!(
            job(&env(&[("PBS_JOBID", "7.server"), ("SLURM_JOB_ID", "")])).as_deref(),
            Some("PBS_JOBID 7.server")
        );
        assert_eq!(job(&env(&[])), None);
    }
}
