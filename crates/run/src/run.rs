//! A whole run, from what is asked for to what was done.

use std::rc::Rc;

use dlio_config::workload::Workflow;

use crate::execute::{Work, execute};
use crate::failure::Failure;
use crate::options::{Action, ConfigWords, Configuration, Options, Overwrite};
use crate::outcome::Ended;
use crate::ranks::Ranks;
use crate::replay;
use crate::resolve::source::{self, Wanted};
use crate::session::{Session, Start, Writes};

/// Does what the options ask for; every rank calls it with the same options, on a thread with a current-thread runtime and a local
/// set of tokio's. The communicator stays the caller's.
pub async fn run(ranks: Rc<Ranks>, options: &Options, action: &Action) -> Ended {
    let mut session = None;
    let result = Box::pin(act(ranks, options, action, &mut session)).await;
    Ended { outcome: session.map(|session| session.outcome.into_inner()), result }
}

async fn act(
    ranks: Rc<Ranks>,
    options: &Options,
    action: &Action,
    started: &mut Option<Session>,
) -> Result<(), Failure> {
    let find = || find(options);
    let writes = match action {
        Action::Generate => Writes::Generate,
        Action::Train => Writes::Replay,
        Action::Workflow => Writes::Workflow,
        Action::Verify => Writes::Verify,
        Action::Reference => Writes::AsReference,
        Action::Trace { folder, options: asked } => {
            let words = match &options.configuration {
                Configuration::Words { words, .. } => words.clone(),
                Configuration::Found(_) => ConfigWords::default(),
            };
            let (folder, verbosity) = (folder.clone(), options.verbosity);
            let wanted = replay::Wanted { folder, config: &words, target: options, args: asked, verbosity };
            return Box::pin(replay::run(ranks, wanted, started)).await;
        }
    };
    let start = Start { find: &find, target: options, verbosity: options.verbosity, writes };
    let session = started.insert(Session::start(ranks, start).await?);
    if let Some(chosen) = options.decode {
        session.loaded.workload.dlio_rs.decode = chosen;
    }
    let work = work(session, options, action);
    let work = session.agree(work).await?;
    if options.overwrite == Some(Overwrite::Data) && !work.generate {
        session.warn("--overwrite=data has no effect: this run generates nothing");
    }
    if options.list && !work.generate && !work.train {
        session.warn("--list has no effect: this run takes nothing but checkpoints");
    }
    execute(session, work).await
}

/// The configuration that the options name; only rank 0 looks for it.
fn find(options: &Options) -> Result<Wanted, Failure> {
    match &options.configuration {
        Configuration::Words { words, default } => {
            let mut wanted = source::find(words, default.as_deref())?;
            wanted.flags.extend(options.decode.map(|chosen| ("--decode".to_owned(), chosen.to_string())));
            Ok(wanted)
        }
        Configuration::Found(find) => find(),
    }
}

/// What is to be done.
fn work(session: &mut Session, options: &Options, action: &Action) -> Result<Work, Failure> {
    let workload = &mut session.loaded.workload;
    let overwrite = options.overwrites_data();
    let work = match action {
        Action::Generate => Work { generate: true, train: false, ..Work::training(options) },
        Action::Verify => Work { train: false, verify: true, ..Work::training(options) },
        Action::Train => {
            if workload.workflow.train || !workload.workflow.checkpoint {
                // The file may be one that only generates; this trains on what it generated.
                workload.workflow.train = true;
            }
            let Workflow { train, checkpoint, .. } = workload.workflow;
            let keep = workload.dataset.keep_files || !train;
            Work { train, keep, checkpoint, ..Work::training(options) }
        }
        Action::Workflow => Work::of_workflow(workload, options)?,
        // As the reference: what is there already is written again.
        Action::Reference => return Ok(Work { overwrite: true, ..Work::of_workflow(workload, options)? }),
        Action::Trace { .. } => Work::training(options),
    };
    Ok(match action {
        Action::Verify => work,
        _ => Work { overwrite, list: options.list, allow_empty: options.allow_empty, ..work },
    })
}
