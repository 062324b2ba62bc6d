//! Exit codes, documented in `--help`.

use dlio_run::failure::Code;

/// Returns the exit code of the process for a failure of this class.
pub(crate) fn code(class: Code) -> u8 {
    match class {
        Code::Unexpected => 1,
        Code::Usage => 2,
        Code::Storage => 3,
        Code::Data => 4,
        Code::Ranks => 5,
        Code::Trace => 6,
        Code::Requirement => 7,
        Code::Threshold => 8,
        Code::Stalled => 9,
        Code::Folder => 10,
        Code::HungUp => 129,
        Code::Interrupted => 130,
        Code::Quit => 131,
        Code::User1 => 138,
        Code::User2 => 140,
        Code::Terminated => 143,
        Code::CpuTime => 152,
    }
}

/// The end of `dlio-rs --help`. Its lines fit 80 columns, because clap would break longer ones without regard to their indentation.
pub(crate) const HELP: &str = "Under mpirun:
  Open MPI requires `mpirun --allow-run-as-root` for root, and
  `mpirun --oversubscribe` for more ranks than the machine has cores.

Exit codes:
    0  success
    1  unexpected error
    2  the command line or the configuration is wrong
    3  the storage cannot be used: endpoint, credentials, bucket, permission,
       no space
    4  data are missing or damaged
    5  ranks: launcher and MPI disagree, plans differ, another rank failed
    6  a trace cannot be read or written
    7  a replayed trace violated a bound of --require
    8  analyze --fail-if: a metric changed beyond its threshold
    9  a wait lasted longer than --stall-timeout
   10  the output folder is in use by another run, or holds files that no run
       of this program has listed
  128 + n  terminated by signal n: 130 Ctrl-C (SIGINT), 143 SIGTERM, 129 SIGHUP,
       131 SIGQUIT, 138 SIGUSR1, 140 SIGUSR2, 152 SIGXCPU";
