//! `dlio-rs generate`: writes the dataset of a workload.

use dlio_run::failure::Failure;
use dlio_run::message::Verbosity;
use dlio_run::options::{Action, Options};

use crate::args::GenerateArgs;
use crate::on_ranks::run_on_ranks;

pub(super) fn run(args: GenerateArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let GenerateArgs { config, target } = args;
    let configuration = config.configuration(Some("default".to_owned()));
    let options = Options { configuration, verbosity, ..target.options() };
    run_on_ranks(target.format, options, Action::Generate)
}
