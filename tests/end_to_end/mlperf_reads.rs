//! The mlperf dialect with four ranks, on disk and on objects: what was read is what the plan says.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::{Server, json, mpirun, python, solo};

/// A small unet3d: one sample per file, files shuffled.
fn yaml(folder: &Path, data: &str) -> String {
    let path = folder.join("unet3d.yaml");
    let text = format!(
        "model: {{name: unet3d}}\nframework: pytorch\n\
         workflow: {{generate_data: true, train: true}}\n\
         dataset: {{data_folder: '{data}', format: npz, num_files_train: 66, num_samples_per_file: 1,\n\
         \x20 record_length_bytes: 40000, record_length_bytes_stdev: 9000}}\n\
         reader: {{data_loader: pytorch, batch_size: 2, read_threads: 2, file_shuffle: seed, sample_shuffle: seed}}\n\
         train: {{epochs: 2, computation_time: 0.002}}\n\
         dlio_rs: {{dialect: mlperf}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Samples per (epoch, rank) that the plan reads, and how many of them it computes on.
fn planned(path: &str) -> (BTreeMap<String, Vec<u64>>, usize) {
    let said = solo(&["plan", path, "--ranks", "4", "--format", "jsonl"]).ok();
    let (mut reads, mut computed) = (BTreeMap::<String, Vec<u64>>::new(), 0);
    for line in said.out.lines() {
        let read: Value = serde_json::from_str(line).unwrap();
        reads.entry(read["epoch"].to_string()).or_default().push(read["index"].as_u64().unwrap());
        computed += usize::from(read["surplus"] != true);
    }
    for samples in reads.values_mut() {
        samples.sort_unstable();
    }
    (reads, computed)
}

fn train(path: &str, out: &Path, more: &[&str]) -> Value {
    let target = [&["--output", out.to_str().unwrap()], more].concat();
    mpirun(4, &[&["-q", "generate", path], &target[..]].concat()).ok();
    mpirun(4, &[&["replay", path], &target[..]].concat()).ok();
    python("trace.py", &[out.join("trace").to_str().unwrap()])
}

#[test]
fn files_on_disk_are_read_as_planned_in_every_shuffled_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), folder.path().join("data").to_str().unwrap());
    let out = folder.path().join("out");
    let facts = train(&path, &out, &[]);
    let (reads, computed) = planned(&path);
    assert_eq!(facts["samples"], serde_json::to_value(&reads).unwrap());
    // 66 files on 4 ranks: 16 each, 8 batches of 2.
    assert_eq!(computed, 2 * 64);
    // Beside them the batch that warms up, before each epoch and after the last.
    assert_eq!(facts["ops"]["sample"], 2 * 64 + 3 * 4 * 2);
    let summary = json(&out.join("summary.json"));
    assert_eq!(summary["num_accelerators"], 4);
    assert!(summary["metric"]["train_au_mean_percentage"].as_f64().unwrap() > 0.0);
}

#[test]
fn objects_stream_through_the_windows_of_every_lane_and_nothing_is_read_twice() {
    let server = Server::start(2, &["--delay-ms", "5"]);
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "s3://bucket/set");
    let out = folder.path().join("out");
    let more = ["--registry", server.registry()];
    let facts = train(&path, &out, &more);
    let (reads, computed) = planned(&path);
    assert_eq!(facts["samples"], serde_json::to_value(&reads).unwrap());
    assert_eq!(computed, 2 * 64);
    // Whole objects: one request each, no look at a header first.
    assert_eq!(facts["ops"]["get"], facts["ops"]["sample"]);
    assert_eq!(facts["ops"].get("get_range"), None);
}
