//! Dialect `mlperf` with four ranks, on disk and on objects: the recorded reads are those of the plan.

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

/// Samples per (epoch, rank) that the plan reads, and the number of samples that it computes on.
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
    // With 66 files on 4 ranks, each rank reads 16 files in 8 batches of 2.
    assert_eq!(computed, 2 * 64);
    // In addition, the warm-up batch is read before each epoch and after the last.
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
    // Objects are read whole with one request each, without reading a header first.
    assert_eq!(facts["ops"]["get"], facts["ops"]["sample"]);
    assert_eq!(facts["ops"].get("get_range"), None);
}

/// The bundled DLRM workload with a thousandth of its rows: 8 files with 16 row groups of 200 columns.
fn dlrm<'a>(verb: &[&'a str], data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let scaled = [
        "mlperf-v3/dlrm_b200",
        "dataset.num_files_train=8",
        "dataset.num_samples_per_file=2048",
        "dataset.parquet.row_group_size=128",
        "reader.batch_size=256",
        "reader.read_threads=2",
        data,
    ];
    [verb, &scaled[..], more].concat()
}

/// Generates and trains on 2 ranks; compares the requests of the training steps with the plan and with pyarrow.
fn row_groups(data: &str, local: &str, together: u64, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let target = [&["--output", out.to_str().unwrap()][..], more].concat();
    let data = format!("dataset.data_folder={data}");
    mpirun(2, &dlrm(&["-q", "generate"], &data, &target)).ok();
    mpirun(2, &dlrm(&["replay"], &data, &target)).ok();
    let said = solo(&dlrm(&["plan"], &data, &["--ranks", "2", "--format", "json"])).ok();
    let totals: Value = serde_json::from_str(&said.out).unwrap();
    let planned = totals["training"]["train"]["row_group_requests_per_rank"].as_u64().unwrap();
    let facts = python("row_groups.py", &[out.join("trace").to_str().unwrap(), local, &together.to_string()]);
    assert_eq!(planned, 4 * 16 / together);
    assert_eq!((&facts["requests"], &facts["others"]), (&(2 * planned).into(), &0.into()), "{facts}");
    facts["footers"].clone()
}

#[test]
fn dlrm_asks_for_the_row_groups_that_the_plan_says_on_disk_and_for_eight_together_on_objects() {
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("data");
    let local = local.to_str().unwrap();
    let footers = row_groups(local, local, 1, &[]);
    // The footers are longer than 64 KiB and need two reads each, for the epoch and for the warm-up after it.
    // The warm-up may still be in progress when the run ends.
    let setup = footers["setup"].as_u64().unwrap();
    assert!(footers.as_object().unwrap().len() == 1 && (2 * 8..=2 * 2 * 8).contains(&setup), "{footers}");
    let server = Server::start(2, &[]);
    // The same seed generates the same files there.
    let footers = row_groups("s3://bucket/dlrm", local, 8, &["--registry", server.registry()]);
    let read = footers["setup"].as_u64().unwrap();
    assert!((8..=16).contains(&read), "{footers}: one request each, again only for files dealt anew");
    assert_eq!(footers.get("train"), None);
}
