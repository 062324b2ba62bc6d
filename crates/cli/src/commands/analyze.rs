//! `dlio-rs analyze`: converts traces to a table, `report.json` and `report.html`. Under `mpirun` each rank reads its share of the
//! traces, and rank 0 writes the report.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dlio_analyze::{Analysis, Options, Report, compare, render};
use dlio_comm::Communicator as _;
use dlio_trace::RankTrace;

use crate::args::{AnalyzeArgs, ReportFormat};
use crate::log::print;
use crate::meter::Screen;
use crate::on_ranks::on_ranks;
use crate::terminal;
use dlio_run::collective::agree;
use dlio_run::failure::{Code, Failure};
use dlio_run::front_end::FrontEnd;
use dlio_run::message::Verbosity;
use dlio_run::output_folder::Reports;
use dlio_run::outputs::file::write_file;
use dlio_run::outputs::meter::{Tally, Task};
use dlio_run::ranks::Ranks;

/// File in the output folder that describes how closely a replay followed its trace.
const FIDELITY: &str = "replay.json";

pub(super) fn run(args: AnalyzeArgs, verbosity: Verbosity) -> Result<(), Failure> {
    on_ranks(verbosity, |comm| async move {
        let screen = if comm.place().rank == 0 { Screen::stderr(verbosity) } else { None };
        let made = make(&comm, &args, screen.as_ref()).await?;
        let told = match made {
            Some((report, base)) => tell(comm.front(), &report, base.as_ref(), args).await,
            None => Ok(()),
        };
        agree(&comm, told).await
    })
}

/// The report of the run and the report of the base run, on rank 0.
async fn make(
    comm: &Ranks,
    args: &AnalyzeArgs,
    screen: Option<&Screen>,
) -> Result<Option<(Report, Option<Report>)>, Failure> {
    let report = report_on(comm, &args.paths, args.streaming, screen).await?;
    let base = match &args.base {
        Some(base) => report_on(comm, std::slice::from_ref(base), args.streaming, screen).await?,
        None => None,
    };
    Ok(report.map(|mut report| {
        if let Some(base) = &base {
            report.comparison = compare::compare(&base.diagnosis.samples, &report.diagnosis.samples);
        }
        (report, base)
    }))
}

/// Prints and writes the report.
async fn tell(front: &FrontEnd, report: &Report, base: Option<&Report>, args: AnalyzeArgs) -> Result<(), Failure> {
    let AnalyzeArgs { paths, json, html, streaming: _, no_files, overwrite, base: _, fail_if, allow_partial, format } =
        args;
    match format {
        ReportFormat::Table => {
            let columns = terminal::table_columns(&crate::environment::environment());
            print(render::table(report, columns).as_bytes())?;
        }
        ReportFormat::Json => print(&render::json(report))?,
        ReportFormat::Csv => print(render::csv(report).as_bytes())?,
        ReportFormat::Md => print(render::markdown(report).as_bytes())?,
    }
    if !no_files {
        let folder = paths.first().map(|path| beside(path)).unwrap_or_default();
        let reports = Reports::claim(front, &folder, (json, html), overwrite).await?;
        write_file(&reports.json, &render::json(report))?;
        let page = base.map_or_else(|| render::html(report), |base| render::html_against(report, base));
        write_file(&reports.html, &page)?;
        let (json, html) = (reports.json.clone(), reports.html.clone());
        reports.finish();
        if format == ReportFormat::Table {
            print(format!("\nwritten: {}, {}\n", json.display(), html.display()).as_bytes())?;
        }
    }
    if !fail_if.is_empty() && !allow_partial {
        judgeable(report, base)?;
    }
    let crossed: Vec<String> = fail_if.iter().filter_map(|threshold| threshold.crossed(&report.comparison)).collect();
    if crossed.is_empty() { Ok(()) } else { Err(Failure::new(Code::Threshold, crossed.join("; "))) }
}

/// Returns an error if one of the two compared runs did not complete.
fn judgeable(report: &Report, base: Option<&Report>) -> Result<(), Failure> {
    let all = [("the run", Some(report)), ("its base", base)];
    let partial = all
        .into_iter()
        .find_map(|(name, report)| Some((name, report?)).filter(|(_, report)| report.run.ending.is_partial()));
    let Some((name, report)) = partial else { return Ok(()) };
    let ending = &report.run.ending;
    let missing = if ending.missing.is_empty() { String::new() } else { format!(" ({})", ending.missing) };
    Err(Failure::new(
        Code::Data,
        format_args!(
            "--fail-if cannot judge: {name} did not complete: {}{missing}; run it again, or give --allow-partial to compare what there is",
            ending.text
        ),
    ))
}

/// Computes the report of one run with all ranks; rank 0 gets it.
async fn report_on(
    comm: &Ranks,
    paths: &[PathBuf],
    streaming: bool,
    screen: Option<&Screen>,
) -> Result<Option<Report>, Failure> {
    let (rank, size) = (comm.place().rank as usize, comm.place().size as usize);
    let mut traces = agree(comm, read_all(paths)).await?;
    let tally = Arc::new(Tally::default());
    for trace in &mut traces {
        trace.count_rows_in(tally.done());
    }
    // Every rank reads its share of the files.
    let total = traces.iter().skip(rank).step_by(size).map(|trace| trace.rows).sum();
    let ranks = comm.place().size;
    let task = Task { ranks, ..Task::counting("Analyzing", "events", total) };
    let _shown = screen.map(|screen| screen.begin(task, &tally));
    let options = Options { streaming: streaming.then_some(true), parameters: None };
    if size == 1 {
        let report = dlio_analyze::report(&traces, &options).map_err(trace_failure)?;
        return Ok(Some(Report { fidelity: fidelity(paths)?, ..report }));
    }
    let analysis = Analysis::new(&traces, &options);
    let share = agree(comm, analysis.read(rank, size).map_err(trace_failure)).await?;
    let first = comm.all_gather(&share.round1()).await?;
    let torn = || {
        Failure::new(Code::Ranks, "a rank sent something that is no part of an analysis: run one version of dlio-rs")
    };
    let merged = analysis.merge(&first).ok_or_else(torn)?;
    drop(first);
    let second = comm.all_gather(&share.round2(&merged)).await?;
    let merged = merged.merge(&second).ok_or_else(torn)?;
    let third = comm.all_gather(&share.round3(&merged)).await?;
    let finish = || {
        let report = analysis.finish(merged, &third).map_err(trace_failure)?.ok_or_else(torn)?;
        Ok(Report { fidelity: fidelity(paths)?, ..report })
    };
    agree(comm, (rank == 0).then(finish).transpose()).await
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<RankTrace>, Failure> {
    let mut traces = Vec::new();
    for path in paths {
        traces.extend(read(path)?);
    }
    traces.sort_by_key(|trace| trace.header.rank);
    Ok(traces)
}

/// Reads how closely a replay followed its trace, if one of the folders is the output of a replay.
fn fidelity(paths: &[PathBuf]) -> Result<Option<serde_json::Value>, Failure> {
    let Some(path) = paths.iter().map(|path| path.join(FIDELITY)).find(|path| path.is_file()) else { return Ok(None) };
    let text = dlio_storage::regular_file::read_file(&path).map_err(|error| Failure::file("reading", &path, &error))?;
    let value = serde_json::from_slice(&text);
    value.map(Some).map_err(|error| Failure::new(Code::Trace, format_args!("{}: {error}; remove it", path.display())))
}

/// Opens the traces of an output folder or a trace folder, or one trace file.
///
/// # Errors
/// There are no traces, or they cannot be read.
pub(super) fn read(path: &Path) -> Result<Vec<RankTrace>, Failure> {
    if !path.exists() {
        let text =
            format_args!("{} does not exist: give an output folder, a trace folder or a trace file", path.display());
        return Err(Failure::new(Code::Trace, text));
    }
    // The traces of a generation are used only if the output folder holds no traces of a training.
    let inner = ["trace", "trace-generate"].map(|name| path.join(name)).into_iter().find(|inner| inner.is_dir());
    dlio_trace::read_dir(inner.as_deref().unwrap_or(path)).map_err(trace_failure)
}

fn beside(path: &Path) -> PathBuf {
    if path.is_dir() { path.to_owned() } else { path.parent().map(Path::to_owned).unwrap_or_default() }
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn trace_failure(error: dlio_trace::Error) -> Failure {
    Failure::new(Code::Trace, dlio_run::failure::chain(&error))
}
