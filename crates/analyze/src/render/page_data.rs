//! Data of the HTML page. Their size does not grow with the run: they have sums over ranks and epochs instead of single
//! rows, and the most important rows of long lists with the number of omitted ones.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::verdict::{Verdict, verdict};
use crate::Report;
use crate::diagnosis::{Finding, Waterfall, WaterfallEntry};
use crate::epochs::TimeRow;
use crate::percentile::Distribution;
use crate::report::FlowRow;

/// Largest number of rows of long tables.
const ROWS: usize = 128;
/// Largest number of rows of plots by rank or epoch.
const BARS: usize = 40;
/// Largest number of epochs that the page shows separately.
const EPOCHS: usize = 100;
/// Largest number of characters of the command line.
const COMMAND: usize = 2_000;

#[derive(Debug, Serialize)]
pub(super) struct PageData<'a> {
    pub(super) verdict: Verdict,
    report: Cow<'a, Report>,
    all_losses: Waterfall,
    epoch_losses: Vec<EpochWaterfall>,
    epoch_times: Vec<TimeRow>,
    rank_times: Vec<TimeRow>,
    epoch_ranks: Vec<EpochRanks>,
    /// Numbers of omitted rows, by list.
    more: BTreeMap<&'static str, usize>,
    base: Option<Base<'a>>,
}

/// Lost AU of one epoch by cause.
#[derive(Debug, Default, Serialize)]
struct EpochWaterfall {
    epoch: u32,
    #[serde(flatten)]
    bar: Waterfall,
}

/// The ranks with the lowest and highest AU of an epoch.
#[derive(Debug, Serialize)]
struct EpochRanks {
    epoch: u32,
    lowest: (u32, f64),
    highest: (u32, f64),
}

/// Data of the base run of a comparison.
#[derive(Debug, Serialize)]
struct Base<'a> {
    read_latency: &'a Distribution,
    write_latency: &'a Distribution,
    waterfall: &'a [WaterfallEntry],
    findings: &'a [Finding],
}

impl<'a> PageData<'a> {
    pub(super) fn new(report: &'a Report, base: Option<&'a Report>) -> Self {
        let mut data = Self {
            verdict: verdict(report),
            all_losses: Waterfall::of(&report.diagnosis.losses),
            epoch_losses: losses(report),
            epoch_times: sums(report, |row| row.epoch),
            rank_times: sums(report, |row| row.rank),
            epoch_ranks: ends(report),
            more: BTreeMap::new(),
            base: base.map(|base| Base {
                read_latency: &base.read_latency,
                write_latency: &base.write_latency,
                waterfall: &base.diagnosis.waterfall,
                findings: &base.diagnosis.findings,
            }),
            report: Cow::Borrowed(report),
        };
        data.cut();
        data
    }

    fn cut(&mut self) {
        let more = &mut self.more;
        last(&mut self.epoch_losses, EPOCHS, "epoch_losses", more);
        last(&mut self.epoch_times, BARS, "epoch_times", more);
        most(&mut self.rank_times, BARS, "rank_times", more, |row| share(row.compute, row.total));
        let report = self.report.to_mut();
        // The page shows only the sums above.
        report.times = Vec::new();
        report.diagnosis.losses = Vec::new();
        for aggregate in [&mut report.train, &mut report.eval].into_iter().flatten() {
            aggregate.au_percentage = Vec::new();
            aggregate.throughput = Vec::new();
        }
        last(&mut report.epochs, EPOCHS, "epochs", more);
        last(&mut report.checkpoints, ROWS, "checkpoints", more);
        last(&mut report.shuffle, BARS, "shuffle", more);
        last(&mut report.cache, BARS, "cache", more);
        let busy = |flow: &FlowRow| -(flow.operations as f64);
        most(&mut report.hosts, ROWS, "hosts", more, |row| busy(&row.flow));
        most(&mut report.endpoints, ROWS, "endpoints", more, |row| busy(&row.flow));
        let au = |row: &crate::report::RankRow| row.au_percentage.unwrap_or(row.flow.bytes_per_second);
        most(&mut report.ranks, ROWS, "ranks", more, au);
        most(&mut report.clock.ranks, BARS, "clock_ranks", more, |row| -(row.uncertainty_ns as f64));
        most(&mut report.diagnosis.overlap, BARS, "overlap", more, |row| -row.io);
        first(&mut report.diagnosis.critical_ranks, BARS, "critical_ranks", more);
        first(&mut report.warnings, BARS, "warnings", more);
        first(&mut report.run.hosts, 8, "hosts_named", more);
        if let Some(Value::Array(ranks)) = report.fidelity.as_mut().and_then(|fidelity| fidelity.get_mut("ranks")) {
            first(ranks, ROWS, "fidelity_ranks", more);
        }
        let command = report.run.argv.join(" ");
        if command.chars().count() > COMMAND {
            report.run.argv = vec![command.chars().take(COMMAND).chain(['…']).collect()];
        }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn first<T>(rows: &mut Vec<T>, limit: usize, name: &'static str, more: &mut BTreeMap<&'static str, usize>) {
    if rows.len() > limit {
        more.insert(name, rows.len() - limit);
        rows.truncate(limit);
    }
}

fn last<T>(rows: &mut Vec<T>, limit: usize, name: &'static str, more: &mut BTreeMap<&'static str, usize>) {
    if rows.len() > limit {
        more.insert(name, rows.len() - limit);
        rows.drain(..rows.len() - limit);
    }
}

/// Keeps the rows with the smallest keys, in their order.
fn most<T>(
    rows: &mut Vec<T>,
    limit: usize,
    name: &'static str,
    more: &mut BTreeMap<&'static str, usize>,
    key: impl Fn(&T) -> f64,
) {
    if rows.len() <= limit {
        return;
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|one, other| key(&rows[*one]).total_cmp(&key(&rows[*other])));
    let mut kept = vec![false; rows.len()];
    order[..limit].iter().for_each(|at| kept[*at] = true);
    more.insert(name, rows.len() - limit);
    let mut flags = kept.into_iter();
    rows.retain(|_| flags.next().unwrap_or(false));
}

fn losses(report: &Report) -> Vec<EpochWaterfall> {
    let epochs = report.diagnosis.losses.chunk_by(|one, next| one.epoch == next.epoch);
    epochs.map(|losses| EpochWaterfall { epoch: losses[0].epoch, bar: Waterfall::of(losses) }).collect()
}

/// Returns the sums of times over rows with the same `key`.
fn sums(report: &Report, key: fn(&TimeRow) -> u32) -> Vec<TimeRow> {
    let mut sums: BTreeMap<u32, TimeRow> = BTreeMap::new();
    for row in &report.times {
        let first = || TimeRow { epoch: row.epoch, rank: row.rank, ..TimeRow::default() };
        let sum = sums.entry(key(row)).or_insert_with(first);
        sum.total += row.total;
        sum.compute += row.compute;
        sum.waiting += row.waiting;
        sum.barrier += row.barrier;
        sum.checkpoint += row.checkpoint;
        sum.evaluation += row.evaluation;
        sum.other += row.other;
    }
    sums.into_values().collect()
}

fn ends(report: &Report) -> Vec<EpochRanks> {
    let mut epochs: BTreeMap<u32, EpochRanks> = BTreeMap::new();
    for row in &report.times {
        let Some(au) = row.au_percentage else { continue };
        let mine = (row.rank, au);
        let found = epochs.entry(row.epoch).or_insert(EpochRanks { epoch: row.epoch, lowest: mine, highest: mine });
        if au < found.lowest.1 {
            found.lowest = mine;
        }
        if au > found.highest.1 {
            found.highest = mine;
        }
    }
    let mut ends: Vec<EpochRanks> = epochs.into_values().collect();
    ends.drain(..ends.len().saturating_sub(EPOCHS));
    ends
}
