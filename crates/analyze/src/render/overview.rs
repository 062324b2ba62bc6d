//! Overview of a run for a terminal: warm-up, order and cache, clocks, fidelity, hosts.

use super::diagnosis::Section;
use super::grid::{Grid, tail};
use super::units::{bytes, nanos, seconds};
use crate::Report;

/// Largest number of listed epochs, hosts and clocks.
const LISTED: usize = 8;

pub(crate) fn sections(report: &Report) -> Vec<Section> {
    let all = [steady(report), order(report), clock(report), fidelity(report), hosts(report)];
    all.into_iter().filter(|section| !section.is_empty()).collect()
}

fn steady(report: &Report) -> Section {
    let lines = report.steady.iter().map(|steady| {
        let after = if steady.warm_up_seconds > 0.0 {
            format!("after a warm-up of {}", seconds(steady.warm_up_seconds))
        } else {
            "from the start".to_owned()
        };
        let verdict = if steady.steady { "steady" } else { "not steady" };
        format!(
            "{verdict} {after}: {}/s ± {:.1} % from slice to slice",
            bytes(steady.bytes_per_second),
            steady.variation_percentage
        )
    });
    Section::of_lines("Steady state (MSER-5)", lines.collect())
}

fn order(report: &Report) -> Section {
    let value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let mut grid =
        Grid::new(1).right("epoch", 5).right("with number", 11).right("with next", 11).right("with epoch-1", 13);
    grid = grid.right("kept %", 8).right("shared %", 9).right("speed by 1st", 12).right("memory-fast %", 12);
    for row in report.shuffle.iter().take(LISTED) {
        let cache = report.cache.iter().find(|cache| cache.epoch == row.epoch);
        grid.row([
            row.epoch.to_string(),
            value(row.with_numbers),
            value(row.with_next),
            value(row.with_before),
            value(row.kept_percentage),
            value(row.shared_percentage),
            cache.map_or_else(String::new, |cache| format!("{:.2}", cache.speed_by_first)),
            cache.map_or_else(String::new, |cache| format!("{:.1}", cache.from_memory_percentage)),
        ]);
    }
    Section::of_grid("Order of reads (correlations: 1 in order, 0 shuffled) and cache", grid)
}

fn clock(report: &Report) -> Section {
    let clock = &report.clock;
    let mut lines = Vec::new();
    if clock.ranks.len() > 1 {
        let widest = clock.ranks.iter().max_by_key(|row| row.offset_ns.unsigned_abs());
        lines.extend(widest.map(|row| {
            format!(
                "largest offset: rank {}, {} ± {}",
                row.rank,
                nanos(row.offset_ns.unsigned_abs()),
                nanos(row.uncertainty_ns)
            )
        }));
        let drifting = clock.ranks.iter().filter(|row| row.drift_ppm != 0.0);
        lines.extend(
            drifting
                .take(LISTED)
                .map(|row| format!("rank {}: a clock drift of {:.3} ppm was corrected", row.rank, row.drift_ppm)),
        );
    }
    if clock.barriers > 0 {
        let found = if clock.violations == 0 {
            "none was left before the last rank had arrived".to_owned()
        } else {
            format!(
                "{} were left before the last rank had arrived, by up to {}",
                clock.violations,
                nanos(clock.worst_ns)
            )
        };
        lines.push(format!("of {} barriers {found}", clock.barriers));
    }
    Section::of_lines("Clocks", lines)
}

/// Fidelity as a replay wrote it: any names and numbers.
fn fidelity(report: &Report) -> Section {
    let mut lines = Vec::new();
    if let Some(serde_json::Value::Object(object)) = &report.fidelity {
        lines.extend(object.iter().filter(|(_, value)| value.is_number() || value.is_string()).map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name:<40} {text}")
        }));
    }
    Section::of_lines("Fidelity of the replay", lines)
}

fn hosts(report: &Report) -> Section {
    if report.hosts.len() < 2 {
        return Section::default();
    }
    let lines = report.hosts.iter().take(2 * LISTED).map(|row| {
        let latency = &row.flow.latency;
        format!(
            "{:<24} {:>4} ranks, {:>12}/s, p50 {:>8}, p99 {:>8}, max {:>8}",
            tail(&row.host, 24),
            row.ranks,
            bytes(row.flow.bytes_per_second),
            nanos(latency.p50_ns),
            nanos(latency.p99_ns),
            nanos(latency.max_ns)
        )
    });
    Section::of_lines("Hosts", lines.collect())
}
