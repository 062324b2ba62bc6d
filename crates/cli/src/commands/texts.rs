//! Shell completions and the manual page, from the same table as `--help`.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::exit::Failure;
use crate::log::print;

/// `dlio-rs completions SHELL`
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let CompletionsArgs { shell } = *args;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dlio-rs", &mut script);
    print(&script)
}

/// `dlio-rs man`
pub(super) fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| Failure::usage(format_args!("rendering the manual page: {error}")))?;
    print(&page)
}
