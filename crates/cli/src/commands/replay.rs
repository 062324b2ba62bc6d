//! `dlio-rs replay` and `dlio-rs run`: the training loop, or whatever `workflow.*` asks for.

use dlio_config::workload::Workflow;

use crate::args::ReplayArgs;
use crate::exit::Failure;
use crate::log::Verbosity;
use crate::run::{Work, execute};
use crate::session::{Session, Start, on_ranks};
use crate::workload;

/// Which of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The training loop, whatever `workflow.*` says, unless it asks for nothing but checkpoints.
    Replay,
    /// What `workflow.*` says.
    Workflow,
}

pub(super) fn run(args: ReplayArgs, what: What, verbosity: Verbosity) -> Result<(), Failure> {
    let ReplayArgs { config, target, overwrite, list, decode } = args;
    on_ranks(|comm| async move {
        let find = || workload::find(&config, None);
        let start = Start { find: &find, target: &target, verbosity };
        let mut session = Session::start(comm, start).await?;
        let only_checkpoints = !session.loaded.workload.workflow.train && session.loaded.workload.workflow.checkpoint;
        if what == What::Replay && !only_checkpoints {
            // The file may be one that only generates; this command trains on what it generated.
            session.loaded.workload.workflow.train = true;
        }
        if let Some(chosen) = decode.chosen() {
            session.loaded.workload.dlio_rs.decode = chosen;
        }
        let workload = &session.loaded.workload;
        let asked = match what {
            What::Replay => {
                let Workflow { train, checkpoint, .. } = workload.workflow;
                let keep = workload.dataset.keep_files || !train;
                Ok(Work { train, keep, checkpoint, ..Work::training(&target) })
            }
            What::Workflow => Work::of_workflow(workload, &target),
        };
        let work = session.agree(asked).await?;
        let work = Work { overwrite, list, ..work };
        execute(&session, work).await
    })
}
