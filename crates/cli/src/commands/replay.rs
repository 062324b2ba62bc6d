//! `dlio-rs replay` and `dlio-rs run`: the training loop, or whatever `workflow.*` asks for.

use crate::args::ReplayArgs;
use crate::exit::Failure;
use crate::log::Verbosity;
use crate::run::{Work, execute};
use crate::session::{Session, Start, on_ranks};

/// Which of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The training loop, whatever `workflow.*` says.
    Replay,
    /// What `workflow.*` says.
    Workflow,
}

pub(super) fn run(args: ReplayArgs, what: What, verbosity: Verbosity) -> Result<(), Failure> {
    let ReplayArgs { config, target, overwrite, list, decode } = args;
    on_ranks(|comm| async move {
        let start = Start { config: &config, target: &target, default: None, verbosity };
        let mut session = Session::start(comm, start).await?;
        if what == What::Replay {
            // The file may be one that only generates; this command trains on what it generated.
            session.loaded.workload.workflow.train = true;
        }
        if let Some(chosen) = decode.chosen() {
            session.loaded.workload.dlio_rs.decode = chosen;
        }
        let workflow = session.loaded.workload.workflow;
        let (generate, train) = match what {
            What::Replay => (false, true),
            What::Workflow => (workflow.generate_data, workflow.train),
        };
        if !generate && !train {
            let nothing = Failure::usage(
                "the workload asks for nothing that can be done: workflow.generate_data and workflow.train are both false",
            );
            return session.agree(Err(nothing)).await;
        }
        let work = Work {
            generate,
            train,
            verify: false,
            // As in the reference, what is only generated stays.
            keep: session.loaded.workload.dataset.keep_files || !train,
            overwrite,
            list,
            preflight: !target.no_preflight,
            stall_seconds: target.stall_seconds,
        };
        execute(&session, work).await
    })
}
