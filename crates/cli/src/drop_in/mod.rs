//! This binary called as `dlio_benchmark` or `dlio_benchmark_query`: their command line, their outputs, their log.

mod begin;
mod harness;
mod query;
mod search;
mod show;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use self::words::Line;
use dlio_run::execute::{Work, execute};
use dlio_run::failure::{Code, Failure};
use dlio_run::options::{Options, OutputFormat};
use dlio_run::outputs::log::Verbosity;
use dlio_run::session::{Session, Start, Writes, on_ranks};

/// Names under which the binary is another program.
pub(crate) const NAMES: [&str; 2] = ["dlio_benchmark", "dlio_benchmark_query"];

/// Which program the binary was called as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// `dlio_benchmark`
    Benchmark,
    /// `dlio_benchmark_query`
    Query,
}

/// What the first word of the command line makes of this binary; `None`: `dlio-rs` itself.
pub(crate) fn program(first: Option<&OsString>) -> Option<Program> {
    let name = Path::new(first?).file_name().and_then(OsStr::to_str)?;
    match NAMES.iter().position(|known| *known == name)? {
        0 => Some(Program::Benchmark),
        _ => Some(Program::Query),
    }
}

/// Runs the other program with the words after its name.
pub(crate) fn main(program: Program, words: impl Iterator<Item = OsString>) -> ExitCode {
    dlio_run::outputs::log::init(Verbosity::Normal, &dlio_run::launch::environment());
    let words = words.map(|word| {
        word.into_string()
            .map_err(|word| Failure::usage(format_args!("the argument {} is not Unicode", word.display())))
    });
    let ran = words.collect::<Result<Vec<String>, Failure>>().and_then(words::parse).and_then(|line| match program {
        Program::Benchmark => benchmark(&line),
        Program::Query => query::run(&line),
    });
    match ran {
        Ok(()) => {
            dlio_run::output_folder::completed();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            dlio_run::outputs::log::failure(&failure);
            dlio_run::output_folder::end_early();
            ExitCode::from(failure.code as u8)
        }
    }
}

fn benchmark(line: &Line) -> Result<(), Failure> {
    if let Some(text) = show::instead_of_a_run(line)? {
        return dlio_run::outputs::log::print(text.as_bytes());
    }
    let target = Options {
        registry: None,
        registry_wait: std::time::Duration::from_mins(1),
        output: None,
        overwrite: None,
        no_preflight: false,
        retry_for: None,
        no_verify_ssl: false,
        stall_seconds: std::time::Duration::from_mins(1),
        stall_timeout: std::time::Duration::ZERO,
        format: OutputFormat::Text,
        tool_version: crate::version::line().to_owned(),
    };
    on_ranks(|comm| async move {
        let find = || begin::wanted(line, &dlio_run::launch::environment());
        let session = Session::start(
            comm,
            Start { find: &find, target: &target, verbosity: Verbosity::Normal, writes: Writes::AsReference },
        )
        .await?;
        let asked = Work::of_workflow(&session.loaded.workload, &target);
        // As the reference: what is there already is written again.
        let asked = asked.map(|work| Work { overwrite: true, ..work });
        let work = session.agree(asked).await?;
        execute(&session, work).await
    })
}

/// A failure of composing a configuration.
fn failure(error: dlio_config::hydra::ComposeError, search: &search::Search) -> Failure {
    use dlio_config::hydra::ComposeError;
    match error {
        ComposeError::NoWorkload(name) => search.no_workload(&name),
        other => Failure::new(Code::Usage, other),
    }
}
