//! A whole run, from options to results.

use std::rc::Rc;

use dlio_config::workload::Workflow;

use crate::execute::execute;
use crate::failure::Failure;
use crate::options::{Action, Configuration, Options, Overwrite};
use crate::outcome::Ended;
use crate::output_folder::Writes;
use crate::ranks::Ranks;
use crate::replay;
use crate::resolve::config_source::{self, ConfigSource, ConfigWords};
use crate::session::Session;
use crate::set_up::Start;
use crate::start::start;
use crate::work::Work;

/// Executes a run. Every rank calls this function with the same options, on a thread with a current-thread runtime and
/// a local set of tokio. The communicator stays the caller's.
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
            let wanted = replay::job::ReplayRequest { folder, config: &words, target: options, args: asked, verbosity };
            return Box::pin(replay::run(ranks, wanted, started)).await;
        }
    };
    let asked = Start { find: &find, target: options, verbosity: options.verbosity, writes };
    let session = started.insert(start(ranks, asked).await?);
    if let Some(chosen) = options.decode {
        session.loaded.workload.dlio_rs.decode = chosen;
    }
    let work = work(session, options, action);
    let work = session.agree(work).await?;
    let told = matches!(action, Action::Train | Action::Workflow);
    if told && options.overwrite == Some(Overwrite::Data) && !work.generate {
        session.warn("--overwrite=data has no effect: this run generates nothing");
    }
    if options.list && !work.generate && !work.train {
        session.warn("--list has no effect: this run takes nothing but checkpoints");
    }
    execute(session, work).await
}

/// Finds the configuration that the options name. Only rank 0 calls this function.
fn find(options: &Options) -> Result<ConfigSource, Failure> {
    match &options.configuration {
        Configuration::Words { words, default } => {
            let mut wanted = config_source::find(words, default.as_deref())?;
            wanted.flags.extend(options.decode.map(|chosen| ("--decode".to_owned(), chosen.to_string())));
            Ok(wanted)
        }
        Configuration::Found(find) => find(),
    }
}

/// Returns the work of the run.
fn work(session: &mut Session, options: &Options, action: &Action) -> Result<Work, Failure> {
    let workload = &mut session.loaded.workload;
    let overwrite = options.overwrites_data();
    let work = match action {
        Action::Generate => Work { generate: true, train: false, ..Work::training(options) },
        Action::Verify => Work { train: false, verify: true, ..Work::training(options) },
        Action::Train => {
            if workload.workflow.train || !workload.workflow.checkpoint {
                // The configuration may only generate; this run trains on what was generated.
                workload.workflow.train = true;
            }
            let Workflow { train, checkpoint, .. } = workload.workflow;
            let keep = workload.dataset.keep_files || !train;
            Work { train, keep, checkpoint, ..Work::training(options) }
        }
        Action::Workflow => Work::of_workflow(workload, options)?,
        // As in DLIO, existing files are written again.
        Action::Reference => return Ok(Work { overwrite: true, ..Work::of_workflow(workload, options)? }),
        Action::Trace { .. } => Work::training(options),
    };
    Ok(match action {
        Action::Verify => work,
        _ => Work { overwrite, list: options.list, allow_empty: options.allow_empty, ..work },
    })
}
