//! The workloads of MLPerf Storage: the files of v2.0, value for value, and those of v3.0 by the hashes with which its
//! results were registered and by the numbers in its rules.

mod support;

use std::collections::BTreeMap;

use dlio_config::vocabulary::{Dialect, Format};
use dlio_config::{CoreKeys, Loaded, Override, Source, bundled, load};
use serde_json::Value;
use support::flatten;

fn loaded(name: &str, overrides: &[&str]) -> Loaded {
    let yaml = bundled::yaml(name).expect("bundled");
    let overrides: Vec<_> = overrides.iter().map(|text| Override::parse(text).expect("an override")).collect();
    load(&Source { name, yaml }, &overrides, &BTreeMap::new(), None).expect("loads")
}

#[test]
fn every_workload_of_v2_has_exactly_the_values_of_its_file() {
    let golden: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_str(include_str!("golden/mlperf_v2.json")).expect("the golden file is JSON");
    assert_eq!(golden.len(), 13);
    assert_eq!(bundled::names().filter(|name| name.starts_with("mlperf-v2/")).count(), 13);
    for (name, expected) in golden {
        let mut found = BTreeMap::new();
        flatten("", &loaded(&name, &[]).resolved["workload"], &mut found);
        assert_eq!(found, expected, "{name}");
        assert_eq!(loaded(&name, &[]).workload.dlio_rs.dialect, Dialect::Dlio, "v2.0 ran the reference itself");
    }
}

#[test]
fn every_registered_hash_of_v3_is_that_of_the_bundled_workload() {
    for (name, keys, hash) in [
        ("unet3d_b200", CoreKeys::Training, "0d3ad0dec188becd"),
        ("retinanet_b200", CoreKeys::Training, "20c73f53486caba0"),
        ("retinanet_mi355", CoreKeys::Training, "66c43604eb650987"),
        ("llama3_8b", CoreKeys::Checkpointing, "68df04b7240e3fb0"),
        ("llama3_70b", CoreKeys::Checkpointing, "3c53fe70d64f91d4"),
        ("llama3_405b", CoreKeys::Checkpointing, "7adcfa87a5c4c8e6"),
        ("llama3_1t", CoreKeys::Checkpointing, "45fd627ad9dc5f4c"),
    ] {
        let core = loaded(&format!("mlperf-v3/{name}"), &[]).core_config;
        assert_eq!((core.keys, core.hash.as_str()), (keys, hash), "{name}");
    }
}

#[test]
fn what_may_be_tuned_leaves_the_hash_and_what_may_not_changes_it() {
    let hash = |overrides: &[&str]| loaded("mlperf-v3/unet3d_b200", overrides).core_config.hash;
    let tuned = [
        "++workload.dataset.num_files_train=99",
        "++workload.reader.read_threads=16",
        "++workload.dataset.data_folder=/mnt/set",
        "++workload.checkpoint.checkpoint_folder=/mnt/checkpoints",
        "++workload.storage.storage_options.prefetch_window=128",
        "++workload.dataset.skip_listing=True",
    ];
    assert_eq!(hash(&tuned), "0d3ad0dec188becd");
    assert_eq!(hash(&["++workload.workflow.checkpoint=True"]), "f636f5a57473fca2", "a run of v3.0 with checkpoints");
    assert_ne!(hash(&["++workload.reader.batch_size=8"]), "0d3ad0dec188becd");
    let counts = ["++workload.checkpoint.num_checkpoints_write=0", "++workload.checkpoint.checkpoint_folder=x"];
    assert_eq!(loaded("mlperf-v3/llama3_8b", &counts).core_config.hash, "68df04b7240e3fb0");
}

#[test]
fn the_numbers_of_v3_are_those_of_its_rules() {
    for (name, batch, threads, epochs, seconds, au, files) in [
        ("unet3d_a100", 7, 4, 5, 0.636, 0.90, 168),
        ("unet3d_h100", 7, 4, 5, 0.323, 0.90, 168),
        ("unet3d_b200", 7, 4, 5, 0.162, 0.90, 7200),
        ("retinanet_b200", 24, 8, 8, 0.047_55, 0.85, 1_170_301),
        ("retinanet_mi355", 36, 8, 8, 0.071_325, 0.85, 1_170_301),
        ("flux_b200", 48, 8, 1, 1.35, 0.90, 4296),
        ("flux_mi355", 72, 8, 1, 2.025, 0.90, 4296),
        ("dlrm_b200", 12_288, 4, 1, 0.000_375, 0.70, 1024),
        ("dlrm_mi355", 18_432, 4, 1, 0.000_562_5, 0.70, 1024),
    ] {
        let workload = loaded(&format!("mlperf-v3/{name}"), &[]).workload;
        let time = dlio_config::time::TimeSpec::Constant { mean: seconds };
        assert_eq!((workload.reader.batch_size, workload.reader.read_threads), (batch, threads), "{name}");
        assert_eq!((workload.train.epochs, workload.train.computation_time), (epochs, time), "{name}");
        assert_eq!((workload.metric.au, workload.dataset.num_files_train), (au, files), "{name}");
        assert_eq!(workload.dlio_rs.dialect, Dialect::Mlperf, "{name}");
    }
    let generated = loaded("mlperf-v3/unet3d_datagen", &[]).workload;
    assert!(generated.workflow.generate_data && !generated.workflow.train);
    assert_eq!((generated.dataset.num_files_train, generated.dataset.format), (168, Format::Npz));
}

#[test]
fn the_columns_of_dlrm_are_all_there_and_fill_761_bytes() {
    let expected: Value = serde_json::from_str(include_str!("golden/dlrm_columns.json")).expect("JSON");
    for name in ["dlrm_b200", "dlrm_mi355", "dlrm_datagen"] {
        let found =
            loaded(&format!("mlperf-v3/{name}"), &[]).resolved["workload"]["dataset"]["parquet"]["columns"].clone();
        assert_eq!(found, expected, "{name}");
    }
    let bytes = |column: &Value| match column["dtype"].as_str() {
        Some("float64") => 8,
        Some("float32") => 4,
        Some("float16") => 2,
        Some("int8") => 1,
        other => panic!("{other:?}"),
    };
    let columns = expected.as_array().expect("a list");
    assert_eq!(columns.iter().map(bytes).sum::<u64>(), 761);
    let read = columns.iter().filter(|column| column["read"] == true);
    assert_eq!(read.map(bytes).sum::<u64>(), 160);
}
