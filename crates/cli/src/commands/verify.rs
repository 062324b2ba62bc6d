//! `dlio-rs verify`: the content of a whole data set.

use crate::args::VerifyArgs;
use crate::exit::Failure;
use crate::log::Verbosity;
use crate::run::{Work, execute};
use crate::session::{Session, Start, Writes, on_ranks};
use crate::workload;

pub(super) fn run(args: VerifyArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let VerifyArgs { config, target } = args;
    on_ranks(|comm| async move {
        let find = || workload::find(&config, None);
        let start = Start { find: &find, target: &target, verbosity, writes: Writes::Verify };
        let session = Session::start(comm, start).await?;
        let work = Work { train: false, verify: true, ..Work::training(&target) };
        execute(&session, work).await
    })
}
