//! The report as comma-separated values and as Markdown, with the same tables.

use std::fmt::Write;

use dlio_event::quantity::counted;

use crate::Report;
use crate::percentile::Latency;
use crate::report::FlowRow;

/// A table with its name, columns and rows.
struct DataTable {
    name: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

const LATENCY: [&str; 8] = ["count", "mean_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns"];

fn latency(latency: Option<&Latency>) -> Vec<String> {
    let Some(one) = latency else { return vec![String::new(); LATENCY.len()] };
    let values = [one.p50_ns, one.p90_ns, one.p99_ns, one.p999_ns, one.p9999_ns, one.max_ns];
    let head = [one.count.to_string(), format!("{:.1}", one.mean_ns)];
    head.into_iter().chain(values.map(|value| value.to_string())).collect()
}

fn flow(row: &FlowRow) -> Vec<String> {
    let mut cells =
        [row.operations, row.read_bytes, row.written_bytes, row.errors].map(|value| value.to_string()).to_vec();
    cells.extend(latency(Some(&row.latency)));
    let parts = [row.first_byte.as_ref(), row.transfer.as_ref()];
    cells.extend(parts.iter().flat_map(|part| {
        [part.map(|one| one.p50_ns), part.map(|one| one.p99_ns)]
            .map(|value| value.map_or(String::new(), |ns| ns.to_string()))
    }));
    cells
}

const FLOW: [&str; 4] = ["operations", "read_bytes", "written_bytes", "errors"];
const PARTS: [&str; 4] = ["first_byte_p50_ns", "first_byte_p99_ns", "transfer_p50_ns", "transfer_p99_ns"];

fn flow_columns(first: &[&'static str]) -> Vec<&'static str> {
    [first, FLOW.as_slice(), LATENCY.as_slice(), PARTS.as_slice()].concat()
}

fn data_tables(report: &Report) -> Vec<DataTable> {
    let number = |value: f64| format!("{value:.6}");
    let maybe = |value: Option<f64>| value.map_or_else(String::new, number);
    let operations = report.operations.iter().chain(&report.spans).flat_map(|row| {
        let parts = [
            ("whole", Some(&row.latency)),
            ("first_byte", row.first_byte.as_ref()),
            ("transfer", row.transfer.as_ref()),
        ];
        parts.into_iter().filter(|(_, part)| part.is_some()).map(|(name, part)| {
            let mut cells = vec![row.op.clone(), row.size.clone(), name.to_owned()];
            cells.extend([row.bytes, row.errors, row.retries].map(|value| value.to_string()));
            cells.extend(latency(part));
            cells
        })
    });
    let ranks = report
        .ranks
        .iter()
        .map(|row| [vec![row.rank.to_string(), row.host.clone(), maybe(row.au_percentage)], flow(&row.flow)].concat());
    let hosts =
        report.hosts.iter().map(|row| [vec![row.host.clone(), row.ranks.to_string()], flow(&row.flow)].concat());
    let endpoints = report.endpoints.iter().map(|row| [vec![row.endpoint.clone()], flow(&row.flow)].concat());
    let epochs = report.epochs.iter().map(|row| {
        let mut cells = vec![row.epoch.to_string(), row.steps.to_string(), number(row.au_percentage)];
        cells.extend([row.samples_per_second, row.seconds].map(number));
        cells.extend([row.read_bytes, row.coverage.distinct, row.coverage.duplicates].map(|value| value.to_string()));
        cells.push(row.coverage.missing.map_or_else(String::new, |missing| missing.to_string()));
        cells
    });
    let table = |name, columns, rows| DataTable { name, columns, rows };
    let epoch_columns = vec![
        "epoch",
        "steps",
        "au_percentage",
        "samples_per_second",
        "seconds",
        "read_bytes",
        "samples",
        "twice",
        "missing",
    ];
    vec![
        table("epochs", epoch_columns, epochs.collect()),
        table(
            "operations",
            [["op", "size", "time", "bytes", "errors", "retries"].as_slice(), LATENCY.as_slice()].concat(),
            operations.collect(),
        ),
        table("ranks", flow_columns(&["rank", "host", "au_percentage"]), ranks.collect()),
        table("hosts", flow_columns(&["host", "ranks"]), hosts.collect()),
        table("endpoints", flow_columns(&["endpoint"]), endpoints.collect()),
    ]
}

/// Returns the tables of findings, lost AU and changes.
fn finding_tables(report: &Report) -> Vec<DataTable> {
    let number = |value: f64| format!("{value:.6}");
    let falls = report.diagnosis.waterfall.iter().map(|row| {
        [vec![row.part.clone()], [row.seconds, row.percentage, row.au_without].map(number).to_vec()].concat()
    });
    let findings = report
        .diagnosis
        .findings
        .iter()
        .map(|row| vec![row.code.clone(), row.subject.clone(), number(row.seconds), row.text.clone()]);
    let changes = report.comparison.iter().map(|row| {
        let values = [row.base, row.this, row.change_percentage, row.interval.0, row.interval.1];
        [vec![row.metric.clone()], values.map(number).to_vec()].concat()
    });
    vec![
        DataTable { name: "findings", columns: vec!["code", "subject", "seconds", "text"], rows: findings.collect() },
        DataTable {
            name: "au_lost_to",
            columns: vec!["part", "seconds", "percentage", "au_without"],
            rows: falls.collect(),
        },
        DataTable {
            name: "comparison",
            columns: vec!["metric", "base", "this", "change_percentage", "low_percentage", "high_percentage"],
            rows: changes.collect(),
        },
    ]
}

/// Returns comma-separated values. Every table has a header line, and its name in the first column; tables are
/// separated by a blank line.
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut text = String::new();
    for table in finding_tables(report).into_iter().chain(data_tables(report)).filter(|table| !table.rows.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "table,{}", table.columns.join(","));
        for row in table.rows {
            let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
            let _ = writeln!(text, "{},{}", table.name, cells.join(","));
        }
    }
    text
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

/// Returns Markdown with a heading for each table.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let run = &report.run;
    let mut text = format!("# {}\n\n", run.model.as_deref().unwrap_or("run"));
    let line = format!(
        "{} on {}, {:.3} s, {}, {}, {}\n",
        counted(run.world, "rank"),
        counted(run.hosts.len(), "host"),
        run.seconds,
        counted(run.events, "event"),
        counted(run.operations, "operation"),
        counted(run.errors, "error")
    );
    text.push_str(&line);
    if let Some(au) = report.train.as_ref().and_then(|train| train.au) {
        let _ = writeln!(text, "\nAU {:.2} %", au.mean);
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "\n> {}", warning.text);
    }
    for table in finding_tables(report).into_iter().chain(data_tables(report)).filter(|table| !table.rows.is_empty()) {
        let _ = writeln!(text, "\n## {}\n", table.name.replace('_', " "));
        let _ = writeln!(text, "| {} |", table.columns.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(table.columns.len()));
        for row in table.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    text
}
