//! `dlio-rs workloads`: lists the bundled workloads, or prints one.

use dlio_analyze::render::Grid;
use dlio_config::time::TimeSpec;
use dlio_config::{Source, Workload, bundled};
use dlio_event::quantity::bytes;
use dlio_plan::World;
use serde_json::json;

use crate::log::print;
use crate::terminal;
use crate::text_args::{ListFormat, WorkloadsArgs};
use dlio_run::failure::{Code, Failure};
use dlio_run::resolve::suggest;
use dlio_run::sizes::Sizes;

/// Names of accelerators with which names of workloads end.
const ACCELERATORS: [&str; 5] = ["v100", "a100", "h100", "b200", "mi355"];

pub(super) fn run(args: WorkloadsArgs) -> Result<(), Failure> {
    let WorkloadsArgs { name, format } = args;
    let text = match name {
        None => {
            let entries = bundled::names().map(Entry::new).collect::<Result<Vec<_>, _>>()?;
            match format {
                ListFormat::Text => {
                    table(&entries, terminal::columns(&crate::environment::environment()).unwrap_or(WIDTH))
                }
                ListFormat::Json => format!("{:#}\n", entries.iter().map(Entry::json).collect::<serde_json::Value>()),
            }
        }
        Some(name) => bundled::yaml(&name)
            .ok_or_else(|| {
                let near = suggest::question(&suggest::workloads(&name));
                Failure::usage(format_args!(
                    "no bundled workload is named `{name}`{} lists them",
                    suggest::then(&near, "`dlio-rs workloads`")
                ))
            })?
            .to_owned(),
    };
    print(text.as_bytes())
}

/// A line of the catalogue of workloads.
struct Entry {
    name: &'static str,
    /// Format of the dataset; `None`: the workload has only checkpoints.
    format: Option<String>,
    /// Number of files of the dataset, or of one checkpoint.
    files: u64,
    /// Size of these files together, in bytes.
    bytes: u64,
    /// Samples per batch; `None`: nothing is read.
    batch: Option<u64>,
    /// Computation time per step in seconds; `None`: there is no training.
    computation: Option<f64>,
    accelerator: Option<&'static str>,
}

impl Entry {
    fn new(name: &'static str) -> Result<Self, Failure> {
        let yaml = bundled::yaml(name).unwrap_or_default();
        let source = Source { name, yaml };
        let loaded = dlio_config::load(&source, &[], &std::collections::BTreeMap::new(), Some(bundled::dialect(name)));
        let workload = loaded.map_err(|error| Failure::new(Code::Unexpected, error))?.workload;
        let workflow = workload.workflow;
        let alone = workflow.checkpoint && !workflow.train && !workflow.generate_data;
        let (files, bytes) = if alone { checkpoint(&workload)? } else { data(&workload)? };
        let steps = !alone && workload.train.computation_time != TimeSpec::None;
        Ok(Self {
            name,
            format: (!alone).then(|| workload.dataset.format.to_string()),
            files,
            bytes,
            batch: workflow.train.then_some(workload.reader.batch_size),
            computation: steps.then(|| workload.train.computation_time.mean()),
            accelerator: ACCELERATORS
                .into_iter()
                .find(|accelerator| name.ends_with(accelerator) || name.contains(&format!("_{accelerator}_"))),
        })
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "format": self.format,
            "checkpoints_only": self.format.is_none(),
            "files": self.files,
            "bytes": self.bytes,
            "batch_size": self.batch,
            "computation_time_seconds": self.computation,
            "accelerator": self.accelerator,
        })
    }

    fn cells(&self) -> [String; 7] {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            self.name.to_owned(),
            self.format.clone().unwrap_or_else(|| "checkpoint".to_owned()),
            self.files.to_string(),
            size(self.bytes),
            or_none(self.batch.map(|batch| batch.to_string())),
            or_none(self.computation.map(time)),
            or_none(self.accelerator.map(str::to_uppercase)),
        ]
    }
}

/// Returns the number of files of a dataset and their size in bytes.
fn data(workload: &Workload) -> Result<(u64, u64), Failure> {
    let mut workload = workload.clone();
    workload.workflow.train = true;
    let plan = dlio_plan::training(&workload, World { size: 1 }).map_err(Failure::usage)?;
    let sizes = Sizes::new(&workload, Some(&plan), None)?;
    Ok(sizes.data.map_or((0, 0), |data| (data.train.files + data.eval.files, data.stored())))
}

/// Returns the number of files of one checkpoint and their size in bytes, on the smallest possible number of ranks.
fn checkpoint(workload: &Workload) -> Result<(u64, u64), Failure> {
    let model = &workload.model;
    let size = model.tensor_parallelism.max(1).saturating_mul(model.pipeline_parallelism.max(1));
    let plan = dlio_plan::checkpoints(workload, World { size }).map_err(Failure::usage)?;
    let sizes = Sizes::new(workload, None, Some(&plan))?;
    Ok(sizes.checkpoints.map_or((0, 0), |checkpoints| (checkpoints.objects, checkpoints.stored)))
}

/// Formats seconds with three significant digits and a suitable unit; JSON has all digits.
fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{} ms", three(seconds * 1e3)) } else { format!("{} s", three(seconds)) }
}

/// Formats bytes with three significant digits; [`bytes`] has more.
fn size(count: u64) -> String {
    let text = bytes(count);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    number.parse().map_or_else(|_| text.clone(), |number| format!("{} {unit}", three(number)))
}

/// Formats a number with three significant digits and without trailing zeros.
fn three(value: f64) -> String {
    let text = match value {
        _ if value < 1.0 => format!("{value:.3}"),
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Width of the output in columns if it is unknown.
const WIDTH: usize = 80;
/// Headings and widths of the columns, [`WIDTH`] in total. A wider format takes space from the number behind it.
const COLUMNS: [(&str, usize); 7] =
    [("NAME", 27), ("FORMAT", 14), ("FILES", 7), ("SIZE", 8), ("BATCH", 5), ("COMPUTE", 8), ("FOR", 5)];

/// Formats the catalogue for a terminal with this number of columns.
fn table(entries: &[Entry], width: usize) -> String {
    let mut text = if width < WIDTH { narrow(entries, width) } else { wide(entries) };
    text.push_str(&terminal::wrapped(
        "\nSIZE is what lies on storage, for checkpoints that of one; COMPUTE is the emulated computation of a step. `dlio-rs workloads NAME` \
         prints the YAML of a workload, `dlio-rs plan NAME --ranks N` what it reads.\n",
        Some(width.min(WIDTH)),
    ));
    text
}

/// Columns that do not fit next to the names are put into a second table.
fn narrow(entries: &[Entry], width: usize) -> String {
    let grid = COLUMNS.iter().enumerate().fold(Grid::new(1), |grid, (column, (title, _))| {
        if matches!(column, 2..=5) { grid.right(title, 0) } else { grid.left(title, 0) }
    });
    let filled = entries.iter().fold(grid, |mut grid, entry| {
        grid.row(entry.cells());
        grid
    });
    crate::log::lines(filled.lines(width))
}

/// Formats one line: words are left-aligned, numbers right-aligned.
fn wide(entries: &[Entry]) -> String {
    let head = COLUMNS.map(|(title, _)| title.to_owned());
    let rows = std::iter::once(head).chain(entries.iter().map(Entry::cells));
    crate::log::lines(rows.map(|row| {
        let mut line = String::new();
        let mut end = 0;
        for (column, (cell, (_, width))) in row.iter().zip(COLUMNS).enumerate() {
            end += width;
            let room = end.saturating_sub(line.chars().count());
            let cell = if matches!(column, 2..=5) { format!("{cell:>room$} ") } else { format!("{cell:<room$} ") };
            line.push_str(&cell);
            end += 1;
        }
        line.trim_end().to_owned()
    }))
}
