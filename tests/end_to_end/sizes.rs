//! Sizes before the first byte: the sizes in `plan` are written and read, and output that does not fit is rejected.

use std::path::Path;
use std::process::Command;

use dlio_event::{OpKind, Phase};

use crate::support::{Said, binary, clean, events, solo, tree};

/// A workload with 12 training and 4 evaluation files; `more` are further keys of its dataset.
fn workload(folder: &Path, format: &str, more: &str) -> String {
    let path = folder.join("my.yaml");
    let data = folder.join("data");
    let (loader, framework) = if format == "tfrecord" { ("tensorflow", "tensorflow") } else { ("pytorch", "pytorch") };
    // An image file holds one sample.
    let samples = if matches!(format, "png" | "jpeg") { 1 } else { 3 };
    let text = format!(
        "model: {{name: t}}\nframework: {framework}\nworkflow: {{generate_data: true, train: true}}\n\
         dataset: {{data_folder: '{}', format: {format}, num_files_train: 12, num_files_eval: 4, \
         num_samples_per_file: {samples}, record_length_bytes: 4096{more}}}\n\
         reader: {{data_loader: {loader}, batch_size: 2, read_threads: 2}}\n\
         train: {{epochs: 2, computation_time: 0.001}}\n",
        data.display()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn plan(words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&solo(&[&["plan", "--format", "json"], words].concat()).ok().out).unwrap()
}

/// Returns the size in bytes of the files below a folder whose names contain this text.
fn stored(folder: &Path, part: &str) -> u64 {
    tree(folder).iter().filter(|(name, _)| name.contains(part)).map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn sizes_are_those_of_the_files_and_reads_those_of_the_run_in_every_format() {
    let cases = [
        ("npz", "", "dlio"),
        ("npz", ", compression: zip", "native"),
        ("npy", "", "dlio"),
        ("hdf5", "", "dlio"),
        ("hdf5", ", compression: gzip, chunk_dims: [16, 64]", "native"),
        ("tfrecord", "", "dlio"),
        ("csv", "", "native"),
        ("csv", ", compression: gzip", "native"),
        ("png", "", "dlio"),
        ("jpeg", "", "dlio"),
        ("indexed_binary", "", "dlio"),
        ("mmap_indexed_binary", "", "native"),
        ("parquet", "", "dlio"),
        ("parquet", ", compression: snappy", "native"),
        ("npz", ", record_length_bytes_stdev: 1024", "dlio"),
        ("synthetic", "", "dlio"),
    ];
    for (format, more, dialect) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = workload(folder.path(), format, more);
        let out = folder.path().join("out");
        solo(&["-q", "run", &path, "--dialect", dialect, "--output", out.to_str().unwrap()]).ok();
        let sizes = &plan(&[&path, "--ranks", "1", "--dialect", dialect])["sizes"];
        let data = folder.path().join("data");
        assert_eq!(sizes["dataset"]["train"]["stored_bytes"], stored(&data, "train/"), "{format}{more}: {sizes:#}");
        assert_eq!(sizes["dataset"]["eval"]["stored_bytes"], stored(&data, "valid/"), "{format}{more}: {sizes:#}");
        assert_eq!(sizes["dataset"]["exact"], true, "{format}{more}");
        let read = |epoch: u32| -> u64 {
            let of_epoch =
                events(&out).into_iter().filter(|event| event.at.phase == Phase::Train && event.at.epoch == epoch);
            of_epoch.filter(|event| event.kind == OpKind::Read).map(|event| event.bytes).sum()
        };
        if sizes["reads"]["exact"] == true && format != "mmap_indexed_binary" && format != "tfrecord" {
            assert_eq!(sizes["reads"]["epoch_bytes"], read(1), "{format}{more}: {sizes:#}");
            assert_eq!(sizes["reads"]["later_epoch_bytes"], read(2), "{format}{more}: {sizes:#}");
        }
    }
}

#[test]
fn estimates_say_so_and_are_near_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (format, more) in [("csv", ""), ("csv", ", compression: gzip"), ("npz", ", compression: zip")] {
        let path = workload(folder.path(), format, more);
        // The dataset has more samples than are encoded to measure its files.
        let overrides = ["dataset.record_length_bytes=16384", "dataset.num_samples_per_file=8", "--dialect", "native"];
        solo(
            &[
                &["-q", "generate", &path, "--overwrite", "--output", folder.path().join("o").to_str().unwrap()],
                &overrides[..],
            ]
            .concat(),
        )
        .ok();
        let said = plan(&[&[path.as_str(), "--ranks", "1"], &overrides[..]].concat());
        let dataset = &said["sizes"]["dataset"];
        assert_eq!(dataset["exact"], false, "{format}{more}");
        assert!(dataset["method"].as_str().unwrap().contains("estimated from"), "{dataset:#}");
        let (told, real) =
            (dataset["stored_bytes"].as_f64().unwrap(), stored(&folder.path().join("data"), format) as f64);
        assert!((told / real - 1.0).abs() < 0.02, "{format}{more}: told {told}, written {real}");
        let text = solo(&[&["plan", &path, "--ranks", "1"], &overrides[..]].concat()).ok().out;
        assert!(text.contains("≈ "), "{text}");
    }
}

#[test]
fn fifty_million_files_are_sized_as_fast_as_a_few() {
    let huge = ["dataset.num_files_train=50000000", "--ranks", "8"];
    let said = plan(&[&["unet3d_h100"], &huge[..]].concat());
    assert_eq!(said["sizes"]["dataset"]["exact"], false, "its shapes are drawn");
    let equal = plan(&[&["unet3d_h100", "++dataset.record_length_bytes_stdev=0"], &huge[..]].concat());
    let one =
        plan(&["unet3d_h100", "++dataset.record_length_bytes_stdev=0", "dataset.num_files_train=56", "--ranks", "8"]);
    let of = |said: &serde_json::Value| said["sizes"]["dataset"]["train"]["stored_bytes"].as_u64().unwrap();
    assert_eq!(of(&equal) / 50_000_000, of(&one) / 56);
}

#[test]
fn checkpoints_are_sized_with_their_containers_and_the_least_duration_is_computation_and_pauses() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("my.yaml"), folder.path().join("checkpoints"));
    for (framework, dialect) in [("pytorch", "dlio"), ("tensorflow", "dlio"), ("pytorch", "mlperf")] {
        let _ = std::fs::remove_dir_all(&kept);
        let text = format!(
            "model: {{name: t, model_size: 30102, num_layers: 2, model_datatype: fp16, optimizer_datatype: fp32, \
             transformer: {{hidden_size: 64, num_attention_heads: 4, num_kv_heads: 2, ffn_hidden_size: 128, vocab_size: 256}}}}\n\
             framework: {framework}\nworkflow: {{generate_data: false, train: false, checkpoint: true}}\n\
             checkpoint: {{checkpoint_folder: '{}', num_checkpoints_write: 3, num_checkpoints_read: 2, time_between_checkpoints: 0.1}}\n",
            kept.display()
        );
        std::fs::write(&path, text).unwrap();
        let words = [path.to_str().unwrap(), "--dialect", dialect];
        let out = folder.path().join("out");
        solo(&[&["-q", "run", "--output", out.to_str().unwrap()], &words[..]].concat()).ok();
        let sizes = &plan(&[&words[..], &["--ranks", "1"]].concat())["sizes"];
        // TensorFlow's file of this name is in the folder of each checkpoint.
        assert_eq!(sizes["checkpoint"]["kept_bytes"], stored(&kept, ""), "{framework} {dialect}: {sizes:#}");
        assert_eq!(sizes["checkpoint"]["objects"], tree(&kept).len() as u64 / 3, "{framework} {dialect}");
        let least = sizes["duration"]["at_least_seconds"].as_f64().unwrap();
        assert!((least - 0.5).abs() < 1e-9, "{least}");
    }
    let train = plan(&["unet3d_h100", "--ranks", "2", "++train.computation_time=2.0"]);
    let steps = train["training"]["train"]["steps"].as_f64().unwrap() * train["training"]["epochs"].as_f64().unwrap();
    assert_eq!(train["sizes"]["duration"]["computation_seconds"], 2.0 * steps);
}

#[test]
fn what_does_not_fit_is_refused_before_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path(), "npz", "");
    let out = folder.path().join("out");
    let words = ["generate", &path, "++dataset.record_length_bytes=1000000000000", "++dataset.num_files_train=1000000"];
    let output = ["--output", out.to_str().unwrap()];
    solo(&[&words[..], &output[..]].concat()).failed(
        3,
        &["the dataset in", "are needed and", "are free on", "dataset.data_folder", "dlio_rs.space_check=false"],
    );
    assert!(!folder.path().join("data").exists(), "nothing may be written");
    // With the override the run begins; the limit on the size of files ends it soon.
    let mut command = Command::new("sh");
    let line = format!("ulimit -f 2000; exec {} {} ++dlio_rs.space_check=false", binary(), words.join(" "));
    let said: Said = clean(command.args(["-c", &line]).current_dir(folder.path())).output().unwrap().into();
    assert!(!said.err.contains("are needed") && said.code != Some(0), "{}", said.err);
    assert!(folder.path().join("data/train").is_dir(), "{}", said.err);
}

#[test]
fn checkpoints_that_do_not_fit_are_refused_before_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("my.yaml"), folder.path().join("kept"));
    let text = format!(
        "model: {{name: t, model_size_bytes: 1000000000000}}\nframework: pytorch\n\
         workflow: {{generate_data: false, train: false, checkpoint: true}}\n\
         checkpoint: {{checkpoint_folder: '{}', num_checkpoints_write: 100000, num_checkpoints_read: 0}}\n",
        kept.display()
    );
    std::fs::write(&path, text).unwrap();
    let out = folder.path().join("out");
    let words = ["run", path.to_str().unwrap(), "--output", out.to_str().unwrap()];
    solo(&words).failed(3, &["the checkpoints in", "are needed and", "checkpoint.checkpoint_folder"]);
    assert!(!kept.exists());
}

#[test]
fn complete_files_that_are_kept_need_no_space_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path(), "npz", "");
    let out = folder.path().join("out");
    let generate = ["-q", "generate", &path, "--output", out.to_str().unwrap()];
    solo(&generate).ok();
    let doctor = ["doctor", &path, "--format", "json", "++workload.workflow.train=false"];
    let report: serde_json::Value = serde_json::from_str(&solo(&doctor).ok().out).unwrap();
    let space = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "space").unwrap();
    assert!(space["evidence"].as_str().unwrap().contains("there already"), "{space}");
}
