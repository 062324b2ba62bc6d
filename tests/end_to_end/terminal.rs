//! Output of commands: JSON results, progress, width, one copy per world.

use std::process::Command;

use serde_json::Value;

use crate::support::{Said, Server, binary, clean, mpirun, solo, solo_with};

/// Asserts that standard output is exactly one JSON object.
fn object(said: &Said) -> Value {
    let value: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}:\n{}", said.out));
    assert!(value.is_object(), "{}", said.out);
    value
}

/// A small workload in a separate folder; returns the folder and the arguments that select it.
fn workload() -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let yaml = format!(
        "model: {{name: small, model_size: 4096}}\nframework: pytorch\nworkflow: {{generate_data: true, train: true, checkpoint: true}}\n\
         dataset: {{data_folder: {}, format: npz, num_files_train: 8, record_length: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 2, computation_time: 0.01}}\n\
         checkpoint: {{checkpoint_folder: {}}}\n",
        path("data"),
        path("checkpoints")
    );
    std::fs::write(folder.path().join("small.yaml"), yaml).unwrap();
    let words = vec![path("small.yaml"), "--output".to_owned(), path("out"), "--format".to_owned(), "json".to_owned()];
    (folder, words)
}

fn words<'a>(command: &'a str, rest: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    [command].into_iter().chain(rest.iter().map(String::as_str)).chain(more.iter().copied()).collect()
}

#[test]
fn runs_tell_programs_their_results() {
    let (folder, rest) = workload();
    let made = object(&mpirun(2, &words("generate", &rest, &[])).ok());
    assert_eq!((made["ranks"].as_u64(), made["generated"]["files"].as_u64()), (Some(2), Some(8)));
    assert!(made["generated"]["bytes"].as_u64() > Some(8 * 4096) && made["summary"].is_null());
    let looked = object(&solo(&words("verify", &rest, &[])).ok());
    assert_eq!((looked["verified"]["good"].as_u64(), looked["verified"]["bad"].as_u64()), (Some(8), Some(0)));
    let trained = object(&solo(&words("replay", &rest, &[])).ok());
    let summary = std::fs::read(folder.path().join("out/summary.json")).unwrap();
    assert_eq!(trained["summary"], serde_json::from_slice::<Value>(&summary).unwrap());

    let (out, data) = (folder.path().join("out"), folder.path().join("data"));
    let again = folder.path().join("again").display().to_string();
    let map = format!("{}={again}", folder.path().display());
    let more = ["--map", &map, "--prepare", "--output", &again, "--format", "json"];
    let replayed = object(&solo(&[&["replay", out.to_str().unwrap()][..], &more].concat()).ok());
    assert_eq!(replayed["replayed"]["operations_failed"], 0);
    assert_eq!(replayed["replayed"]["operations_done"], replayed["replayed"]["operations_planned"]);
    assert!(replayed["planned"]["read"]["operations"].as_u64() > Some(0), "{}", replayed["planned"]);

    let file = data.join("train/img_3_of_8.npz");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let bad = object(&solo(&words("verify", &rest, &[])).failed(4, &["img_3_of_8.npz"]));
    assert_eq!(bad["verified"]["bad"], 1);
    assert!(bad["verified"]["first_bad"].as_str().unwrap().contains("img_3_of_8.npz"));
}

#[test]
fn checks_and_plans_tell_programs_their_results() {
    let valid = object(&solo(&["validate", "unet3d_h100", "--format", "json"]).ok());
    assert_eq!((valid["valid"].as_bool(), valid["format"].as_str()), (Some(true), Some("npz")));
    assert!(valid["notices"][0]["text"].is_string());
    let invalid =
        solo(&["validate", "unet3d_h100", "reader.batch_size=x", "--format", "json"]).failed(2, &["batch_size"]);
    let answer = object(&invalid);
    assert!(answer["valid"] == false && answer["error"].as_str().unwrap().contains("batch_size"));

    let of = |more: &[&str]| object(&solo(&[&["plan", "unet3d_h100", "--format", "json"], more].concat()).ok());
    assert_eq!((of(&[])["ranks"].as_u64(), of(&["--ranks", "4"])["ranks"].as_u64()), (Some(1), Some(4)));
    let launched = object(&mpirun(3, &["plan", "unet3d_h100", "--format", "json"]).ok());
    assert_eq!(launched["ranks"], 3);
    let model = object(&solo(&["plan", "mlperf-v2/llama3_70b", "--format", "json"]).ok());
    assert!(model["ranks"].as_u64() > Some(1), "{} {}", model["ranks"], model["ranks_from"]);
}

#[test]
fn traces_tell_programs_their_results() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (csv, imported) = (path("trace.csv"), path("imported"));
    let traces = made_trace(&folder);
    let written = object(&solo(&["trace", "export", &traces, "--to", "csv", "--out", &csv, "--format", "json"]).ok());
    assert_eq!(written["files"][0]["path"], csv.as_str());
    let read = object(&solo(&["trace", "import", &csv, "--out", &imported, "--format", "json"]).ok());
    assert_eq!((&read["rows"], &read["formats"][0]), (&written["rows"], &Value::from("csv")));
    let repaired = object(&solo(&["trace", "repair", &imported, "--format", "json"]).ok());
    assert_eq!(repaired["files"][0]["cut_bytes"], 0);
    // The name of a source format is distinguished from that of an output format.
    solo(&["trace", "import", &csv, "--out", &path("second"), "--format", "csv"]).ok();
    solo(&["trace", "import", &csv, "--out", &path("third"), "--from", "csv", "--format", "json"]).ok();
}

/// Returns the trace of a small run.
fn made_trace(folder: &tempfile::TempDir) -> String {
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    let data = format!("dataset.data_folder={}", data.display());
    let small = ["dataset.num_files_train=4", "dataset.record_length=1024", "train.epochs=1", "--output"];
    let run = [&["run", "default", "workflow.train=true", "workflow.generate_data=true", &data], &small[..]].concat();
    solo(&[&run[..], &[out.to_str().unwrap()]].concat()).ok();
    out.display().to_string()
}

#[test]
fn commands_without_ranks_speak_once() {
    for words in [&["validate", "unet3d_h100"][..], &["plan", "unet3d_h100"], &["workloads"], &["--version"], &["man"]]
    {
        let (alone, together) = (solo(words).ok().out, mpirun(3, words).ok().out);
        assert_eq!(alone.lines().count() / 2, together.lines().count() / 2, "{words:?}:\n{together}");
    }
    for (words, what) in [
        (&["validate", "nothing_like_this"][..], "nothing_like_this"),
        (&["generate", "--no-such-flag"], "--no-such-flag"),
        (&["trace", "fit", "/nowhere/at/all"], "/nowhere/at/all"),
    ] {
        let said = mpirun(3, words);
        assert!(said.code != Some(0), "{words:?} succeeded");
        let lines = said.err.lines().filter(|line| line.contains("error: ") && line.contains(what)).count();
        assert_eq!(lines, 1, "{words:?}:\n{}", said.err);
    }
}

#[test]
fn tables_and_sentences_fit_the_width() {
    let folder = tempfile::tempdir().unwrap();
    let trace = made_trace(&folder);
    // Paths and keys are never wrapped.
    let fits = |line: &str, width: usize| {
        line.chars().count() <= width || line.split_whitespace().any(|word| word.len() > width / 2)
    };
    for width in [60, 80, 120] {
        let columns = width.to_string();
        let env = [("COLUMNS", columns.as_str())];
        for words in
            [&["analyze", &trace, "--no-files"][..], &["plan", "unet3d_h100"], &["validate", "bert_v100"], &["--help"]]
        {
            let said = solo_with(&env, words).ok();
            let wide: Vec<&str> = said
                .out
                .lines()
                .filter(|line| !fits(line, width.max(if words[0] == "--help" { 100 } else { 0 })))
                .collect();
            assert!(wide.is_empty(), "{words:?} at {width}:\n{}", wide.join("\n"));
            assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'));
        }
    }
}

#[test]
fn verbose_shows_the_log() {
    let (folder, rest) = workload();
    let said = solo(&words("generate", &rest, &["-v"])).ok();
    let log = std::fs::read_to_string(folder.path().join("out/dlio.log")).unwrap();
    assert_eq!(said.err, log);
    assert!(!log.contains('\u{1b}'));
}

#[test]
fn slow_work_shows_progress_and_fast_work_does_not() {
    let (_folder, rest) = workload();
    let fast = solo(&words("generate", &rest, &[])).ok();
    assert!(!fast.err.contains("ETA"), "{}", fast.err);
    // Every request takes 400 ms, one after the other.
    let server = Server::start(1, &["--delay-ms", "400"]);
    let data = ["dataset.data_folder=s3://slow/data", "++dlio_rs.generate_inflight=1", "--registry", server.registry()];
    let made = solo(&words("generate", &rest, &data)).ok();
    let of = |said: &Said, start: &str| {
        said.err.lines().filter(|line| line.contains(start) && line.contains("ETA ")).count()
    };
    assert!(of(&made, " Generating: ") > 0, "{}", made.err);
    let looked = solo(&words("verify", &rest, &data)).ok();
    assert!(of(&looked, " Verifying: ") > 0, "{}", looked.err);
    let quiet = solo(&words("verify", &rest, &[&data[..], &["-q"]].concat())).ok();
    assert!(quiet.err.is_empty(), "{}", quiet.err);
}

#[test]
fn a_terminal_has_one_live_line() {
    let (folder, rest) = workload();
    solo(&words("generate", &rest, &[])).ok();
    let script = folder.path().join("screen");
    let run = words("replay", &rest, &["train.epochs=1", "train.computation_time=0.4"]).join(" ");
    let mut command = Command::new("script");
    command.args(["-qec", &format!("stty cols 80; {} {run}", binary())]).arg(&script);
    // `script` is part of util-linux and available like the shell.
    let said: Said = clean(&mut command).output().unwrap().into();
    let shown = std::fs::read_to_string(&script).unwrap();
    assert_eq!(said.code, Some(0), "{shown}");
    let live =
        shown.split(['\r', '\n']).filter(|line| line.contains("Epoch 1 of 1: ") && line.contains("ETA ")).count();
    assert!(live >= 3, "{shown}");
    let log = std::fs::read_to_string(folder.path().join("out/dlio.log")).unwrap();
    assert!(!log.contains('\u{1b}') && !log.contains("ETA"), "{log}");
}
