//! Output folders are created for one run, locked while it writes, and only the files in `run.json` are replaced.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{
    assert_ended, binary, clean, json, mpirun, mpirun_command, ranks_of, signal, solo, tree, wait_at_most,
};

/// A small generated dataset on disk, and a workload that reads it.
struct Place {
    folder: tempfile::TempDir,
    yaml: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.yaml");
        let text = format!(
            "model: {{name: t}}\nframework: pytorch\nworkflow: {{generate_data: false, train: true}}\n\
             dataset: {{data_folder: '{}', format: npz, num_files_train: 8, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
             reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\n\
             train: {{epochs: 2, computation_time: 0.005}}\n",
            folder.path().join("data").display()
        );
        std::fs::write(&path, text).unwrap();
        let yaml = path.to_str().unwrap().to_owned();
        solo(&["-q", "generate", &yaml, "--output", folder.path().join("made").to_str().unwrap()]).ok();
        Self { folder, yaml }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replay<'a>(&'a self, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        [&["replay", &self.yaml, "--output", out.to_str().unwrap()], more].concat()
    }

    /// Starts a long run with an output folder and waits until it measures.
    fn long(&self, out: &Path) -> Child {
        let mut command = Command::new(binary());
        clean(command.args(self.replay(out, &["train.computation_time=0.2", "train.epochs=100"])));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&out.join("trace/rank-00000.parquet"), &mut child);
        child
    }
}

fn wait_for(path: &Path, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !path.exists() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn names(folder: &Path) -> Vec<String> {
    tree(folder).into_iter().map(|(name, _)| name).collect()
}

fn state(folder: &Path, section: &str) -> String {
    json(&folder.join("run.json"))["runs"][section]["state"].as_str().unwrap().to_owned()
}

#[test]
fn runs_that_start_in_the_same_second_have_a_default_folder_each() {
    let place = Place::new();
    let started: Vec<Child> = (0..4)
        .map(|_| {
            let mut command = Command::new(binary());
            clean(command.args(["replay", &place.yaml])).current_dir(place.folder.path());
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in started {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("Output folder: "), "{said}");
    }
    let folders: Vec<PathBuf> =
        std::fs::read_dir(place.at("hydra_log/t")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 4, "{folders:?}");
    for folder in folders {
        assert!(folder.join("summary.json").is_file() && folder.join("trace/rank-00000.parquet").is_file());
        assert_eq!(state(&folder, "replay"), "completed");
        assert!(!folder.join("run.lock").exists());
    }
}

#[test]
fn a_second_run_into_a_folder_in_use_ends_at_once_and_the_first_stays_whole() {
    let place = Place::new();
    let out = place.at("out");
    let mut first = place.long(&out);
    let owner = format!("process {} on host", first.id());
    solo(&place.replay(&out, &[])).failed(10, &["in use by", &owner, "--output"]);
    let said = mpirun(2, &place.replay(&out, &[]));
    said.failed(10, &["in use by", &owner]);
    solo(&["trace", "repair", out.join("trace").to_str().unwrap()]).failed(10, &["in use by"]);
    assert_eq!(state(&out, "replay"), "running");
    signal(first.id(), "TERM");
    assert_eq!(wait_at_most(&mut first, Duration::from_secs(20)), Some(143));
    assert_eq!(state(&out, "replay"), "interrupted by SIGTERM");
    assert!(!out.join("run.lock").exists());
    solo(&place.replay(&out, &[])).ok();
    assert_eq!(state(&out, "replay"), "completed");
}

#[test]
fn the_folder_of_a_killed_run_is_taken_over_and_said() {
    let place = Place::new();
    let out = place.at("out");
    let mut first = place.long(&out);
    signal(first.id(), "KILL");
    wait_at_most(&mut first, Duration::from_secs(20));
    assert!(out.join("run.lock").exists());
    let said = solo(&place.replay(&out, &[])).ok();
    assert!(said.err.contains("took over the output folder"), "{}", said.err);
    assert!(!out.join("run.lock").exists());
    assert_eq!(state(&out, "replay"), "completed");
}

#[test]
fn a_rerun_replaces_the_other_ranks_files_and_the_old_report_and_leaves_the_rest() {
    let place = Place::new();
    let out = place.at("out");
    solo(&["generate", &place.yaml, "--output", out.to_str().unwrap()]).ok();
    mpirun(2, &place.replay(&out, &[])).ok();
    solo(&["analyze", out.to_str().unwrap()]).ok();
    solo(&["analyze", out.to_str().unwrap()]).ok();
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let manifest = json(&out.join("run.json"));
    let mut listed: Vec<String> = ["generate", "replay", "analyze"]
        .iter()
        .flat_map(|section| manifest["runs"][section]["files"].as_array().unwrap())
        .map(|file| {
            let name = file["name"].as_str().unwrap().to_owned();
            assert_eq!(file["bytes"].as_u64().unwrap(), std::fs::metadata(out.join(&name)).unwrap().len(), "{name}");
            name
        })
        .chain(["notes.txt", "run.json"].map(str::to_owned))
        .collect();
    listed.sort();
    assert_eq!(names(&out), listed, "everything is listed");

    let said = solo(&place.replay(&out, &[])).ok();
    assert!(said.err.contains("Replaced in "), "{}", said.err);
    let found = names(&out);
    assert!(found.iter().any(|name| name == "notes.txt"));
    assert!(found.iter().any(|name| name == "trace-generate/rank-00000.parquet"), "{found:?}");
    assert!(
        !found.iter().any(|name| name.contains("rank-00001") || name.starts_with("1_") || name.starts_with("report"))
    );
}

#[test]
fn what_was_imported_or_made_by_something_else_is_refused_without_overwrite() {
    let place = Place::new();
    let here = place.at("here");
    let trace = here.join("trace");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/dftracer");
    std::fs::create_dir(&here).unwrap();
    solo(&["trace", "import", source, "--out", trace.to_str().unwrap()]).ok();
    let imported = tree(&trace);
    let mut command = Command::new(binary());
    clean(command.args(["replay", &place.yaml, "--output", "."])).current_dir(&here);
    let said = crate::support::Said::from(command.output().unwrap()).failed(10, &["trace/", "--output", "--overwrite"]);
    assert!(!said.err.contains("panicked"));
    assert_eq!(tree(&trace), imported);
    let out = place.at("old");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("summary.json"), "of a version without run.json").unwrap();
    solo(&place.replay(&out, &[])).failed(10, &["summary.json", "--overwrite"]);
    solo(&place.replay(&out, &["--overwrite=data"])).failed(10, &["summary.json"]);
    assert_eq!(names(&out), ["summary.json"]);
    solo(&place.replay(&out, &["--overwrite"])).ok();
    solo(&place.replay(&here, &["--overwrite=output"])).ok();
    assert_eq!(state(&here, "replay"), "completed");
    assert!(!names(&here).iter().any(|name| name == "trace/run.json" || name.contains("rank-00001")));
}

#[test]
fn an_import_that_fails_leaves_the_earlier_traces() {
    let place = Place::new();
    let out = place.at("out");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/dftracer");
    let words = |source| ["trace", "import", source, "--out", out.to_str().unwrap(), "--overwrite"];
    solo(&words(source)).ok();
    let before = tree(&out);
    let garbage = place.at("garbage");
    std::fs::write(&garbage, "garbage\n").unwrap();
    solo(&words(garbage.to_str().unwrap())).failed(6, &["garbage", "--from"]);
    solo(&words("/nowhere/at/all")).failed(6, &["/nowhere/at/all"]);
    assert_eq!(tree(&out), before);
    let elbencho = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/elbencho");
    solo(&words(elbencho)).ok();
    assert_ne!(tree(&out), before);
    assert_eq!(state(&out, "import"), "completed");
}

#[test]
fn a_replay_that_cannot_begin_leaves_the_earlier_results() {
    let place = Place::new();
    let out = place.at("out");
    solo(&place.replay(&out, &[])).ok();
    let before = std::fs::read(out.join("summary.json")).unwrap();
    solo(&place.replay(&out, &["dataset.data_folder=/nowhere/at/all"])).failed(4, &["/nowhere/at/all"]);
    assert_eq!(std::fs::read(out.join("summary.json")).unwrap(), before);
    assert!(out.join("trace/rank-00000.parquet").is_file());
    assert!(!out.join("run.lock").exists());
    solo(&place.replay(&out, &[])).ok();
}

#[test]
fn a_run_that_failed_is_listed_as_such_and_replaced_whole() {
    let place = Place::new();
    let out = place.at("out");
    let file = place.at("data/train/img_3_of_8.npz");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let words = ["verify", &place.yaml, "--output", out.to_str().unwrap()];
    for ranks in [2, 1] {
        let said = mpirun(ranks, &words);
        assert_eq!(said.code, Some(4), "{}", said.err);
        let state = state(&out, "verify");
        assert!(state.starts_with("failed: ") && state.contains("img_3_of_8.npz"), "{state}");
        assert!(!out.join("run.lock").exists());
    }
    assert!(!out.join("trace-verify/rank-00001.parquet").exists());
    solo(&place.replay(&out, &["train.epochs=0", "dlio_rs.no_such_key=1", "--strict"])).failed(2, &["no_such_key"]);
}

#[test]
fn two_ranks_that_are_terminated_release_the_folder() {
    let place = Place::new();
    let out = place.at("out");
    let words = place.replay(&out, &["train.computation_time=0.2", "train.epochs=100"]);
    let mut command = mpirun_command(2, &words);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&out.join("trace/rank-00001.parquet"), &mut child);
    let ranks = ranks_of(&child);
    signal(child.id(), "TERM");
    assert!(wait_at_most(&mut child, Duration::from_secs(30)).is_some());
    assert_ended(&ranks);
    assert!(!out.join("run.lock").exists());
    assert_eq!(state(&out, "replay"), "interrupted by SIGTERM");
    mpirun(2, &place.replay(&out, &[])).ok();
}
