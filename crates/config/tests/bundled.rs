//! The bundled workloads equal those of the reference, value for value. They and recorded workloads pass `--strict`.

mod support;

use std::collections::BTreeMap;

use dlio_config::{Source, bundled, load};
use serde_json::Value;
use support::flatten;

fn golden() -> BTreeMap<String, BTreeMap<String, Value>> {
    serde_json::from_str(include_str!("golden/workloads.json")).expect("the golden file is JSON")
}

#[test]
fn every_workload_has_exactly_the_values_of_the_reference() {
    let golden = golden();
    let names: Vec<_> = golden.keys().map(String::as_str).collect();
    assert_eq!(bundled::names().filter(|name| !name.contains('/')).collect::<Vec<_>>(), names);
    for (name, mut expected) in golden {
        let yaml = bundled::yaml(&name).expect("bundled");
        let loaded = load(&Source { name: &name, yaml }, &[], &BTreeMap::new(), None).expect("loads");
        let mut found = BTreeMap::new();
        flatten("", &loaded.resolved["workload"], &mut found);
        if let Some(secret) = expected.get_mut("storage.storage_options.secret_access_key") {
            *secret = Value::from("***");
        }
        assert_eq!(found, expected, "{name}");
    }
}

/// Workloads that were run with the reference, as JSON, which is valid YAML.
#[test]
fn what_the_reference_ran_loads_without_an_unknown_key() {
    let recorded = include_str!("golden/recorded.json");
    let recorded: BTreeMap<String, Value> = serde_json::from_str(recorded).expect("the golden file is JSON");
    assert!(recorded.len() > 100);
    for (name, workload) in recorded {
        let yaml = workload.to_string();
        let loaded = load(&Source { name: &name, yaml: &yaml }, &[], &BTreeMap::new(), None);
        let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(loaded.strict().is_ok(), "{name}: {:?}", loaded.notices);
        assert_eq!(loaded.resolved["workload"], workload, "{name}");
    }
}

#[test]
fn every_workload_passes_strict() {
    for name in bundled::names() {
        let yaml = bundled::yaml(name).expect("bundled");
        let loaded = load(&Source { name, yaml }, &[], &BTreeMap::new(), None).expect("loads");
        assert!(loaded.strict().is_ok(), "{name}: {:?}", loaded.notices);
    }
}

#[test]
fn every_file_in_the_folder_is_bundled() {
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads");
    let mut names = Vec::new();
    for folder in ["", "mlperf-v2/", "mlperf-v3/"] {
        let files = std::fs::read_dir(top.join(folder)).expect("the folder exists");
        let files = files.map(|entry| entry.expect("readable").path()).filter(|path| path.is_file());
        names.extend(files.filter_map(|path| Some(format!("{folder}{}", path.file_stem()?.to_str()?))));
    }
    names.sort();
    assert_eq!(bundled::names().collect::<Vec<_>>(), names);
}

#[test]
fn an_unknown_workload_is_not_bundled() {
    assert_eq!(bundled::yaml("unet4d"), None);
}
