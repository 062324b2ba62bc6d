//! `dlio-rs workloads`: the bundled workloads, listed or printed.

use dlio_config::bundled;

use crate::args::WorkloadsArgs;
use crate::exit::Failure;
use crate::log::print;

pub(super) fn run(args: WorkloadsArgs) -> Result<(), Failure> {
    let WorkloadsArgs { name } = args;
    let text = match name {
        None => crate::log::lines(bundled::names()),
        Some(name) => bundled::yaml(&name)
            .ok_or_else(|| {
                Failure::usage(format_args!("no bundled workload is named `{name}`: `dlio-rs workloads` lists them"))
            })?
            .to_owned(),
    };
    print(text.as_bytes())
}
