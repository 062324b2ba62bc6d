//! Commands without ranks run only once under a launcher, on rank 0. The other processes end at once without output.

use std::time::Duration;

use crate::args::Command;
use dlio_run::launch::Environment;

/// How long a rank above 0 waits before it reports an error of the command line: rank 0 reports the same error, and the launcher then
/// ends the other ranks.
const AFTER_RANK_0: Duration = Duration::from_secs(3);

/// Returns whether a launcher started this process as a rank above 0.
pub(crate) fn is_another(env: &Environment) -> bool {
    !dlio_run::launch::is_solo(env)
        && dlio_run::launch::detect(env)
            .is_some_and(|launcher| launcher.is_mpi() && launcher.rank.is_some_and(|rank| rank > 0))
}

/// Returns whether a command does not use ranks.
pub(crate) fn needs_no_ranks(command: &Command) -> bool {
    match command {
        Command::Trace(_)
        | Command::Plan(_)
        | Command::Validate(_)
        | Command::Workloads(_)
        | Command::Completions(_)
        | Command::InstallLinks(_)
        | Command::Man(_) => true,
        Command::Generate(_)
        | Command::Replay(_)
        | Command::Run(_)
        | Command::Verify(_)
        | Command::Analyze(_)
        | Command::Doctor(_)
        | Command::Serve(_) => false,
    }
}

/// Lets rank 0 report an error first that all ranks have found before they communicate. Returns whether this rank must report it as
/// well, because it is the first rank of its node or the first rank continues.
pub(crate) fn speaks_after_rank_0(env: &Environment) -> bool {
    if !is_another(env) {
        return true;
    }
    #[expect(clippy::disallowed_methods, reason = "nothing runs in this process any more")]
    std::thread::sleep(AFTER_RANK_0);
    let local = dlio_comm::launcher::local_rank(&|name| env.get(name).cloned());
    local.is_none_or(|(name, rank)| rank.trim() == "0" || first_of_node_lives(name))
}

/// Returns whether the process with local rank 0, a child of the same parent, still exists.
fn first_of_node_lives(variable: &str) -> bool {
    let parent = std::os::unix::process::parent_id();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let wanted = format!("{variable}=0");
    let is_first = |process: &str| {
        let variables = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    // A process that has ended has no environment variables.
    children.split_whitespace().any(is_first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn rank_0_of_a_launcher_speaks_and_the_others_do_not() {
        let rank = |rank| env(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", rank)]);
        assert!(!is_another(&rank("0")) && is_another(&rank("3")));
        assert!(is_another(&env(&[("PMI_SIZE", "2"), ("PMI_RANK", "1")])));
        assert!(!is_another(&env(&[])));
    }

    #[test]
    fn processes_that_are_worlds_of_their_own_all_speak() {
        assert!(!is_another(&env(&[("PMI_SIZE", "2"), ("PMI_RANK", "1"), ("DLIO_RS_COMM", "solo")])));
        // Pods of a job have separate consoles.
        assert!(!is_another(&env(&[("JOB_COMPLETION_INDEX", "3")])));
    }
}
