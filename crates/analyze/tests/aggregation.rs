//! Compares the aggregation of block values with whole runs of the reference.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use dlio_analyze::metric::{self, EpochMetric, Measure, Parameters, RankMetric};
use serde_json::Value;

/// Per run: number of ranks, record length, recorded block values per rank and epoch, and the recorded `metric` object.
fn runs() -> Vec<Value> {
    serde_json::from_str(include_str!("golden/runs.json")).unwrap()
}

fn rank_metrics(run: &Value) -> Vec<RankMetric> {
    let ranks = run["ranks"].as_array().unwrap();
    let rank = |(rank, epochs): (u32, &Value)| RankMetric {
        rank,
        epochs: (1..).zip(epochs.as_array().unwrap()).map(|(number, epoch)| epoch_metric(number, epoch)).collect(),
    };
    (0..).zip(ranks).map(rank).collect()
}

fn epoch_metric(epoch: u32, values: &Value) -> EpochMetric {
    let measure = |value: &Value| Measure {
        steps: value[0].as_u64().unwrap(),
        au_percentage: value[1].as_f64().unwrap(),
        throughput: value[2].as_f64().unwrap(),
    };
    let blocks: Vec<(u32, Measure)> =
        (1..).zip(values["blocks"].as_array().unwrap()).map(|(block, value)| (block, measure(value))).collect();
    let measures: Vec<Measure> = blocks.iter().map(|(_, measure)| *measure).collect();
    EpochMetric { epoch, blocks, train: metric::epoch_mean(&measures), eval: values.get("eval").map(measure) }
}

fn parameters(run: &Value) -> Parameters {
    Parameters {
        exclude_start_steps: 1,
        exclude_end_steps: 0,
        train_steps: 1,
        eval_steps: 1,
        batch_size: 1,
        eval_batch_size: 1,
        record_bytes: run["record_bytes"].as_f64().unwrap(),
        au_threshold: 0.9,
        train_samples: None,
        formula: metric::Formula::default(),
        checkpoint_bytes: None,
    }
}

fn close(found: f64, recorded: &Value, what: &str) {
    let recorded = recorded.as_f64().unwrap();
    let tolerance = 1e-12_f64.max(recorded.abs() * 1e-12);
    assert!((found - recorded).abs() <= tolerance, "{what}: {found} and not {recorded}");
}

fn check(prefix: &str, found: &metric::Aggregate, recorded: &Value, name: &str) {
    let field = |key: &str| (&recorded[format!("{prefix}_{key}")], format!("{name} {prefix}_{key}"));
    for (key, values) in [("au_percentage", &found.au_percentage), ("throughput_samples_per_second", &found.throughput)]
    {
        let (recorded, what) = field(key);
        assert_eq!(values.len(), recorded.as_array().unwrap().len(), "{what}");
        for (value, recorded) in values.iter().zip(recorded.as_array().unwrap()) {
            close(*value, recorded, &what);
        }
    }
    for (key, spread, unit) in [
        ("au", found.au, "percentage"),
        ("throughput", found.throughput_spread, "samples_per_second"),
        ("io", found.io_mb, "MB_per_second"),
    ] {
        for (statistic, value) in [("mean", spread.unwrap().mean), ("stdev", spread.unwrap().stdev)] {
            let (recorded, what) = field(&format!("{key}_{statistic}_{unit}"));
            close(value, recorded, &what);
        }
    }
    let (verdict, what) = field("au_meet_expectation");
    assert_eq!(Some(verdict == "success"), found.au_meets_expectation, "{what}");
}

#[test]
fn training_metrics_of_recorded_runs_are_reproduced() {
    let mut checked = 0;
    for run in runs() {
        if run["metric"].get("train_au_percentage").is_some() {
            let found = metric::training(&rank_metrics(&run), &parameters(&run));
            check("train", &found, &run["metric"], run["name"].as_str().unwrap());
            checked += 1;
        }
    }
    assert!(checked >= 30, "{checked} runs");
}

/// With several ranks the reference concatenates values instead of adding them; dlio-rs deliberately differs.
#[test]
fn evaluation_metrics_of_recorded_runs_with_one_rank_are_reproduced() {
    let mut checked = 0;
    for run in runs() {
        if run["ranks"].as_array().unwrap().len() == 1 && run["metric"].get("eval_au_percentage").is_some() {
            let found = metric::evaluations(&rank_metrics(&run), &parameters(&run));
            check("eval", &found, &run["metric"], run["name"].as_str().unwrap());
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked} runs");
}
