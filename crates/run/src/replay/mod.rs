//! Replay of recorded traces: reads traces, plans the operations, lets the engine issue them, reports the result.

mod fidelity;
pub(crate) mod job;
pub mod options;
mod prepare;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use dlio_comm::Communicator;
use dlio_engine::ReplayOptions;
use dlio_event::quantity::counted;
use dlio_event::{EventSink, Planned};
use dlio_plan::replay::{EndpointRule, Error as PlanError, Fidelity, ReplayKind, Rule};
use dlio_storage::s3::{Preflight, S3};

use crate::backend::{self, Opened};
use crate::collective::{agree, gather};
use crate::execute::conclude;
use crate::failure::of_engine;
use crate::failure::{Code, Failure};
use crate::outcome::PlannedOperations;
use crate::output_folder::Writes;
use crate::outputs::meter::Task;
use crate::outputs::progress::ProgressReporter;
use crate::outputs::{outages, parameters, trace_folder};
use crate::rank_ending::end;
use crate::ranks::Ranks;
use crate::replay::job::{CHANGES, Job, ReplayRequest, plan_failure, rig, rows};
use crate::replay::prepare::prepare;
use crate::resolve::config_source;
use crate::resolve::config_source::ConfigWords;
use crate::resolve::resolved_run::ResolvedRun;
use crate::session::Session;
use crate::set_up::Start;
use crate::shared_folder::{self, Use};
use crate::start::start;

/// Replays a trace on all ranks.
///
/// # Errors
/// If the trace, an option or the storage does not allow the replay, an operation failed, or a requirement is not met.
pub(crate) async fn run(
    comm: Rc<Ranks>,
    wanted: ReplayRequest<'_>,
    started: &mut Option<Session>,
) -> Result<(), Failure> {
    let place = comm.place().clone();
    let mut job = agree(&comm, Job::new(&wanted, comm.front(), &place)).await?;
    let in_place = gather(&*comm, &job.survey.in_place()).await?.concat();
    let settled = job.survey.settle(&job.plan, &in_place).map_err(plan_failure);
    agree(&comm, settled).await?;
    let bounds = gather(&*comm, &(job.survey.first, job.survey.last, job.survey.root.clone())).await?;
    let window = (bounds.iter().filter_map(|(first, ..)| *first).min(), bounds.iter().map(|(_, last, _)| *last).max());
    let (Some(origin), Some(end)) = window else { return agree(&comm, Err(nothing(&job))).await };
    let roots: std::collections::BTreeSet<String> = bounds.into_iter().filter_map(|(_, _, root)| root).collect();
    let mut roots = roots.into_iter();
    let root = roots.next().unwrap_or_default();
    if let Some(second) = roots.next() {
        return agree(&comm, Err(Failure::usage(PlanError::Places { first: root, second }))).await;
    }
    let config = ConfigWords {
        words: wanted.config.words.iter().cloned().chain([format!("dataset.data_folder={root}")]).collect(),
        dialect: wanted.config.dialect,
        strict: wanted.config.strict,
    };
    let (target, verbosity) = (wanted.target, wanted.verbosity);
    let writes = Writes::Trace { read: &job.folder, dry_run: wanted.args.dry_run };
    let asked =
        Start { find: &|| config_source::find(&config, Some(config_source::REPLAY)), target, verbosity, writes };
    let session = &*started.insert(start(comm, asked).await?);
    describe(session, &job, (origin, end)).await?;
    let idle = idle_rules(session, &job).await?;
    for rule in &idle {
        session.warn(&format!("{rule} has no effect: it fits nothing that is replayed"));
    }
    if wanted.args.dry_run {
        if job.changes_the_recorded() {
            session.log_output(&format!("  without --dry-run it would not begin: {CHANGES}"));
        }
        session.outcome.borrow_mut().complete = true;
        return Ok(());
    }
    let place = session.comm.place();
    let opened = backend::open(&session.loaded.workload, &session.request, place, session.clock.clone());
    let opened = outages::watch(session, session.agree(opened).await?);
    if let backend::location::Target::Local { root } = backend::location::Target::of(&session.loaded.workload)? {
        let purpose = if wanted.args.prepare { Use::Generate } else { Use::Read };
        let shared = shared_folder::examine(session, &root, purpose).await;
        session.agree(shared).await?;
    }
    crate::space::of_replay(session, job.written()).await?;
    if !target.no_preflight {
        let checked = session.unless_signalled(preflight(session, &opened, &job)).await;
        session.agree(checked).await?;
    }
    if wanted.args.prepare {
        session.unless_signalled(Box::pin(prepare(session, &opened, &job))).await?;
    }
    let replayed = replay(session, &opened, &job, (origin, end)).await?;
    let told = finish(session, &job, replayed).await;
    session.agree(told).await?;
    conclude(session).await
}

fn nothing(job: &Job<'_>) -> Failure {
    let (filtered, failed) = (job.survey.filtered, job.survey.failed);
    Failure::usage(format_args!(
        "{} holds no operation to replay: {filtered} row(s) are left out by options, {failed} failed when recorded",
        job.folder.display()
    ))
}

/// Returns the rules `--map` and `--map-endpoint` that match nothing on any rank.
async fn idle_rules(session: &Session, job: &Job<'_>) -> Result<Vec<String>, Failure> {
    let options = job.plan.options();
    let used: Vec<bool> =
        options.rules.iter().map(Rule::is_used).chain(options.endpoints.iter().map(EndpointRule::is_used)).collect();
    let all = gather(&*session.comm, &used).await?;
    let names = job.args.map.iter().map(|text| format!("--map {text}"));
    let names = names.chain(job.args.map_endpoint.iter().map(|text| format!("--map-endpoint {text}")));
    let idle = names.enumerate().filter(|(index, _)| !all.iter().any(|used| used.get(*index) == Some(&true)));
    Ok(idle.map(|(_, name)| name).collect())
}

/// Logs what will be replayed.
async fn describe(session: &Session, job: &Job<'_>, (origin, end): (i64, i64)) -> Result<(), Failure> {
    let mine: Vec<(String, u64, u64)> =
        job.survey.kinds.iter().map(|(kind, (count, bytes))| (kind.name().to_owned(), *count, *bytes)).collect();
    let rest = (job.survey.folded, job.survey.filtered, job.survey.failed, job.survey.failed_parts);
    let all = gather(&*session.comm, &(mine, rest)).await?;
    let (size, seconds) = (session.comm.place().size, end.saturating_sub(origin) as f64 / 1e9);
    session.log_output(&format!(
        "Replaying {} of {} on {}: {seconds:.3} s as recorded, speed {}, {}",
        job.folder.display(),
        counted(job.traces.len(), "recorded rank"),
        counted(size, "rank"),
        job.plan.options().speed,
        counted(job.args.repeat.unwrap_or(1), "pass")
    ));
    let mut planned = BTreeMap::new();
    for kind in ReplayKind::ALL {
        let found = all.iter().flat_map(|(kinds, _)| kinds).filter(|(name, ..)| name == kind.name());
        let (count, bytes) = found.fold((0, 0), |sum, (_, count, bytes)| (sum.0 + count, sum.1 + bytes));
        if count > 0 {
            session.log_output(&format!(
                "  {:<6} {}, {bytes} bytes per pass",
                kind.name(),
                counted(count, "operation")
            ));
            planned.insert(kind.name().to_owned(), PlannedOperations { operations: count, bytes });
        }
    }
    session.outcome.borrow_mut().planned = Some(planned);
    let rest = all.iter().map(|(_, rest)| *rest);
    let (folded, filtered, failed, parts) =
        rest.reduce(|sum, rest| (sum.0 + rest.0, sum.1 + rest.1, sum.2 + rest.2, sum.3 + rest.3)).unwrap_or_default();
    session.log_output(&format!(
        "  not done on their own: {} of other operations, {filtered} left out by options, {failed} that failed \
         when recorded",
        counted(folded, "part")
    ));
    if parts > 0 {
        session.log_output(&format!(
            "  {parts} of these are failed parts of uploads, which `--failed issue` leaves out too: an upload is one write of its whole size, \
             split as the storage is configured"
        ));
    }
    Ok(())
}

/// Checks endpoints, credentials and bucket. Rank 0 goes first, because some servers refuse to create a bucket twice at
/// once.
async fn preflight(session: &Session, opened: &Opened, job: &Job<'_>) -> Result<(), Failure> {
    let Some(client) = &opened.s3 else { return Ok(()) };
    let changes = gather(&*session.comm, &job.survey.changes()).await?.contains(&true) || job.args.prepare;
    let key = job.survey.sample.clone();
    let check = async || match (changes, &key) {
        (true, _) => client.preflight(Preflight::Write).await,
        (false, Some(key)) => client.preflight(Preflight::Read(key)).await,
        (false, None) => Ok(()),
    };
    if session.rank() > 0 {
        session.comm.barrier().await?;
        return Ok(check().await?);
    }
    let checked = check().await;
    session.comm.barrier().await?;
    Ok(checked?)
}

async fn replay(session: &Session, opened: &Opened, job: &Job<'_>, window: (i64, i64)) -> Result<Fidelity, Failure> {
    let parameters = parameters::parameters(&session.loaded.workload, None, None);
    let operations: u64 = gather(&*session.comm, &job.operations()).await?.into_iter().sum();
    let planned = Planned { operations, ..Planned::default() };
    let config = parameters.embed(session.loaded.resolved.clone());
    let begun = trace_folder::begin(session, "trace", config, planned).await?;
    let routes = routes(session, job);
    let clients: Vec<&Arc<S3>> =
        [opened].into_iter().chain(routes.iter().flatten()).filter_map(|one| one.s3.as_ref()).collect();
    let ran = match &routes {
        Ok(routes) => issue(session, opened, (job, window), (routes, begun.events.clone())).await,
        Err(failure) => Err(failure.clone()),
    };
    let mut fidelity = end(session, (&begun.closing, &clients), ran).await?;
    let passes = u64::from(job.args.repeat.unwrap_or(1));
    fidelity.recorded_busy_ns = job.survey.busy * passes;
    let span = u64::try_from(window.1.saturating_sub(window.0)).unwrap_or(0);
    fidelity.recorded_span_ns = span * passes;
    fidelity.recorded_peak = job.survey.peak;
    fidelity.recorded_failures_left_out = job.survey.failed * passes;
    Ok(fidelity)
}

/// Issues this rank's operations.
async fn issue(
    session: &Session,
    opened: &Opened,
    (job, window): (&Job<'_>, (i64, i64)),
    (routes, events): (&[Opened], Option<Arc<dyn EventSink>>),
) -> Result<Fidelity, Failure> {
    let shows = ProgressReporter::new(session);
    let rig = rig(session, opened, events, &shows);
    let sources = job.plan.sources(job.rank);
    let open = || rows(&job.traces, &sources).map_err(|failure| PlanError::Trace(failure.message));
    let passes = job.args.repeat.unwrap_or(1);
    let operations = job.plan.stream((job.rank, &job.survey), window, passes, open);
    let meetings = gather(&*session.comm, &job.survey.loops).await?;
    let common = meetings.iter().filter(|(loops, _)| *loops > 0).map(|(_, meetings)| *meetings).min().unwrap_or(0);
    // A rank without a training loop never reaches a barrier of the loop.
    let common = if meetings.iter().any(|(loops, _)| *loops == 0) { 0 } else { common.saturating_mul(passes) };
    let routes = routes.iter().map(|route| Arc::clone(&route.storage)).collect();
    let options = ReplayOptions { routes, loops: (job.survey.loops.0, common), ..job.options(session) };
    let (total, ranks) = (job.operations(), session.comm.place().size);
    let _shown = shows.begin(Task { ranks, ..Task::counting("Replaying", "operations", total) });
    dlio_engine::replay(operations, &rig, &options).await.map_err(|error| of_engine(&error))
}

/// Opens the storages of endpoints that `--map-endpoint` names.
fn routes(session: &Session, job: &Job<'_>) -> Result<Vec<Opened>, Failure> {
    let open = |endpoint: &str| {
        let mut request: ResolvedRun = session.request.clone();
        request.endpoints = vec![endpoint.to_owned()];
        let opened = backend::open(&session.loaded.workload, &request, session.comm.place(), session.clock.clone())?;
        let opened = outages::watch(session, opened);
        if opened.s3.is_none() {
            return Err(Failure::usage("--map-endpoint needs objects in a bucket: give `--map FROM=s3://BUCKET/…`"));
        }
        Ok(opened)
    };
    job.plan.options().routes().into_iter().map(open).collect()
}

/// Gathers, logs and writes how closely the schedule was followed, and checks the requirements.
async fn finish(session: &Session, job: &Job<'_>, mine: Fidelity) -> Result<(), Failure> {
    let ranks = gather(&*session.comm, &mine).await?;
    let mut all = Fidelity::default();
    for rank in &ranks {
        all.merge(rank);
    }
    fidelity::report(session, &all);
    if session.rank() == 0 {
        let setting = fidelity::Setting { folder: &job.folder, args: job.args, options: job.plan.options() };
        let written = fidelity::write(&session.request.output, &setting, (&ranks, &all))?;
        session.outcome.borrow_mut().replayed = Some(written);
    }
    session.outcome.borrow_mut().complete = true;
    if all.operations_failed > 0 {
        let (failed, planned) = (all.operations_failed, all.operations_planned);
        let first = all.first_failure.clone().unwrap_or_default();
        return Err(Failure::new(
            Code::Data,
            format_args!(
                "{failed} of {planned} operation(s) failed, the first one: {first} (missing objects: `--prepare` makes them)"
            ),
        ));
    }
    let broken: Vec<String> = job.requirements.iter().filter_map(|bound| bound.broken_by(&all)).collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Requirement, format_args!("not as required: {}", broken.join("; "))))
}
