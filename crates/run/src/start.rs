//! Starts a run on all ranks: resolved configuration, output folder, log, first log lines.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use dlio_comm::Communicator;
use dlio_comm::shared::Failures;
use dlio_config::NoticeCode;
use dlio_engine::MonotonicClock;
use dlio_event::TimeSource;
use dlio_event::quantity::counted;

use crate::collective::{agree, align_clocks};
use crate::failure::Failure;
use crate::front_end::FrontEnd;
use crate::host::HostFacts;
use crate::message::{Level, Verbosity};
use crate::outcome::Outcome;
use crate::output_folder;
use crate::outputs::endpoint_notices::EndpointLogger;
use crate::outputs::log::Log;
use crate::outputs::opening;
use crate::ranks::Ranks;
use crate::resolve::resolved_run::ResolvedRun;
use crate::resolve::{ineffective_keys, renewal, threads};
use crate::session::Session;
use crate::set_up::{Start, share_request};

/// Starts the run on this rank. Every rank calls this function.
///
/// # Errors
/// The same failure on every rank; rank 0 reports it.
pub(crate) async fn start(comm: Rc<Ranks>, start: Start<'_>) -> Result<Session, Failure> {
    comm.set_limits(start.target.stall_limits());
    let clock = Arc::new(MonotonicClock);
    let front = Arc::clone(comm.front());
    let (mut request, output) = share_request(&comm, &*clock, &start).await?;
    output_folder::check_shared(&comm, &request).await?;
    let renewal = renewal::start(&comm, &mut request).await?;
    let mut loaded = request.load()?;
    let sized = threads::apply(&*comm, HostFacts::read(&comm.place().host).cpu_count, &mut loaded.workload).await?;
    let log_file = request.output.join(&loaded.workload.output.log_file);
    let log = Rc::new(open_log(&comm, &request, &log_file, start.verbosity).await?);
    let clock_offset = align_clocks(&*comm, &clock).await?;
    let failures = Failures::share(&*comm).await?.map(Arc::new);
    comm.end_at_signals();
    let (bare, ranks): (_, Rc<dyn Communicator>) = (comm.inner(), comm.clone());
    let own = log.speaker(&log_file, start.verbosity, &front.observer);
    let (clients, speaker, limits) = (RefCell::default(), OnceCell::new(), start.target.stall_limits());
    let place = comm.place();
    let outcome = Outcome {
        workload: request.wanted.name.clone(),
        ranks: place.size,
        nodes: place.nodes,
        output: request.output.clone(),
        ..Outcome::default()
    };
    let session = Session {
        comm: ranks,
        ranks: comm,
        bare,
        clock,
        request,
        loaded,
        log,
        front,
        limits,
        clients,
        speaker,
        outcome: RefCell::new(outcome),
        clock_offset,
        failures,
        output,
    };
    let (keys, anchor) = (&session.loaded.workload.dlio_rs, session.request.anchor);
    let times = (session.clock.clone() as Arc<dyn TimeSource>, anchor, session.clock_offset.0);
    let speaker = Arc::new(EndpointLogger::new(session.comm.place(), keys, own, times));
    session.speaker.get_or_init(|| speaker);
    log_notices(&session);
    if let Some(text) = session.output.as_ref().and_then(|claim| claim.taken_over()) {
        session.warn(text);
    }
    if let Some(warning) = &renewal {
        session.warn(warning);
    }
    if let Some(sized) = sized {
        session.log_output(&sized);
    }
    Ok(session)
}

/// Creates the log on rank 0. Under the reference's name the other ranks append to it, and all enter the run directory.
///
/// # Errors
/// If the log or the run directory cannot be used, on any rank.
async fn open_log(comm: &Ranks, request: &ResolvedRun, log_file: &Path, verbosity: Verbosity) -> Result<Log, Failure> {
    let (front, rank) = (comm.front(), comm.place().rank);
    let made = match (&request.wanted.hydra, rank) {
        (None, 0) => make_log_folder(log_file).and_then(|()| Log::create(log_file, verbosity, &front.observer)),
        (Some(run), 0) => run
            .write()
            .and_then(|()| make_log_folder(log_file))
            .and_then(|()| Log::create(log_file, verbosity, &front.observer))
            .map(|log| log.at_level(run.level)),
        (_, _) => Ok(Log::silent()),
    };
    let mut log = agree(comm, made).await?;
    if let Some(run) = &request.wanted.hydra {
        if rank > 0 {
            log = Log::append(log_file, &front.observer).at_level(run.level);
        }
        let entered = if run.chdir { enter(front, &run.folder) } else { Ok(()) };
        agree(comm, entered).await?;
    }
    Ok(log)
}

/// Logs the settings in force, and keys and options without effect.
fn log_notices(session: &Session) {
    for line in opening::lines(session) {
        session.log_own(&line);
    }
    // This line goes to the user but not into the log file, whose lines programs that call `dlio_benchmark` may parse.
    if let Some(line) = opening::unasked(session).filter(|_| session.log.is_enabled(Level::Warning)) {
        session.front.observer.note(&line);
    }
    for warning in
        session.request.wanted.hydra.iter().flat_map(|run| &run.warnings).chain(&session.request.report.notices())
    {
        session.warn(warning);
    }
    let (endpoints, size) = (&session.request.endpoints, session.comm.place().size);
    for warning in ineffective_keys::warnings(&session.loaded, (endpoints, size), session.request.uses_s3()) {
        session.warn(&warning);
    }
    let ignored = session.loaded.notices.iter().filter(|notice| notice.code == NoticeCode::IgnoredKey).count();
    if ignored > 0 {
        session.log_own(&format!(
            "{} of the configuration {} no effect; -v names {}, with the reason",
            counted(ignored, "key"),
            if ignored == 1 { "has" } else { "have" },
            if ignored == 1 { "it" } else { "them" }
        ));
    }
    for line in session.request.report.render().iter().chain(&session.request.remarks) {
        session.log_info(line);
    }
    for notice in &session.loaded.notices {
        session.notice(notice);
    }
}

/// Creates the folder of the log file.
fn make_log_folder(log_file: &Path) -> Result<(), Failure> {
    let folder = log_file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::file("creating the folder of the log file", folder, &error))
}

fn enter(front: &FrontEnd, folder: &Path) -> Result<(), Failure> {
    front.observer.enter(folder).map_err(|error| Failure::file("entering the run folder", folder, &error))
}
