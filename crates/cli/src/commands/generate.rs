//! `dlio-rs generate`: the data set of a workload.

use crate::args::GenerateArgs;
use dlio_run::execute::{Work, execute};
use dlio_run::failure::Failure;
use dlio_run::outputs::log::Verbosity;
use dlio_run::resolve::source;
use dlio_run::session::{Session, Start, Writes, on_ranks};

pub(super) fn run(args: GenerateArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let GenerateArgs { config, target } = args;
    let (config, target) = (config.words(), target.options());
    on_ranks(|comm| async move {
        let find = || source::find(&config, Some("default"));
        let start = Start { find: &find, target: &target, verbosity, writes: Writes::Generate };
        let session = Session::start(comm, start).await?;
        let work = Work {
            generate: true,
            train: false,
            verify: false,
            keep: true,
            checkpoint: false,
            overwrite: target.overwrites_data(),
            list: false,
            preflight: !target.no_preflight,
            stall_limits: target.stall_limits(),
            allow_empty: false,
        };
        execute(&session, work).await
    })
}
