//! First contact with the program: suggestions for mistakes, the catalogue, manual pages and completions, values with units.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{solo, solo_with};

/// A dataset of four files and a configuration with a short training.
fn small(folder: &Path) -> Vec<String> {
    let data = folder.join("data");
    [
        "unet3d_h100".to_owned(),
        format!("dataset.data_folder={}", data.display()),
        "dataset.num_files_train=4".to_owned(),
        "dataset.record_length_bytes=1000".to_owned(),
        "dataset.record_length_bytes_stdev=0".to_owned(),
        "reader.batch_size=2".to_owned(),
        "train.epochs=1".to_owned(),
        "train.computation_time=0.001".to_owned(),
        "workflow.checkpoint=false".to_owned(),
    ]
    .to_vec()
}

fn with<'a>(command: &'a str, words: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    std::iter::once(command).chain(words.iter().map(String::as_str)).chain(more.iter().copied()).collect()
}

#[test]
fn mistakes_of_the_first_minutes_are_answered_with_the_right_words() {
    let cases: [(&[&str], &[&str]); 11] = [
        (&["replay", "unet3d"], &["did you mean unet3d_h100", "`dlio-rs workloads` lists them"]),
        (&["workloads", "unet3d-h100"], &["did you mean unet3d_h100"]),
        (&["replay", "unet3d_h100", "--train.epochs=2"], &["++workload.train.epochs=2"]),
        (&["replay", "unet3d_h100", "--batch-size", "4"], &["++workload.reader.batch_size=4"]),
        (&["validate", "unet3d_h100", "train.epochs", "2"], &["did you mean train.epochs=2?"]),
        (&["validate", "unet3d_h100", "trian.epochs=2"], &["did you mean train.epochs?"]),
        (&["validate", "unet3d_h100", "checkpoint.folder=x"], &["did you mean checkpoint.checkpoint_folder?"]),
        (&["unet3d_h100"], &["dlio-rs replay unet3d_h100"]),
        (&["serve", "--memory", "--port", "9000"], &["--listen HOST:PORT"]),
        (
            &["serve", "--memory", "--memory-limit", "99999TiB", "--registry", "reg"],
            &["--memory-limit", "this machine has"],
        ),
        (&["man", "repaly"], &["did you mean replay?"]),
    ];
    for (words, parts) in cases {
        let said = solo(words).failed(2, parts);
        assert!(said.err.lines().all(|line| line.chars().count() < 400), "{}", said.err);
    }
}

#[test]
fn a_file_of_another_kind_is_answered_with_the_command_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let foreign = file("p0.pfw", "[\n{\"id\":1,\"name\":\"read\",\"cat\":\"POSIX\",\"ph\":\"X\",\"ts\":1,\"dur\":2}\n");
    solo(&["replay", &foreign]).failed(2, &["dlio-rs trace import"]);
    let yaml = file("my.yaml", "framework: pytorch\n");
    solo(&["replay", &yaml, "--dry-run"]).failed(2, &["`dlio-rs plan"]);
}

#[test]
fn a_training_without_a_step_is_told_by_validate() {
    let folder = tempfile::tempdir().unwrap();
    let words = small(folder.path());
    solo(&with("validate", &words, &[])).ok();
    for none in ["reader.batch_size=64", "dataset.num_files_train=0"] {
        let said = solo(&with("validate", &words, &[none, "--format", "json"])).ok();
        assert!(said.out.contains("the training has no steps"), "{}", said.out);
    }
    let checkpoints = ["reader.batch_size=64", "workflow.train=false", "workflow.checkpoint=true"];
    assert!(!solo(&with("validate", &words, &checkpoints)).ok().out.contains("no steps"));
}

#[test]
fn files_of_another_size_that_are_replaced_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let words = small(folder.path());
    let told = |said: crate::support::Said| said.err.contains("another size");
    assert!(!told(solo(&with("generate", &words, &["--output", &out(folder.path(), "a")])).ok()));
    assert!(!told(solo(&with("generate", &words, &["--output", &out(folder.path(), "b")])).ok()));
    let other = ["dataset.record_length_bytes=90000", "--output", &out(folder.path(), "c")];
    let said = solo(&with("generate", &words, &other)).ok();
    assert!(said.err.contains("4 files there had another size"), "{}", said.err);
}

/// An output folder.
fn out(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn a_file_whose_name_is_nearly_right_is_proposed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.yaml"), "framework: pytorch\n").unwrap();
    let typed = folder.path().join("mine.yml").display().to_string();
    solo(&["validate", &typed]).failed(2, &["did you mean", "mine.yaml?"]);
    solo(&["replay", &typed]).failed(2, &["did you mean", "mine.yaml?"]);
}

#[test]
fn the_catalogue_fits_eighty_columns_and_has_numbers_for_machines() {
    let said = solo(&["workloads"]).ok();
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{}", said.out);
    let row = |name: &str| lines.iter().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    let words: Vec<&str> = row("unet3d_h100").split_whitespace().collect();
    assert_eq!(words, ["unet3d_h100", "npz", "168", "23.6", "GiB", "7", "323", "ms", "H100"]);
    assert!(row("llama_8b_zero3").contains("checkpoint"));
    let narrow = solo_with(&[("COLUMNS", "60")], &["workloads"]).ok();
    assert!(narrow.out.lines().all(|line| line.chars().count() <= 60), "{}", narrow.out);
    assert!(narrow.out.contains("323 ms") && narrow.out.contains("23.6 GiB"), "{}", narrow.out);
    let broken = solo_with(&[("COLUMNS", "60")], &["replay", "unet3d"]).failed(2, &[]);
    assert!(broken.err.lines().count() > 1, "{}", broken.err);
    assert!(broken.err.lines().all(|line| line.chars().count() <= 60), "{}", broken.err);
    let said = solo(&["workloads", "--format", "json"]).ok();
    let all: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let entry = all.as_array().unwrap().iter().find(|entry| entry["name"] == "unet3d_h100").unwrap();
    assert_eq!((&entry["files"], &entry["batch_size"]), (&168.into(), &7.into()));
    assert_eq!(entry["accelerator"], "h100");
    assert!(entry["bytes"].as_u64().unwrap() > 20_000_000_000 && entry["computation_time_seconds"] == 0.323);
}

#[test]
fn every_command_has_a_manual_page_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man1");
    let said = solo(&["man", "--output", man.to_str().unwrap()]).ok();
    for name in ["dlio-rs", "dlio-rs-replay", "dlio-rs-trace-import", "dlio-rs-workloads"] {
        let page = std::fs::read_to_string(man.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page}");
        assert!(said.out.contains(&format!("{name}.1")), "{}", said.out);
    }
    let page = solo(&["man", "trace", "import"]).ok().out;
    assert!(page.contains("dlio\\-rs trace import") && page.contains("\\-\\-strict"), "{page}");
}

#[test]
fn completions_offer_workloads_beside_files() {
    let bash = solo(&["completions", "bash"]).ok().out;
    let script = "source /dev/stdin; complete -p dlio-rs; COMP_WORDS=(dlio-rs replay unet3d_h); COMP_CWORD=2; \
                  _dlio__rs dlio-rs unet3d_h replay; echo \"${COMPREPLY[@]}\"";
    let mut shell = Command::new("bash");
    let mut child = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bash.as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("-o default") && said.contains("unet3d_h100 unet3d_h100_s3"), "{said}");
    let zsh = solo(&["completions", "zsh"]).ok().out;
    assert!(zsh.contains(":_dlio_rs_configurations' ") && zsh.contains("_files"), "no function for configurations");
    assert!(zsh.contains("_dlio_rs_workloads() { compadd - bert_v100"), "no workloads");
    let fish = solo(&["completions", "fish"]).ok().out;
    assert!(fish.contains("-a \"bert_v100 cosmoflow_a100"), "no workloads");
}

#[test]
fn the_version_names_the_mpi_library_and_the_features_and_traces_keep_it() {
    let line = solo(&["--version"]).ok().out;
    assert!(line.starts_with("dlio-rs 0.1.0 (") && line.contains("features: ") && line.lines().count() == 1, "{line}");
    let long = solo(&["--version", "--verbose"]).ok().out;
    for part in ["commit: ", "mpi: ", "features: ", "trace format: "] {
        assert!(long.contains(part), "{long}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (words, out) = (small(folder.path()), folder.path().join("out").display().to_string());
    solo(&with("generate", &words, &["--output", &out])).ok();
    solo(&with("replay", &words, &["--output", &out])).ok();
    let traces = dlio_trace::read_dir(&folder.path().join("out/trace")).unwrap();
    let version = line.trim_end().trim_start_matches("dlio-rs ");
    assert_eq!(traces[0].header.tool_version, version);
}

#[test]
fn values_of_flags_have_units_and_a_blank_before_the_value_of_overwrite_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let (words, out) = (small(folder.path()), folder.path().join("out").display().to_string());
    let generated = with("generate", &words, &["--output", &out, "--stall-seconds", "2min", "--retry-for", "90s"]);
    solo(&generated).ok();
    let again = with("generate", &words, &["--output", &out, "--overwrite", "data"]);
    let said = solo(&again).ok();
    assert!(said.err.contains("Generated 4 file"), "{}", said.err);
    solo(&with("generate", &words, &["--stall-timeout", "soon"])).failed(2, &["--stall-timeout", "60s, 500ms, 2min"]);
    assert!(solo(&["plan", "unet3d_h100", "--ranks", "1k"]).ok().out.contains("ranks: 1000,"));
    let units = ["dataset.num_files_train=10k", "train.computation_time=100ms", "++dlio_rs.split_chunk=4MiB"];
    solo(&[&["validate", "unet3d_h100", "--dialect", "native"], &units[..]].concat()).ok();
    solo(&["validate", "unet3d_h100", units[0]]).failed(2, &["num_files_train", "write 10000"]);
    solo(&["validate", "unet3d_h100", units[2], "++dlio_rs.drop_caches_timeout_seconds=1m"]).ok();
}

#[test]
fn what_is_missing_is_answered_with_a_command_that_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (words, out) = (small(folder.path()), folder.path().join("out").display().to_string());
    let said = solo(&with("replay", &words, &["--output", &out])).failed(4, &["does not exist", "`dlio-rs generate`"]);
    assert!(!said.err.contains("generate_data"), "{}", said.err);
    let said = solo(&with("doctor", &words, &[]));
    assert!(said.out.contains("`dlio-rs generate` with the same configuration"), "{}", said.out);
}

#[test]
fn the_first_lines_of_a_replayed_trace_and_of_checkpoints_alone_say_what_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let (words, out) = (small(folder.path()), folder.path().join("out").display().to_string());
    solo(&with("generate", &words, &["--output", &out])).ok();
    let said = solo_with(&[("DLIO_RS_COMM", "solo")], &with("replay", &words, &["--output", &out])).ok();
    assert!(!said.err.contains("DLIO_RS_COMM") && !said.err.contains("WARNING"), "{}", said.err);
    let again = folder.path().join("again").display().to_string();
    let said = solo(&["replay", &out, "--output", &again]).ok();
    assert!(!said.err.contains("Dialect") && !said.err.contains("data in /"), "{}", said.err);
    assert!(said.err.contains("1 recorded rank on 1 rank"), "{}", said.err);
    let said = solo(&["analyze", &out, "--no-files"]).ok();
    assert!(said.out.contains("1 rank on 1 host"), "{}", said.out);
    let saved = format!("checkpoint.checkpoint_folder={}", folder.path().join("saved").display());
    let alone = ["workflow.train=false", "workflow.checkpoint=true", "++checkpoint.num_checkpoints_write=1"];
    let more =
        [&alone[..], &["++model.model_size_bytes=4096", &saved, "--output", &again, "--overwrite", "output"]].concat();
    let mut words = small(folder.path());
    words.retain(|word| !word.starts_with("workflow."));
    let said = solo(&with("run", &words, &more)).ok();
    assert!(said.err.contains("Storage: checkpoints in /") && !said.err.contains("data in"), "{}", said.err);
}
