//! `dlio-rs verify`: checks the content of a whole dataset.

use dlio_run::failure::Failure;
use dlio_run::message::Verbosity;
use dlio_run::options::{Action, Options};

use crate::args::VerifyArgs;
use crate::on_ranks::run_on_ranks;

pub(super) fn run(args: VerifyArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let VerifyArgs { config, target } = args;
    let configuration = config.configuration(None);
    let options = Options { configuration, verbosity, ..target.options() };
    run_on_ranks(target.format, options, Action::Verify)
}
