//! `dlio-rs verify`: the content of a whole data set.

use crate::args::VerifyArgs;
use crate::exit::Failure;
use crate::log::Verbosity;
use crate::run::{Work, execute};
use crate::session::{Session, Start, on_ranks};

pub(super) fn run(args: VerifyArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let VerifyArgs { config, target } = args;
    on_ranks(|comm| async move {
        let start = Start { config: &config, target: &target, default: None, verbosity };
        let session = Session::start(comm, start).await?;
        let work = Work {
            generate: false,
            train: false,
            verify: true,
            keep: true,
            overwrite: false,
            list: false,
            preflight: !target.no_preflight,
            stall_seconds: target.stall_seconds,
        };
        execute(&session, work).await
    })
}
