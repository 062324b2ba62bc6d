//! The reference's output files as bytes: `summary.json`, `<rank>_output.json`, `<rank>_per_epoch_stats.json` and the
//! `[METRIC]` lines. Keys, their order and their types are the reference's (statscounter, version 2.0.0).

use std::fmt::Write;

use dlio_event::{BlockTimings, Ending, EpochTimings, Nanos, RankTimings};
use jiff::Timestamp;
use jiff::tz::Offset;

use crate::metric::{self, Aggregate, CheckpointIo, Checkpoints, Formula, Measure, RankMetric, Spread};
use crate::ordered::{Object, Value};

const GB: f64 = 1_073_741_824.0;
const SEPARATOR: &str = "==========================================================";

/// Converts times of the monotonic clock to the reference's timestamps (local time, although the reference calls it
/// `utcnow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    /// A moment on the monotonic clock, nanoseconds.
    pub monotonic_ns: Nanos,
    /// Unix time of that moment, nanoseconds since 1970-01-01 UTC.
    pub wall_unix_ns: i64,
    /// Local time minus UTC, seconds.
    pub utc_offset_seconds: i32,
}

impl WallClock {
    /// Returns the timestamp of a moment on the monotonic clock.
    #[must_use]
    pub fn timestamp(&self, at: Nanos) -> String {
        let elapsed = i128::from(at) - i128::from(self.monotonic_ns);
        let wall = i128::from(self.wall_unix_ns) + elapsed;
        timestamp(i64::try_from(wall).unwrap_or(0), self.utc_offset_seconds)
    }
}

/// Formats a time as `YYYY-MM-DDTHH:MM:SS.ffffff`.
#[must_use]
pub fn timestamp(wall_unix_ns: i64, utc_offset_seconds: i32) -> String {
    let local = wall_unix_ns.saturating_add(i64::from(utc_offset_seconds) * 1_000_000_000);
    let time = Timestamp::from_nanosecond(i128::from(local)).unwrap_or_default();
    Offset::UTC.to_datetime(time).strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string()
}

/// The reference's record of a host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Host {
    /// Host name.
    pub hostname: String,
    /// Logical CPUs.
    pub cpu_count: u32,
    /// `platform.processor()`; often empty.
    pub processor_name: String,
    /// Memory, GB (2³⁰ bytes).
    pub memory_gb: f64,
    /// `/proc/cpuinfo` as pairs; `None` on systems without it.
    pub cpuinfo: Option<Vec<(String, String)>>,
    /// `/proc/meminfo` as pairs; `None` on systems without it.
    pub meminfo: Option<Vec<(String, String)>>,
}

/// Returns whether the dataset of a host fits into its memory, so that a second epoch may not reach storage.
#[must_use]
pub fn potential_caching(host_memory_gb: f64, data_size_per_host_gb: f64) -> bool {
    host_memory_gb > data_size_per_host_gb
}

/// Returns the reference's `data_size_per_host_GB`.
#[must_use]
pub fn data_size_per_host_gb(ranks_per_node: u64, ranks: u64, train_samples: u64, record_bytes: f64) -> f64 {
    (ranks_per_node.saturating_mul(train_samples) / ranks.max(1)) as f64 * record_bytes / GB
}

/// Parses `/proc/cpuinfo` or `/proc/meminfo` as the reference does: a line with exactly one colon is a key and a value,
/// later lines overwrite earlier ones, and `processor` is left out.
#[must_use]
pub fn proc_pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split(':').collect();
        let [key, value] = parts[..] else { continue };
        let (key, value) = (key.trim(), value.trim().to_owned());
        if key == "processor" {
            continue;
        }
        match pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => pairs.push((key.to_owned(), value)),
        }
    }
    pairs
}

/// The metrics of a run; each part is present if the run had it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    /// Metrics of checkpoints.
    pub checkpoint: Option<Checkpoints>,
    /// Metrics of training.
    pub train: Option<Aggregate>,
    /// Metrics of evaluation.
    pub eval: Option<Aggregate>,
    /// The reference whose keys and units are used.
    pub formula: Formula,
}

/// The contents of `summary.json` besides the metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Timestamp of the start.
    pub start: String,
    /// Timestamp of the end.
    pub end: String,
    /// Number of ranks.
    pub num_accelerators: u32,
    /// Number of nodes.
    pub num_hosts: u32,
    /// `dataset.num_files_train` as configured.
    pub num_files_train: u64,
    /// `dataset.num_files_eval` as configured.
    pub num_files_eval: u64,
    /// `dataset.num_samples_per_file`
    pub num_samples_per_file: u64,
    /// One host per node; the first is rank 0's.
    pub hosts: Vec<Host>,
    /// [`data_size_per_host_gb`]
    pub data_size_per_host_gb: f64,
    /// Number of trained epochs; 0 for a run of checkpoints only.
    pub epochs: u32,
    /// Metrics of the run.
    pub metrics: Metrics,
    /// How the run ended; the reference does not have this key.
    pub ending: Option<Ending>,
    /// S3 requests that failed and were sent again; `None` if there were none.
    pub troubles: Option<RequestTroubles>,
}

/// Failures of S3 requests and endpoints from which the run recovered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestTroubles {
    /// Number of requests that were sent again.
    pub retries: u64,
    /// Number of requests that went to another endpoint than intended.
    pub elsewhere: u64,
    /// Outages of endpoints, by their start.
    pub outages: Vec<EndpointOutage>,
}

/// A period in which an endpoint did not answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndpointOutage {
    /// `http://host:port`
    pub endpoint: String,
    /// Timestamp of the start.
    pub start: String,
    /// Duration of the outage, seconds.
    pub seconds: f64,
    /// Number of requests that failed, or waited for the endpoint.
    pub affected: u64,
}

/// Returns the contents of `summary.json`.
#[must_use]
pub fn summary_json(summary: &Summary) -> Vec<u8> {
    let first = summary.hosts.first().cloned().unwrap_or_default();
    let caching = |host: &Host| u32::from(potential_caching(host.memory_gb, summary.data_size_per_host_gb));
    let mut json = Object::default()
        .with("start", summary.start.as_str())
        .with("num_accelerators", summary.num_accelerators)
        .with("num_hosts", summary.num_hosts)
        .with("hostname", first.hostname.as_str())
        .with("metric", metrics(&summary.metrics))
        .with("num_files_train", summary.num_files_train)
        .with("num_files_eval", summary.num_files_eval)
        .with("num_samples_per_file", summary.num_samples_per_file)
        .with("host_cpu_count", summary.hosts.iter().map(|host| host.cpu_count).collect::<Value>())
        .with("host_processor_name", first.processor_name.as_str())
        .with("potential_caching", summary.hosts.iter().map(caching).collect::<Value>());
    push_pairs(&mut json, "host_cpuinfo", first.cpuinfo.as_deref());
    push_pairs(&mut json, "host_meminfo", first.meminfo.as_deref());
    if let Some(troubles) = &summary.troubles {
        json.push("s3_requests", request_troubles(troubles));
    }
    json = json
        .with("host_memory_GB", summary.hosts.iter().map(|host| host.memory_gb).collect::<Value>())
        .with("data_size_per_host_GB", summary.data_size_per_host_gb)
        .with("epochs", summary.epochs)
        .with("end", summary.end.as_str());
    if let Some(ending) = &summary.ending {
        json.push("ending", ending.to_string());
    }
    json.to_bytes()
}

/// Returns `summary.json` of a run that ended early: without metrics, so that it cannot be mistaken for a result.
#[must_use]
pub fn unfinished_json(start: &str, end: &str, num_accelerators: u32, ending: &Ending) -> Vec<u8> {
    Object::default()
        .with("start", start)
        .with("num_accelerators", num_accelerators)
        .with("end", end)
        .with("ending", ending.to_string())
        .to_bytes()
}

fn request_troubles(troubles: &RequestTroubles) -> Object {
    let outage = |outage: &EndpointOutage| {
        Object::default()
            .with("endpoint", outage.endpoint.as_str())
            .with("start", outage.start.as_str())
            .with("seconds", outage.seconds)
            .with("affected_requests", outage.affected)
    };
    Object::default()
        .with("retries", troubles.retries)
        .with("sent_to_another_endpoint", troubles.elsewhere)
        .with("outages", troubles.outages.iter().map(outage).collect::<Value>())
}

fn push_pairs(json: &mut Object, key: &str, pairs: Option<&[(String, String)]>) {
    if let Some(pairs) = pairs {
        let object = pairs.iter().fold(Object::default(), |all, (key, value)| all.with(key.as_str(), value.as_str()));
        json.push(key, object);
    }
}

fn metrics(metrics: &Metrics) -> Object {
    let mut json = Object::default();
    if let Some(checkpoint) = &metrics.checkpoint {
        if metrics.formula == Formula::Dlio || checkpoint.save.duration.is_some() {
            push_checkpoint(&mut json, "save", &checkpoint.save);
        }
        if let Some(load) = &checkpoint.load {
            push_checkpoint(&mut json, "load", load);
        }
        json.push("checkpoint_size_GB", checkpoint.size_gb);
    }
    for (prefix, aggregate) in [("train", &metrics.train), ("eval", &metrics.eval)] {
        if let Some(aggregate) = aggregate {
            push_aggregate(&mut json, prefix, aggregate);
        }
    }
    json
}

fn mean(spread: Option<Spread>) -> Option<f64> {
    spread.map(|spread| spread.mean)
}

fn stdev(spread: Option<Spread>) -> Option<f64> {
    spread.map(|spread| spread.stdev)
}

fn push_checkpoint(json: &mut Object, verb: &str, io: &CheckpointIo) {
    json.push(format!("{verb}_checkpoint_io_mean_GB_per_second"), mean(io.gb_per_second));
    json.push(format!("{verb}_checkpoint_io_stdev_GB_per_second"), stdev(io.gb_per_second));
    json.push(format!("{verb}_checkpoint_duration_mean_seconds"), mean(io.duration));
    json.push(format!("{verb}_checkpoint_duration_stdev_seconds"), stdev(io.duration));
}

fn push_aggregate(json: &mut Object, prefix: &str, aggregate: &Aggregate) {
    let list = |values: &[f64]| values.iter().copied().collect::<Value>();
    json.push(format!("{prefix}_au_percentage"), list(&aggregate.au_percentage));
    json.push(format!("{prefix}_au_mean_percentage"), mean(aggregate.au));
    json.push(format!("{prefix}_au_meet_expectation"), verdict(aggregate));
    json.push(format!("{prefix}_au_stdev_percentage"), stdev(aggregate.au));
    json.push(format!("{prefix}_throughput_samples_per_second"), list(&aggregate.throughput));
    json.push(format!("{prefix}_throughput_mean_samples_per_second"), mean(aggregate.throughput_spread));
    json.push(format!("{prefix}_throughput_stdev_samples_per_second"), stdev(aggregate.throughput_spread));
    json.push(format!("{prefix}_io_mean_MB_per_second"), mean(aggregate.io_mb));
    json.push(format!("{prefix}_io_stdev_MB_per_second"), stdev(aggregate.io_mb));
}

fn verdict(aggregate: &Aggregate) -> &'static str {
    if aggregate.au_meets_expectation == Some(true) { "success" } else { "fail" }
}

/// Returns the lines that the reference prints at the end of a run, without a final line break. `checkpoints_written`
/// and `checkpoints_read` are the configured numbers (of checkpoint-only runs).
#[must_use]
pub fn metric_lines(metrics: &Metrics, ranks: u32, checkpoints_written: u64, checkpoints_read: u64) -> String {
    let mut text = String::from("Averaged metric over all steps/epochs\n");
    let mut line = |content: &str| {
        let _ = writeln!(text, "[METRIC] {content}");
    };
    let (mb, gb) = match metrics.formula {
        Formula::Dlio => ("MB", "GB"),
        Formula::Mlperf => ("MiB", "GiB"),
    };
    line(SEPARATOR);
    line(&format!("Number of Simulated Accelerators: {ranks} "));
    if let Some(train) = &metrics.train {
        line(&spread("Training Accelerator Utilization [AU] (%)", train.au, 4));
        line(&spread("Training Throughput (samples/second)", train.throughput_spread, 4));
        line(&spread(&format!("Training I/O Throughput ({mb}/second)"), train.io_mb, 4));
        line(&format!("train_au_meet_expectation: {}", verdict(train)));
    }
    if let Some(checkpoint) = &metrics.checkpoint {
        if checkpoints_written > 0 {
            line(&spread("Checkpoint save duration (seconds)", checkpoint.save.duration, 4));
            line(&spread(&format!("Checkpoint save I/O Throughput ({gb}/second)"), checkpoint.save.gb_per_second, 4));
        }
        if checkpoints_read > 0 {
            let load = checkpoint.load.unwrap_or_default();
            line(&spread("Checkpoint load duration (seconds)", load.duration, 4));
            line(&spread(&format!("Checkpoint load I/O Throughput ({gb}/second)"), load.gb_per_second, 4));
        }
    }
    if let Some(eval) = &metrics.eval {
        line(&spread("Eval Accelerator Utilization [AU] (%)", eval.au, 4));
        line(&spread("Eval Throughput (samples/second)", eval.throughput_spread, 6));
        line(&spread(&format!("Eval Throughput ({mb}/second)"), eval.io_mb, 6));
        line(&format!("eval_au_meet_expectation: {}", verdict(eval)));
    }
    line(SEPARATOR);
    text
}

fn spread(label: &str, spread: Option<Spread>, decimals: usize) -> String {
    match spread {
        // The reference's formula gives a negative rate for fewer than two steps; it is treated as missing, and has no
        // deviation.
        Some(Spread { mean, .. }) if mean < 0.0 => format!("{label}: {0:.decimals$} ({0:.decimals$})", 0.0),
        Some(Spread { mean, stdev }) => format!("{label}: {mean:.decimals$} ({stdev:.decimals$})"),
        None => format!("{label}: nan (nan)"),
    }
}

/// Everything that one rank needs to write its files.
#[derive(Debug, Clone)]
pub struct RankRecord<'a> {
    /// Measured times.
    pub timings: &'a RankTimings,
    /// Metrics of the same times.
    pub metric: &'a RankMetric,
    /// Clock of the rank.
    pub clock: WallClock,
    /// Host of the rank.
    pub host: &'a Host,
    /// [`potential_caching`] of the host.
    pub potential_caching: bool,
    /// Size of one checkpoint over all ranks, bytes.
    pub checkpoint_bytes: u64,
    /// Returns whether the run had neither training nor evaluation.
    pub checkpoint_only: bool,
}

/// Returns the contents of `<rank>_output.json`.
#[must_use]
pub fn rank_output_json(record: &RankRecord<'_>) -> Vec<u8> {
    let host = record.host;
    let mut json = Object::default()
        .with("host_memory_GB", host.memory_gb)
        .with("host_cpu_count", host.cpu_count)
        .with("host_processor_name", host.processor_name.as_str())
        .with("potential_caching", u32::from(record.potential_caching));
    push_pairs(&mut json, "host_cpuinfo", host.cpuinfo.as_deref());
    push_pairs(&mut json, "host_meminfo", host.meminfo.as_deref());
    for epoch in &record.timings.epochs {
        json.push(epoch.epoch.to_string(), epoch_output(record, epoch));
    }
    json.with("hostname", host.hostname.as_str()).to_bytes()
}

fn epoch_output(record: &RankRecord<'_>, epoch: &EpochTimings) -> Object {
    let lists = |pick: fn(&BlockTimings) -> &Vec<Nanos>| {
        let list = |block: &BlockTimings| pick(block).iter().map(|nanos| *nanos as f64 / 1e9).collect::<Value>();
        let mut json = Object::default();
        for block in &epoch.blocks {
            json.push(format!("block{}", block.block), list(block));
        }
        if let Some(eval) = &epoch.eval {
            json.push("eval", list(eval));
        }
        json
    };
    let metric = record.metric.epochs.iter().find(|metric| metric.epoch == epoch.epoch);
    let measures = |pick: fn(&Measure) -> f64| {
        let mut json = Object::default();
        for (block, measure) in metric.into_iter().flat_map(|metric| &metric.blocks) {
            json.push(format!("block{block}"), pick(measure));
        }
        if let Some(eval) = metric.and_then(|metric| metric.eval) {
            json.push("eval", pick(&eval));
        }
        json
    };
    let mut json = Object::default();
    if record.checkpoint_only {
        json.push("start", record.clock.timestamp(epoch.start));
    }
    json = json
        .with("load", lists(|block| &block.load))
        .with("proc", lists(|block| &block.proc))
        .with("throughput", measures(|measure| measure.throughput))
        .with("au", measures(|measure| measure.au_percentage))
        .with("compute", lists(|block| &block.compute));
    if !record.checkpoint_only {
        push_pairs(&mut json, "host_meminfo", record.host.meminfo.as_deref());
    }
    json.with("end", record.clock.timestamp(epoch.end))
}

/// Returns the contents of `<rank>_per_epoch_stats.json`.
#[must_use]
pub fn per_epoch_stats_json(record: &RankRecord<'_>) -> Vec<u8> {
    let epochs = record.timings.epochs.iter();
    epochs
        .fold(Object::default(), |json, epoch| json.with(epoch.epoch.to_string(), epoch_stats(record, epoch)))
        .to_bytes()
}

fn epoch_stats(record: &RankRecord<'_>, epoch: &EpochTimings) -> Object {
    let stamp = |at: Nanos| record.clock.timestamp(at);
    let span = |start: Nanos, end: Nanos| {
        Object::default().with("start", stamp(start)).with("end", stamp(end)).with("duration", two_decimals(start, end))
    };
    let mut parts: Vec<(Nanos, String, Object)> = Vec::new();
    for block in &epoch.blocks {
        parts.push((block.start, format!("block{}", block.block), span(block.start, block.end)));
    }
    for timings in &epoch.checkpoints {
        let verb = if timings.load { "load" } else { "save" };
        let (duration, throughput) = metric::checkpoint(timings, record.checkpoint_bytes as f64 / GB);
        let json = Object::default()
            .with("start", stamp(timings.start))
            .with("end", stamp(timings.end))
            .with("duration", duration)
            .with("throughput", throughput);
        parts.push((timings.start, format!("{verb}_ckpt{}", timings.number), json));
    }
    parts.sort_by_key(|(start, ..)| *start);
    let mut json = Object::default().with("start", stamp(epoch.start));
    for (_, key, part) in parts {
        json.push(key, part);
    }
    json.push("end", stamp(epoch.end));
    if !record.checkpoint_only {
        json.push("duration", two_decimals(epoch.start, epoch.train_end));
    }
    if let Some(eval) = &epoch.eval {
        json.push("eval", span(eval.start, eval.end));
    }
    json
}

/// Formats seconds with two decimals.
fn two_decimals(start: Nanos, end: Nanos) -> String {
    format!("{:.2}", end.saturating_sub(start) as f64 / 1e9)
}
