//! The binary under the names `dlio_benchmark` and `dlio_benchmark_query`, with their command line, outputs and log.

mod compose;
mod harness;
mod hydra_args;
mod query;
mod search;
mod show;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use self::hydra_args::HydraArgs;
use crate::on_ranks::on_ranks;
use dlio_run::failure::{Code, Failure};
use dlio_run::message::Verbosity;
use dlio_run::options::{Action, Configuration, Options};

/// Names under which the binary acts as another program.
pub(crate) const NAMES: [&str; 2] = ["dlio_benchmark", "dlio_benchmark_query"];

/// Program that the binary acts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// `dlio_benchmark`
    Benchmark,
    /// `dlio_benchmark_query`
    Query,
}

/// Returns the program that the first word of the command line names; `None`: `dlio-rs` itself.
pub(crate) fn program(first: Option<&OsString>) -> Option<Program> {
    let name = Path::new(first?).file_name().and_then(OsStr::to_str)?;
    match NAMES.iter().position(|known| *known == name)? {
        0 => Some(Program::Benchmark),
        _ => Some(Program::Query),
    }
}

/// Runs the program with its arguments.
pub(crate) fn main(program: Program, words: impl Iterator<Item = OsString>) -> ExitCode {
    crate::log::init(Verbosity::Normal, &crate::environment::environment());
    let words = words.map(|word| {
        word.into_string()
            .map_err(|word| Failure::usage(format_args!("the argument {} is not Unicode", word.display())))
    });
    let ran =
        words.collect::<Result<Vec<String>, Failure>>().and_then(hydra_args::parse).and_then(|line| match program {
            Program::Benchmark => benchmark(&line),
            Program::Query => query::run(&line),
        });
    match ran {
        Ok(()) => {
            crate::stop::stop().completed();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            crate::log::failure(&failure);
            crate::stop::stop().end_early();
            ExitCode::from(crate::exit::code(failure.code))
        }
    }
}

fn benchmark(line: &HydraArgs) -> Result<(), Failure> {
    if let Some(text) = show::instead_of_a_run(line)? {
        return crate::log::print(text.as_bytes());
    }
    let line = line.clone();
    let find = move || compose::wanted(&line, &crate::environment::environment());
    let options = Options { configuration: Configuration::Found(Arc::new(find)), ..Options::default() };
    on_ranks(
        options.verbosity,
        |ranks| async move { dlio_run::run::run(ranks, &options, &Action::Reference).await.result },
    )
}

/// Converts an error of composing a configuration.
fn failure(error: dlio_config::hydra::ComposeError, search: &search::Search) -> Failure {
    use dlio_config::hydra::ComposeError;
    match error {
        ComposeError::NoWorkload(name) => search.no_workload(&name),
        other => Failure::new(Code::Usage, other),
    }
}
