//! `dlio-rs generate`: the data set of a workload.

use crate::args::GenerateArgs;
use crate::exit::Failure;
use crate::log::Verbosity;
use crate::run::{Work, execute};
use crate::session::{Session, Start, Writes, on_ranks};
use crate::workload;

pub(super) fn run(args: GenerateArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let GenerateArgs { config, target } = args;
    on_ranks(|comm| async move {
        let find = || workload::find(&config, Some("default"));
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
