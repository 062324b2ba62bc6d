//! Composition, compared with what Hydra 1.3.2 composed and wrote for the reference.

use std::collections::BTreeMap;

use dlio_config::hydra::{ComposeError, Composition, ConfigSource, Found, Runtime, Show, compose};

const TINY: &str = include_str!("golden/hydra/tiny.yaml");

fn files(name: &str) -> Option<Found> {
    let text = match name {
        "workload/tiny" => TINY,
        "workload/base" => "model: {name: base}\ntrain: {epochs: 1, seed: 7}\n",
        "workload/derived" => "defaults:\n  - base\n  - _self_\ntrain: {epochs: 2}\n",
        "workload/global" => "# @package _global_\nworkload:\n  model: {name: global}\n",
        "mine" => {
            "defaults:\n  - config\n  - override workload: tiny\n  - _self_\nworkload:\n  train: {epochs: 7}\n\
             hydra:\n  run: {dir: runs/x}\n"
        }
        _ => return None,
    };
    Some(Found { path: format!("{name}.yaml"), text: text.to_owned() })
}

fn composed(words: &[&str]) -> Result<Composition, ComposeError> {
    composed_of("config", words)
}

fn composed_of(primary: &str, words: &[&str]) -> Result<Composition, ComposeError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    compose(primary, &words, &files)
}

fn refusal(words: &[&str]) -> String {
    composed(words).expect_err("refused").to_string()
}

fn job(composition: &Composition) -> String {
    composition.show(Show::Job, None, None).expect("shown")
}

#[test]
fn the_files_beside_a_run_are_those_that_hydra_writes() {
    let words = [
        "workload=tiny",
        "++workload.workflow.evaluation=True",
        "++hydra.run.dir=out1",
        "++hydra.output_subdir=dlio_config",
    ];
    let runtime = Runtime {
        cwd: "/work".to_owned(),
        output_dir: "/work/out1".to_owned(),
        sources: vec![
            ConfigSource { provider: "hydra", schema: "pkg", path: "hydra.conf".to_owned() },
            ConfigSource { provider: "main", schema: "file", path: "/package/configs".to_owned() },
            ConfigSource { provider: "command-line", schema: "file", path: "/conf".to_owned() },
            ConfigSource { provider: "schema", schema: "structured", path: String::new() },
        ],
    };
    let files = composed(&words).expect("composed").files(&runtime);
    assert_eq!(files.config, include_str!("golden/hydra/config.yaml"));
    assert_eq!(files.overrides, "- workload=tiny\n- ++workload.workflow.evaluation=True\n");
    assert_eq!(without_help(&files.hydra), without_help(include_str!("golden/hydra/hydra.yaml")));
}

/// Removes the name of the program and its help texts, which differ.
fn without_help(yaml: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut inside = false;
    for line in yaml.lines() {
        if line.starts_with("  ") && !line.starts_with("   ") {
            inside = line == "  help:" || line == "  hydra_help:";
        }
        if !inside && !matches!(line, "    name: main" | "    name: dlio_benchmark") {
            kept.push(line);
        }
    }
    kept
}

#[test]
fn values_of_overrides_are_written_as_omegaconf_writes_them() {
    let words = [
        "workload=tiny",
        "++workload.a=[1,2,{x: 3}]",
        "++workload.b=\"12\"",
        "++workload.c='a: b'",
        "++workload.d=1e-5",
        "++workload.e=\"- x\"",
        "++workload.f=",
        "++workload.g=2026-01-01",
        "++workload.h=null",
        "++workload.i=[]",
        "++workload.j={}",
        "++workload.k=0x10",
        "++workload.l=1_000",
        "++workload.m=a b",
        "++workload.n=\"yes\"",
        "++workload.p=http://a:1/b",
        "++workload.q=[[1,2],[3]]",
        "++workload.r=int(3.2)",
        "++workload.s=str(3)",
        "++workload.very_long=aaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccc dddddddddddddddddddddddddddd eeeeeeeeeeeeee",
        "++workload.quoted='#aaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccc dddddddddddddddddddddddddddd eeeeeeeeeeeeee'",
        "++workload.t=1.0",
        "++workload.u=1e20",
        "++workload.v=off",
        "++workload.w=\"tab\tx\"",
        "++workload.x={a: 1, b: [x, y], c: {}}",
    ];
    assert_eq!(job(&composed(&words).expect("composed")), include_str!("golden/hydra/many-values.yaml"));
}

#[test]
fn a_key_must_be_there_to_be_set_and_must_not_be_there_to_be_added() {
    assert!(refusal(&["workload=tiny", "workload.foo=3"]).contains("no such key; to add it, write +workload.foo=3"));
    assert!(refusal(&["workload=tiny", "foo=3"]).contains("foo: there is no such key"));
    assert!(refusal(&["workload=tiny", "+workload.model.name=3"]).contains("is there already"));
    assert!(refusal(&["workload=tiny", "~workload.nothere"]).contains("cannot be deleted"));
    assert!(refusal(&["workload=tiny", "~workload.train.epochs=3"]).contains("another value"));
    assert!(refusal(&["workload=tiny", "hydra.nope=3"]).contains("hydra.nope: there is no such key"));
    let kept = composed(&["workload=tiny", "~workload.train.epochs=2", "++workload.train.seed=5"]).expect("composed");
    assert!(job(&kept).contains("  train:\n    computation_time: 0.01\n    seed: 5\n"));
}

#[test]
fn words_that_are_no_overrides_and_sweeps_are_refused() {
    for word in [
        "foo",
        "++workload.a=[1,2",
        "++workload.x=a,b",
        "++workload.x=a=b",
        "++workload.x=(a)",
        "workload=",
        "~workload",
    ] {
        assert!(composed(&["workload=tiny", word]).is_err(), "{word}");
    }
    assert!(refusal(&["workload=tiny", "++workload.x=a,b"]).contains("--multirun"));
    assert!(composed(&["workload=tiny", "++workload.x='a,b'", "++workload.y=a\\,b"]).is_ok());
}

#[test]
fn the_last_of_several_workloads_and_values_wins() {
    let last = composed(&["workload=base", "++workload.x=1", "workload=tiny", "++workload.x=2"]).expect("composed");
    assert_eq!(last.workload(), "tiny");
    assert!(job(&last).ends_with("  x: 2\n"));
}

#[test]
fn a_missing_workload_and_a_missing_primary_are_told_apart() {
    assert_eq!(composed(&["workload=nothere"]).expect_err("missing"), ComposeError::NoWorkload("nothere".to_owned()));
    assert_eq!(composed_of("x", &[]).expect_err("missing"), ComposeError::NoPrimary("x".to_owned()));
}

#[test]
fn a_primary_configuration_and_lists_of_defaults_compose() {
    let mine = composed_of("mine", &[]).expect("composed");
    assert_eq!(mine.workload(), "tiny");
    assert!(job(&mine).contains("    epochs: 7\n"));
    assert!(mine.source().text.contains("epochs: 7"), "what is loaded is what was composed");
    assert_eq!(mine.run_dir("2026-11-21T01:02:03.000004", &BTreeMap::new()).as_deref(), Ok("runs/x"));
    let derived = composed(&["workload=derived"]).expect("composed");
    assert_eq!(job(&derived), "workload:\n  model:\n    name: base\n  train:\n    epochs: 2\n    seed: 7\n");
    assert!(job(&composed(&["workload=global"]).expect("composed")).contains("name: global"));
}

#[test]
fn the_run_folder_is_named_after_model_and_time() {
    let stamp = "2026-11-21T01:02:03.000004";
    let env = BTreeMap::from([("SCRATCH".to_owned(), "/scratch".to_owned())]);
    let usual = composed(&["workload=tiny"]).expect("composed");
    assert_eq!(usual.run_dir(stamp, &env).as_deref(), Ok("./hydra_log/tiny/2026-11-21-01-02-03"));
    let named = composed(&["workload=tiny", "hydra.run.dir=${oc.env:SCRATCH}/${workload.train.epochs}-${now:%H}"]);
    assert_eq!(named.expect("composed").run_dir(stamp, &env).as_deref(), Ok("/scratch/2-01"));
    let nameless = composed(&["workload=tiny", "~workload.model.name"]).expect("composed");
    assert!(nameless.run_dir(stamp, &env).expect_err("no name").to_string().contains("workload.model.name"));
}

#[test]
fn a_package_can_be_shown_alone_and_interpolations_resolved() {
    let words = ["workload=tiny", "++workload.model.type=${oc.env:KIND}"];
    let composed = composed(&words).expect("composed");
    let env = BTreeMap::from([("KIND".to_owned(), "cnn".to_owned())]);
    let shown = composed.show(Show::Job, Some("workload.model"), Some(&env)).expect("shown");
    assert_eq!(shown, "# @package workload.model\nname: tiny\ntype: cnn\n");
    assert!(job(&composed).contains("type: ${oc.env:KIND}"));
    assert!(composed.show(Show::Job, Some("workload.modelx"), None).is_err());
    assert!(composed.show(Show::Hydra, None, None).expect("shown").starts_with("hydra:\n  run:\n"));
}

#[test]
fn secrets_are_starred_and_the_fork_is_recognised() {
    let words = ["workload=tiny", "++workload.storage.storage_options.secret_access_key=hush"];
    let composed = composed(&words).expect("composed");
    let runtime = Runtime { cwd: String::new(), output_dir: String::new(), sources: Vec::new() };
    let files = composed.files(&runtime);
    assert!(![&files.config, &files.hydra, &files.overrides].iter().any(|text| text.contains("hush")));
    assert!(composed.workload_overrides().any(|word| word.ends_with("=hush")), "the run itself needs it");
    assert_eq!(composed.fork_mark(), None);
    let fork = self::composed(&["workload=tiny", "workload.dataset.format=parquet"]).expect("composed");
    assert_eq!(fork.fork_mark().as_deref(), Some("dataset.format: parquet exists in the MLPerf Storage fork only"));
}
