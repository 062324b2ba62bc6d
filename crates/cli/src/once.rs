//! Commands that need no ranks work once under a launcher: on rank 0. The other processes end at once and say nothing.

use std::time::Duration;

use dlio_comm::launcher::{self, World};

use crate::args::Command;
use crate::launch::{self, Environment};

/// How long a rank above 0 waits before it says what is wrong with a command line of all ranks: the launcher ends it as soon as rank 0,
/// which says the same, has.
const AFTER_RANK_0: Duration = Duration::from_secs(3);

/// Whether this process is one of several that a launcher started, and not the first.
pub(crate) fn is_another(env: &Environment) -> bool {
    let solo = launcher::world(env.get(launcher::COMM).map(String::as_str)).is_ok_and(|world| world == World::Solo);
    !solo && launch::detect(env).is_some_and(|launcher| launcher.is_mpi() && launcher.rank.is_some_and(|rank| rank > 0))
}

/// Whether a command has nothing to share out among ranks.
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

/// Lets rank 0 say first what all ranks have found before they met.
pub(crate) fn let_rank_0_speak(env: &Environment) {
    if is_another(env) {
        #[expect(clippy::disallowed_methods, reason = "nothing runs in this process any more")]
        std::thread::sleep(AFTER_RANK_0);
    }
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
        // Pods of a job have consoles of their own.
        assert!(!is_another(&env(&[("JOB_COMPLETION_INDEX", "3")])));
    }
}
