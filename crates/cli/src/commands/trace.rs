//! `dlio-rs trace …`: repairs, imports, exports and models recorded traces.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dlio_storage::{beside, replace_file};
use dlio_trace::RankTrace;
use dlio_trace::export::{chrome, csv, pfw, warp};
use dlio_trace::import::{self, Imported, Options};
use serde_json::{Value, json};

use crate::args::OutputFormat;
use crate::log::print;
use crate::meter::{Meter, Screen};
use crate::trace_command_args::{
    ExportFormat, TraceCommand, TraceExportArgs, TraceFitArgs, TraceImportArgs, TraceRepairArgs,
};
use crate::{front, signals};
use dlio_run::failure::{Code, Failure};
use dlio_run::front_end::FrontEnd;
use dlio_run::message::Verbosity;
use dlio_run::output_folder;
use dlio_run::outputs::meter::{Tally, Task};
use dlio_run::predict::PlanPredictor;

/// Largest number of names of unmapped operations that are printed.
const NAMED: usize = 6;

pub(super) fn run(command: TraceCommand, verbosity: Verbosity) -> Result<(), Failure> {
    // A signal ends these commands at once; folders are released and incomplete files are removed before the exit.
    signals::watch(Duration::ZERO, false);
    match command {
        TraceCommand::Repair(TraceRepairArgs { paths, format }) => repair(&paths, format, verbosity),
        TraceCommand::Import(args) => import(args, verbosity),
        TraceCommand::Export(args) => export(&args, verbosity),
        TraceCommand::Fit(TraceFitArgs { traces }) => fit(&traces, verbosity),
    }
}

/// Returns the traces with a progress display, which is shown until it is dropped and counts their rows `passes` times.
fn shown(
    from: &Path,
    (label, passes): (&str, u64),
    verbosity: Verbosity,
) -> Result<(Vec<RankTrace>, Option<Meter>), Failure> {
    let mut traces = super::analyze::read(from)?;
    let tally = Arc::new(Tally::default());
    for trace in &mut traces {
        trace.count_rows_in(tally.done());
    }
    let total = traces.iter().map(|trace| trace.rows).sum::<u64>() * passes;
    let task = Task { label: label.to_owned(), unit: "rows", total, ..Task::default() };
    Ok((traces, Screen::stderr(verbosity).map(|screen| screen.begin(task, &tally))))
}

/// Writes a file under a temporary name first, so that the final name never holds an incomplete file.
fn export(args: &TraceExportArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let TraceExportArgs { traces: from, to, out, overwrite, format } = args;
    let (traces, shown) = shown(from, ("Exporting", 1), verbosity)?;
    if *to == ExportFormat::Pfw {
        let files = export_pfw(&front::front_end(verbosity), &traces, out, *overwrite)?;
        drop(shown);
        let text = crate::log::lines(files.iter().map(|(path, rows)| format!("{path}: {rows} rows")));
        return told(*format, &text, &exported(&files, traces.len(), &BTreeMap::new()));
    }
    keeps_the_recording(&traces, out)?;
    output_folder::keep_manifest(out)?;
    let temporary = beside(out, ".tmp");
    let failed = |error: std::io::Error| Failure::file("writing", out, &error);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&temporary).map_err(failed)?);
    let written = replace_file(&temporary, out, |_| {
        let written = match to {
            ExportFormat::Chrome => (chrome::write(&traces, &mut file)?, BTreeMap::new()),
            ExportFormat::Csv => (csv::write(&traces, &mut file)?, BTreeMap::new()),
            ExportFormat::Warp | ExportFormat::Pfw => warp::write(&traces, &mut file)?,
        };
        file.flush()?;
        Ok::<_, dlio_trace::export::ExportError>(written)
    });
    let (rows, skipped) = written.map_err(|error| {
        Failure::new(Code::Trace, format_args!("{}: {}", out.display(), dlio_run::failure::chain(&error)))
    })?;
    drop(shown);
    let mut lines = vec![format!("{}: {rows} rows of {} rank(s)", out.display(), traces.len())];
    lines.extend(skipped.iter().map(|(name, count)| format!("no equivalent: {count} of {name}")));
    let files = [(out.display().to_string(), rows)];
    told(*format, &crate::log::lines(lines), &exported(&files, traces.len(), &skipped))
}

/// Formats the result of an export as JSON.
fn exported(files: &[(String, u64)], ranks: usize, skipped: &BTreeMap<&'static str, u64>) -> Value {
    let file = |(path, rows): &(String, u64)| json!({ "path": path, "rows": rows });
    json!({
        "files": files.iter().map(file).collect::<Vec<_>>(),
        "rows": files.iter().map(|(_, rows)| rows).sum::<u64>(),
        "ranks": ranks,
        "skipped": skipped,
    })
}

/// Prints the result of a command as text or JSON.
fn told(format: OutputFormat, text: &str, json: &Value) -> Result<(), Failure> {
    match format {
        OutputFormat::Text => print(text.as_bytes()),
        OutputFormat::Json => print(format!("{json:#}\n").as_bytes()),
    }
}

/// Prints a workload that resembles a trace.
fn fit(from: &Path, verbosity: Verbosity) -> Result<(), Failure> {
    let (traces, shown) = shown(from, ("Fitting", 2), verbosity)?;
    let predictor = PlanPredictor { ranks: u32::try_from(traces.len()).unwrap_or(u32::MAX) };
    let fitted = dlio_analyze::fit::fit(&traces, &predictor)
        .map_err(|error| Failure::new(Code::Trace, dlio_run::failure::chain(&error)))?;
    drop(shown);
    let Some(fitted) = fitted else {
        let text = format_args!(
            "{}: nothing in the trace reads an object, or saves or loads a checkpoint, as a workload can; there is none to derive",
            from.display()
        );
        return Err(Failure::new(Code::Trace, text));
    };
    print(fitted.yaml().as_bytes())
}

/// Returns an error if the output file is also an input.
fn keeps_the_recording(traces: &[RankTrace], out: &Path) -> Result<(), Failure> {
    let Ok(place) = std::fs::canonicalize(out) else { return Ok(()) };
    let same = |trace: &&RankTrace| std::fs::canonicalize(&trace.path).is_ok_and(|path| path == place);
    match traces.iter().find(same) {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format_args!(
            "{} is the trace that is read: give another file with --out",
            out.display()
        ))),
    }
}

/// Writes a file per rank and returns the paths and numbers of rows.
fn export_pfw(
    front: &FrontEnd,
    traces: &[RankTrace],
    folder: &Path,
    overwrite: bool,
) -> Result<Vec<(String, u64)>, Failure> {
    let name = |trace: &RankTrace| format!("trace-{}-of-{}.pfw.gz", trace.header.rank, trace.header.world);
    let claim = output_folder::for_export(front, folder, traces.iter().map(name), overwrite)?;
    if let Some(text) = claim.replace_earlier()? {
        crate::log::note(&text);
    }
    let write = |trace: &RankTrace| {
        let path = folder.join(name(trace));
        pfw::write_file(trace, &path).map_err(|error| Failure::new(Code::Trace, dlio_run::failure::chain(&error)))?;
        Ok((path.display().to_string(), trace.rows))
    };
    traces.iter().map(write).collect()
}

/// Imports into a folder without traces, so that an import never mixes with another run.
fn import(args: TraceImportArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let (source_format, output_format) = args.formats();
    let TraceImportArgs { sources, out, from: _, format: _, strict, overwrite } = args;
    output_folder::unused(&out)?;
    if !overwrite && out.is_dir() && !in_folder(&out)?.is_empty() {
        let text = format_args!(
            "{} holds traces already; give --out a new or empty folder, or --overwrite to replace them",
            out.display()
        );
        return Err(Failure::new(Code::Trace, text));
    }
    let claim = output_folder::for_import(&front::front_end(verbosity), &out, overwrite).map_err(|failure| {
        match failure.code {
            Code::Storage => Failure::new(Code::Trace, format_args!("cannot write the imported traces: {failure}")),
            _ => failure,
        }
    })?;
    let tally = Arc::new(Tally::default());
    let options = Options {
        format: source_format,
        strict,
        argv: crate::launch::command_line(),
        host: String::new(),
        read: Arc::clone(tally.bytes()),
    };
    let failed = |error| Failure::new(Code::Trace, dlio_run::failure::chain(&error));
    let total_bytes = import::source_bytes(&sources).map_err(failed)?;
    let task = Task { label: "Importing".to_owned(), total_bytes, ..Task::default() };
    let shown = Screen::stderr(verbosity).map(|screen| screen.begin(task, &tally));
    let whole = import::prepare(&sources, &out, &options).map_err(failed)?;
    drop(shown);
    // Existing files are replaced only after the import succeeded.
    if let Some(text) = claim.replace_earlier()? {
        crate::log::note(&text);
    }
    let done = whole.publish().map_err(failed)?;
    let made = in_folder(&out)?;
    claim.add(made.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())));
    told(output_format, &imported(&done, &out), &imported_json(&done, &out))
}

/// Formats the result of an import as JSON.
fn imported_json(done: &Imported, out: &Path) -> Value {
    let example = |example: &import::Malformed| json!({ "path": example.path.display().to_string(), "line": example.line, "reason": example.reason });
    json!({
        "output": out.display().to_string(),
        "formats": done.formats,
        "rows": done.rows,
        "ranks": done.ranks,
        "lines": done.lines,
        "skipped": done.skipped,
        "unfinished": done.unfinished,
        "malformed": done.malformed,
        "examples": done.examples.iter().map(example).collect::<Vec<_>>(),
    })
}

/// Formats the result of an import as text.
fn imported(done: &Imported, out: &Path) -> String {
    let formats = done.formats.join(", ");
    let mut lines = vec![format!(
        "{}: {} rows of {} rank(s) from {} lines ({formats})",
        out.display(),
        done.rows,
        done.ranks,
        done.lines
    )];
    lines.extend(done.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(without_equivalent(&done.skipped));
    if done.unfinished > 0 {
        lines.push(format!("no end: {} operations had begun", done.unfinished));
    }
    if done.malformed > 0 {
        lines.push(format!("malformed: {} lines were left out", done.malformed));
        lines.extend(
            done.examples
                .iter()
                .map(|example| format!("  {}, line {}: {}", example.path.display(), example.line, example.reason)),
        );
    }
    crate::log::lines(lines)
}

/// Lists operations without an equivalent: all names if there are few, otherwise the most frequent ones.
fn without_equivalent(skipped: &BTreeMap<String, u64>) -> Vec<String> {
    let mut names: Vec<(&String, &u64)> = skipped.iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let rest = if names.len() > NAMED { names.split_off(NAMED - 1) } else { Vec::new() };
    let mut lines: Vec<String> =
        names.iter().map(|(name, count)| format!("no equivalent: {count} of {name}")).collect();
    if !rest.is_empty() {
        let lines_of_rest: u64 = rest.iter().map(|(_, count)| **count).sum();
        lines.push(format!(
            "no equivalent: {lines_of_rest} of {} others; the trace's configuration has all names",
            rest.len()
        ));
    }
    lines
}

/// Repairs all files that can be repaired, and then fails if one could not be repaired.
fn repair(paths: &[PathBuf], format: OutputFormat, verbosity: Verbosity) -> Result<(), Failure> {
    let (mut failed, mut done, mut lines) = (None, Vec::new(), Vec::new());
    let (all, tally) = (files(paths)?, Arc::new(Tally::default()));
    let task = Task::counting("Repairing", "files", all.len() as u64);
    let meter = Screen::stderr(verbosity).map(|screen| screen.begin(task, &tally));
    for file in all {
        let folder = file.parent().unwrap_or(Path::new("."));
        // A file that a run is still writing has no footer yet and is not damaged.
        let above = folder.parent().map_or_else(|| folder.join(".."), Path::to_owned);
        let unused = output_folder::unused(folder).and_then(|()| output_folder::unused(&above));
        let repaired = unused.and_then(|()| {
            dlio_trace::repair(&file).map_err(|error| Failure::new(Code::Trace, dlio_run::failure::chain(&error)))
        });
        tally.add(false);
        match repaired {
            Ok(repaired) => {
                let end = if repaired.complete { "the run came to its end" } else { "the run did not come to its end" };
                let cut = match repaired.cut_bytes {
                    0 => "whole".to_owned(),
                    bytes => format!("{bytes} bytes cut off"),
                };
                lines.push(format!("{}: {cut}, {} rows, {end}", file.display(), repaired.rows));
                done.push(json!({
                    "path": file.display().to_string(),
                    "cut_bytes": repaired.cut_bytes,
                    "rows": repaired.rows,
                    "complete": repaired.complete,
                }));
            }
            Err(failure) => {
                if let Some(earlier) = failed.replace(failure) {
                    crate::log::failure(&earlier);
                }
            }
        }
    }
    drop(meter);
    told(format, &crate::log::lines(lines), &json!({ "files": done }))?;
    failed.map_or(Ok(()), Err)
}

/// Returns the trace files among and below `paths`, ordered by rank.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let mut found = if path.is_dir() { in_folder(path)? } else { vec![path.clone()] };
        // An output folder stands for the trace folder in it, as in all commands.
        let inner = path.join("trace");
        if found.is_empty() && inner.is_dir() {
            found = in_folder(&inner)?;
        }
        if found.is_empty() {
            let text =
                format_args!("no traces (rank-*.parquet) in {}: give a trace folder or a trace file", path.display());
            return Err(Failure::new(Code::Trace, text));
        }
        files.extend(found);
    }
    Ok(files)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    dlio_trace::list_dir(folder).map_err(|error| Failure::new(Code::Trace, dlio_run::failure::chain(&error)))
}
