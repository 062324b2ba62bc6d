//! Signs that a job belongs to the MLPerf Storage fork, whose harness calls the fork by the name of the reference.

use std::path::Path;

use crate::document::{Node, Value};
use crate::schema;
use crate::vocabulary::Dialect;

/// Keys and sections of the fork or of its harness that the table of keys accepts in every dialect.
const KEYS: &[&str] = &[
    "storage.s3_force_path_style",
    "storage.storage_options.use_full_object_uri",
    "storage.storage_options.s3_profile",
    "storage.storage_options.secure",
    "storage.storage_options.decode_output",
    "storage.storage_options.simulate_io",
    "storage.storage_options.sim_log_secs",
    "storage.post_generation_settle_seconds",
    "dataset.parquet",
    "dataset.skip_listing",
    "dataset.listing_validation_interval",
    "dataset.data_gen_method",
    "dataset.num_files_generated",
    "dataset.total_disk_bytes",
    "reader.write_threads",
];
/// Values that only the fork accepts.
const VALUES: &[(&str, &str)] = &[("dataset.format", "parquet"), ("storage.storage_type", "direct_fs")];
/// Parts of the names of accelerators and models that only the fork has workloads for.
const PARTS: &[&str] = &["b200", "mi355", "mi355x", "retinanet", "flux"];
/// Python package of the harness, from version 3 on.
const PACKAGE: &str = "mlpstorage_py";

/// Returns a key, or a key with its value, that only the fork has.
pub(super) fn key(workload: &Node) -> Option<String> {
    let at = |key: &str| workload.at(&key.split('.').collect::<Vec<_>>()).filter(|node| node.value != Value::Null);
    let of_table =
        schema::keys().filter(|key| !key.path.starts_with("dlio_rs.") && !key.dialects.contains(&Dialect::Dlio));
    let mut keys = KEYS.iter().copied().chain(of_table.map(|key| key.path));
    let word =
        || VALUES.iter().find(|(key, word)| at(key).is_some_and(|node| node.value == Value::Text((*word).to_owned())));
    keys.find(|key| at(key).is_some()).map(str::to_owned).or_else(|| word().map(|(key, word)| format!("{key}: {word}")))
}

/// Returns whether only the fork has a workload or a model of this name.
#[must_use]
pub fn is_fork_workload(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split(['_', '-', '/', '.']).collect();
    // The reference has a workload `dlrm`. In the fork, the name of an accelerator or a purpose follows.
    let dlrm = parts.first() == Some(&"dlrm") && parts.len() > 1;
    dlrm || parts.iter().any(|part| PARTS.contains(part))
}

/// Returns the name of a workload or of a model if only the fork has it.
pub(super) fn name(names: [(&str, &str); 2]) -> Option<String> {
    let found = names.into_iter().find(|(_, name)| is_fork_workload(name));
    found.map(|(what, name)| format!("the {what} {name} exists in the MLPerf Storage fork only"))
}

/// Returns the folder of the workload's file if it belongs to the fork.
pub(super) fn folder(path: &str) -> Option<String> {
    let found = Path::new(path).components().any(|part| part.as_os_str() == PACKAGE);
    found.then(|| format!("{path} belongs to the harness of MLPerf Storage v3"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_fork_are_told_from_those_of_the_reference() {
        for name in ["unet3d_b200", "unet3d_mi355", "retinanet_datagen", "flux_b200", "dlrm_datagen", "dlrm_mi355"] {
            assert!(super::name([("workload", name), ("model", "x")]).is_some(), "{name}");
        }
        assert!(super::name([("workload", "mine"), ("model", "flux")]).is_some());
        for name in ["unet3d_h100", "dlrm", "resnet50_a100", "cosmoflow_h100", "llama_8b_zero3", "influx", "b2000"] {
            assert_eq!(super::name([("workload", name), ("model", name)]), None, "{name}");
        }
    }

    #[test]
    fn a_file_of_the_harness_s_package_is_the_fork_s() {
        assert!(folder("/venv/lib/mlpstorage_py/configs/dlio/workload/llama3_8b.yaml").is_some());
        assert_eq!(folder("/venv/lib/dlio_benchmark/configs/workload/llama.yaml"), None);
    }
}
