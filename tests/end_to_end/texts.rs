//! Commands without storage: help, plan, validate, completions.

use crate::support::solo;

#[test]
fn every_command_has_help_with_examples_and_the_exit_codes_are_documented() {
    for command in
        ["generate", "replay", "run", "analyze", "plan", "validate", "serve", "workloads", "completions", "man"]
    {
        let said = solo(&[command, "--help"]).ok();
        assert!(said.out.contains("Examples:"), "{command}: {}", said.out);
    }
    assert!(solo(&["--help"]).ok().out.contains("Exit codes:"));
}

#[test]
fn completions_and_the_manual_page_come_from_the_same_table() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(solo(&["completions", shell]).ok().out.contains("generate"));
    }
    assert!(solo(&["man"]).ok().out.contains(".TH dlio-rs"));
}

#[test]
fn a_plan_lists_every_sample_once_for_any_number_of_ranks() {
    for ranks in ["1", "2", "8"] {
        let words = [
            "plan",
            "unet3d_h100",
            "--ranks",
            ranks,
            "--format",
            "jsonl",
            "--epoch",
            "1",
            "dataset.num_files_train=112",
        ];
        let said = solo(&words).ok();
        let mut indices: Vec<u64> = said
            .out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|record| record["index"].as_u64().unwrap())
            .collect();
        indices.sort_unstable();
        assert_eq!(indices, (0..112).collect::<Vec<u64>>(), "{ranks} ranks");
    }
}

#[test]
fn a_plan_record_has_the_documented_keys() {
    let words = ["plan", "default", "--ranks", "2", "--rank", "1", "--epoch", "1", "--format", "jsonl"];
    let said = solo(&words).ok();
    let records: Vec<serde_json::Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let train = records.iter().find(|record| record.get("phase").is_none()).unwrap();
    for key in ["epoch", "rank", "worker", "step", "index", "sample"] {
        assert!(train[key].is_u64(), "{key} of {train}");
    }
    assert!(train["file"].as_str().unwrap().starts_with("train/"));
    assert!(records.iter().any(|record| record["phase"] == "eval"), "the default workload evaluates");
    assert!(records.iter().all(|record| record["rank"] == 1));
}

#[test]
fn a_plan_has_the_totals_of_checkpoints_for_any_number_of_ranks() {
    for (ranks, files, bytes) in [("256", 1288, 0), ("512", 1544, 5_682_508_791_808_u64), ("1024", 2056, 0)] {
        let said = solo(&["plan", "llama_405b", "--ranks", ranks, "--format", "json"]).ok();
        let plan: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert!(plan["training"].is_null());
        assert_eq!(plan["checkpoint"]["files"], files, "{ranks}: {}", plan["checkpoint"]);
        assert!(bytes == 0 || plan["checkpoint"]["bytes"] == bytes, "{ranks}: {}", plan["checkpoint"]);
    }
    let said = solo(&["plan", "llama_405b", "--ranks", "512"]).ok();
    assert!(
        said.out.contains("each checkpoint: 1544 files of 5682508791808 bytes of tensors (5292.249 GiB)"),
        "{}",
        said.out
    );
    let said = solo(&["plan", "llama_405b", "--ranks", "512", "--rank", "8", "--format", "jsonl"]).ok();
    assert!(said.out.lines().all(|line| line.contains("\"checkpoint_file\"")), "{}", said.out);
    let told = "Number of processes 3 is not a multiple of model parallelism size: 256";
    solo(&["plan", "llama_405b", "--ranks", "3"]).failed(2, &[told]);
    let said = solo(&["plan", "unet3d_h100", "--ranks", "8", "--rank", "0"]).ok();
    assert!(said.out.contains("rank 0 checkpoint model_states-0.pt: 1 tensors, 10240 bytes"), "{}", said.out);
}

#[test]
fn a_misspelt_key_is_a_warning_with_its_line_and_an_error_under_strict() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.yaml");
    std::fs::write(&path, "framework: pytorch\ndataset:\n  format: npz\n  num_file_train: 3\n").unwrap();
    let path = path.to_str().unwrap();
    let said = solo(&["validate", path]).ok();
    for part in ["num_file_train", "num_files_train", "my.yaml:4"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    solo(&["validate", path, "--strict"]).failed(2, &["num_file_train", "num_files_train", "my.yaml:4"]);
}

#[test]
fn wrong_values_name_file_line_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.yaml");
    std::fs::write(&path, "framework: pytorch\ndataset:\n  format: npzz\n").unwrap();
    solo(&["validate", path.to_str().unwrap()]).failed(2, &["my.yaml:3", "dataset.format", "npz", "hdf5"]);
    std::fs::write(&path, "framework: pytorch\nreader:\n  batch_size: many\n").unwrap();
    solo(&["validate", path.to_str().unwrap()]).failed(2, &["my.yaml:3", "reader.batch_size", "many"]);
    std::fs::write(&path, "framework: [pytorch\n").unwrap();
    solo(&["validate", path.to_str().unwrap()]).failed(2, &["my.yaml"]);
    solo(&["validate", "no_such_workload"]).failed(2, &["no_such_workload", "unet3d_h100"]);
}
