//! Dialect `mlperf`: scaled-down bundled workloads, the search for their dataset, and the endpoints of requests.

use std::path::Path;

use crate::support::{Server, json, mpirun, python, solo, solo_with};

/// A small unet3d of v3.0 in `folder`.
fn small(folder: &Path) -> Vec<String> {
    let mut words: Vec<String> = [
        "mlperf-v3/unet3d_b200",
        "++workload.dataset.num_files_train=16",
        "++workload.dataset.record_length_bytes=4096",
        "++workload.dataset.record_length_bytes_stdev=0",
        "++workload.reader.batch_size=2",
        "++workload.reader.read_threads=2",
        "++workload.train.epochs=2",
        "++workload.train.computation_time=0.002",
        "++workload.dataset.skip_listing=True",
        "++workload.dataset.listing_validation_interval=1",
        "++workload.dlio_rs.drop_caches=false",
    ]
    .map(str::to_owned)
    .into();
    words.push(format!("++workload.dataset.data_folder={}", folder.join("data").display()));
    words.push(format!("--output={}", folder.join("out").display()));
    words
}

fn run<'a>(command: &'a str, words: &'a [String], more: &'a [&'a str]) -> Vec<&'a str> {
    std::iter::once(command).chain(words.iter().map(String::as_str)).chain(more.iter().copied()).collect()
}

#[test]
fn a_small_unet3d_of_v3_has_the_outputs_and_the_formulas_of_the_fork() {
    let folder = tempfile::tempdir().unwrap();
    let words = small(folder.path());
    mpirun(2, &run("generate", &words, &[])).ok();
    let said = mpirun(2, &run("replay", &words, &[])).ok();
    assert!(said.err.contains("skip_listing [train]: all 16 of 16 files"), "{}", said.err);
    assert!(said.err.contains("Training I/O Throughput (MiB/second)"), "{}", said.err);
    let out = folder.path().join("out");
    let summary = json(&out.join("summary.json"));
    let metric = &summary["metric"];
    let throughput = metric["train_throughput_mean_samples_per_second"].as_f64().unwrap();
    let io = metric["train_io_mean_MB_per_second"].as_f64().unwrap();
    assert!((io - throughput * 4096.0 / 1_048_576.0).abs() < 1e-9 * io, "{metric}");
    // Every rank has 8 files and 4 steps of 2 samples; the first step is excluded.
    for rank in 0..2 {
        let output = json(&out.join(format!("{rank}_output.json")));
        let epoch = &output["1"];
        assert_eq!(epoch["compute"]["block1"].as_array().unwrap().len(), 4, "{output}");
        let (au, rate) = (epoch["au"]["block1"].as_f64().unwrap(), epoch["throughput"]["block1"].as_f64().unwrap());
        let computed: f64 =
            epoch["compute"]["block1"].as_array().unwrap()[1..].iter().map(|s| s.as_f64().unwrap()).sum();
        // Throughput and AU are divided by the same time T: throughput = 3 steps × 2 samples / T, AU = 100 × computation / T.
        assert!((au / rate - 100.0 * computed / 6.0).abs() < 1e-6, "{epoch}");
    }
}

#[test]
fn a_part_of_a_larger_data_set_is_read_by_the_number_in_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let words = small(folder.path());
    mpirun(2, &run("generate", &words, &["++workload.dataset.num_files_train=120"])).ok();
    // A listing finds the larger dataset; without one, the message names the key to set.
    let larger = ["++workload.dataset.skip_listing=False"];
    let said = mpirun(2, &run("replay", &words, &larger)).ok();
    assert!(said.err.contains("(120) is more than requested (16)"), "{}", said.err);
    assert_eq!(said.err.matches("Listing [train]: 120 file(s), 16 expected").count(), 1, "{}", said.err);
    solo(&run("replay", &words, &["--no-preflight"])).failed(4, &["img_00_of_16.npz", "dataset.num_files_generated"]);
    let part = "++workload.dataset.num_files_generated=120";
    let said = mpirun(2, &run("replay", &words, &[part, larger[0]])).ok();
    assert!(said.err.contains("Listing [train]: 120 file(s), 16 expected"), "{}", said.err);
    let facts = python("trace.py", &[folder.path().join("out/trace").to_str().unwrap()]);
    assert_eq!(facts["samples"]["1"].as_array().unwrap().len(), 16, "{facts}");
}

/// The fork generates `00` … `09` for ten subfolders but expects `0` … `9` without a listing; it does not generate a single subfolder.
#[test]
fn sub_folders_are_read_in_both_spellings_of_the_fork() {
    for (count, generated, expected) in [("10", "train/00", "train/0"), ("1", "train", "train/0")] {
        let folder = tempfile::tempdir().unwrap();
        let words = small(folder.path());
        let count = format!("++workload.dataset.num_subfolders_train={count}");
        solo(&run("generate", &words, &[&count])).ok();
        solo(&run("replay", &words, &[&count])).ok();
        let data = folder.path().join("data");
        if generated == "train" {
            std::fs::rename(data.join("train"), data.join("0")).unwrap();
            std::fs::create_dir(data.join("train")).unwrap();
            std::fs::rename(data.join("0"), data.join("train/0")).unwrap();
        } else {
            for index in 0..10 {
                let [from, to] = [format!("train/{index:02}"), format!("train/{index}")];
                std::fs::rename(data.join(from), data.join(to)).unwrap();
            }
        }
        let said = mpirun(2, &run("replay", &words, &[&count])).ok();
        assert!(said.err.contains("skip_listing [train]: all 16 of 16 files"), "{}", said.err);
        solo(&run("replay", &words, &[&count, "++workload.dataset.skip_listing=False"])).ok();
        assert!(data.join(expected).is_dir() && !data.join("train/00").exists());
    }
}

#[test]
fn a_data_set_that_is_too_small_is_told_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let words = small(folder.path());
    solo(&run("generate", &words, &[])).ok();
    std::fs::remove_file(folder.path().join("data/train/img_11_of_16.npz")).unwrap();
    solo(&run("replay", &words, &["++workload.dataset.skip_listing=False"]))
        .failed(4, &["expected 16 file(s)", "found 15"]);
    solo(&run("replay", &words, &[])).failed(4, &["skip_listing: 1 of the 16 files", "img_11_of_16.npz"]);
}

#[test]
fn endpoints_come_from_a_template_and_s3dlios_requests_are_imitated() {
    let server = Server::start(1, &["--access-key", "tester", "--secret-key", "tested-secret"]);
    let folder = tempfile::tempdir().unwrap();
    let words = small(folder.path());
    let endpoint = server.endpoints().remove(0);
    let port = endpoint.rsplit(':').next().unwrap();
    let template = format!("http://127.0.0.{{1...1}}:{port}");
    let env = [
        ("S3_ENDPOINT_TEMPLATE", template.as_str()),
        ("AWS_ACCESS_KEY_ID", "tester"),
        ("AWS_SECRET_ACCESS_KEY", "tested-secret"),
        ("DLIO_STORAGE_LIBRARY", "s3dlio"),
    ];
    let s3 = [
        "++workload.storage.storage_type=s3",
        "++workload.storage.storage_root=bucket",
        "++workload.dataset.data_folder=set",
        "++workload.dlio_rs.client_profile=s3dlio-0.9.106",
        "++workload.dlio_rs.head_before_get=true",
        "++workload.dlio_rs.split_threshold=4096",
        "++workload.dlio_rs.split_chunk=1500",
    ];
    solo_with(&env, &run("generate", &words, &s3)).ok();
    solo_with(&env, &run("replay", &words, &s3)).ok();
    let log = std::fs::read_to_string(folder.path().join("out/dlio.log")).unwrap();
    for said in ["(S3_ENDPOINT_TEMPLATE)", "DLIO_STORAGE_LIBRARY: storage.storage_options.storage_library is s3dlio"] {
        assert!(log.contains(said), "{log}");
    }
    let facts = python("trace.py", &[folder.path().join("out/trace").to_str().unwrap()]);
    let endpoints = facts["endpoints"].as_object().unwrap();
    assert_eq!(endpoints.keys().collect::<Vec<_>>(), [&format!("http://127.0.0.1:{port}")]);
    // Two epochs read 16 objects in four ranges each, and further objects; sizes are requested once.
    let ops = |name: &str| facts["ops"][name].as_u64().unwrap_or(0);
    assert!(ops("get_range") >= 128 && ops("get_range") % 4 == 0 && ops("get") == 0, "{facts}");
    assert_eq!(ops("head"), 16, "{facts}");
}

#[test]
fn validate_and_plan_print_the_registered_hash() {
    let said = solo(&["validate", "--strict", "mlperf-v3/unet3d_b200"]).ok();
    assert!(said.out.contains("core-config-v1 0d3ad0dec188becd (training@1)"), "{}", said.out);
    let said = solo(&["plan", "mlperf-v3/unet3d_b200", "--ranks", "8", "--format", "json"]).ok();
    let plan: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(plan["core_config"], "core-config-v1 0d3ad0dec188becd (training@1)");
}
