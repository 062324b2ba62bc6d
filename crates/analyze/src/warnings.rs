//! Warnings about the numbers.

use dlio_trace::RankTrace;
use serde_json::Value;

use crate::epochs::Epoch;
use crate::pass::rank_stats::RankStats;
use crate::report::{Report, Warning};

/// Speed-up over the first epoch above which reads were probably served from memory.
const CACHED_SPEEDUP: f64 = 3.0;
/// Share of the readers' time in decoding and preprocessing above which the client is the bottleneck.
const CLIENT_SHARE: f64 = 0.5;
/// Share of time spent waiting for data above which a bottleneck is reported.
const WAITING_SHARE: f64 = 0.1;

pub(crate) fn all(traces: &[RankTrace], report: &Report, parts: &[RankStats], parameters_known: bool) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, text: String| warnings.push(Warning { code: code.to_owned(), text });
    if report.run.traces < report.run.world {
        let (found, world) = (report.run.traces, report.run.world);
        warn("ranks_missing", format!("{found} of {world} ranks have a trace here: copy the others into the folder"));
    }
    if let Some(text) = several_runs(traces) {
        warn("several_runs", text);
    }
    for text in of_import(traces) {
        warn("import", text);
    }
    let ending = &report.run.ending;
    if ending.is_partial() {
        let missing = if ending.missing.is_empty() { String::new() } else { format!("; {}", ending.missing) };
        warn("incomplete", format!("the run did not complete: {}{missing}", ending.text));
    }
    if report.run.events == 0 {
        warn("empty", "the traces contain no events: the run ended before it did anything".to_owned());
        return warnings;
    }
    if report.run.errors > 0 {
        let outcomes: Vec<String> =
            report.run.outcomes.iter().map(|(name, count)| format!("{count} × {name}")).collect();
        warn(
            "errors",
            format!(
                "{} of {} operations failed ({}); {} attempts were retries",
                report.run.errors,
                report.run.operations,
                outcomes.join(", "),
                report.run.retries
            ),
        );
    }
    if !parameters_known && report.train.is_some() {
        warn(
            "parameters_assumed",
            "the traces do not carry the metric's parameters: one start step is left out and a batch counts as one \
             sample"
                .to_owned(),
        );
    }
    cached(&report.epochs, &mut warn);
    client(report, parts, &mut warn);
    for epoch in &report.epochs {
        if let Some(missing) = epoch.coverage.missing.filter(|missing| *missing > 0) {
            warn("samples_missing", format!("epoch {}: no rank read {missing} samples", epoch.epoch));
        }
        if epoch.coverage.duplicates > 0 {
            warn(
                "samples_repeated",
                format!("epoch {}: {} samples were read more than once", epoch.epoch, epoch.coverage.duplicates),
            );
        }
    }
    warnings
}

/// Warns about traces of several runs: ranks of one run have the same command line and world size, and different
/// numbers.
fn several_runs(traces: &[RankTrace]) -> Option<String> {
    let first = &traces.first()?.header;
    let other = |trace: &&RankTrace| trace.header.world != first.world || trace.header.argv != first.argv;
    let twice = traces.windows(2).find(|pair| pair[0].header.rank == pair[1].header.rank).map(|pair| &pair[1]);
    let trace = traces.iter().find(other).or(twice)?;
    Some(format!(
        "{} and {} do not belong to the same run: sums and percentiles cover all traces, and comparisons between ranks are meaningless",
        traces.first()?.path.display(),
        trace.path.display()
    ))
}

/// Returns the warnings of the import that made these traces.
fn of_import(traces: &[RankTrace]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for trace in traces {
        let config: Value = serde_json::from_str(&trace.header.config_json).unwrap_or_default();
        let warnings = config["imported"]["warnings"].as_array().into_iter().flatten();
        for text in warnings.filter_map(Value::as_str) {
            if !texts.iter().any(|known| known == text) {
                texts.push(text.to_owned());
            }
        }
    }
    texts
}

fn cached(epochs: &[Epoch], warn: &mut impl FnMut(&str, String)) {
    let Some(first) = epochs.first().filter(|first| first.read_bytes > 0) else { return };
    for epoch in &epochs[1..] {
        let share = epoch.read_bytes as f64 / first.read_bytes as f64;
        // A first epoch without read time has no speed to compare with.
        let before = Some(first.bytes_per_operation_second).filter(|rate| *rate > 0.0);
        let speedup = before.map_or(0.0, |before| epoch.bytes_per_operation_second / before);
        if epoch.steps >= first.steps && share < 0.99 {
            warn(
                "cached",
                format!(
                    "epoch {} read only {:.1} % of the bytes of epoch {}: files were kept open or in memory",
                    epoch.epoch,
                    100.0 * share,
                    first.epoch
                ),
            );
        } else if speedup > CACHED_SPEEDUP {
            warn(
                "cached",
                format!(
                    "reads of epoch {} were {speedup:.1} times as fast as those of epoch {}: probably served from a \
                     cache; use more data, O_DIRECT or a cold cache",
                    epoch.epoch, first.epoch
                ),
            );
        }
    }
}

fn client(report: &Report, parts: &[RankStats], warn: &mut impl FnMut(&str, String)) {
    let total: f64 = report.times.iter().map(|row| row.total).sum();
    let waiting: f64 = report.times.iter().map(|row| row.waiting).sum();
    let sum = |pick: fn(&RankStats) -> u64| parts.iter().map(pick).sum::<u64>() as f64;
    let (client, storage) = (sum(|rank| rank.lanes.client), sum(|rank| rank.lanes.storage));
    if total == 0.0 || waiting / total < WAITING_SHARE || client + storage == 0.0 {
        return;
    }
    let share = client / (client + storage);
    if share > CLIENT_SHARE {
        warn(
            "client_limited",
            format!(
                "the training loop waited for data {:.0} % of its time, and its readers spent {:.0} % of theirs in \
                 decoding and preprocessing: the client limits this run, not the storage; give it more reader threads",
                100.0 * waiting / total,
                100.0 * share
            ),
        );
    }
}
