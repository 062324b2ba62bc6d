//! `dlio-rs analyze`: from traces to a table, `report.json` and `report.html`.

use std::path::{Path, PathBuf};

use dlio_analyze::{Report, compare, render};
use dlio_trace::RankTrace;

use crate::args::{AnalyzeArgs, ReportFormat};
use crate::exit::{Code, Failure};
use crate::log::print;
use crate::outputs::write_file;

/// Columns of the table.
const WIDTH: usize = 100;

pub(super) fn run(args: AnalyzeArgs) -> Result<(), Failure> {
    let AnalyzeArgs { paths, json, html, no_files, base, fail_if, format } = args;
    let report = report_on(&paths)?;
    let changes = match &base {
        Some(base) => Some(compare::compare(&report_on(std::slice::from_ref(base))?, &report)),
        None => None,
    };
    match (format, &changes) {
        (ReportFormat::Table, changes) => {
            print(render::table(&report, WIDTH).as_bytes())?;
            if let Some(changes) = changes {
                print(render::comparison(changes).as_bytes())?;
            }
        }
        (ReportFormat::Json, None) => print(&render::json(&report))?,
        (ReportFormat::Json, Some(changes)) => {
            let both = serde_json::json!({"report": report, "comparison": changes});
            print(format!("{both:#}\n").as_bytes())?;
        }
    }
    if !no_files {
        let folder = paths.first().map(|path| beside(path)).unwrap_or_default();
        let json = json.unwrap_or_else(|| folder.join("report.json"));
        let html = html.unwrap_or_else(|| folder.join("report.html"));
        write_file(&json, &render::json(&report))?;
        write_file(&html, &render::html(&report))?;
        if format == ReportFormat::Table {
            print(format!("\nwritten: {}, {}\n", json.display(), html.display()).as_bytes())?;
        }
    }
    let crossed: Vec<String> =
        fail_if.iter().filter_map(|threshold| threshold.crossed(changes.as_deref().unwrap_or_default())).collect();
    if crossed.is_empty() { Ok(()) } else { Err(Failure::new(Code::Threshold, crossed.join("; "))) }
}

fn report_on(paths: &[PathBuf]) -> Result<Report, Failure> {
    let mut traces = Vec::new();
    for path in paths {
        traces.extend(read(path)?);
    }
    traces.sort_by_key(|trace| trace.header.rank);
    dlio_analyze::report(&traces, &dlio_analyze::Options::default()).map_err(trace_failure)
}

/// The traces of an output folder, of a trace folder, or one file.
///
/// # Errors
/// When there are none, or they cannot be read.
pub(super) fn read(path: &Path) -> Result<Vec<RankTrace>, Failure> {
    if !path.exists() {
        let text =
            format_args!("{} does not exist: give an output folder, a trace folder or a trace file", path.display());
        return Err(Failure::new(Code::Trace, text));
    }
    // What was generated into an output folder is told by its own traces unless the run trained as well.
    let inner = ["trace", "trace-generate"].map(|name| path.join(name)).into_iter().find(|inner| inner.is_dir());
    dlio_trace::read_dir(inner.as_deref().unwrap_or(path)).map_err(trace_failure)
}

fn beside(path: &Path) -> PathBuf {
    if path.is_dir() { path.to_owned() } else { path.parent().map(Path::to_owned).unwrap_or_default() }
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn trace_failure(error: dlio_trace::Error) -> Failure {
    Failure::new(Code::Trace, crate::run::chain(&error))
}
