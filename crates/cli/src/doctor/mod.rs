//! `dlio-rs doctor`: checks the requirements of a workload within seconds and without changing anything.
//!
//! Facts are gathered first, in `node` and the storage's `examine`; pure functions evaluate them. A check passes, fails with its
//! evidence and a remedy, or is skipped with a reason. The exit status is 0 only if no check failed.

mod clocks;
mod endpoints;
mod folders;
mod limits;
mod node;
mod render;
mod verdict;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::{Communicator, Place, Solo, launcher};
use dlio_config::{Loaded, Workload};
use dlio_engine::MonotonicClock;
use dlio_event::quantity::counted;
use dlio_plan::{FileSet, World};

use crate::args::{DoctorArgs, OutputFormat};
use crate::front;
use crate::launch;
use crate::meter::Screen;
use crate::terminal;
use dlio_run::collective::agree_on;
use dlio_run::collective::gather;
use dlio_run::failure::{Code, Failure};
use dlio_run::host::HostFacts;
use dlio_run::host::wall_clock::Anchor;
use dlio_run::launch::Environment;
use dlio_run::message::Verbosity;
use dlio_run::options::Options;
use dlio_run::output_folder;
use dlio_run::outputs::meter::Task;
use dlio_run::resolve::resolved_run::ResolvedRun;
use dlio_run::resolve::{config_source, threads};
use dlio_run::set_up::Start;
use dlio_run::space::{self, Writes};
use dlio_run::{layout, prepared};
use node::Plans;
use render::Report;
use verdict::{Check, Checks, Verdict};

/// Number of files per rank that are looked up to estimate which part of a dataset exists.
const LOOKED_AT: u64 = 100_000;

/// The subject of the checks.
struct Subject<'a> {
    request: &'a ResolvedRun,
    workload: &'a Workload,
    place: &'a Place,
}

/// Shortest time for which both clocks are observed.
const OBSERVED: Duration = Duration::from_millis(500);

/// Runs the checks on all ranks and prints the report on rank 0.
///
/// # Errors
/// A requirement of the workload is not met.
pub(crate) fn run(args: DoctorArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let env = crate::environment::environment();
    let (comm, refused): (Rc<dyn Communicator>, _) = match launch::communicator(&env) {
        Ok(comm) => (comm, None),
        // Without a communicator every process would be rank 0 of its own world and print a report.
        Err(failure) if crate::rank0_only::is_another(&env) => return Err(failure),
        Err(failure) => (Rc::new(Solo::new()), Some(failure)),
    };
    launch::block_on(async move {
        let before = Anchor::now(&MonotonicClock);
        let ranks = ranks(&env, comm.place(), refused);
        let screen = if comm.place().rank == 0 { Screen::stderr(verbosity) } else { None };
        let shown = screen.map(|screen| screen.begin(Task::counting("Checking", "", 0), &Arc::default()));
        let outcome = Box::pin(examine(&*comm, &args, verbosity)).await?;
        drop(shown);
        let mut report = outcome.report;
        let clocks = clocks(&*comm).await?;
        if comm.place().rank > 0 {
            return agree_on(&*comm, &|failure| crate::log::failure(failure), Ok(())).await;
        }
        let mut world = Checks::new(&comm.place().host);
        world.add("ranks", "world", ranks);
        world.add("clock.nodes", "world", clocks::apart(&clocks));
        // This is long enough to detect a clock that is being set.
        let seen = Anchor::now(&MonotonicClock).monotonic.saturating_sub(before.monotonic);
        tokio::time::sleep(OBSERVED.saturating_sub(Duration::from_nanos(seen))).await;
        world.add("clock.steady", comm.place().host.clone(), clocks::steady(&before, &Anchor::now(&MonotonicClock)));
        report.checks.extend(world.list);
        let printed = print(&report, args.format);
        let result = printed.and_then(|()| conclude(&report, outcome.code));
        agree_on(&*comm, &|failure| crate::log::failure(failure), result).await
    })
}

/// Results of the checks of all ranks.
struct Outcome {
    report: Report,
    /// Exit code for a configuration that cannot be loaded.
    code: Option<Code>,
}

/// Runs all checks except those of the whole world; only rank 0's report is used.
async fn examine(comm: &dyn Communicator, args: &DoctorArgs, verbosity: Verbosity) -> Result<Outcome, Failure> {
    let DoctorArgs { config, registry, output, no_verify_ssl, format: _ } = args;
    let target = Options {
        registry: registry.clone(),
        registry_wait: Duration::ZERO,
        output: output.clone(),
        no_preflight: true,
        no_verify_ssl: *no_verify_ssl,
        stall_seconds: Duration::ZERO,
        ..Options::default()
    };
    let words = config.words();
    let find = || config_source::find(&words, Some("default"));
    let start = Start { find: &find, target: &target, writes: output_folder::Writes::Workflow, verbosity };
    let resolved = dlio_run::set_up::resolved(comm, &front::front_end(verbosity), &MonotonicClock, &start).await?;
    let loaded = resolved.as_ref().map_err(Clone::clone).and_then(|request| Ok((request, request.load()?)));
    let (request, mut loaded) = match loaded {
        Ok(loaded) => loaded,
        Err(failure) => return Ok(not_loaded(comm.place(), config, &failure)),
    };
    let host = &comm.place().host;
    threads::apply(comm, HostFacts::read(host).cpu_count, &mut loaded.workload).await?;
    let settings = settings(request, &loaded);
    let subject = Subject { request, workload: &loaded.workload, place: comm.place() };
    let mut mine = Checks::new(host);
    let plans = plans(&mut mine, &loaded.workload, comm.place());
    if comm.place().local_rank == 0 {
        mine.list.extend(node::check(&subject, &plans).await.list);
    }
    let spaces = spaces(comm, &subject, &plans).await?;
    let all: Vec<Vec<Check>> = gather(comm, &mine.list).await?;
    let mut checks: Vec<Check> = Vec::new();
    for check in all.concat().into_iter().chain(spaces) {
        // Equal results of several ranks and nodes are reported once.
        let same = |known: &Check| {
            (&known.name, &known.subject, &known.verdict) == (&check.name, &check.subject, &check.verdict)
        };
        if !checks.iter().any(same) {
            checks.push(check);
        }
    }
    Ok(Outcome { report: Report { workload: request.wanted.name.clone(), settings, checks }, code: None })
}

/// A configuration that cannot be loaded is one failed check.
fn not_loaded(place: &Place, config: &crate::args::ConfigArgs, failure: &Failure) -> Outcome {
    let mut checks = Checks::new(&place.host);
    let remedy = "correct the configuration, the registry or the credentials that it names";
    checks.add(
        "configuration",
        config.words.join(" "),
        Verdict::fail_as(failure.code, failure.message.clone(), remedy),
    );
    let report = Report { workload: config.words.join(" "), settings: Vec::new(), checks: checks.list };
    Outcome { report, code: Some(failure.code) }
}

/// Returns a line for the origin of each setting of the run, and for each setting that was given but is not used.
fn settings(request: &ResolvedRun, loaded: &Loaded) -> Vec<String> {
    let workload = &loaded.workload;
    let mut lines =
        vec![format!("dialect {}", workload.dlio_rs.dialect), format!("output folder {}", request.output.display())];
    lines.extend(request.endpoints.iter().map(|endpoint| format!("endpoint {endpoint}")));
    lines.extend(request.report.render());
    lines.extend(request.report.notices());
    lines.extend(request.remarks.iter().cloned());
    lines.extend(loaded.notices.iter().map(|notice| notice.text.clone()));
    lines
}

/// Computes the plans, as far as the world allows.
fn plans(checks: &mut Checks, workload: &Workload, place: &Place) -> Plans {
    let (workflow, world) = (workload.workflow, World { size: place.size });
    let mut plans = Plans { files: None, training: None, checkpoints: None };
    let mut refuse = |error: dlio_plan::Error| {
        let remedy = "start another number of ranks, or correct the configuration";
        checks.add("plan", counted(place.size, "rank"), Verdict::fail_as(Code::Usage, error.to_string(), remedy));
    };
    if workflow.train || workflow.generate_data {
        plans.files = FileSet::new(workload).map_err(&mut refuse).ok();
    }
    if workflow.train {
        plans.training = dlio_plan::training(workload, world).map_err(&mut refuse).ok();
    }
    if workflow.checkpoint {
        plans.checkpoints = dlio_plan::checkpoints(workload, world).map_err(&mut refuse).ok();
    }
    if let Some(failure) = plans.training.as_ref().and_then(|plan| prepared::no_steps(plan, workload)) {
        let remedy = "as the text says";
        checks.add("plan.steps", "training", Verdict::fail_as(failure.code, failure.message, remedy));
    }
    plans
}

/// Compares free space and inodes with the amount that all ranks will write.
async fn spaces(comm: &dyn Communicator, subject: &Subject<'_>, plans: &Plans) -> Result<Vec<Check>, Failure> {
    let workload = subject.workload;
    let layout = layout::layout(workload).ok();
    let generated = plans.files.as_ref().filter(|_| workload.workflow.generate_data);
    let writes = Writes {
        workload,
        place: subject.place,
        data: generated.zip(layout.as_ref()),
        plan: plans.checkpoints.as_ref(),
        training: plans.schedule(),
    };
    let few = plans.files.as_ref().is_none_or(|files| files.total() / u64::from(subject.place.size) <= LOOKED_AT);
    let needs = writes.sizes().and_then(|sizes| writes.needs(sizes.as_ref(), few));
    let mut checks = Checks::new(&subject.place.host);
    if let Err(failure) = &needs {
        checks.add("space", "sizes", Verdict::not_checked(failure.message.clone()));
    }
    let all = gather(comm, &space::claims(subject.place, needs.unwrap_or_default())).await?.concat();
    for short in space::judge(&all) {
        let remedy = "make room, or write less (plan says how much each part takes)";
        let verdict =
            if short.is_certain { Verdict::fail(short.text, remedy) } else { Verdict::not_checked(short.text) };
        checks.add("space", "file system", verdict);
    }
    if checks.list.is_empty() && !all.is_empty() {
        let mut fitting = space::fitting(&all);
        if fitting.is_empty() {
            fitting.push("everything that will be written is there already".to_owned());
        }
        for text in fitting {
            checks.add("space", "file system", Verdict::pass(text));
        }
    }
    Ok(checks.list)
}

/// Checks the launcher, the MPI library and the world.
fn ranks(env: &Environment, place: &Place, refused: Option<Failure>) -> Verdict {
    if let Some(failure) = refused {
        return Verdict::fail_as(
            failure.code,
            failure.message,
            "as the message says; docs/mpi.md has launchers and libraries",
        );
    }
    let launcher = launcher::detect(&|name: &str| env.get(name).cloned());
    let Some(launcher) = launcher else {
        return Verdict::pass("no launcher: one rank, alone");
    };
    Verdict::pass(format!(
        "{} on {}, started by {}, {}",
        counted(place.size, "rank"),
        counted(place.nodes, "node"),
        launcher.name,
        library()
    ))
}

fn library() -> String {
    dlio_comm::Mpi::library().map_or_else(|| "no MPI library".to_owned(), |library| library.to_string())
}

/// Reads the wall clocks of all nodes right after a barrier.
async fn clocks(comm: &dyn Communicator) -> Result<Vec<(String, i64)>, Failure> {
    comm.barrier().await?;
    let place = comm.place();
    let mine = (place.local_rank == 0).then(|| (place.host.clone(), Anchor::now(&MonotonicClock).unix_nanos));
    Ok(gather(comm, &mine).await?.into_iter().flatten().collect())
}

fn print(report: &Report, format: OutputFormat) -> Result<(), Failure> {
    let text = match format {
        OutputFormat::Text => terminal::wrapped(&report.text(), terminal::columns(&crate::environment::environment())),
        OutputFormat::Json => format!("{:#}\n", report.json()),
    };
    crate::log::print(text.as_bytes())
}

/// Returns the exit status of the first failure.
fn conclude(report: &Report, code: Option<Code>) -> Result<(), Failure> {
    let failed = report.checks.iter().filter_map(|check| match &check.verdict {
        Verdict::Fail { code, .. } => Some((*code, format!("{} {}", check.name, check.subject))),
        _ => None,
    });
    let failed: Vec<(Code, String)> = failed.collect();
    let Some((first, _)) = failed.first() else { return Ok(()) };
    let names: Vec<&str> = failed.iter().map(|(_, name)| name.as_str()).collect();
    Err(Failure::new(code.unwrap_or(*first), format_args!("{}: {}", report.conclusion(), names.join(", "))))
}
