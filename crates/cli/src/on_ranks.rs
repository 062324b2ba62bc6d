//! Runs a command on all ranks, and ends the other ranks when a failure asks for it.

use std::rc::Rc;
use std::time::Duration;

use dlio_comm::Communicator as _;
use dlio_run::failure::Failure;
use dlio_run::message::Verbosity;
use dlio_run::options::{Action, Options};
use dlio_run::ranks::Ranks;

use crate::args::OutputFormat;
use crate::{exit, front, launch, outcome, panics};

/// Time for which a rank that has written everything stays alive after a signal. The `mpirun` of Open MPI 4 sleeps one
/// second between SIGTERM and SIGKILL, but the first process that exits ends that sleep, and with it the ranks that are
/// still writing.
const STAY: Duration = Duration::from_millis(400);

/// Runs a command on the communicator that the launcher asks for. A failure of this rank alone ends all ranks.
///
/// # Errors
/// The failure of the command.
pub(crate) fn on_ranks<F, W>(verbosity: Verbosity, work: F) -> Result<(), Failure>
where
    F: FnOnce(Rc<Ranks>) -> W,
    W: Future<Output = Result<(), Failure>>,
{
    let comm = launch::communicator(&crate::environment::environment())?;
    let comm = Rc::new(Ranks::new(comm, front::front_end(verbosity)));
    panics::introduce(comm.place().rank, &comm.place().host);
    panics::set_last_words(|| crate::stop::stop().save_in_panic());
    let worked = launch::block_on(work(Rc::clone(&comm)));
    if worked.is_ok() {
        // The folders are released before the MPI library is finalized, which waits for all ranks.
        crate::stop::stop().completed();
    }
    if comm.place().size == 1 {
        return worked;
    }
    match worked {
        // All ranks know the failure, one has reported it, and all are returning.
        Err(failure) if failure.reported && !failure.alone => Err(failure),
        Err(failure) => Err(end_alone(&comm, &failure)),
        // `MPI_Finalize` would wait for missing ranks without a message; the barrier reports them.
        Ok(()) if comm.signalled().is_none() => match launch::block_on(async { Ok(comm.barrier().await?) }) {
            Ok(()) => Ok(()),
            Err(failure) => Err(end_alone(&comm, &failure)),
        },
        Ok(()) => Ok(()),
    }
}

/// Ends all ranks because of a failure that the other ranks do not know. A signal has reached all of them, so then only
/// this process ends.
fn end_alone(comm: &Ranks, failure: &Failure) -> Failure {
    if let Some(code) = comm.signalled() {
        if comm.place().rank == 0 {
            crate::log::failure(&Failure { code, ..failure.clone() });
        }
        crate::stop::stop().end_early();
        // Without a runtime the wait is skipped.
        let _ = launch::block_on(async {
            tokio::time::sleep(STAY).await;
            Ok(())
        });
        std::process::exit(exit::code(code).into());
    }
    crate::log::failure(failure);
    crate::stop::stop().end_early();
    comm.abort(&failure.message, exit::code(failure.code).into());
    failure.clone().already_reported()
}

/// Executes a run on all ranks and, with `--format json`, prints its results on rank 0.
///
/// # Errors
/// The run failed.
pub(crate) fn run_on_ranks(format: OutputFormat, options: Options, action: Action) -> Result<(), Failure> {
    on_ranks(options.verbosity, |ranks| async move {
        let rank = ranks.place().rank;
        let ended = dlio_run::run::run(ranks, &options, &action).await;
        outcome::print(format, rank, ended)
    })
}
