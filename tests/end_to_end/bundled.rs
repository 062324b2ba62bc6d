//! Every bundled workload, scaled down on the command line, generates and trains, or saves and loads, on two ranks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Server, json, mpirun, solo};

/// Scales down a workload with a dataset: few small files, short steps, a checkpoint of a few thousand bytes.
const SMALL_TRAINING: [&str; 9] = [
    "workflow.generate_data=True",
    "dataset.num_files_train=16",
    "dataset.num_samples_per_file=4",
    "dataset.record_length_bytes=1024",
    "dataset.record_length_bytes_stdev=0",
    "reader.batch_size=2",
    "train.computation_time=0.001",
    "checkpoint.checkpoint_after_epoch=1",
    "train.epochs=2",
];

/// Scales down a transformer so that two ranks can hold it.
const SMALL_MODEL: [&str; 9] = [
    "model.num_layers=2",
    "model.parallelism.tensor=1",
    "model.parallelism.pipeline=1",
    "model.transformer.vocab_size=64",
    "model.transformer.hidden_size=64",
    "model.transformer.ffn_hidden_size=64",
    "checkpoint.time_between_checkpoints=0",
    "checkpoint.num_checkpoints_write=2",
    "checkpoint.num_checkpoints_read=2",
];

const TRAIN: [&str; 9] = [
    "au_percentage",
    "au_mean_percentage",
    "au_meet_expectation",
    "au_stdev_percentage",
    "throughput_samples_per_second",
    "throughput_mean_samples_per_second",
    "throughput_stdev_samples_per_second",
    "io_mean_MB_per_second",
    "io_stdev_MB_per_second",
];

const CHECKPOINT: [&str; 4] = [
    "checkpoint_io_mean_GB_per_second",
    "checkpoint_io_stdev_GB_per_second",
    "checkpoint_duration_mean_seconds",
    "checkpoint_duration_stdev_seconds",
];

/// Returns the YAML text of a bundled workload.
fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../workloads/{name}.yaml"));
    std::fs::read_to_string(path).unwrap()
}

/// Returns the overrides that scale down one workload, in addition to those of its kind.
fn more(name: &str) -> &'static [&'static str] {
    match name {
        "default" => &["dataset.num_files_eval=8", "evaluation.eval_time=0.001"],
        "bert_v100" => {
            &["model.model_size_bytes=10000", "checkpoint.steps_between_checkpoints=4", "train.total_training_steps=8"]
        }
        "megatron_deepspeed_LLNL" => &[
            "model.optimization_groups=[1000,500,20]",
            "model.layer_parameters=[300,200]",
            "model.num_layers=2",
            "model.parallelism.pipeline=1",
            "model.parallelism.tensor=1",
            "checkpoint.steps_between_checkpoints=4",
            "train.total_training_steps=8",
        ],
        _ if name.starts_with("unet3d") || name.contains("/unet3d") => &["model.model_size=10000"],
        _ if name.contains("/flux") => &["dataset.parquet.columns=[{name: t5_encodings, dtype: float32, size: 64}]"],
        _ if name.contains("/dlrm") => &["dataset.parquet.row_group_size=2"],
        _ => &[],
    }
}

/// Returns the metric keys that a workload's `summary.json` must have; none if nothing is measured.
fn expected(text: &str) -> BTreeSet<String> {
    let says = |key: &str| text.lines().any(|line| line.trim() == key);
    let mut keys = Vec::new();
    let named = |prefix: &str, names: &[&str]| names.iter().map(|name| format!("{prefix}_{name}")).collect::<Vec<_>>();
    if says("train: true") {
        keys.extend(named("train", &TRAIN));
    }
    if says("evaluation: true") {
        keys.extend(named("eval", &TRAIN));
    }
    if says("checkpoint: true") {
        keys.extend(named("save", &CHECKPOINT));
        keys.push("checkpoint_size_GB".to_owned());
        // These keys are read in runs that only take checkpoints.
        if says("train: false") {
            keys.extend(named("load", &CHECKPOINT));
        }
    }
    keys.into_iter().collect()
}

/// Runs one workload, scaled down, and checks its output.
fn runs_scaled_down(name: &str, server: Option<&Server>) {
    let folder = tempfile::tempdir().unwrap();
    let text = text(name);
    let transformer = text.contains("transformer:");
    let mut changes: Vec<String> = more(name).iter().map(|&change| change.to_owned()).collect();
    if transformer {
        changes.extend(SMALL_MODEL.map(str::to_owned));
    }
    if !transformer || text.contains("  train: true") {
        changes.splice(0..0, SMALL_TRAINING.map(str::to_owned));
    }
    if let Some(server) = server {
        changes.push(format!("storage.storage_options.endpoint_url={}", server.endpoints()[0]));
    } else {
        changes.push(format!("dataset.data_folder={}", folder.path().join("data").display()));
    }
    changes.push(format!("checkpoint.checkpoint_folder={}", folder.path().join("ckpt").display()));
    let changes: Vec<String> = changes.into_iter().map(|change| format!("++workload.{change}")).collect();
    let out = folder.path().join("out");
    let mut words = vec!["-q", "run", name, "--output", out.to_str().unwrap()];
    words.extend(changes.iter().map(String::as_str));
    let said = mpirun(2, &words);
    assert_eq!(said.code, Some(0), "{name}: {}", said.err);

    let expected = expected(&text);
    let summary = out.join("summary.json");
    if expected.is_empty() {
        assert!(!crate::support::tree(&folder.path().join("data")).is_empty(), "{name} generated nothing");
        return;
    }
    let summary = json(&summary);
    assert_eq!(summary["num_accelerators"], 2, "{name}");
    let metric = summary["metric"].as_object().unwrap();
    let keys: BTreeSet<String> = metric.keys().cloned().collect();
    assert_eq!(keys, expected, "{name}");
    for (key, value) in metric {
        let rate = key.ends_with("mean_MB_per_second") || key.ends_with("io_mean_GB_per_second");
        assert!(!rate || value.as_f64().is_some_and(|rate| rate > 0.0), "{name}: {key} is {value}");
    }
}

/// Returns the bundled workloads whose names match.
fn bundled(pass: impl Fn(&str) -> bool) -> Vec<String> {
    let listed: serde_json::Value = serde_json::from_str(&solo(&["workloads", "--format", "json"]).ok().out).unwrap();
    let entries = listed.as_array().unwrap().iter();
    let names = entries.map(|entry| entry["name"].as_str().unwrap().to_owned());
    names.filter(|name| pass(name)).collect()
}

fn all_run(names: &[String], count: usize, server: Option<&Server>) {
    assert_eq!(names.len(), count, "{names:?}");
    for name in names {
        runs_scaled_down(name, server);
    }
}

#[test]
fn the_references_24_workloads_generate_and_train_or_save_and_load() {
    let server = Server::start(1, &["--access-key", "access-key", "--secret-key", "secret-key"]);
    all_run(&bundled(|name| name.ends_with("_s3")), 3, Some(&server));
    all_run(&bundled(|name| !name.contains('/') && !name.ends_with("_s3")), 21, None);
}

#[test]
fn the_13_workloads_of_mlperf_v2_generate_and_train_or_save_and_load() {
    all_run(&bundled(|name| name.starts_with("mlperf-v2/")), 13, None);
}

#[test]
fn the_17_workloads_of_mlperf_v3_generate_and_train_or_save_and_load() {
    all_run(&bundled(|name| name.starts_with("mlperf-v3/")), 17, None);
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn bundled_workloads_pass_strictly() {
    let mut names = Vec::new();
    let tracked = Command::new("git").args(["ls-files", "workloads"]).current_dir(repository()).output().unwrap();
    for path in String::from_utf8(tracked.stdout).unwrap().lines().map(Path::new) {
        let name = path.with_extension("").strip_prefix("workloads").unwrap().to_string_lossy().into_owned();
        let output = Command::new(env!("CARGO_BIN_EXE_dlio-rs"))
            .arg("validate")
            .arg(repository().join(path))
            .arg("--strict")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", path.display());
        names.push(name);
    }
    names.sort();
    let listed = Command::new(env!("CARGO_BIN_EXE_dlio-rs")).args(["workloads", "--format", "json"]).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let entries = listed.as_array().unwrap().iter();
    let mut listed: Vec<String> = entries.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    listed.sort();
    assert_eq!(names, listed, "the files in workloads/ and the bundled ones differ");
    assert!(names.len() >= 24 + 13 + 17);
}
