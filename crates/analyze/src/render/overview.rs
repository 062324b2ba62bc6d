//! How the run went as a whole, as lines of a terminal: warm-up, order and cache, clocks, fidelity, hosts.

use super::units::{bytes, nanos, seconds};
use super::why::Section;
use crate::Report;

/// Rows that are listed of epochs, hosts and clocks.
const LISTED: usize = 8;

pub(crate) fn sections(report: &Report) -> Vec<Section> {
    let all = [steady(report), order(report), clock(report), fidelity(report), hosts(report)];
    all.into_iter().filter(|section| !section.lines.is_empty()).collect()
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
    Section { title: "Steady state (MSER-5)", lines: lines.collect() }
}

fn order(report: &Report) -> Section {
    let value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let mut lines = Vec::new();
    for row in report.shuffle.iter().take(LISTED) {
        let cache = report.cache.iter().find(|cache| cache.epoch == row.epoch);
        lines.push(format!(
            "{:>5} {:>11} {:>11} {:>13} {:>8} {:>9} {:>12} {:>12}",
            row.epoch,
            value(row.with_numbers),
            value(row.with_next),
            value(row.with_before),
            value(row.kept_percentage),
            value(row.shared_percentage),
            cache.map_or_else(String::new, |cache| format!("{:.2}", cache.speed_by_first)),
            cache.map_or_else(String::new, |cache| format!("{:.1}", cache.from_memory_percentage)),
        ));
    }
    if !lines.is_empty() {
        let head = format!(
            "{:>5} {:>11} {:>11} {:>13} {:>8} {:>9} {:>12} {:>12}",
            "epoch", "with number", "with next", "with epoch-1", "kept %", "shared %", "speed by 1st", "memory-fast %"
        );
        lines.insert(0, head);
    }
    Section { title: "Order of reads (correlations: 1 in order, 0 shuffled) and cache", lines }
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
            drifting.take(LISTED).map(|row| {
                format!("rank {}: a drift of {:.3} ppm was taken out of its times", row.rank, row.drift_ppm)
            }),
        );
    }
    if clock.barriers > 0 {
        let found = if clock.violations == 0 {
            "none was left before the last rank had come".to_owned()
        } else {
            format!("{} were left before the last rank had come, by up to {}", clock.violations, nanos(clock.worst_ns))
        };
        lines.push(format!("of {} barriers {found}", clock.barriers));
    }
    Section { title: "Clocks", lines }
}

/// What a replay wrote of itself: names and numbers, whatever they are.
fn fidelity(report: &Report) -> Section {
    let mut lines = Vec::new();
    if let Some(serde_json::Value::Object(object)) = &report.fidelity {
        lines.extend(object.iter().filter(|(_, value)| value.is_number() || value.is_string()).map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name:<40} {text}")
        }));
    }
    Section { title: "Fidelity of the replay", lines }
}

fn hosts(report: &Report) -> Section {
    if report.hosts.len() < 2 {
        return Section { title: "Hosts", lines: Vec::new() };
    }
    let lines = report.hosts.iter().take(2 * LISTED).map(|row| {
        let latency = &row.flow.latency;
        format!(
            "{:<24} {:>4} ranks, {:>12}/s, p50 {:>8}, p99 {:>8}, max {:>8}",
            row.host.chars().take(24).collect::<String>(),
            row.ranks,
            bytes(row.flow.bytes_per_second),
            nanos(latency.p50_ns),
            nanos(latency.p99_ns),
            nanos(latency.max_ns)
        )
    });
    Section { title: "Hosts", lines: lines.collect() }
}
