//! Runs against a server with one known cause of slowness, which the analysis must name first. Causes are large, and only
//! names and orders are compared, so that the load of the test machine does not matter.

use std::time::Duration;

use crate::support::{Server, mpirun, mpirun_command, rank_of, ranks_of, solo};

/// Number of steps per rank, each with two samples.
const STEPS: u32 = 64;

struct Run {
    server: Server,
    folder: tempfile::TempDir,
    yaml: String,
}

impl Run {
    /// A server with faults, and a dataset on it.
    fn prepare(endpoints: usize, faults: &[&str], computation_time: f64) -> Self {
        let rules: Vec<&str> = faults.iter().flat_map(|rule| ["--fault", rule]).collect();
        let server = Server::start(endpoints, &rules);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.yaml");
        let files = 2 * 2 * STEPS;
        let text = format!(
            "model: {{name: t}}\nframework: pytorch\nworkflow: {{generate_data: false, train: true}}\n\
             dataset: {{data_folder: 's3://bucket/set', format: npz, num_files_train: {files}, num_samples_per_file: 1, record_length_bytes: 16384}}\n\
             reader: {{data_loader: pytorch, batch_size: 2, read_threads: 2}}\n\
             train: {{epochs: 1, computation_time: {computation_time}}}\n"
        );
        std::fs::write(&path, text).unwrap();
        let yaml = path.to_str().unwrap().to_owned();
        let generated = folder.path().join("generated");
        solo(&["-q", "generate", &yaml, "--registry", server.registry(), "--output", generated.to_str().unwrap()]).ok();
        Self { server, folder, yaml }
    }

    fn out(&self) -> String {
        self.folder.path().join("out").to_str().unwrap().to_owned()
    }

    fn words(&self) -> Vec<String> {
        // Requests are retried however often they are refused.
        let patience = "storage.storage_options.s3_max_attempts=100";
        ["-q", "replay", &self.yaml, patience, "--registry", self.server.registry(), "--output", &self.out()]
            .map(str::to_owned)
            .to_vec()
    }

    /// Trains with two ranks and returns the codes and subjects of the analysis' findings.
    fn found(&self) -> Vec<(String, String)> {
        let words = self.words();
        mpirun(2, &words.iter().map(String::as_str).collect::<Vec<_>>()).ok();
        self.findings()
    }

    fn findings(&self) -> Vec<(String, String)> {
        let json = solo(&["analyze", &self.out(), "--no-files", "--format", "json"]).ok().out;
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        let findings = report["why"]["findings"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let found: Vec<_> = findings.map(|finding| (text(&finding["code"]), text(&finding["subject"]))).collect();
        assert!(!found.is_empty(), "{}", report["why"]);
        found
    }
}

#[test]
fn one_slow_endpoint_of_four_is_named_first() {
    let run = Run::prepare(4, &["ms=120,endpoint=2,gets=0.."], 0.01);
    assert_eq!(run.found()[0], ("slow_endpoint".to_owned(), run.server.endpoints()[2].clone()));
}

#[test]
fn a_stretch_of_slow_answers_is_named_first() {
    let run = Run::prepare(1, &["ms=150,gets=100..148"], 0.04);
    assert_eq!(run.found()[0].0, "slow_period");
}

#[test]
fn one_endpoint_behind_a_narrow_line_is_named_first() {
    let run = Run::prepare(4, &["bytes=250000,endpoint=2,gets=0.."], 0.01);
    assert_eq!(run.found()[0], ("slow_endpoint".to_owned(), run.server.endpoints()[2].clone()));
}

#[test]
fn a_time_of_little_bandwidth_is_named_first() {
    // For four seconds both ranks together get twelve samples per second, an eighth of their usual rate.
    let run = Run::prepare(1, &["bytes=200000,s=1..5"], 0.04);
    let found = run.found();
    assert_eq!(found[0].0, "slow_period", "{found:?}");
}

#[test]
fn a_storage_that_refuses_for_a_while_is_named_first() {
    let run = Run::prepare(1, &["refuse,gets=100..112", "refuse,gets=150..162"], 0.01);
    let found = run.found();
    assert_eq!(found[0], ("throttled".to_owned(), run.server.endpoints()[0].clone()), "{found:?}");
}

#[test]
fn one_connection_that_opens_slowly_is_named_first() {
    // One connection is closed in the middle of the run, and the next one waits for its first response.
    let run = Run::prepare(1, &["close,gets=100..101", "ms=3000,first,gets=101.."], 0.01);
    assert_eq!(run.found()[0].0, "cold_connections");
}

#[test]
fn one_rank_that_is_held_up_is_named_first() {
    let run = Run::prepare(1, &[], 0.02);
    let words = run.words();
    let mut command = mpirun_command(2, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    // Rank 1 is suspended most of the time.
    let mut held = None;
    let code = loop {
        let is_second = |pid: &u32| rank_of(*pid) == Some(1);
        held = held.or_else(|| ranks_of(&child).into_iter().find(is_second));
        let alive = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        if let Some(pid) = held.filter(alive) {
            // The process may end at any moment, and then there is nothing to suspend.
            for (name, pause) in [("STOP", 80), ("CONT", 20)] {
                let _ = std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
                std::thread::sleep(Duration::from_millis(pause));
            }
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(code, Some(0));
    assert!(held.is_some(), "rank 1 was not found");
    assert_eq!(run.findings()[0], ("slow_rank".to_owned(), "1".to_owned()));
}

#[test]
fn an_impossible_fault_is_rejected() {
    let words = ["serve", "--memory", "--access-key", "a", "--secret-key", "b", "--fault"];
    for (rule, names) in [
        ("endpoint=3", "no effect"),
        ("ms=5,sometimes", "sometimes"),
        ("bytes=0", "bytes per second"),
        ("close,endpoint=7", "endpoint 7"),
    ] {
        let said = solo(&[&words[..], &[rule]].concat());
        assert!(said.code.is_some_and(|code| code != 0) && said.err.contains(names), "{rule}: {}", said.err);
    }
    let said = solo(&["serve", "--memory", "--trouble", "close,endpoint=7"]);
    assert!(said.err.contains("--trouble is now called --fault") && said.err.contains("endpoint 7"), "{}", said.err);
}
