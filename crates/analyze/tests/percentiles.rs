//! Every output gives the same percentile for the same events.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod synthetic;

use std::collections::BTreeMap;

use dlio_analyze::percentile::{Distribution, Latency};
use dlio_analyze::{Options, Report, render, report};
use dlio_event::percentile::{P50, P90, P99, P999, P9999, nearest_rank};
use dlio_event::{Histogram, OpKind, Outcome};
use dlio_trace::{RankTrace, read_dir};
use synthetic::Shape;

/// Durations of a run's operations in nanoseconds, by kind, by rank and by endpoint.
#[derive(Default)]
struct Durations {
    kinds: BTreeMap<String, Vec<u64>>,
    ranks: BTreeMap<u32, Vec<u64>>,
    endpoints: BTreeMap<String, Vec<u64>>,
}

fn durations(traces: &[RankTrace]) -> Durations {
    let mut all = Durations::default();
    for trace in traces {
        for batch in trace.batches().unwrap() {
            let batch = batch.unwrap();
            for row in batch.views() {
                let (kind, nanos) = (row.kind(), row.duration());
                all.kinds.entry(kind.name().to_owned()).or_default().push(nanos);
                if kind.is_read() || kind.is_write() {
                    all.ranks.entry(trace.header.rank).or_default().push(nanos);
                    let endpoint = row.endpoint().unwrap_or("local").to_owned();
                    all.endpoints.entry(endpoint).or_default().push(nanos);
                }
            }
        }
    }
    let lists = all.kinds.values_mut().chain(all.ranks.values_mut()).chain(all.endpoints.values_mut());
    lists.for_each(|list| list.sort_unstable());
    all
}

/// Returns percentiles by nearest rank, as `numpy.percentile(values, q, method="inverted_cdf")`.
fn expected(sorted: &[u64]) -> [u64; 6] {
    let at = |parts| nearest_rank(sorted, parts).unwrap();
    [at(P50), at(P90), at(P99), at(P999), at(P9999), *sorted.last().unwrap()]
}

fn found(latency: &Latency) -> [u64; 6] {
    [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns, latency.p9999_ns, latency.max_ns]
}

/// Returns the points of a curve that the tables have as well.
fn curve(distribution: &Distribution) -> [u64; 5] {
    let at = |mille: u32| distribution.curve.iter().find(|point| point.0 == mille).unwrap().1;
    [at(500), at(900), at(990), at(999), at(1000)]
}

fn without_p9999([p50, p90, p99, p999, _, max]: [u64; 6]) -> [u64; 5] {
    [p50, p90, p99, p999, max]
}

/// Returns a duration as the terminal shows it.
fn shown(nanos: u64) -> String {
    let (value, unit) = match nanos as f64 {
        value if value < 1e6 => (value / 1e3, "µs"),
        value if value < 1e9 => (value / 1e6, "ms"),
        value => (value / 1e9, "s"),
    };
    let places = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.places$} {unit}")
}

fn run(folder: &std::path::Path, streaming: bool) -> (Report, Durations) {
    let shape = Shape { ranks: 2, epochs: 2, steps: 200, samples_per_step: 8, endpoints: 2 };
    synthetic::write(folder, shape).unwrap();
    let traces = read_dir(folder).unwrap();
    let options = Options { streaming: Some(streaming), ..Options::default() };
    (report(&traces, &options).unwrap(), durations(&traces))
}

#[test]
fn every_output_gives_the_nearest_rank_of_the_recorded_values() {
    let folder = tempfile::tempdir().unwrap();
    let (report, durations) = run(folder.path(), false);
    let reads = expected(&durations.kinds["get"]);
    // `report.json` has curves over all sizes, ranks and endpoints; spans have a single size.
    let get = report.curves.iter().find(|curve| curve.op == "get").unwrap();
    assert_eq!(curve(&get.latency), without_p9999(reads));
    assert_eq!(curve(&report.read_latency), without_p9999(reads));
    for row in &report.spans {
        assert_eq!(found(&row.latency), expected(&durations.kinds[&row.op]), "{}", row.op);
    }
    for row in &report.ranks {
        assert_eq!(found(&row.flow.latency), expected(&durations.ranks[&row.rank]), "rank {}", row.rank);
    }
    for row in &report.endpoints {
        assert_eq!(found(&row.flow.latency), expected(&durations.endpoints[&row.endpoint]), "{}", row.endpoint);
    }
    let written: Report = serde_json::from_slice(&render::json(&report)).unwrap();
    assert_eq!((&written.operations, &written.curves), (&report.operations, &report.curves));
    // The other outputs have the rows of `report.json`.
    let (csv, markdown) = (render::csv(&report), render::markdown(&report));
    let (terminal, page) = (render::table(&report, 200), String::from_utf8(render::html(&report)).unwrap());
    for row in report.operations.iter().chain(&report.spans) {
        let cells = found(&row.latency).map(|value| value.to_string());
        assert!(csv.contains(&cells.join(",")) && markdown.contains(&cells.join(" | ")), "{}", row.op);
        let values = without_p9999(found(&row.latency)).map(shown);
        let has_values = |line: &str| {
            line.split_whitespace().next() == Some(&row.op) && values.iter().all(|value| line.contains(value))
        };
        assert!(terminal.lines().any(has_values), "no line has {} and {values:?}:\n{terminal}", row.op);
        let embedded = serde_json::to_string(&row.latency).unwrap();
        assert!(page.contains(&embedded), "{embedded}");
    }
    for (point, value) in [(500, reads[0]), (990, reads[2]), (999, reads[3])] {
        assert!(page.contains(&format!("[{point},{value}]")));
    }
    // A comparison uses the reads that ended well.
    let (good, (p50, p99)) = (good_reads(folder.path()), report.diagnosis.samples.read_percentiles.unwrap());
    for (seconds, parts) in [(p50, P50), (p99, P99)] {
        assert!((seconds * 1e9 - nearest_rank(&good, parts).unwrap() as f64).abs() < 0.5);
    }
}

/// Returns the durations of reads that ended well, in ascending order.
fn good_reads(folder: &std::path::Path) -> Vec<u64> {
    let mut all = Vec::new();
    for trace in read_dir(folder).unwrap() {
        for batch in trace.batches().unwrap() {
            let batch = batch.unwrap();
            let good = batch.views().filter(|row| row.kind() == OpKind::Get && row.outcome() == Outcome::Ok);
            all.extend(good.map(dlio_trace::Row::duration));
        }
    }
    all.sort_unstable();
    all
}

#[test]
fn a_streaming_report_and_a_replay_give_the_same_percentiles() {
    let folder = tempfile::tempdir().unwrap();
    let (report, durations) = run(folder.path(), true);
    // Returns percentiles as a replay computes those of its errors for `replay.json`.
    let histogram = |values: &[u64]| {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.record(*value);
        }
        let at = |parts| histogram.percentile(parts).unwrap();
        [at(P50), at(P90), at(P99), at(P999), at(P9999), histogram.max().unwrap()]
    };
    for row in &report.ranks {
        assert_eq!(found(&row.flow.latency), histogram(&durations.ranks[&row.rank]), "rank {}", row.rank);
    }
    for row in &report.spans {
        assert_eq!(found(&row.latency), histogram(&durations.kinds[&row.op]), "{}", row.op);
    }
    assert_eq!(curve(&report.read_latency), without_p9999(histogram(&durations.kinds["get"])));
    for (about, exact) in histogram(&durations.kinds["get"]).into_iter().zip(expected(&durations.kinds["get"])) {
        assert!((about as f64 / exact as f64 - 1.0).abs() <= 1.0 / 256.0, "{about} for {exact}");
    }
}
