//! The report for a terminal: at most `width` columns, Unicode bars and sparklines, no colours. Long lines are wrapped,
//! and columns that do not fit go into a table below; only names are shortened, which is marked.

use std::fmt::Write;

use dlio_event::quantity::counted;

use super::diagnosis::Section;
use super::grid::{Grid, tail, wrapped};
use super::units::{bytes, nanos, seconds, things};
use crate::Report;
use crate::epochs::TimeRow;
use crate::percentile::Latency;
use crate::report::{FlowRow, Operation};

/// Terminals narrower than this wrap lines themselves.
const MIN_WIDTH: usize = 40;
const MAX_WIDTH: usize = 100;
/// Largest number of listed ranks; of more, the slowest are listed.
const RANKS_SHOWN: usize = 16;
/// Largest number of characters of host and endpoint names; of longer names the end is shown.
const NAME: usize = 44;
/// Largest number of listed checkpoints.
const CHECKPOINTS_SHOWN: usize = 32;

/// Returns the report as text.
#[must_use]
pub fn table(report: &Report, width: usize) -> String {
    let mut page = Page { text: String::new(), width: width.clamp(MIN_WIDTH, MAX_WIDTH) };
    page.head(report);
    page.warnings(report);
    page.findings(report);
    page.epochs(report);
    page.checkpoints(report);
    page.series(report);
    page.times(report);
    page.utilisation(report);
    for section in
        super::diagnosis::sections(&report.diagnosis, page.width).into_iter().chain(super::overview::sections(report))
    {
        page.section(&section);
    }
    page.operations("Storage operations", &report.operations);
    page.operations("Spans", &report.spans);
    page.ranks(report);
    page.endpoints(report);
    if !report.comparison.is_empty() {
        page.section(&super::comparison::comparison(&report.comparison));
    }
    page.text
}

/// Writes a label, then cells of equal width.
fn cells(label: &str, values: impl Iterator<Item = String>) -> String {
    values.fold(format!("{label:<10}"), |mut line, value| {
        // Writing to a string cannot fail.
        let _ = write!(line, "{value:>8}");
        line
    })
}

struct Page {
    text: String,
    width: usize,
}

impl Page {
    /// Writes a line, wrapped if necessary.
    fn line(&mut self, line: &str) {
        let indent = line.chars().take_while(|letter| *letter == ' ').count();
        self.hanging(line, indent + 2);
    }

    fn hanging(&mut self, line: &str, hang: usize) {
        for line in wrapped(line.trim_end(), self.width, hang) {
            let _ = writeln!(self.text, "{line}");
        }
    }

    fn title(&mut self, title: &str) {
        self.line("");
        self.line(title);
        self.line(&"─".repeat(title.chars().count().min(self.width)));
    }

    fn grid(&mut self, grid: &Grid) {
        for line in grid.lines(self.width) {
            let _ = writeln!(self.text, "{line}");
        }
    }

    fn section(&mut self, section: &Section) {
        self.title(section.title);
        if section.grid.has_rows() {
            self.grid(&section.grid);
        }
        section.lines.iter().for_each(|line| self.line(line));
    }

    /// Writes text with a hanging indent.
    fn wrapped(&mut self, first: &str, text: &str) {
        self.hanging(&format!("{first}{text}"), first.chars().count());
    }

    fn head(&mut self, report: &Report) {
        let run = &report.run;
        let name = run.model.as_deref().unwrap_or("run");
        self.line(&format!(
            "{name}: {} on {}, {}, {}",
            counted(run.world, "rank"),
            counted(run.hosts.len(), "host"),
            seconds(run.seconds),
            things(run.events, "event")
        ));
        self.line(&format!(
            "read {}, wrote {}, {}, {}, {}",
            bytes(run.read_bytes as f64),
            bytes(run.written_bytes as f64),
            things(run.operations, "operation"),
            things(run.errors, "error"),
            things(run.retries, "retry")
        ));
        if run.ending.state != crate::RunState::Unknown {
            self.wrapped("ended: ", &run.ending.text);
        }
        if report.method.streaming {
            let error = 100.0 * report.method.percentile_error;
            self.line(&format!("streaming: percentiles within {error:.1} %"));
            for estimated in &report.method.estimated {
                self.line(&format!("estimated: {estimated}"));
            }
        }
        for (what, aggregate) in [("training", &report.train), ("evaluation", &report.eval)] {
            let Some(aggregate) = aggregate else { continue };
            let (Some(au), Some(rate)) = (aggregate.au, aggregate.throughput_spread) else { continue };
            let verdict = run.au_threshold_percentage.map_or_else(String::new, |threshold| {
                let word = match aggregate.au_meets_expectation {
                    Some(true) => "reached",
                    Some(false) => "missed",
                    None if run.ending.is_partial() => "no verdict, the run did not complete",
                    None => "no verdict, no step was measured",
                };
                format!(" (target {threshold:.0} %: {word})")
            });
            self.line(&format!("{what}: AU {:.2} %{verdict}, {:.1} samples/s", au.mean, rate.mean));
        }
    }

    fn findings(&mut self, report: &Report) {
        for finding in &report.diagnosis.findings {
            self.wrapped("→ ", &format!("{} ({})", finding.text, seconds(finding.seconds)));
        }
    }

    fn warnings(&mut self, report: &Report) {
        for warning in &report.warnings {
            self.wrapped("! ", &warning.text);
        }
    }

    fn epochs(&mut self, report: &Report) {
        if report.epochs.is_empty() {
            return;
        }
        self.title("Epochs");
        let mut grid = Grid::new(1).right("epoch", 5).right("steps", 7).right("AU %", 7).left("", 10);
        grid = grid.right("samples/s", 10).right("time", 9).right("read", 9).right("rate", 12);
        grid = grid.right("samples", 9).right("twice", 6).right("missed", 6);
        for epoch in &report.epochs {
            grid.row([
                epoch.epoch.to_string(),
                epoch.steps.to_string(),
                format!("{:.2}", epoch.au_percentage),
                bar(epoch.au_percentage / 100.0, 10),
                format!("{:.1}", epoch.samples_per_second),
                seconds(epoch.seconds),
                bytes(epoch.read_bytes as f64),
                format!("{}/s", bytes(epoch.read_bytes_per_second)),
                epoch.coverage.distinct.to_string(),
                epoch.coverage.duplicates.to_string(),
                epoch.coverage.missing.map_or_else(|| "-".to_owned(), |missing| missing.to_string()),
            ]);
        }
        self.grid(&grid);
    }

    fn checkpoints(&mut self, report: &Report) {
        if report.checkpoints.is_empty() {
            return;
        }
        self.title("Checkpoints");
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.4}"));
        let mut grid = Grid::new(3).right("epoch", 5).right("", 4).right("number", 6).right("rank 0", 9);
        grid = grid.right("fastest", 9).right("slowest", 9).right("all", 9);
        grid = grid.right("GB/s by rank 0", 14).right("GB/s by all", 14);
        for row in report.checkpoints.iter().take(CHECKPOINTS_SHOWN) {
            grid.row([
                row.epoch.to_string(),
                if row.load { "load" } else { "save" }.to_owned(),
                row.number.to_string(),
                row.seconds_rank0.map_or_else(|| "-".to_owned(), seconds),
                seconds(row.seconds_min),
                seconds(row.seconds_max),
                seconds(row.seconds_all),
                rate(row.gb_per_second_rank0),
                rate(row.gb_per_second_all),
            ]);
        }
        self.grid(&grid);
        if let Some(more @ 1..) = report.checkpoints.len().checked_sub(CHECKPOINTS_SHOWN) {
            self.line(&format!("      and {more} more in the JSON report"));
        }
    }

    fn series(&mut self, report: &Report) {
        let series = &report.series;
        let columns = self.width.saturating_sub(26);
        let lines = [("read", &series.read_bytes_per_second), ("write", &series.written_bytes_per_second)];
        let active = lines.iter().any(|(_, values)| values.iter().any(|value| *value > 0.0));
        if !active {
            return;
        }
        self.title("Over the run");
        for (name, values) in lines {
            let most = values.iter().copied().fold(0.0, f64::max);
            if most > 0.0 {
                let points: Vec<Option<f64>> =
                    squeeze(values, columns).into_iter().map(|value| Some(value / most)).collect();
                self.line(&format!("{name:<6} {} ≤ {}/s", sparkline(&points), bytes(most)));
            }
        }
        let most = series.in_flight.iter().copied().fold(0.0, f64::max);
        if most > 0.0 {
            let points: Vec<Option<f64>> =
                squeeze(&series.in_flight, columns).into_iter().map(|value| Some(value / most)).collect();
            self.line(&format!("{:<6} {} ≤ {most:.1} in flight", "ops", sparkline(&points)));
        }
        let au: Vec<f64> = series.au_percentage.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        if au.iter().any(|value| value.is_finite()) {
            let points: Vec<Option<f64>> =
                squeeze(&au, columns).into_iter().map(|value| value.is_finite().then_some(value / 100.0)).collect();
            self.line(&format!("{:<6} {} ≤ 100 %", "AU", sparkline(&points)));
        }
    }

    fn times(&mut self, report: &Report) {
        if report.times.is_empty() {
            return;
        }
        self.title("Where the time went (c compute, w waiting for data, b barrier, k checkpoint, e evaluation)");
        let columns = self.width.saturating_sub(18);
        let last = report.times.iter().map(|row| row.epoch).max().unwrap_or(0);
        for epoch in 1..=last {
            let rows: Vec<&TimeRow> = report.times.iter().filter(|row| row.epoch == epoch).collect();
            let sum = |pick: fn(&TimeRow) -> f64| rows.iter().map(|row| pick(row)).sum::<f64>();
            let total = sum(|row| row.total);
            if total <= 0.0 {
                continue;
            }
            let parts = [
                ('c', sum(|row| row.compute)),
                ('w', sum(|row| row.waiting)),
                ('b', sum(|row| row.barrier)),
                ('k', sum(|row| row.checkpoint)),
                ('e', sum(|row| row.evaluation)),
            ];
            self.line(&format!("epoch {epoch:<4} {}", stacked(&parts, total, columns)));
        }
    }

    /// Writes AU per epoch and rank: each rank if there are few, the extremes otherwise.
    fn utilisation(&mut self, report: &Report) {
        let last = report.times.iter().map(|row| row.epoch).max().unwrap_or(0);
        let of = |epoch: u32| report.times.iter().filter(move |row| row.epoch == epoch);
        let most = (1..=last).map(|epoch| of(epoch).count()).max().unwrap_or(0);
        if most < 2 || report.times.iter().all(|row| row.au_percentage.is_none()) {
            return;
        }
        self.title("AU per epoch and rank, %");
        let listed = most <= self.width.saturating_sub(10) / 8;
        if listed {
            let heads = of(1).map(|row| format!("rank {}", row.rank));
            self.line(&cells("epoch", heads));
        }
        for epoch in 1..=last {
            let mut values: Vec<(f64, u32)> =
                of(epoch).filter_map(|row| row.au_percentage.map(|au| (au, row.rank))).collect();
            if listed {
                self.line(&cells(&epoch.to_string(), values.iter().map(|(au, _)| format!("{au:.2}"))));
                continue;
            }
            values.sort_by(|one, other| one.0.total_cmp(&other.0));
            if let (Some(least), Some(middle), Some(most)) =
                (values.first(), values.get(values.len() / 2), values.last())
            {
                let ends = format!("least {:.2} (rank {}), median {:.2}", least.0, least.1, middle.0);
                self.line(&format!("{epoch:<10}{ends}, most {:.2} (rank {})", most.0, most.1));
            }
        }
    }

    fn operations(&mut self, title: &str, rows: &[Operation]) {
        if rows.is_empty() {
            return;
        }
        self.title(title);
        let mut grid =
            Grid::new(2).left("op", 16).left(if rows.iter().any(|row| !row.size.is_empty()) { "size" } else { "" }, 9);
        grid = grid.right("count", 10).right("bytes", 9).right("errors", 6);
        grid = ["p50", "p90", "p99", "p99.9", "max"].iter().fold(grid, |grid, head| grid.right(head, 8));
        for row in rows {
            let moved = if row.bytes > 0 { bytes(row.bytes as f64) } else { String::new() };
            let named =
                [row.op.clone(), row.size.clone(), row.latency.count.to_string(), moved, row.errors.to_string()];
            grid.row(named.into_iter().chain(percentiles(&row.latency)));
            for (name, part) in [("  first byte", &row.first_byte), ("  transfer", &row.transfer)] {
                if let Some(part) = part {
                    let named = [name, "", "", "", ""].map(str::to_owned);
                    grid.row(named.into_iter().chain(percentiles(part)));
                }
            }
        }
        self.grid(&grid);
    }

    fn ranks(&mut self, report: &Report) {
        if report.ranks.len() < 2 {
            return;
        }
        self.title("Ranks");
        let mut rows: Vec<_> = report.ranks.iter().collect();
        if rows.len() > RANKS_SHOWN {
            rows.sort_by(|one, other| one.au_percentage.unwrap_or(0.0).total_cmp(&other.au_percentage.unwrap_or(0.0)));
            self.line(&format!("the {RANKS_SHOWN} of {} ranks with the lowest AU", rows.len()));
            rows.truncate(RANKS_SHOWN);
        }
        let mut grid = flow_columns(Grid::new(2).right("rank", 5).left("host", 15).right("AU %", 8), 11);
        grid = grid.left(if rows.iter().all(|row| row.complete) { "" } else { " ended" }, 0);
        for row in rows {
            let au = row.au_percentage.map_or_else(|| "-".to_owned(), |au| format!("{au:.2}"));
            let mark = if row.complete { String::new() } else { format!(" {}", row.ending) };
            let named = [row.rank.to_string(), tail(&row.host, NAME), au];
            grid.row(named.into_iter().chain(flow(&row.flow)).chain([mark]));
        }
        self.grid(&grid);
    }

    fn endpoints(&mut self, report: &Report) {
        if report.endpoints.is_empty() {
            return;
        }
        self.title("Endpoints");
        let mut grid = flow_columns(Grid::new(1).left("endpoint", 27), 10);
        for row in &report.endpoints {
            grid.row(std::iter::once(tail(&row.endpoint, NAME)).chain(flow(&row.flow)));
        }
        self.grid(&grid);
    }
}

/// Returns five cells: p50, p90, p99, p99.9 and the maximum.
fn percentiles(latency: &Latency) -> [String; 5] {
    [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns, latency.max_ns].map(nanos)
}

/// Adds the columns of [`flow`]; `first` is the width of the first one.
fn flow_columns(grid: Grid, first: usize) -> Grid {
    let heads = [("read", 9), ("written", 9), ("rate", 12), ("errors", 6), ("p50", 8), ("p99", 8)];
    heads.iter().fold(grid.right("ops", first), |grid, (head, width)| grid.right(head, *width))
}

fn flow(row: &FlowRow) -> [String; 7] {
    [
        row.operations.to_string(),
        bytes(row.read_bytes as f64),
        bytes(row.written_bytes as f64),
        format!("{}/s", bytes(row.bytes_per_second)),
        row.errors.to_string(),
        nanos(row.latency.p50_ns),
        nanos(row.latency.p99_ns),
    ]
}

/// Returns a share of `columns`, rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=columns")]
fn part(share: f64, columns: usize) -> usize {
    (share * columns as f64).round().clamp(0.0, columns as f64) as usize
}

fn bar(share: f64, columns: usize) -> String {
    let full = part(share, columns);
    format!("{}{}", "█".repeat(full), "░".repeat(columns - full))
}

/// Returns a bar of letters, followed by the share of each component.
fn stacked(parts: &[(char, f64)], total: f64, columns: usize) -> String {
    let named: Vec<String> = parts
        .iter()
        .filter(|(_, amount)| *amount / total >= 0.005)
        .map(|(letter, amount)| format!("{letter} {:.0} %", 100.0 * amount / total))
        .collect();
    let legend = named.join(", ");
    let columns = columns.saturating_sub(legend.chars().count());
    let mut text = String::new();
    let (mut upto, mut drawn) = (0.0, 0);
    for (letter, amount) in parts {
        upto += amount / total;
        let end = part(upto, columns);
        text.extend(std::iter::repeat_n(*letter, end.saturating_sub(drawn)));
        drawn = drawn.max(end);
    }
    text.extend(std::iter::repeat_n('·', columns - drawn));
    format!("{text} {legend}")
}

/// Returns means of neighbouring values, so that at most `columns` remain; missing values are ignored.
fn squeeze(values: &[f64], columns: usize) -> Vec<f64> {
    let size = values.len().div_ceil(columns.max(1)).max(1);
    let mean = |chunk: &[f64]| {
        let known: Vec<f64> = chunk.iter().copied().filter(|value| value.is_finite()).collect();
        if known.is_empty() { f64::NAN } else { known.iter().sum::<f64>() / known.len() as f64 }
    };
    values.chunks(size).map(mean).collect()
}

fn sparkline(shares: &[Option<f64>]) -> String {
    const LEVELS: &[char] = &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    shares.iter().map(|share| share.map_or(' ', |share| LEVELS[part(share, LEVELS.len() - 1)])).collect()
}
