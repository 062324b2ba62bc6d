//! Files of the reference: keys, order, types and number formats.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use dlio_analyze::metric::{self, Parameters};
use dlio_analyze::outputs::{self, Host, Metrics, RankRecord, Summary, WallClock};
use dlio_event::{BlockTimings, CheckpointTimings, Ending, EpochTimings, RankTimings};

const MS: u64 = 1_000_000;

fn parameters() -> Parameters {
    Parameters {
        exclude_start_steps: 1,
        exclude_end_steps: 0,
        train_steps: 4,
        eval_steps: 2,
        batch_size: 2,
        eval_batch_size: 1,
        record_bytes: 1_048_576.0,
        au_threshold: 0.9,
        train_samples: None,
        formula: metric::Formula::default(),
        checkpoint_bytes: None,
    }
}

fn block(number: u32, start: u64, steps: usize) -> BlockTimings {
    let end = start + steps as u64 * 30 * MS;
    let list = |value: u64| vec![value * MS; steps];
    BlockTimings { block: number, start, end, load: list(5), compute: list(20), proc: list(25) }
}

fn timings() -> RankTimings {
    let checkpoint = CheckpointTimings { number: 1, load: false, start: 90 * MS, end: 95 * MS };
    let epoch = EpochTimings {
        epoch: 1,
        start: 0,
        train_end: 125 * MS,
        end: 200 * MS,
        blocks: vec![block(1, 0, 3), block(2, 95 * MS, 1)],
        eval: Some(block(0, 130 * MS, 2)),
        checkpoints: vec![checkpoint],
    };
    RankTimings { rank: 0, epochs: vec![epoch] }
}

fn host() -> Host {
    Host {
        hostname: "vm".to_owned(),
        cpu_count: 2,
        processor_name: String::new(),
        memory_gb: 23.5,
        cpuinfo: Some(outputs::proc_pairs("processor\t: 0\nmodel name\t: A\nflags\t:\n\nmodel name : B\nx : y : z\n")),
        meminfo: Some(outputs::proc_pairs("MemTotal:       123 kB\n")),
    }
}

fn metrics() -> Metrics {
    let ranks = [metric::rank(&timings(), &parameters())];
    Metrics {
        checkpoint: Some(metric::checkpoints(&timings(), 1 << 30)),
        train: Some(metric::training(&ranks, &parameters())),
        eval: Some(metric::evaluations(&ranks, &parameters())),
        formula: metric::Formula::Dlio,
    }
}

fn record<'a>(timings: &'a RankTimings, metric: &'a metric::RankMetric, host: &'a Host) -> RankRecord<'a> {
    RankRecord {
        timings,
        metric,
        clock: WallClock { monotonic_ns: 0, wall_unix_ns: 1_795_238_177_512_166_000, utc_offset_seconds: 0 },
        host,
        potential_caching: true,
        checkpoint_bytes: 1 << 30,
        checkpoint_only: false,
    }
}

/// Compares with the snapshot; on a difference the test prints the new contents of the file.
fn snapshot(name: &str, found: &[u8], expected: &str) {
    let found = std::str::from_utf8(found).unwrap();
    assert!(found == expected, "{name} differs from its snapshot; it is now:\n{found}");
}

#[test]
fn the_three_files_are_as_the_reference_writes_them() {
    let (timings, host) = (timings(), host());
    let metric = metric::rank(&timings, &parameters());
    let summary = Summary {
        start: "2026-11-21T05:36:17.512166".to_owned(),
        end: "2026-11-21T05:36:17.634029".to_owned(),
        num_accelerators: 1,
        num_hosts: 1,
        num_files_train: 8,
        num_files_eval: 2,
        num_samples_per_file: 1,
        hosts: vec![host.clone()],
        data_size_per_host_gb: outputs::data_size_per_host_gb(1, 1, 8, 1_048_576.0),
        epochs: 1,
        metrics: metrics(),
        ending: None,
        troubles: None,
    };
    snapshot("summary.json", &outputs::summary_json(&summary), include_str!("golden/summary.json"));
    let record = record(&timings, &metric, &host);
    snapshot("output", &outputs::rank_output_json(&record), include_str!("golden/0_output.json"));
    snapshot("stats", &outputs::per_epoch_stats_json(&record), include_str!("golden/0_per_epoch_stats.json"));
}

/// Keys of a recorded `summary.json` of a run with training, evaluation and one rank.
#[test]
fn summary_keys_come_in_the_order_of_the_reference() {
    let recorded = [
        "start",
        "num_accelerators",
        "num_hosts",
        "hostname",
        "metric",
        "num_files_train",
        "num_files_eval",
        "num_samples_per_file",
        "host_cpu_count",
        "host_processor_name",
        "potential_caching",
        "host_cpuinfo",
        "host_meminfo",
        "host_memory_GB",
        "data_size_per_host_GB",
        "epochs",
        "end",
    ];
    let summary = Summary { hosts: vec![host()], metrics: metrics(), ..Summary::default() };
    let text = String::from_utf8(outputs::summary_json(&summary)).unwrap();
    let keys: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("    \"").and_then(|rest| rest.split_once('"')).map(|(key, _)| key))
        .collect();
    assert_eq!(keys, recorded);
}

#[test]
fn the_metric_lines_are_those_of_the_reference_without_its_negative_rates() {
    let text = outputs::metric_lines(&metrics(), 2, 0, 0);
    let expected = "\
Averaged metric over all steps/epochs
[METRIC] ==========================================================
[METRIC] Number of Simulated Accelerators: 2\u{20}
[METRIC] Training Accelerator Utilization [AU] (%): 46.1538 (0.0000)
[METRIC] Training Throughput (samples/second): 0.0000 (0.0000)
[METRIC] Training I/O Throughput (MB/second): 0.0000 (0.0000)
[METRIC] train_au_meet_expectation: fail
[METRIC] Eval Accelerator Utilization [AU] (%): 57.1429 (0.0000)
[METRIC] Eval Throughput (samples/second): 33.333333 (0.000000)
[METRIC] Eval Throughput (MB/second): 33.333333 (0.000000)
[METRIC] eval_au_meet_expectation: fail
[METRIC] ==========================================================
";
    assert_eq!(text, expected);
}

#[test]
fn a_rate_that_is_none_has_no_deviation() {
    let spread = Some(metric::Spread { mean: -7.0, stdev: 15198.1215 });
    let mut negative = metrics();
    if let Some(train) = &mut negative.train {
        (train.throughput_spread, train.io_mb) = (spread, spread);
    }
    let text = outputs::metric_lines(&negative, 2, 0, 0);
    assert!(text.contains("Training Throughput (samples/second): 0.0000 (0.0000)"), "{text}");
}

#[test]
fn mlperf_prints_binary_units_and_leaves_out_what_was_not_saved() {
    let checkpoint = Some(metric::checkpoints(&RankTimings::default(), 1 << 30));
    let none = Metrics { formula: metric::Formula::Mlperf, checkpoint, ..metrics() };
    let text = outputs::metric_lines(&none, 2, 0, 1);
    for line in [
        "Training I/O Throughput (MiB/second): ",
        "Eval Throughput (MiB/second): ",
        "load I/O Throughput (GiB/second): ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let json = outputs::summary_json(&Summary { metrics: none, ..Summary::default() });
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(value["metric"].get("save_checkpoint_io_mean_GB_per_second").is_none());
    assert_eq!(value["metric"]["checkpoint_size_GB"], 1.0);
    assert!(value["metric"]["train_io_mean_MB_per_second"].is_number(), "the key keeps its name");
}

#[test]
fn a_summary_says_how_the_run_ended_and_one_of_a_run_that_did_not_complete_has_no_metrics() {
    let value = |json: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&json).unwrap();
    let completed = Summary { metrics: metrics(), ending: Some(Ending::Completed), ..Summary::default() };
    let completed = value(outputs::summary_json(&completed));
    assert!(completed["ending"] == "completed" && completed["metric"].is_object());
    let ending = Ending::Interrupted { signal: "SIGTERM".to_owned() };
    let partial = value(outputs::unfinished_json("a", "b", 2, &ending));
    assert!(partial["ending"] == "interrupted by SIGTERM" && partial.get("metric").is_none());
}

#[test]
fn nothing_that_is_not_a_number_reaches_a_file() {
    let none = Metrics { checkpoint: Some(metric::checkpoints(&RankTimings::default(), 0)), ..Metrics::default() };
    let json = outputs::summary_json(&Summary { metrics: none, ..Summary::default() });
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(value["metric"]["save_checkpoint_io_mean_GB_per_second"].is_null());
    assert!(value["metric"].get("load_checkpoint_io_mean_GB_per_second").is_none());
}

#[test]
fn timestamps_are_local_time_with_microseconds() {
    assert_eq!(outputs::timestamp(0, 0), "1970-01-01T00:00:00.000000");
    assert_eq!(outputs::timestamp(951_782_400_000_001_999, 0), "2000-02-29T00:00:00.000001");
    assert_eq!(outputs::timestamp(951_782_400_000_000_000, -3600), "2000-02-28T23:00:00.000000");
    let clock = WallClock { monotonic_ns: 1_500, wall_unix_ns: 0, utc_offset_seconds: 7200 };
    assert_eq!(clock.timestamp(2_001_500), "1970-01-01T02:00:00.002000");
    assert_eq!(clock.timestamp(500), "1970-01-01T01:59:59.999999");
}
