//! The diagnosis of a run for a terminal.

use super::grid::{Grid, tail};
use super::units::{nanos, seconds};
use crate::diagnosis::{Diagnosis, Waterfall};

/// Largest number of listed ranks and steps.
const LISTED: usize = 8;
/// Columns of a table without the names of objects.
const BESIDE_NAME: usize = 24;
/// Columns of a bar, and of its label.
const BAR: usize = 28;
const BESIDE_BAR: usize = 58;

/// A title with the lines below it.
#[derive(Default)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// Table before the lines, if it has rows.
    pub(crate) grid: Grid,
    pub(crate) lines: Vec<String>,
}

impl Section {
    /// Returns whether there is nothing below the title.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.grid.has_rows()
    }

    /// Creates a section with lines and no table.
    pub(crate) fn of_lines(title: &'static str, lines: Vec<String>) -> Self {
        Self { title, grid: Grid::default(), lines }
    }

    /// Creates a section with a table.
    pub(crate) fn of_grid(title: &'static str, grid: Grid) -> Self {
        Self { title, grid, lines: Vec::new() }
    }
}

/// Returns the sections for a terminal of `columns` columns.
pub(crate) fn sections(diagnosis: &Diagnosis, width: usize) -> Vec<Section> {
    let all = [
        losses(diagnosis, width),
        slow_steps(diagnosis, width),
        critical(diagnosis),
        stragglers(diagnosis, width),
        overlap_and_balance(diagnosis),
    ];
    all.into_iter().filter(|section| !section.is_empty()).collect()
}

/// Returns the lost AU of each epoch over all ranks by cause, with AU without each.
fn losses(diagnosis: &Diagnosis, width: usize) -> Section {
    let columns = width.saturating_sub(BESIDE_BAR).min(BAR);
    let mut lines = Vec::new();
    for epoch in diagnosis.losses.chunk_by(|one, next| one.epoch == next.epoch) {
        let bar = Waterfall::of(epoch);
        let au = bar.au_percentage;
        lines.push(format!("epoch {}: AU {au:.2} % of {} over all ranks", epoch[0].epoch, seconds(bar.total)));
        for fall in bar.falls.iter().filter(|fall| fall.percentage >= 0.05) {
            lines.push(format!(
                "  {:<12}{:>9} {:>6.2} %  AU without it {:>6.2} %  {}",
                fall.part,
                seconds(fall.seconds),
                fall.percentage,
                fall.au_without,
                line(fall.percentage / 100.0, columns)
            ));
        }
    }
    Section::of_lines("What AU was lost to", lines)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=columns")]
fn line(share: f64, columns: usize) -> String {
    let columns = columns as f64;
    "█".repeat((share * columns).round().clamp(0.0, columns) as usize)
}

fn slow_steps(diagnosis: &Diagnosis, width: usize) -> Section {
    let mut grid = Grid::new(3).right("epoch", 5).right("step", 6).right("rank", 5).right("wait", 9);
    grid = grid.left(" mostly", 19).left("waited for", 0).left("at", 0);
    for step in diagnosis.slow_steps.iter().take(LISTED) {
        let (part, amount) = step.parts.named().into_iter().max_by_key(|(_, amount)| *amount).unwrap_or_default();
        let share = 100.0 * amount as f64 / step.wait.max(1) as f64;
        grid.row([
            step.epoch.to_string(),
            step.step.to_string(),
            step.rank.to_string(),
            nanos(step.wait),
            format!(" {part} {share:.0} %"),
            tail(&step.object, name_columns(width)),
            tail(&step.endpoint, name_columns(width)),
        ]);
    }
    Section::of_grid("Slowest steps", grid)
}

/// Returns the number of characters of a name on a terminal of `columns` columns; of longer names the end is shown.
fn name_columns(width: usize) -> usize {
    width.saturating_sub(BESIDE_NAME).clamp(BESIDE_NAME, 50)
}

fn critical(diagnosis: &Diagnosis) -> Section {
    let rows = diagnosis.critical_ranks.iter().take(LISTED).map(|row| {
        format!(
            "rank {:<6} {:<14} last at {:>6} barriers, the others waited {:>9}; {:>3.0} % for late data",
            row.rank,
            tail(&row.host, 13),
            row.steps,
            seconds(row.seconds),
            row.waiting_percentage
        )
    });
    Section::of_lines("Ranks that the others waited for", rows.collect())
}

fn stragglers(diagnosis: &Diagnosis, width: usize) -> Section {
    let mut grid =
        Grid::new(2).left("by", 10).left("name", 42).right("slow", 7).right("of", 9).right("× its share", 11);
    for row in &diagnosis.stragglers {
        grid.row([
            row.by.clone(),
            tail(&row.name, name_columns(width)),
            row.slow.to_string(),
            row.reads.to_string(),
            format!("{:.1}", row.factor),
        ]);
    }
    Section::of_grid("Where the slowest 5 % of the reads are", grid)
}

fn overlap_and_balance(diagnosis: &Diagnosis) -> Section {
    let mut lines = Vec::new();
    for row in diagnosis.overlap.iter().take(LISTED) {
        lines.push(format!(
            "rank {:<4} both {}, compute {}, I/O {}, neither {}; in flight {:.2} ≤ {}, λ·W {:.2}",
            row.rank,
            seconds(row.both),
            seconds(row.compute),
            seconds(row.io),
            seconds(row.neither),
            row.concurrency,
            row.concurrency_max,
            row.little
        ));
    }
    for row in &diagnosis.imbalance {
        lines.push(format!("{:<27} max/mean {:.2}, Gini {:.3}", row.quantity, row.max_by_mean, row.gini));
    }
    if let Some(factor) = diagnosis.access.reread_factor {
        let order = diagnosis.access.sequential_percentage.map_or_else(String::new, |share| {
            format!("; {share:.0} % of later reads of an object continue the one before")
        });
        lines.push(format!("every byte was read {factor:.2} times{order}"));
    }
    Section::of_lines("Overlap, balance and access", lines)
}
