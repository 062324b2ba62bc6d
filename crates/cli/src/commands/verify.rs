//! `dlio-rs verify`: the content of a whole data set.

use crate::args::VerifyArgs;
use dlio_run::execute::{Work, execute};
use dlio_run::failure::Failure;
use dlio_run::outputs::log::Verbosity;
use dlio_run::resolve::source;
use dlio_run::session::{Session, Start, Writes, on_ranks};

pub(super) fn run(args: VerifyArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let VerifyArgs { config, target } = args;
    let (config, target) = (config.words(), target.options());
    on_ranks(|comm| async move {
        let find = || source::find(&config, None);
        let start = Start { find: &find, target: &target, verbosity, writes: Writes::Verify };
        let session = Session::start(comm, start).await?;
        let work = Work { train: false, verify: true, ..Work::training(&target) };
        execute(&session, work).await
    })
}
