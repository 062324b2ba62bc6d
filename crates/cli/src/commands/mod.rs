//! One file per subcommand; this file dispatches from `main` and converts results to an exit status.

mod analyze;
mod generate;
mod install_links;
mod plan;
mod replay;
mod serve;
mod serve_keys;
mod texts;
mod trace;
mod validate;
mod verify;
mod workloads;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, CommArg, Command};
use crate::command_line::{self, Words};
use crate::{drop_in, exit, rank0_only};
use dlio_run::failure::{Code, Failure};
use dlio_run::options::Action;

/// Parses the command line, runs the command and reports its failure.
pub(crate) fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    crate::panics::end_the_run(dlio_server::THREAD_NAME);
    crate::launch::use_small_pages();
    // The number of open files grows with lanes times endpoints.
    let limit = dlio_storage::process::raise_descriptor_limit();
    tracing::debug!("limit on file descriptors: {limit:?}");
    let mut words = words.peekable();
    if let Some(program) = drop_in::program(words.peek()) {
        return drop_in::main(program, words.skip(1));
    }
    let words = match command_line::words(words) {
        Words::Parse(words) => words,
        Words::LongVersion(mpi) => {
            crate::environment::heed(None, mpi.as_deref());
            // As in clap, an error of printing is ignored.
            let _ = crate::log::print(crate::version::long().as_bytes());
            return ExitCode::SUCCESS;
        }
    };
    let env = crate::environment::environment();
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        // Rank 0 reports the failure, and all ranks exit with its code.
        Err(_) if rank0_only::is_another(&env) => return ExitCode::SUCCESS,
        Err(error) => {
            let error = command_line::advise(error, &words);
            let code = if error.use_stderr() { exit::code(Code::Usage) } else { 0 };
            // An error of printing the message is ignored.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    crate::environment::heed(cli.comm.map(CommArg::word), cli.mpi.as_deref());
    let env = crate::environment::environment();
    if rank0_only::needs_no_ranks(&cli.command) && rank0_only::is_another(&env) {
        return ExitCode::SUCCESS;
    }
    let verbosity = crate::log::verbosity(cli.quiet, cli.verbose);
    crate::log::init(verbosity, &env);
    match dispatch(cli.command, verbosity) {
        Ok(()) => {
            crate::stop::stop().completed();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if failure.reported || rank0_only::speaks_after_rank_0(&env) {
                crate::log::failure(&failure);
            }
            crate::stop::stop().end_early();
            ExitCode::from(exit::code(failure.code))
        }
    }
}

fn dispatch(command: Command, verbosity: dlio_run::message::Verbosity) -> Result<(), Failure> {
    match command {
        Command::Generate(args) => generate::run(args, verbosity),
        Command::Replay(args) => replay::replay(args, verbosity),
        Command::Run(args) => replay::run(args, Action::Workflow, verbosity),
        Command::Verify(args) => verify::run(args, verbosity),
        Command::Analyze(args) => analyze::run(args, verbosity),
        Command::Trace(command) => trace::run(command, verbosity),
        Command::Plan(args) => plan::run(args, verbosity),
        Command::Validate(args) => validate::run(args, verbosity),
        Command::Doctor(args) => crate::doctor::run(args, verbosity),
        Command::Serve(args) => serve::run(args, verbosity),
        Command::Workloads(args) => workloads::run(args),
        Command::Completions(args) => texts::completions(&args),
        Command::InstallLinks(args) => install_links::run(args),
        Command::Man(args) => texts::man(args),
    }
}
