//! Executes a run on all ranks: generation, verification, training and checkpoints, with traces and metrics.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dlio_config::Workload;
use dlio_config::time::TimeSpec;
use dlio_config::vocabulary::StorageType;
use dlio_engine::{Checkpoints, GenerateOptions, LaneHost, Observer, Rig, StallLimits, TrainOptions, VerifyOptions};
use dlio_event::NullSink;
use dlio_plan::{GeneratePlan, Split, TrainingPlan, World};
use dlio_storage::s3::Preflight;
use dlio_storage::{ErrorKind, Storage};
use dlio_trace::tables;

use crate::backend::{self, Opened, Purpose, Target};
use crate::dataset::files::DataSet;
use crate::dataset::listing;
use crate::dataset::{discover, mismatches, presence};
use crate::failure::{self, Code, Failure};
use crate::host::page_cache;
use crate::host::profiler::{self, Profiler};
use crate::outputs::meter::Task;
use crate::outputs::progress::{Progress, ProgressReporter, RunFacts};
use crate::outputs::rank_trace;
use crate::outputs::reference_log::{self, StepLogger};
use crate::outputs::trace_folder::{self, OpenTrace};
use crate::outputs::{outages, parameters, results};
use crate::prepared::Prepared;
use crate::rank_ending::{RankEnding, end};
use crate::session::Session;
use crate::shared_folder::{self, Use};
use crate::work::Work;
use crate::{advice, shared_permutations, space};

/// Executes `work`. Every rank calls this function.
///
/// # Errors
/// One failure for the whole run, which only the rank that caused it, or rank 0, reports.
pub(crate) async fn execute(session: &Session, work: Work) -> Result<(), Failure> {
    let shown = ProgressReporter::new(session).begin(Task { label: "Setting up".into(), ..Task::default() });
    let (opened, prepared, empty) = session.unless_signalled(Box::pin(set_up(session, work))).await?;
    drop(shown);
    let folder = match work {
        Work { train: true, .. } | Work { checkpoint: true, .. } => "trace",
        Work { verify: true, .. } => "trace-verify",
        _ => "trace-generate",
    };
    let parameters =
        parameters::parameters(&session.loaded.workload, prepared.plan.as_ref(), prepared.checkpoint_plan());
    let config = parameters.embed(session.loaded.resolved.clone());
    let begun = trace_folder::begin(session, folder, config, prepared.planned(work)).await?;
    let traces = begun.traces.clone().unwrap_or_else(|| session.trace_folder(folder));
    let ran = in_order(session, &opened, &prepared, (work, &begun)).await;
    let clients = opened.s3.iter().chain(prepared.checkpoints.iter().filter_map(|prepared| prepared.client()));
    end(session, (&begun.closing, &clients.collect::<Vec<_>>()), ran).await?;
    let tables = side_tables(session, &opened, &prepared, &traces);
    session.agree(tables).await?;
    let wanted = session.request.wanted.hydra.as_ref().is_some_and(|run| run.pfw);
    let exported = if wanted { profiler::export_pfw(session, &traces) } else { Ok(()) };
    session.agree(exported).await?;
    if !(work.train || work.checkpoint) {
        conclude(session).await?;
    }
    session.outcome.borrow_mut().complete = true;
    // DLIO runs a training without steps and writes its files. The exit code must still be that of a failure.
    session.agree(empty.map_or(Ok(()), Err)).await
}

/// Does everything before the first operation: opens storage, makes plans, checks them. Also returns the failure of a
/// training without steps.
async fn set_up(session: &Session, work: Work) -> Result<(Opened, Prepared, Option<Failure>), Failure> {
    let opened = session.agree(open(session)).await?;
    let mut prepared = session.agree(Prepared::new(session, work)).await?;
    if let (true, Some(client)) = (work.preflight, &opened.s3) {
        let reached = client.reach().await.map_err(Failure::from);
        session.agree(reached).await?;
    }
    if let Some(data) = &prepared.data {
        let found = discover::files(session, &*opened.storage, &data.files, work).await?;
        let adopted = found.map_or(Ok(()), |found| prepared.adopt(session, found));
        session.agree(adopted).await?;
    }
    if let Some(plan) = prepared.plan.take() {
        prepared.plan = Some(shared_permutations::share(session, plan).await?);
    }
    let empty = if work.allow_empty { None } else { prepared.empty(session) };
    if let (Some(failure), false) = (&empty, session.as_reference()) {
        return session.agree(Err(failure.clone())).await;
    }
    log_start(session, &prepared, work);
    let shared = folders_are_shared(session, &prepared, work).await;
    session.agree(shared).await?;
    space::of_run(session, &prepared, work).await?;
    if work.preflight {
        let checked = preflight(session, &opened, &prepared, work).await;
        session.agree(checked).await?;
    }
    if let (true, Some(data)) = (work.list, &prepared.data) {
        let listed = listing::compare(session, &*opened.storage, &data.files).await;
        session.agree(listed).await?;
    }
    Ok((opened, prepared, empty))
}

/// Reports S3 requests that were retried and endpoints that did not answer for a while.
pub(crate) async fn conclude(session: &Session) -> Result<(), Failure> {
    let troubles = outages::collect(session).await?;
    if let (0, Some(troubles)) = (session.rank(), &troubles) {
        outages::log(session, troubles);
    }
    Ok(())
}

fn open(session: &Session) -> Result<Opened, Failure> {
    let opened = backend::open(&session.loaded.workload, &session.request, session.comm.place(), session.clock.clone());
    opened.map(|opened| outages::watch(session, opened))
}

/// Checks whether the folders of this run are the same on all nodes.
async fn folders_are_shared(session: &Session, prepared: &Prepared, work: Work) -> Result<(), Failure> {
    let workload = &session.loaded.workload;
    if let (Some(_), Target::Local { root }) = (&prepared.data, Target::of(workload)?) {
        let purpose = if work.generate { Use::Generate } else { Use::Read };
        shared_folder::examine(session, &root, purpose).await?;
    }
    if prepared.checkpoints.is_some()
        && let Target::Local { root } = Target::of_checkpoints(workload)?
    {
        shared_folder::examine(session, &root, Use::Checkpoints).await?;
    }
    Ok(())
}

fn log_start(session: &Session, prepared: &Prepared, work: Work) {
    let workload = &session.loaded.workload;
    let mut modes = Vec::new();
    if work.verify {
        modes.push("Verifying data");
    }
    if work.generate {
        modes.push("Generating data");
    }
    if work.train {
        modes.push("Training");
        if workload.workflow.evaluation {
            modes.push("Evaluation");
        }
    }
    if work.checkpoint {
        modes.push("Checkpointing");
    }
    session.log_output(&format!("Running DLIO [{}] with {} process(es)", modes.join(" & "), session.comm.place().size));
    if session.as_reference() {
        reference_log::before(session, work.train);
    }
    for notice in prepared.plan.iter().flat_map(TrainingPlan::notices) {
        session.notice(notice);
    }
}

/// Checks endpoints, credentials and data. Every rank checks the endpoints that it uses, so every node checks every
/// endpoint that it will use.
async fn preflight(session: &Session, opened: &Opened, prepared: &Prepared, work: Work) -> Result<(), Failure> {
    if let Some(checkpoints) = &prepared.checkpoints {
        checkpoints.preflight(session).await?;
    }
    let Some(data) = &prepared.data else { return Ok(()) };
    let purpose = if work.generate { Purpose::Generate } else { Purpose::Read };
    let first = data.files.file(0).key;
    match (&opened.s3, purpose) {
        (Some(client), Purpose::Generate) => backend::preflight_writing(&*session.comm, client).await?,
        (Some(client), Purpose::Read) => client.preflight(Preflight::Read(&first)).await?,
        (None, Purpose::Generate) => {}
        (None, Purpose::Read) => check_local(session, opened, &first).await?,
    }
    Ok(())
}

async fn check_local(session: &Session, opened: &Opened, first: &str) -> Result<(), Failure> {
    match opened.storage.stat(first).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::NotFound => Err(Failure::new(
            Code::Data,
            format_args!(
                "{} does not exist{}; the dataset is not there or is another one: {}, or correct dataset.data_folder",
                error.object,
                advice::from_here(&error.object),
                advice::generate(session)
            ),
        )),
        Err(error) => Err(error.into()),
    }
}

async fn in_order(
    session: &Session,
    opened: &Opened,
    prepared: &Prepared,
    (work, begun): (Work, &OpenTrace),
) -> Result<(), Failure> {
    let shows = ProgressReporter::new(session);
    // Progress of a training comes from its steps, so its storage is not counted.
    let storages = [shows.count(&opened.storage), opened.storage.clone()];
    let [counted, rig] = storages.map(|storage| rig(session, storage, (prepared, begun), &shows));
    let stall_after = work.stall_limits;
    if let (true, Some(DataSet { files, layout, .. })) = (work.generate, &prepared.data) {
        let plan = GeneratePlan::new(files, World { size: session.comm.place().size });
        let options = GenerateOptions {
            inflight: files_at_a_time(&session.loaded.workload),
            overwrite: work.overwrite,
            stall_after,
            cancel: session.front.stop.cancel_flag(),
        };
        let generated = dlio_engine::generate(&plan, files, layout, &counted, options).await;
        let generated = generated.map_err(|error| advice::failure(session, &error))?;
        session.outcome.borrow_mut().generated = Some(generated);
        settle(session).await?;
    }
    if let Some(checkpoints) = &prepared.checkpoints {
        checkpoints.log_sizes(session);
    }
    if let (true, Some(data)) = (work.verify, &prepared.data) {
        verify(session, data, &counted, stall_after).await?;
    }
    if let (Some(_), Some(data)) = (&prepared.plan, &prepared.data)
        && session.loaded.workload.dlio_rs.dialect.rules().checks_dataset
        && !data.files.is_listed()
    {
        let present = presence::check(session, &*opened.storage, data).await;
        session.agree(present).await?;
    }
    if prepared.plan.is_some() || prepared.checkpoints.is_some() {
        measure(session, prepared, (&rig, &shows, &begun.closing), stall_after).await?;
    }
    if let Some(data) = &prepared.data {
        mismatches::log(session, data).await?;
    }
    match &prepared.data {
        Some(data) if !work.keep => {
            let total = data.files.total();
            let _shown = shows.begin(Task::counting("Removing", "files", total));
            remove(session, data, &rig, stall_after).await
        }
        _ => Ok(()),
    }
}

/// Runs the training, or checkpoints without a training, and writes the metrics.
async fn measure(
    session: &Session,
    prepared: &Prepared,
    (rig, shows, closing): (&Rig, &ProgressReporter, &RankEnding),
    stall_after: StallLimits,
) -> Result<(), Failure> {
    let checkpoints = prepared.checkpoints.as_ref().map(|prepared| {
        let storage = shows.count(&prepared.checkpoints.storage);
        Checkpoints { storage, ..prepared.checkpoints.clone() }
    });
    let options = TrainOptions {
        before_epoch: page_cache::before_epoch(session),
        inflight: session.loaded.workload.dlio_rs.inflight_per_reader,
        decode: session.loaded.workload.dlio_rs.decode,
        stall_after,
        cancel: session.front.stop.cancel_flag(),
        checkpoints: checkpoints.clone(),
    };
    let profiler = session.agree(Profiler::start(session)).await?;
    if session.as_reference() && prepared.plan.is_some() {
        reference_log::steps(session);
    }
    let ran = match (&prepared.plan, &prepared.data, &checkpoints) {
        (Some(plan), Some(data), _) => dlio_engine::train(plan, &data.layout, rig, options).await,
        (_, _, Some(checkpoints)) => dlio_engine::checkpoint(checkpoints, rig, options).await,
        _ => return Ok(()),
    };
    let ran = ran.map_err(|error| advice::failure(session, &error))?;
    session.agree(profiler.stop(session)).await?;
    results::write(session, (prepared.plan.as_ref(), prepared.checkpoint_plan()), &ran, closing).await
}

/// Removes the dataset.
async fn remove(session: &Session, data: &DataSet, rig: &Rig, stall_after: StallLimits) -> Result<(), Failure> {
    if data.files.is_listed() {
        session.warn("dataset.keep_files is false, but the files were made by another program: they stay");
        return Ok(());
    }
    let removed = dlio_engine::remove(&data.files, rig, session.front.stop.cancel_flag(), stall_after).await;
    let removed = removed.map_err(|error| advice::failure(session, &error))?;
    let folder = if removed.folder { ", the folder too" } else { "" };
    session.log_own(&format!(
        "dataset.keep_files is false: removed {} file(s) of the dataset in {}{folder}",
        removed.files,
        rig.storage.uri("")
    ));
    Ok(())
}

/// Checks the content of every file and logs the result. Bad files are one failure of all ranks.
async fn verify(session: &Session, data: &DataSet, rig: &Rig, stall_after: StallLimits) -> Result<(), Failure> {
    let plan = GeneratePlan::new(&data.files, World { size: session.comm.place().size });
    let options = VerifyOptions {
        inflight: session.loaded.workload.dlio_rs.generate_inflight,
        stall_after,
        cancel: session.front.stop.cancel_flag(),
    };
    let found = dlio_engine::verify(&plan, &data.files, &data.layout, rig, options).await;
    let found = found.map_err(|error| advice::failure(session, &error))?;
    let (seconds, good) = (found.duration.as_secs_f64(), found.files - found.bad);
    session.log_output(&format!(
        "Verified {} file(s): {good} good with {} sample(s), {} bytes in {seconds:.2} s: {:.1} MB/s, {} bad",
        found.files,
        found.samples,
        found.bytes,
        found.bytes as f64 / 1e6 / seconds.max(1e-9),
        found.bad
    ));
    session.outcome.borrow_mut().verified = Some(found.clone());
    let outcome = match found.first {
        None => Ok(()),
        Some(first) => Err(Failure::new(
            Code::Data,
            format_args!("{} of {} file(s) are bad; the first one: {}", found.bad, found.files, first.reason),
        )),
    };
    // The counts are complete even if files are bad.
    session.outcome.borrow_mut().complete = outcome.is_err();
    session.agree(outcome).await
}

/// Number of files that a rank generates concurrently.
fn files_at_a_time(workload: &Workload) -> u32 {
    workload.reader.write_threads.unwrap_or(workload.dlio_rs.generate_inflight).max(1)
}

/// Waits after generation for object stores that list new objects with a delay.
async fn settle(session: &Session) -> Result<(), Failure> {
    let keys = &session.loaded.workload.storage;
    let seconds = keys.post_generation_settle_seconds;
    if seconds <= 0.0 || session.loaded.workload.stored_on() == StorageType::LocalFs {
        return Ok(());
    }
    session.log_output(&format!("Waiting for {seconds} s after generation (storage.post_generation_settle_seconds)"));
    if session.rank() == 0 {
        tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).await;
    }
    session.comm.barrier().await?;
    Ok(())
}

fn rig(
    session: &Session,
    storage: Arc<dyn Storage>,
    (prepared, begun): (&Prepared, &OpenTrace),
    shows: &ProgressReporter,
) -> Rig {
    let voice = Rc::new(StepLogger::new(session));
    let observer: Rc<dyn Observer> = if session.rank() == 0 {
        let facts = facts(session, prepared);
        Rc::new(Progress::new(session, facts, voice, shows))
    } else {
        voice
    };
    Rig {
        storage,
        comm: Rc::clone(&session.bare),
        clock: session.clock.clone(),
        events: begun.events.clone().unwrap_or_else(|| Arc::new(NullSink)),
        lanes: LaneHost::Threads,
        observer,
    }
}

fn facts(session: &Session, prepared: &Prepared) -> RunFacts {
    let workload = &session.loaded.workload;
    let steps = |split| prepared.plan.as_ref().map_or(0, |plan| plan.configured_steps(split));
    RunFacts {
        size: session.comm.place().size,
        announced_steps: workload.train.total_training_steps.unwrap_or(steps(Split::Train)),
        announced_eval_steps: steps(Split::Eval),
        steps_overridden: workload.train.total_training_steps.is_some(),
        computation_time: set_value(&workload.train.computation_time),
        parameters: parameters::parameters(workload, prepared.plan.as_ref(), prepared.checkpoint_plan()),
        file_bytes: prepared.data.as_ref().map_or(0, DataSet::bytes_of_first),
        checkpoint_bytes: prepared.checkpoint_plan().map_or(0, |plan| plan.rank_bytes(0)),
    }
}

/// Formats a time specification as DLIO prints it: as a Python dictionary.
fn set_value(time: &TimeSpec) -> String {
    let (kind, members): (&str, &[(&str, f64)]) = match time {
        TimeSpec::None => return "{}".to_owned(),
        TimeSpec::Constant { mean } => ("", &[("mean", *mean)]),
        TimeSpec::Normal { mean, stdev } => ("", &[("mean", *mean), ("stdev", *stdev)]),
        TimeSpec::Uniform { min, max } => ("uniform", &[("min", *min), ("max", *max)]),
        TimeSpec::Gamma { shape, scale } => ("gamma", &[("shape", *shape), ("scale", *scale)]),
        TimeSpec::Exponential { scale } => ("exponential", &[("scale", *scale)]),
        TimeSpec::Poisson { lam } => ("poisson", &[("lam", *lam)]),
    };
    let kind = (!kind.is_empty()).then(|| format!("'type': '{kind}'"));
    let members = members.iter().map(|(name, value)| format!("'{name}': {value:?}"));
    format!("{{{}}}", kind.into_iter().chain(members).collect::<Vec<_>>().join(", "))
}

/// Writes the tables that rank 0 adds to complete traces: the counters of all ranks, and the list of files.
fn side_tables(session: &Session, opened: &Opened, prepared: &Prepared, folder: &Path) -> Result<(), Failure> {
    let workload = &session.loaded.workload;
    if session.rank() > 0 || !workload.dlio_rs.trace {
        return Ok(());
    }
    let world = session.comm.place().size;
    let joined =
        tables::join_counters(folder, world).map_err(|error| Failure::new(Code::Trace, failure::chain(&error)))?;
    if joined < world {
        session.warn(&format!(
            "the counters of {joined} of {world} ranks are in {}; they stay in tables of their own, beside each rank's trace",
            folder.display()
        ));
    }
    match &prepared.data {
        Some(data) => rank_trace::list_files(folder, workload, &data.files, &data.layout, &*opened.storage),
        None => Ok(()),
    }
}
