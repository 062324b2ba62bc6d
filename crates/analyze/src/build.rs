//! From traces to a [`Report`]: read every rank once, rebuild its timings, put the parts together.

use std::collections::BTreeMap;

use dlio_event::{BlockTimings, OpKind, RankTimings};
use dlio_trace::RankTrace;

use crate::gather::{Flow, Gathered, Group, SIZE_BOUNDS, gather};
use crate::metric::{self, Parameters, RankMetric};
use crate::percentile::{Distribution, Latency, nearest_rank};
use crate::rebuild::{EpochTime, Spans};
use crate::report::{Coverage, Endpoint, Epoch, FlowRow, Operation, RankRow, Report, Run, Series, TimeRow};
use crate::timeline::{Extent, SLICES, Timeline};
use crate::{checkpoints, coverage, warnings, why};

/// The report on a run.
///
/// `parameters` override those that the traces carry; without either, one step is left out at the start of each block,
/// and batches count as one sample.
///
/// # Errors
/// When a trace cannot be read.
pub fn report(traces: &[RankTrace], parameters: Option<&Parameters>) -> Result<Report, dlio_trace::Error> {
    let ranges: Vec<(i64, i64)> = traces.iter().filter_map(RankTrace::time_range).collect();
    let extent = Extent {
        start: ranges.iter().map(|range| range.0).min().unwrap_or(0),
        end: ranges.iter().map(|range| range.1).max().unwrap_or(0),
    };
    let gathered = gather_all(traces, extent)?;
    let carried = traces.first().and_then(|trace| Parameters::from_config(&trace.header.config_json));
    let known = parameters.cloned().or(carried);
    let why = why::explain(traces, known.as_ref())?;
    Ok(Report { why, ..Builder { traces, extent, known }.build(gathered) })
}

/// Reads the ranks' traces, as many at a time as there are processors.
fn gather_all(traces: &[RankTrace], extent: Extent) -> Result<Vec<Gathered>, dlio_trace::Error> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(traces.len().max(1));
    let share = traces.len().div_ceil(workers).max(1);
    let parts: Vec<Result<Vec<Gathered>, dlio_trace::Error>> = std::thread::scope(|scope| {
        let spawn = |part: &'_ [RankTrace]| part.iter().map(|trace| gather(trace, extent)).collect();
        let threads: Vec<_> = traces.chunks(share).map(|part| scope.spawn(move || spawn(part))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    parts.into_iter().collect::<Result<Vec<_>, _>>().map(|parts| parts.into_iter().flatten().collect())
}

struct Builder<'a> {
    traces: &'a [RankTrace],
    extent: Extent,
    known: Option<Parameters>,
}

impl Builder<'_> {
    fn build(&self, mut gathered: Vec<Gathered>) -> Report {
        let mut report = Report { format: "1.0".to_owned(), run: self.run(&gathered), ..Report::default() };
        let spans: Vec<Spans> = gathered.iter_mut().map(|rank| std::mem::take(&mut rank.spans)).collect();
        let ranks = self.traces.iter().map(|trace| trace.header.rank);
        let rebuilt: Vec<_> = ranks.zip(spans).map(|(rank, spans)| spans.timings(rank)).collect();
        let parameters = self
            .known
            .clone()
            .unwrap_or_else(|| assumed(&rebuilt.iter().map(|(timings, _)| timings).collect::<Vec<_>>()));
        let metrics: Vec<RankMetric> = rebuilt.iter().map(|(timings, _)| metric::rank(timings, &parameters)).collect();
        let trained = metrics.iter().flat_map(|rank| &rank.epochs).any(|epoch| epoch.train.steps > 0);
        let evaluated = metrics.iter().flat_map(|rank| &rank.epochs).any(|epoch| epoch.eval.is_some());
        report.train = trained.then(|| metric::training(&metrics, &parameters));
        report.eval = evaluated.then(|| metric::evaluations(&metrics, &parameters));
        report.times = times(&rebuilt, &metrics);
        report.checkpoints = checkpoints::rows(rebuilt.iter().map(|(timings, _)| timings), parameters.checkpoint_bytes);
        report.epochs = epochs(&metrics, &rebuilt, &gathered);
        coverage::fill(&mut report.epochs, &gathered, self.traces, parameters.train_samples);
        report.warnings = warnings::all(self.traces, &report, &gathered, self.known.is_some());
        report.series = self.series(&gathered);
        report.ranks = self.ranks(&metrics, &mut gathered);
        report.endpoints = self.endpoints(&mut gathered);
        operations(&mut report, gathered);
        report
    }

    fn run(&self, gathered: &[Gathered]) -> Run {
        let first = self.traces.first().map(|trace| &trace.header);
        let mut run = Run {
            tool_version: first.map(|header| header.tool_version.clone()).unwrap_or_default(),
            argv: first.map(|header| header.argv.clone()).unwrap_or_default(),
            model: first.and_then(|header| model_name(&header.config_json)),
            world: first.map_or(0, |header| header.world),
            traces: u32::try_from(self.traces.len()).unwrap_or(u32::MAX),
            seconds: self.extent.seconds(),
            events: self.traces.iter().map(|trace| trace.rows).sum(),
            au_threshold_percentage: self.known.as_ref().map(|known| known.au_threshold * 100.0),
            ..Run::default()
        };
        for trace in self.traces {
            if !run.hosts.contains(&trace.header.host) {
                run.hosts.push(trace.header.host.clone());
            }
        }
        if let Some(header) = first {
            let monotonic = i64::try_from(header.clock.monotonic_ns).unwrap_or(0);
            let wall_at_zero = header.clock.wall_unix_ns - monotonic - header.clock.offset_to_rank0_ns;
            run.start_unix_ns = wall_at_zero.saturating_add(self.extent.start);
        }
        for rank in gathered {
            for ((kind, _), group) in rank.groups.iter().filter(|((kind, _), _)| kind.is_storage()) {
                run.operations += group.latencies.len() as u64;
                run.errors += group.errors;
                run.retries += group.retries;
                run.read_bytes += if kind.is_read() { group.bytes } else { 0 };
                run.written_bytes += if kind.is_write() { group.bytes } else { 0 };
            }
            for (outcome, count) in &rank.outcomes {
                *run.outcomes.entry((*outcome).to_owned()).or_default() += count;
            }
        }
        run
    }

    fn series(&self, gathered: &[Gathered]) -> Series {
        let merge = |pick: fn(&Gathered) -> &Timeline| {
            let mut all = Timeline::new(self.extent);
            for rank in gathered {
                all.merge(pick(rank));
            }
            all
        };
        let (computing, training) = (merge(|rank| &rank.computing), merge(|rank| &rank.training));
        // A slice that training only touches says little about it.
        let enough = self.extent.slice_seconds() * 1e9 * gathered.len() as f64 * 0.05;
        let au = |slice: usize| {
            let (compute, train) = (computing.amounts[slice], training.amounts[slice]);
            (train > enough).then(|| (10_000.0 * compute / train).round().min(10_000.0) / 100.0)
        };
        Series {
            slice_seconds: self.extent.slice_seconds(),
            read_bytes_per_second: merge(|rank| &rank.reads).per_second(),
            written_bytes_per_second: merge(|rank| &rank.writes).per_second(),
            au_percentage: (0..SLICES).map(au).collect(),
        }
    }

    fn ranks(&self, metrics: &[RankMetric], gathered: &mut [Gathered]) -> Vec<RankRow> {
        let rows = self.traces.iter().zip(metrics).zip(gathered).map(|((trace, metric), gathered)| {
            let mut all = Flow::default();
            for flow in gathered.flows.values() {
                all.merge(flow.clone());
            }
            let au: Vec<f64> = metric.epochs.iter().map(|epoch| epoch.train.au_percentage).collect();
            RankRow {
                rank: trace.header.rank,
                host: trace.header.host.clone(),
                complete: trace.complete,
                au_percentage: metric::Spread::of(&au).map(|spread| spread.mean),
                flow: self.flow(all),
            }
        });
        rows.collect()
    }

    fn endpoints(&self, gathered: &mut [Gathered]) -> Vec<Endpoint> {
        let mut all: BTreeMap<String, Flow> = BTreeMap::new();
        for (name, flow) in gathered.iter_mut().flat_map(|rank| std::mem::take(&mut rank.flows)) {
            all.entry(name).or_default().merge(flow);
        }
        all.into_iter().map(|(endpoint, flow)| Endpoint { endpoint, flow: self.flow(flow) }).collect()
    }

    fn flow(&self, mut flow: Flow) -> FlowRow {
        let seconds = self.extent.seconds();
        let bytes = (flow.read_bytes + flow.written_bytes) as f64;
        FlowRow {
            operations: flow.operations,
            read_bytes: flow.read_bytes,
            written_bytes: flow.written_bytes,
            bytes_per_second: if seconds > 0.0 { bytes / seconds } else { 0.0 },
            errors: flow.errors,
            latency: Latency::of(&mut flow.latencies),
        }
    }
}

fn operations(report: &mut Report, gathered: Vec<Gathered>) {
    let mut groups: BTreeMap<(OpKind, usize), Group> = BTreeMap::new();
    for (key, group) in gathered.into_iter().flat_map(|rank| rank.groups) {
        groups.entry(key).or_default().merge(group);
    }
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for ((kind, class), mut group) in groups {
        let row = operation(kind, class, &mut group);
        if kind.is_read() {
            reads.append(&mut group.latencies);
        } else if kind.is_write() {
            writes.append(&mut group.latencies);
        }
        if kind.is_storage() { report.operations.push(row) } else { report.spans.push(row) }
    }
    reads.sort_unstable();
    writes.sort_unstable();
    report.read_latency = Distribution::of_sorted(&reads);
    report.write_latency = Distribution::of_sorted(&writes);
}

fn operation(kind: OpKind, class: usize, group: &mut Group) -> Operation {
    let latency = Latency::of(&mut group.latencies);
    group.first_bytes.sort_unstable();
    let first_byte = |per_mille| (!group.first_bytes.is_empty()).then(|| nearest_rank(&group.first_bytes, per_mille));
    let sized = kind.is_read() || kind.is_write();
    Operation {
        op: kind.name().to_owned(),
        size: if sized { size_label(class) } else { String::new() },
        bytes: group.bytes,
        errors: group.errors,
        retries: group.retries,
        latency,
        first_byte_p50_ns: first_byte(500),
        first_byte_p99_ns: first_byte(990),
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

/// What the formulas use when nobody says: the reference's defaults, and the steps that were seen.
fn assumed(timings: &[&RankTimings]) -> Parameters {
    let epochs = || timings.iter().flat_map(|rank| &rank.epochs);
    let steps = |blocks: &[BlockTimings]| blocks.iter().map(|block| block.proc.len() as u64).sum::<u64>();
    Parameters {
        exclude_start_steps: 1,
        exclude_end_steps: 0,
        train_steps: epochs().map(|epoch| steps(&epoch.blocks)).max().unwrap_or(0),
        eval_steps: epochs()
            .filter_map(|epoch| epoch.eval.as_ref())
            .map(|eval| eval.proc.len() as u64)
            .max()
            .unwrap_or(0),
        batch_size: 1,
        eval_batch_size: 1,
        record_bytes: 0.0,
        au_threshold: 0.9,
        train_samples: None,
        formula: crate::metric::Formula::default(),
        checkpoint_bytes: None,
    }
}

type Rebuilt = (RankTimings, Vec<EpochTime>);

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

fn epochs(metrics: &[RankMetric], rebuilt: &[Rebuilt], gathered: &[Gathered]) -> Vec<Epoch> {
    let last = rebuilt.iter().flat_map(|(_, times)| times).map(|time| time.epoch).max().unwrap_or(0);
    let row = |number: u32| {
        let of = || metrics.iter().flat_map(|rank| &rank.epochs).filter(|epoch| epoch.epoch == number);
        let mean = |values: &[f64]| metric::Spread::of(values).map(|spread| spread.mean);
        let times = || rebuilt.iter().flat_map(|(_, times)| times).filter(|time| time.epoch == number);
        let trained = rebuilt.iter().flat_map(|(timings, _)| &timings.epochs).filter(|epoch| epoch.epoch == number);
        let train_ns = trained.map(|epoch| epoch.train_end.saturating_sub(epoch.start)).max().unwrap_or(0);
        let reads = || gathered.iter().filter_map(|rank| rank.epochs.get(&number));
        let read_bytes: u64 = reads().map(|reads| reads.bytes).sum();
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
            bytes_per_operation_second: per_second(read_bytes, reads().map(|reads| reads.operation_ns).sum()),
            coverage: Coverage::default(),
        }
    };
    (1..=last).map(row).filter(|epoch| epoch.seconds > 0.0 || epoch.steps > 0).collect()
}

fn per_second(bytes: u64, nanos: u64) -> f64 {
    if nanos == 0 { 0.0 } else { bytes as f64 / (nanos as f64 / 1e9) }
}
