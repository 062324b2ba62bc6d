//! From what the passes found to a [`Report`].

use std::collections::BTreeMap;

use dlio_event::{OpKind, RankTimings};

use crate::analysis::{Analysis, Sums};
use crate::histogram::{Found, Histogram, RELATIVE_ERROR};
use crate::metric::{self, Parameters, RankMetric};
use crate::overview::{self, rounded};
use crate::pass::Summary;
use crate::pass::kept::Answer;
use crate::pass::objects::OneIn;
use crate::pass::part::{EpochReads, Flow, SIZE_BOUNDS, group_of};
use crate::pass::samples::EpochSamples;
use crate::rebuild::EpochTime;
use crate::report::{
    Coverage, Curve, Endpoint, Epoch, FlowRow, HostRow, Method, Operation, RankRow, Report, Run, Series, TimeRow,
    Warning,
};
use crate::timeline::{Extent, SLICES, Timeline};
use crate::{checkpoints, ending, warnings, why};

pub(crate) struct Builder<'a> {
    pub(crate) analysis: &'a Analysis<'a>,
    pub(crate) summary: Summary,
    pub(crate) sums: Sums,
    pub(crate) answer: Answer,
    pub(crate) parameters: Parameters,
    /// Of each part of the summary.
    pub(crate) metrics: Vec<RankMetric>,
    /// Which parts of objects the bytes that were read again are told from.
    pub(crate) ranges: OneIn,
}

type Rebuilt = (RankTimings, Vec<EpochTime>);

impl<'a> Builder<'a> {
    pub(crate) fn new(analysis: &'a Analysis<'a>, mut summary: Summary, sums: Sums, answer: Answer) -> Self {
        let metrics =
            summary.parts.iter_mut().map(|part| std::mem::take(&mut part.metric).without_negatives()).collect();
        let (parameters, ranges) = (analysis.parameters(), OneIn::default());
        Self { analysis, summary, sums, answer, parameters, metrics, ranges }
    }

    pub(crate) fn explain(&mut self, slow_objects: Vec<why::ObjectReads>) -> why::Why {
        let ranges = std::mem::take(&mut self.summary.ranges);
        self.ranges = ranges.followed;
        let mut why = why::explain(&why::Sources {
            summary: &self.summary,
            metrics: &self.metrics,
            extent: self.analysis.extent,
            reads: &self.sums.reads,
            endpoints: &self.sums.endpoints,
            different_bytes: ranges.different_bytes(),
            slow_objects,
        });
        let found = &mut self.answer.reads.whole;
        let mut at = |parts: u64| self.sums.reads.exact(parts, found) as f64 / 1e9;
        why.samples.read_percentiles = (self.sums.reads.count > 0).then(|| (at(5_000), at(9_900)));
        why
    }

    pub(crate) fn build(mut self, why: why::Why) -> Report {
        let traces = self.analysis.traces;
        let take = |part: &mut crate::pass::part::RankPart| {
            (std::mem::take(&mut part.timings), std::mem::take(&mut part.times))
        };
        let rebuilt: Vec<Rebuilt> = self.summary.parts.iter_mut().map(take).collect();
        let (metrics, parameters) = (std::mem::take(&mut self.metrics), self.parameters.clone());
        let trained = metrics.iter().flat_map(|rank| &rank.epochs).any(|epoch| epoch.train.steps > 0);
        let evaluated = metrics.iter().flat_map(|rank| &rank.epochs).any(|epoch| epoch.eval.is_some());
        let mut report = Report {
            format: "2.1".to_owned(),
            run: self.run(),
            method: self.method(),
            train: trained.then(|| metric::training(&metrics, &parameters)),
            eval: evaluated.then(|| metric::evaluations(&metrics, &parameters)),
            times: times(&rebuilt, &metrics),
            checkpoints: checkpoints::rows(rebuilt.iter().map(|(timings, _)| timings), parameters.checkpoint_bytes),
            epochs: self.epochs(&metrics, &rebuilt, parameters.train_samples),
            series: self.series(),
            steps: overview::steps(&self.summary),
            heat: overview::heat(&self.summary.parts, self.analysis.extent),
            shuffle: overview::shuffle(&self.summary),
            cache: overview::cache(&self.summary.parts),
            clock: overview::clock(traces, &self.summary),
            why,
            ..Report::default()
        };
        let both: Vec<f64> = (report.series.read_bytes_per_second.iter())
            .zip(&report.series.written_bytes_per_second)
            .map(|(read, written)| read + written)
            .collect();
        report.steady = overview::steady(&both, self.analysis.extent);
        report.ranks = self.ranks(&metrics);
        self.flows(&mut report);
        self.operations(&mut report);
        report.run.ending = ending::of(traces, &report.epochs, &report.checkpoints, report.run.operations);
        if report.run.ending.is_partial() {
            // What a target is compared with is the whole run.
            for aggregate in [&mut report.train, &mut report.eval].into_iter().flatten() {
                aggregate.au_meets_expectation = None;
            }
        }
        report.warnings = warnings::all(traces, &report, &self.summary.parts, self.analysis.known.is_some());
        if let Some(text) = metric::nothing_measured(&metrics, &parameters) {
            // What was not measured misses no target.
            report.train.iter_mut().for_each(|train| train.au_meets_expectation = None);
            report.warnings.push(Warning { code: "nothing_measured".to_owned(), text });
        }
        report
    }

    fn method(&self) -> Method {
        let streaming = self.analysis.streaming;
        Method {
            streaming,
            percentile_error: if streaming { RELATIVE_ERROR } else { 0.0 },
            estimated: self.estimated(),
        }
    }

    /// What is told from a part.
    fn estimated(&self) -> Vec<String> {
        let mut estimated = Vec::new();
        let part = |one_in: OneIn| one_in.factor();
        if !self.ranges.all() {
            let of = part(self.ranges);
            estimated.push(format!("bytes read again: from 1 in {of} parts (64 MiB) of objects"));
        }
        let samples = self.summary.coverage.values().map(EpochSamples::followed).max().unwrap_or_default();
        if !samples.all() {
            estimated.push(format!("coverage and order of samples: from 1 in {} runs of 4096 samples", part(samples)));
        }
        if !self.summary.met.followed.all() {
            let of = part(self.summary.met.followed);
            estimated.push(format!("steps of all ranks, their barriers and clocks: from 1 in {of} steps"));
        }
        if !self.summary.reads.followed().all() {
            let of = part(self.summary.reads.followed());
            estimated.push(format!("slow reads by object: of 1 in {of} objects"));
        }
        let late: u64 = self.summary.parts.iter().map(|rank| rank.late).sum();
        if late > 0 {
            estimated.push(format!("overlap: {late} operations are shortened, as their rows came too late"));
        }
        estimated
    }

    fn run(&self) -> Run {
        let (traces, extent) = (self.analysis.traces, self.analysis.extent);
        let first = traces.first().map(|trace| &trace.header);
        let mut run = Run {
            tool_version: first.map(|header| header.tool_version.clone()).unwrap_or_default(),
            argv: first.map(|header| header.argv.clone()).unwrap_or_default(),
            model: first.and_then(|header| model_name(&header.config_json)),
            world: first.map_or(0, |header| header.world),
            traces: u32::try_from(traces.len()).unwrap_or(u32::MAX),
            seconds: extent.seconds(),
            events: traces.iter().map(|trace| trace.rows).sum(),
            au_threshold_percentage: self.analysis.known.as_ref().map(|known| known.au_threshold * 100.0),
            ..Run::default()
        };
        for trace in traces {
            if !run.hosts.contains(&trace.header.host) {
                run.hosts.push(trace.header.host.clone());
            }
        }
        if let Some(header) = first {
            let monotonic = i64::try_from(header.clock.monotonic_ns).unwrap_or(0);
            let wall_at_zero = header.clock.wall_unix_ns - monotonic - header.clock.offset_to_rank0_ns;
            run.start_unix_ns = wall_at_zero.saturating_add(extent.start);
        }
        for (key, group) in &self.sums.groups {
            let Some((kind, _)) = group_of(*key).filter(|(kind, _)| kind.is_storage()) else { continue };
            run.operations += group.times.whole.count;
            run.errors += group.errors;
            run.retries += group.retries;
            run.read_bytes += if kind.is_read() { group.bytes } else { 0 };
            run.written_bytes += if kind.is_write() { group.bytes } else { 0 };
        }
        for (outcome, count) in self.summary.parts.iter().flat_map(|part| &part.outcomes) {
            *run.outcomes.entry(outcome.clone()).or_default() += count;
        }
        run
    }

    fn series(&self) -> Series {
        let (lines, extent) = (&self.sums.lines, self.analysis.extent);
        // A slice that training only touches says nothing about its utilisation.
        let enough = 0.1 * extent.slice_seconds() * 1e9;
        let share = |line: &Timeline| {
            let of = |slice: usize| {
                let train = lines.training.amounts[slice];
                (train > enough).then(|| rounded((100.0 * line.amounts[slice] / train).min(100.0), 1e2))
            };
            (0..SLICES).map(of).collect::<Vec<_>>()
        };
        let ranks = self.summary.parts.len().max(1) as f64;
        let busy = |amount: &f64| rounded(100.0 * amount / (extent.slice_seconds() * 1e9 * ranks).max(1.0), 1e2);
        Series {
            slice_seconds: extent.slice_seconds(),
            read_bytes_per_second: lines.reads.per_second(extent),
            written_bytes_per_second: lines.writes.per_second(extent),
            operations_per_second: lines.operations.per_second(extent),
            in_flight: lines.flying.at_a_time(extent),
            busy_percentage: lines.busy.amounts.iter().map(busy).collect(),
            waiting_percentage: share(&lines.waiting),
            au_percentage: share(&lines.computing),
        }
    }

    fn ranks(&mut self, metrics: &[RankMetric]) -> Vec<RankRow> {
        let mut rows = Vec::new();
        for ((trace, metric), part) in self.analysis.traces.iter().zip(metrics).zip(&self.summary.parts) {
            let au: Vec<f64> = metric.epochs.iter().map(|epoch| epoch.train.au_percentage).collect();
            let flow = self.sums.ranks.remove(&part.index).unwrap_or_default();
            let mut found = self.answer.ranks.remove(&part.index).unwrap_or_default();
            rows.push(RankRow {
                rank: trace.header.rank,
                host: trace.header.host.clone(),
                complete: trace.complete,
                ending: ending::rank_text(trace),
                au_percentage: metric::Spread::of(&au).map(|spread| spread.mean),
                flow: flow_row(&flow, &mut found, self.analysis.extent),
            });
        }
        rows
    }

    fn flows(&mut self, report: &mut Report) {
        let extent = self.analysis.extent;
        for (host, (ranks, flow)) in std::mem::take(&mut self.sums.hosts) {
            let mut found = self.answer.hosts.remove(&host).unwrap_or_default();
            report.hosts.push(HostRow { host, ranks, flow: flow_row(&flow, &mut found, extent) });
        }
        for (endpoint, flow) in std::mem::take(&mut self.sums.endpoints) {
            let mut found = self.answer.endpoints.remove(&endpoint).unwrap_or_default();
            report.endpoints.push(Endpoint { endpoint, flow: flow_row(&flow, &mut found, extent) });
        }
    }

    fn operations(&mut self, report: &mut Report) {
        let mut kinds: BTreeMap<OpKind, Histogram> = BTreeMap::new();
        let (mut reads, mut writes) = (Histogram::default(), Histogram::default());
        for (key, group) in std::mem::take(&mut self.sums.groups) {
            let Some((kind, class)) = group_of(key) else { continue };
            let mut found = self.answer.groups.remove(&key).unwrap_or_default();
            let (latency, first_byte, transfer) = group.times.latencies(&mut found);
            let sized = kind.is_read() || kind.is_write();
            let row = Operation {
                op: kind.name().to_owned(),
                size: if sized { size_label(class) } else { String::new() },
                bytes: group.bytes,
                errors: group.errors,
                retries: group.retries,
                latency,
                first_byte,
                transfer,
            };
            if kind.is_read() {
                reads.merge(&group.times.whole);
            } else if kind.is_write() {
                writes.merge(&group.times.whole);
            }
            if kind.is_storage() {
                kinds.entry(kind).or_default().merge(&group.times.whole);
                report.operations.push(row);
            } else {
                report.spans.push(row);
            }
        }
        let curve =
            |(kind, all): (OpKind, Histogram)| Curve { op: kind.name().to_owned(), latency: all.distribution() };
        report.curves = kinds.into_iter().map(curve).collect();
        report.read_latency = reads.distribution();
        report.write_latency = writes.distribution();
    }

    fn epochs(&self, metrics: &[RankMetric], rebuilt: &[Rebuilt], expected: Option<u64>) -> Vec<Epoch> {
        let parts = &self.summary.parts;
        let last = rebuilt.iter().flat_map(|(_, times)| times).map(|time| time.epoch).max().unwrap_or(0);
        let row = |number: u32| {
            let of = || metrics.iter().flat_map(|rank| &rank.epochs).filter(|epoch| epoch.epoch == number);
            let mean = |values: &[f64]| metric::Spread::of(values).map(|spread| spread.mean);
            let times = || rebuilt.iter().flat_map(|(_, times)| times).filter(|time| time.epoch == number);
            let trained = rebuilt.iter().flat_map(|(timings, _)| &timings.epochs).filter(|epoch| epoch.epoch == number);
            let train_ns = trained.map(|epoch| epoch.train_end.saturating_sub(epoch.start)).max().unwrap_or(0);
            let reads = || parts.iter().filter_map(|part| part.epochs.get(&number));
            let sum = |pick: fn(&EpochReads) -> u64| reads().map(pick).sum::<u64>();
            let read_bytes = sum(|reads| reads.bytes);
            let start = times().map(|time| time.start).min().unwrap_or(0);
            let end = times().map(|time| time.end).max().unwrap_or(0);
            Epoch {
                epoch: number,
                au_percentage: mean(&of().map(|epoch| epoch.train.au_percentage).collect::<Vec<_>>()).unwrap_or(0.0),
                samples_per_second: of().map(|epoch| epoch.train.throughput).sum(),
                eval_au_percentage: mean(
                    &of().filter_map(|epoch| epoch.eval).map(|eval| eval.au_percentage).collect::<Vec<_>>(),
                ),
                steps: of().map(|epoch| epoch.train.steps).max().unwrap_or(0),
                seconds: end.saturating_sub(start) as f64 / 1e9,
                read_bytes,
                read_bytes_per_second: per_second(read_bytes, train_ns),
                bytes_per_operation_second: per_second(read_bytes, sum(|reads| reads.operation_ns)),
                coverage: self.coverage(number, expected),
            }
        };
        (1..=last).map(row).filter(|epoch| epoch.seconds > 0.0 || epoch.steps > 0).collect()
    }

    /// A sample counts as read twice when another rank or step of the epoch read it.
    fn coverage(&self, epoch: u32, expected: Option<u64>) -> Coverage {
        let Some(samples) = self.summary.coverage.get(&epoch).filter(|samples| samples.readings() > 0) else {
            // Traces of formats that stream many samples per read do not name them: nothing can be said then.
            return Coverage::default();
        };
        let distinct = samples.distinct();
        let missing = expected.map(|expected| expected.saturating_sub(distinct));
        Coverage { distinct, duplicates: samples.readings().saturating_sub(distinct), missing }
    }
}

fn flow_row(flow: &Flow, found: &mut Found, extent: Extent) -> FlowRow {
    let seconds = extent.seconds();
    let bytes = (flow.read_bytes + flow.written_bytes) as f64;
    let (latency, first_byte, transfer) = flow.times.latencies(found);
    FlowRow {
        operations: flow.operations,
        read_bytes: flow.read_bytes,
        written_bytes: flow.written_bytes,
        bytes_per_second: if seconds > 0.0 { bytes / seconds } else { 0.0 },
        errors: flow.errors,
        latency,
        first_byte,
        transfer,
    }
}

/// `≤ 4 KiB`, `4–64 KiB`, …
fn size_label(class: usize) -> String {
    let short =
        |bytes: u64| if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) };
    match (class.checked_sub(1).and_then(|below| SIZE_BOUNDS.get(below)), SIZE_BOUNDS.get(class)) {
        (None, _) => "0 B".to_owned(),
        (Some(_), Some(upper)) => format!("≤ {}", short(*upper)),
        (Some(lower), None) => format!("> {}", short(*lower)),
    }
}

fn model_name(config_json: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(config_json).ok()?;
    let workload = config.get("workload").unwrap_or(&config);
    Some(workload.get("model")?.get("name")?.as_str()?.to_owned())
}

/// The epochs of every rank; `metrics` has the ranks in the same order.
fn times(rebuilt: &[Rebuilt], metrics: &[RankMetric]) -> Vec<TimeRow> {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let mut rows = Vec::new();
    for ((timings, times), metric) in rebuilt.iter().zip(metrics) {
        for time in times {
            let total = time.end.saturating_sub(time.start);
            let named = time.compute + time.waiting + time.barrier + time.checkpoint + time.evaluation;
            let measured = metric.epochs.iter().find(|epoch| epoch.epoch == time.epoch && epoch.train.steps > 0);
            rows.push(TimeRow {
                epoch: time.epoch,
                rank: timings.rank,
                au_percentage: measured.map(|epoch| epoch.train.au_percentage),
                total: seconds(total),
                compute: seconds(time.compute),
                waiting: seconds(time.waiting),
                barrier: seconds(time.barrier),
                checkpoint: seconds(time.checkpoint),
                evaluation: seconds(time.evaluation),
                other: seconds(total.saturating_sub(named)),
            });
        }
    }
    rows.sort_by_key(|row| (row.epoch, row.rank));
    rows
}

fn per_second(bytes: u64, nanos: u64) -> f64 {
    if nanos == 0 { 0.0 } else { bytes as f64 / (nanos as f64 / 1e9) }
}
