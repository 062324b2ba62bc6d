//! Builds a [`Report`] from the results of the pass over the traces.

use std::collections::BTreeMap;

use dlio_event::Histogram;
use dlio_event::OpKind;
use dlio_event::histogram::RELATIVE_ERROR;
use dlio_event::percentile::{P50, P99};

use crate::bucket_values::percentile;
use crate::diagnosis::sources::{ObjectReads, Sources};
use crate::diagnosis::{self, Diagnosis};
use crate::durations::DurationValues;
use crate::epochs::{self, Rebuilt};
use crate::inputs::Inputs;
use crate::metric::{self, Parameters, RankMetric};
use crate::overview::{self, rounded};
use crate::pass::class::{SIZE_BOUNDS, group_of};
use crate::pass::objects::SamplingRate;
use crate::pass::rank_stats::IoStats;
use crate::pass::retained_rows::PercentileResult;
use crate::pass::samples::EpochSamples;
use crate::pass::summary::Summary;
use crate::percentile::Distribution;
use crate::report::{Curve, Endpoint, FlowRow, HostRow, Method, Operation, RankRow, Report, Run, Series, Warning};
use crate::timeline::{Extent, SLICES, Timeline};
use crate::totals::RunTotals;
use crate::{checkpoints, ending, warnings};

pub(crate) struct ReportBuilder<'a> {
    pub(crate) inputs: &'a Inputs<'a>,
    pub(crate) summary: Summary,
    pub(crate) sums: RunTotals,
    pub(crate) result: PercentileResult,
    pub(crate) parameters: Parameters,
    /// Metrics of each rank, in the order of the summary's ranks.
    pub(crate) metrics: Vec<RankMetric>,
    /// Sampling rate of object parts for the count of bytes that were read again.
    pub(crate) ranges: SamplingRate,
}

impl<'a> ReportBuilder<'a> {
    pub(crate) fn new(inputs: &'a Inputs<'a>, mut summary: Summary, sums: RunTotals, result: PercentileResult) -> Self {
        let metrics =
            summary.parts.iter_mut().map(|part| std::mem::take(&mut part.metric).without_negatives()).collect();
        let (parameters, ranges) = (inputs.parameters(), SamplingRate::default());
        Self { inputs, summary, sums, result, parameters, metrics, ranges }
    }

    pub(crate) fn explain(&mut self, slow_objects: Vec<ObjectReads>) -> Diagnosis {
        let ranges = std::mem::take(&mut self.summary.ranges);
        self.ranges = ranges.sampling;
        let mut diagnosis = diagnosis::explain(&Sources {
            summary: &self.summary,
            metrics: &self.metrics,
            extent: self.inputs.extent,
            reads: &self.sums.reads,
            endpoints: &self.sums.endpoints,
            different_bytes: ranges.different_bytes(),
            slow_objects,
        });
        let found = &mut self.result.reads.whole;
        let mut at = |parts: u64| percentile(&self.sums.reads, parts, found) as f64 / 1e9;
        diagnosis.samples.read_percentiles = (self.sums.reads.count() > 0).then(|| (at(P50), at(P99)));
        diagnosis
    }

    pub(crate) fn build(mut self, diagnosis: Diagnosis) -> Report {
        let traces = self.inputs.traces;
        let take = |part: &mut crate::pass::rank_stats::RankStats| {
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
            times: epochs::times(&rebuilt, &metrics),
            checkpoints: checkpoints::rows(rebuilt.iter().map(|(timings, _)| timings), parameters.checkpoint_bytes),
            epochs: epochs::rows(&self.summary, &metrics, &rebuilt, parameters.train_samples),
            series: self.series(),
            steps: overview::steps(&self.summary),
            heat: overview::heat(&self.summary.parts, self.inputs.extent),
            shuffle: overview::shuffle(&self.summary),
            cache: overview::cache(&self.summary.parts),
            clock: overview::clock(traces, &self.summary),
            diagnosis,
            ..Report::default()
        };
        let both: Vec<f64> = (report.series.read_bytes_per_second.iter())
            .zip(&report.series.written_bytes_per_second)
            .map(|(read, written)| read + written)
            .collect();
        report.steady = overview::steady(&both, self.inputs.extent);
        report.ranks = self.ranks(&metrics);
        self.flows(&mut report);
        self.operations(&mut report);
        report.diagnosis.samples.samples_per_second =
            report.epochs.iter().map(|epoch| epoch.samples_per_second).collect();
        report.run.ending = ending::of(traces, &report.epochs, &report.checkpoints, report.run.operations);
        if report.run.ending.is_partial() {
            // A target applies to the whole run.
            for aggregate in [&mut report.train, &mut report.eval].into_iter().flatten() {
                aggregate.au_meets_expectation = None;
            }
        }
        report.warnings = warnings::all(traces, &report, &self.summary.parts, self.inputs.known.is_some());
        if let Some(text) = metric::nothing_measured(&metrics, &parameters) {
            // A metric that was not measured cannot miss its target.
            report.train.iter_mut().for_each(|train| train.au_meets_expectation = None);
            report.warnings.push(Warning { code: "nothing_measured".to_owned(), text });
        }
        report
    }

    fn method(&self) -> Method {
        let streaming = self.inputs.streaming;
        Method {
            streaming,
            percentile_error: if streaming { RELATIVE_ERROR } else { 0.0 },
            estimated: self.estimated(),
        }
    }

    /// Names the numbers that are estimated from a sample, and the sampling rates.
    fn estimated(&self) -> Vec<String> {
        let mut estimated = Vec::new();
        let part = |rate: SamplingRate| rate.factor();
        if !self.ranges.all() {
            let of = part(self.ranges);
            estimated.push(format!("bytes read again: from 1 in {of} parts (64 MiB) of objects"));
        }
        let samples = self.summary.coverage.values().map(EpochSamples::sampling).max().unwrap_or_default();
        if !samples.all() {
            estimated.push(format!("coverage and order of samples: from 1 in {} runs of 4096 samples", part(samples)));
        }
        if !self.summary.barriers.sampling.all() {
            let of = part(self.summary.barriers.sampling);
            estimated.push(format!("steps of all ranks, their barriers and clocks: from 1 in {of} steps"));
        }
        if !self.summary.reads.sampling().all() {
            let of = part(self.summary.reads.sampling());
            estimated.push(format!("slow reads by object: from 1 in {of} objects"));
        }
        let late: u64 = self.summary.parts.iter().map(|rank| rank.late).sum();
        if late > 0 {
            estimated.push(format!("overlap: {late} operations are shortened, because their rows came too late"));
        }
        estimated
    }

    fn run(&self) -> Run {
        let (traces, extent) = (self.inputs.traces, self.inputs.extent);
        let first = traces.first().map(|trace| &trace.header);
        let mut run = Run {
            tool_version: first.map(|header| header.tool_version.clone()).unwrap_or_default(),
            argv: first.map(|header| header.argv.clone()).unwrap_or_default(),
            model: first.and_then(|header| model_name(&header.config_json)),
            world: first.map_or(0, |header| header.world),
            traces: u32::try_from(traces.len()).unwrap_or(u32::MAX),
            seconds: extent.seconds(),
            events: traces.iter().map(|trace| trace.rows).sum(),
            au_threshold_percentage: self.inputs.known.as_ref().map(|known| known.au_threshold * 100.0),
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
            run.operations += group.times.whole.count();
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
        let (timelines, extent) = (&self.sums.timelines, self.inputs.extent);
        // A slice that training only touches does not show its utilisation.
        let enough = 0.1 * extent.slice_seconds() * 1e9;
        let share = |line: &Timeline| {
            let of = |slice: usize| {
                let train = timelines.training.amounts[slice];
                (train > enough).then(|| rounded((100.0 * line.amounts[slice] / train).min(100.0), 1e2))
            };
            (0..SLICES).map(of).collect::<Vec<_>>()
        };
        let ranks = self.summary.parts.len().max(1) as f64;
        let busy = |amount: &f64| rounded(100.0 * amount / (extent.slice_seconds() * 1e9 * ranks).max(1.0), 1e2);
        Series {
            slice_seconds: extent.slice_seconds(),
            read_bytes_per_second: timelines.reads.per_second(extent),
            written_bytes_per_second: timelines.writes.per_second(extent),
            operations_per_second: timelines.operations.per_second(extent),
            in_flight: timelines.in_flight.at_a_time(extent),
            busy_percentage: timelines.busy.amounts.iter().map(busy).collect(),
            waiting_percentage: share(&timelines.waiting),
            au_percentage: share(&timelines.computing),
        }
    }

    fn ranks(&mut self, metrics: &[RankMetric]) -> Vec<RankRow> {
        let mut rows = Vec::new();
        for ((trace, metric), part) in self.inputs.traces.iter().zip(metrics).zip(&self.summary.parts) {
            let au: Vec<f64> = metric.epochs.iter().map(|epoch| epoch.train.au_percentage).collect();
            let flow = self.sums.ranks.remove(&part.index).unwrap_or_default();
            let mut found = self.result.ranks.remove(&part.index).unwrap_or_default();
            rows.push(RankRow {
                rank: trace.header.rank,
                host: trace.header.host.clone(),
                complete: trace.complete,
                ending: ending::rank_text(trace),
                au_percentage: metric::Spread::of(&au).map(|spread| spread.mean),
                flow: flow_row(&flow, &mut found, self.inputs.extent),
            });
        }
        rows
    }

    fn flows(&mut self, report: &mut Report) {
        let extent = self.inputs.extent;
        for (host, (ranks, flow)) in std::mem::take(&mut self.sums.hosts) {
            let mut found = self.result.hosts.remove(&host).unwrap_or_default();
            report.hosts.push(HostRow { host, ranks, flow: flow_row(&flow, &mut found, extent) });
        }
        for (endpoint, flow) in std::mem::take(&mut self.sums.endpoints) {
            let mut found = self.result.endpoints.remove(&endpoint).unwrap_or_default();
            report.endpoints.push(Endpoint { endpoint, flow: flow_row(&flow, &mut found, extent) });
        }
    }

    fn operations(&mut self, report: &mut Report) {
        let mut kinds: BTreeMap<OpKind, Histogram> = BTreeMap::new();
        let (mut reads, mut writes) = (Histogram::default(), Histogram::default());
        for (key, group) in std::mem::take(&mut self.sums.groups) {
            let Some((kind, class)) = group_of(key) else { continue };
            let mut found = self.result.groups.remove(&key).unwrap_or_default();
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
        let curve = |(kind, all): (OpKind, Histogram)| {
            let mut found = self.result.kinds.remove(&(kind as usize)).unwrap_or_default();
            Curve { op: kind.name().to_owned(), latency: Distribution::of(&all, &mut found.whole) }
        };
        report.curves = kinds.into_iter().map(curve).collect();
        report.read_latency = Distribution::of(&reads, &mut self.result.all_reads.whole);
        report.write_latency = Distribution::of(&writes, &mut self.result.all_writes.whole);
    }
}

fn flow_row(flow: &IoStats, found: &mut DurationValues, extent: Extent) -> FlowRow {
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

/// Returns the label of a size class, such as `≤ 4 KiB`.
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
