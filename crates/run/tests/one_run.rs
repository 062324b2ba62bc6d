//! The example, run by a test: once, again in the same process, and on two threads at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/one_run.rs"]
mod example;

use std::path::Path;

fn run_in(folder: &Path) {
    let (outcome, messages) = example::one_run(folder).unwrap();
    assert_eq!(outcome.generated.unwrap().world.files, 4);
    let summary = outcome.summary.unwrap();
    assert_eq!((summary.num_accelerators, summary.num_files_train), (1, 4));
    assert!(folder.join("out/summary.json").is_file() && folder.join("out/trace/rank-00000.parquet").is_file());
    assert!(!folder.join("out/run.lock").exists(), "the output folder is released");
    assert!(messages.iter().any(|line| line.contains("Starting epoch 1: 8 steps expected")), "{messages:?}");
}

#[test]
fn one_process_runs_it_twice() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path());
    run_in(folder.path());
}

#[test]
fn one_process_runs_it_on_two_threads_at_once() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    std::thread::scope(|threads| {
        for folder in &folders {
            threads.spawn(|| run_in(folder.path()));
        }
    });
}
