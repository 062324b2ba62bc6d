//! The explanation of a run as lines of a terminal.

use super::units::{nanos, seconds};
use crate::why::{Bar, Why};

/// Rows that are listed of ranks and steps.
const LISTED: usize = 8;
/// Columns of a bar.
const BAR: f64 = 28.0;

/// A title and the lines under it.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<String>,
}

pub(crate) fn sections(why: &Why) -> Vec<Section> {
    let all = [losses(why), slow_steps(why), critical(why), stragglers(why), together(why)];
    all.into_iter().filter(|section| !section.lines.is_empty()).collect()
}

/// Over all ranks of each epoch: what was lost to what, and AU without it.
fn losses(why: &Why) -> Section {
    let mut lines = Vec::new();
    for epoch in why.losses.chunk_by(|one, next| one.epoch == next.epoch) {
        let bar = Bar::of(epoch);
        let au = bar.au_percentage;
        lines.push(format!("epoch {}: AU {au:.2} % of {} over all ranks", epoch[0].epoch, seconds(bar.total)));
        for fall in bar.falls.iter().filter(|fall| fall.percentage >= 0.05) {
            lines.push(format!(
                "  {:<12}{:>9} {:>6.2} %  AU without it {:>6.2} %  {}",
                fall.part,
                seconds(fall.seconds),
                fall.percentage,
                fall.au_without,
                line(fall.percentage / 100.0)
            ));
        }
    }
    Section { title: "What AU was lost to", lines }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=BAR")]
fn line(share: f64) -> String {
    "█".repeat((share * BAR).round().clamp(0.0, BAR) as usize)
}

fn slow_steps(why: &Why) -> Section {
    let mut lines = Vec::new();
    for step in why.slow_steps.iter().take(LISTED) {
        let (part, amount) = step.parts.named().into_iter().max_by_key(|(_, amount)| *amount).unwrap_or_default();
        let share = 100.0 * amount as f64 / step.wait.max(1) as f64;
        lines.push(format!(
            "{:>5} {:>6} {:>5} {:>9}  {:<18} {}",
            step.epoch,
            step.step,
            step.rank,
            nanos(step.wait),
            format!("{part} {share:.0} %"),
            tail(&format!("{} {}", step.object, step.endpoint), 50)
        ));
    }
    if !lines.is_empty() {
        lines.insert(
            0,
            format!("{:>5} {:>6} {:>5} {:>9}  {:<18} waited for", "epoch", "step", "rank", "wait", "mostly"),
        );
    }
    Section { title: "Slowest steps", lines }
}

fn critical(why: &Why) -> Section {
    let rows = why.critical_ranks.iter().take(LISTED).map(|row| {
        format!(
            "rank {:<6} {:<14} last at {:>6} barriers, the others waited {:>9}; {:>3.0} % for late data",
            row.rank,
            tail(&row.host, 13),
            row.steps,
            seconds(row.seconds),
            row.waiting_percentage
        )
    });
    Section { title: "Ranks that the others waited for", lines: rows.collect() }
}

fn stragglers(why: &Why) -> Section {
    let slow = why.stragglers.iter().map(|row| {
        format!(
            "{:<11}{:<42} {:>7} of {:>9} slow, {:>5.1} × its share",
            row.by,
            tail(&row.name, 42),
            row.slow,
            row.reads,
            row.factor
        )
    });
    Section { title: "Where the slowest 5 % of the reads are", lines: slow.collect() }
}

fn together(why: &Why) -> Section {
    let mut lines = Vec::new();
    for row in why.overlap.iter().take(LISTED) {
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
    for row in &why.imbalance {
        lines.push(format!("{:<27} max/mean {:.2}, Gini {:.3}", row.quantity, row.max_by_mean, row.gini));
    }
    if let Some(factor) = why.access.reread_factor {
        let order = why.access.sequential_percentage.map_or_else(String::new, |share| {
            format!("; {share:.0} % of later reads of an object continue the one before")
        });
        lines.push(format!("every byte was read {factor:.2} times{order}"));
    }
    Section { title: "Overlap, balance and access", lines }
}

/// The end of a name that is too long: there names differ.
fn tail(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(length + 1 - width).collect::<String>())
    }
}
