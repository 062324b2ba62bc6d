//! Overrides, interpolation, and the two layouts of a file.

mod support;

use dlio_config::time::TimeSpec;
use dlio_config::{NoticeCode, Override, env_names};
use support::yaml;

#[test]
fn an_override_replaces_with_or_without_the_prefix() {
    for text in ["train.epochs=3", "workload.train.epochs=3", "++train.epochs=3", "++workload.train.epochs=3"] {
        assert_eq!(yaml("train: {epochs: 1}\n").with(text).ok().workload.train.epochs, 3, "{text}");
    }
}

#[test]
fn a_known_key_may_be_set_where_the_file_lacks_it() {
    assert_eq!(yaml("").with("workload.reader.batch_size=4").ok().workload.reader.batch_size, 4);
    let train = yaml("").with("train.computation_time.mean=0.5").ok().workload.train;
    assert_eq!(train.computation_time, TimeSpec::Constant { mean: 0.5 });
    assert_eq!(yaml("train:\n").with("train={epochs: 2}").ok().workload.train.epochs, 2);
}

#[test]
fn an_unknown_key_is_refused_with_its_neighbour_and_plus_plus() {
    assert_eq!(
        yaml("").with("reader.batch_sise=4").refused(),
        "override reader.batch_sise=4: reader.batch_sise: there is no such key; did you mean reader.batch_size? ++ adds a key"
    );
    let unknown = yaml("").with("++reader.batch_sise=4").notices(NoticeCode::UnknownKey);
    assert_eq!(
        unknown,
        ["override ++reader.batch_sise=4: reader.batch_sise: unknown key, ignored; did you mean reader.batch_size?"]
    );
}

#[test]
fn plus_adds_and_refuses_to_replace() {
    assert_eq!(yaml("").with("+train.epochs=2").ok().workload.train.epochs, 2);
    assert!(yaml("train: {epochs: 1}\n").with("+train.epochs=2").refused().contains("use ++"));
}

#[test]
fn tilde_deletes_what_is_there() {
    assert_eq!(yaml("train: {epochs: 7}\n").with("~train.epochs").ok().workload.train.epochs, 1);
    assert_eq!(yaml("train: {epochs: 7}\n").with("~train.epochs=7").ok().workload.train.epochs, 1);
    assert!(yaml("train: {epochs: 7}\n").with("~train.epochs=8").refused().contains("another value"));
    assert!(yaml("").with("~train.epochs").refused().contains("not there"));
}

#[test]
fn overrides_apply_in_order_and_mappings_merge() {
    assert_eq!(yaml("").with("++train.epochs=2").with("++train.epochs=5").ok().workload.train.epochs, 5);
    let loaded = yaml("train: {epochs: 7, seed: 1}\n").with("++train={epochs: 2}").ok();
    assert_eq!((loaded.workload.train.epochs, loaded.workload.train.seed), (2, 1));
}

#[test]
fn a_section_below_a_value_is_refused() {
    assert!(yaml("train: {epochs: 1}\n").with("++train.epochs.x=2").refused().contains("expected a section, found 1"));
}

#[test]
fn a_workload_is_selected_by_name() {
    assert_eq!(Override::parse("workload=unet3d_a100").expect("valid").selects_workload(), Some("unet3d_a100"));
    assert_eq!(Override::parse("train.epochs=1").expect("valid").selects_workload(), None);
    assert!(Override::parse("workload=[1]").is_err());
}

#[test]
fn texts_that_are_no_overrides_are_refused() {
    for text in ["", "train.epochs", "=3", "train..epochs=3", "a b=3", "train.epochs=[1", "~workload", "++"] {
        assert!(Override::parse(text).is_err(), "{text}");
    }
}

#[test]
fn settings_of_hydra_are_accepted_and_the_run_dir_is_handed_on() {
    let case = yaml("").with("hydra.run.dir=out/1").with("hydra.job.chdir=true").with("hydra/job_logging=disabled");
    assert_eq!(case.ok().hydra_run_dir.as_deref(), Some("out/1"));
    assert_eq!(case.notices(NoticeCode::IgnoredOverride).len(), 2);
}

#[test]
fn the_secret_key_is_shown_nowhere() {
    let text = "++workload.storage.storage_options.secret_access_key=hunter2";
    let change = Override::parse(text).expect("valid");
    let loaded = yaml("storage: {storage_type: s3, storage_root: b}\n").with(text).ok();
    assert_eq!(
        loaded.workload.storage.secret_access_key.as_ref().map(|s| s.expose().to_owned()).as_deref(),
        Some("hunter2")
    );
    let s3 = yaml("storage: {storage_type: s3, storage_root: b}\n");
    let refused = s3.with("++storage.storage_options.secret_access_key=[hunter2]").refused();
    let inside = Override::parse("++storage.storage_options={secret_access_key: hunter2}").expect("valid");
    for shown in [
        change.to_string(),
        format!("{change:?}"),
        format!("{loaded:?}"),
        loaded.resolved.to_string(),
        serde_json::to_string(&loaded.workload).expect("JSON"),
        refused,
        inside.to_string(),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn interpolations_take_values_from_keys_and_the_environment() {
    let text = "\
model: {name: unet}
dataset:
  data_folder: ${oc.env:ROOT}/${model.name}/${oc.env:SUB,d}
  num_files_train: ${oc.env:FILES}
  num_samples_per_file: ${.num_files_eval}
  num_files_eval: 4
output: {folder: \"${workload.dataset.data_folder}/out\"}
train: {epochs: \"${dataset.num_files_eval}\"}
";
    let loaded = yaml(text).env("ROOT", "/data").env("FILES", "12").ok();
    let dataset = &loaded.workload.dataset;
    assert_eq!(dataset.data_folder, "/data/unet/d");
    assert_eq!((dataset.num_files_train, dataset.num_samples_per_file), (12, 4));
    assert_eq!(loaded.workload.output.folder.as_deref(), Some("/data/unet/d/out"));
    assert_eq!(loaded.workload.train.epochs, 4);
}

#[test]
fn an_interpolation_works_on_the_command_line() {
    let case = yaml("").env("D", "/x").with("dataset.data_folder=${oc.env:D}/y").with("train.epochs=${oc.env:E,3}");
    assert_eq!(case.ok().workload.dataset.data_folder, "/x/y");
    assert_eq!(case.ok().workload.train.epochs, 3);
    assert_eq!(
        yaml("").env("A", "/b").with("dataset.data_folder=${oc.env:NO,${oc.env:A}}").ok().workload.dataset.data_folder,
        "/b"
    );
}

#[test]
fn a_whole_section_can_be_copied() {
    let text =
        "train: {computation_time: {mean: 2, stdev: 1}}\nevaluation: {eval_time: \"${train.computation_time}\"}\n";
    let loaded = yaml(text).ok();
    assert_eq!(loaded.workload.evaluation.eval_time, loaded.workload.train.computation_time);
}

#[test]
fn cycles_and_unknown_names_are_refused_with_key_and_line() {
    assert_eq!(
        yaml("framework: ${model.name}\nmodel:\n  name: ${framework}\n").refused(),
        "my.yaml:3: model.name: the interpolation refers to itself: framework → model.name → framework\n\
         my.yaml:1: framework: the interpolation refers to itself: model.name → framework → model.name"
    );
    assert_eq!(
        yaml("dataset:\n  data_folder: ${oc.env:NOWHERE}/x\n").refused(),
        "my.yaml:2: dataset.data_folder: the environment variable NOWHERE is not set; set it, or give a default: \
         ${oc.env:NOWHERE,value}"
    );
    assert!(yaml("model: {name: \"${model.nmae}\"}\n").refused().contains("there is no key model.nmae"));
    assert!(yaml("model: {name: \"${now:%Y}\"}\n").refused().contains("the resolver \"now\""));
    assert!(yaml("model: {name: \"${model\"}\n").refused().contains("not closed"));
    // The reference treats `???` as an absent key.
    let loaded = yaml("model: {name: ???}\n").ok();
    assert_eq!(loaded.workload.model.name, "default");
    assert!(loaded.notices.iter().any(|notice| notice.text.contains("model.name: ??? stands for a missing value")));
}

#[test]
fn the_environment_is_asked_only_for_what_is_named() {
    let change = Override::parse("output.folder=${oc.env:OUT,x}").expect("valid");
    assert_eq!(
        env_names("a: ${oc.env:B}/${oc.env:C,${oc.env:D}}\nb: ${oc.env:B}\n", &[change]),
        ["B", "C", "D", "OUT"]
    );
}

#[test]
fn a_composed_file_and_a_workload_file_mean_the_same() {
    let plain = "model: {name: x}\ntrain: {epochs: 3}\n";
    let composed = "workload:\n  model: {name: x}\n  train: {epochs: 3}\n";
    assert_eq!(yaml(plain).ok().workload, yaml(composed).ok().workload);
    assert_eq!(yaml(plain).ok().resolved, yaml(composed).ok().resolved);
    assert_eq!(yaml(composed).with("workload.train.epochs=4").ok().workload.train.epochs, 4);
}

#[test]
fn a_defaults_list_may_name_only_the_file_itself() {
    assert_eq!(yaml("defaults:\n  - _self_\ntrain: {epochs: 3}\n").ok().workload.train.epochs, 3);
    assert!(yaml("defaults:\n  - _self_\n  - unet3d\n").refused().starts_with("my.yaml:3: defaults: only _self_"));
}

#[test]
fn keys_beside_workload_are_reported() {
    let case = yaml("workload: {train: {epochs: 2}}\ntrain: {epochs: 3}\n");
    assert_eq!(case.ok().workload.train.epochs, 2);
    assert_eq!(case.notices(NoticeCode::Shadowed).len(), 1);
    assert!(case.ok().strict().is_err());
}
