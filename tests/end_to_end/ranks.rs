//! Launchers, and the end of the world when one rank fails.

use std::time::Duration;

use crate::support::{assert_ended, binary, mpirun, mpirun_command, ranks_of, signal, solo, solo_with, wait_at_most};

/// Waits until the traces of a number of ranks show that they are reading.
fn wait_for_reads(out: &std::path::Path, ranks: usize) {
    let reads = |trace: &dlio_trace::RankTrace| {
        let mut batches = trace.batches().into_iter().flatten().flatten();
        batches.any(|batch| batch.kind.iter().any(|kind| kind.is_read()))
    };
    for _ in 0..2000 {
        let traces = dlio_trace::read_dir(&out.join("trace")).unwrap_or_default();
        if traces.iter().filter(|trace| reads(trace)).count() == ranks {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no reads of {ranks} ranks in the traces below {}", out.display());
}

fn yaml(folder: &std::path::Path) -> String {
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\ndataset: {{data_folder: {}, format: npy, num_files_train: 64, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 20, computation_time: 0.5}}\n",
        folder.join("data").display()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_launcher_that_the_mpi_library_does_not_see_is_an_error_that_names_both() {
    // The environment of a process that the mpirun of another MPI has started.
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path());
    let env = [("PMI_SIZE", "4"), ("PMI_RANK", "0")];
    solo_with(&env, &["generate", &path]).failed(5, &["PMI_SIZE", "4", "1"]);
}

#[test]
fn only_rank_0_speaks_and_a_configuration_error_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path());
    let out = folder.path().join("out");
    let said = mpirun(3, &["generate", &path, "--output", out.to_str().unwrap()]).ok();
    assert_eq!(said.err.matches("Starting data generation").count(), 1, "{}", said.err);
    let said = mpirun(3, &["generate", &path, "dataset.format=npzz"]);
    assert_eq!(said.code, Some(2));
    assert_eq!(said.err.matches("dlio-rs: error").count(), 1, "{}", said.err);
}

#[test]
fn killing_one_rank_ends_the_others_within_seconds_and_their_traces_stay_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path());
    let out = folder.path().join("out");
    solo(&["-q", "generate", &path, "--output", out.to_str().unwrap()]).ok();
    let mut command = mpirun_command(3, &["-q", "replay", &path, "--output", out.to_str().unwrap()]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_for_reads(&out, 3);
    let ranks = ranks_of(&child);
    assert_eq!(ranks.len(), 3, "ranks of mpirun");
    signal(ranks[1], "KILL");
    let code = wait_at_most(&mut child, Duration::from_mins(1));
    assert!(code.is_some_and(|code| code != 0), "mpirun ended with {code:?}");
    assert_ended(&ranks);
    let said = solo(&["analyze", out.to_str().unwrap(), "--no-files"]).ok();
    assert!(said.out.contains("read"), "{}", said.out);
}

#[test]
fn an_interrupted_run_ends_at_once_and_keeps_its_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path());
    let out = folder.path().join("out");
    solo(&["-q", "generate", &path, "--output", out.to_str().unwrap()]).ok();
    let mut child = std::process::Command::new(binary())
        .args(["-q", "replay", &path, "--output", out.to_str().unwrap()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for_reads(&out, 1);
    signal(child.id(), "INT");
    assert_eq!(wait_at_most(&mut child, Duration::from_mins(1)), Some(130));
    solo(&["analyze", out.to_str().unwrap(), "--no-files"]).ok();
}

/// The dataset does not exist, so the error names the first file of a rank, which must be the first one of numpy's shuffle.
#[test]
fn a_shuffled_list_of_millions_of_files_is_shared_by_the_ranks_and_leads_to_the_same_files() {
    const FILES: u32 = 2_100_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: tensorflow\ndataset: {{data_folder: {0}/absent, format: npz, num_files_train: {FILES}, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
         reader: {{data_loader: tensorflow, batch_size: 1, read_threads: 2, file_shuffle: seed, sample_shuffle: seed}}\n\
         train: {{epochs: 1, seed: 42}}\noutput: {{folder: {0}/out}}\n",
        folder.path().display()
    );
    std::fs::write(&path, text).unwrap();
    let mut list: Vec<u32> = (0..FILES).collect();
    dlio_plan::numpy::Mt19937::new(43).shuffle(&mut list);
    let said = mpirun(3, &["replay", path.to_str().unwrap(), "--no-preflight"]);
    assert_eq!(said.code, Some(4), "{}", said.err);
    // The three ranks begin in three parts of the list, and the second thread of each rank begins further on.
    let begins: Vec<String> = [0, FILES / 3, 2 * FILES / 3, FILES / 6]
        .iter()
        .map(|place| format!("img_{:07}_of_{FILES}.npz", list[*place as usize]))
        .collect();
    assert!(begins.iter().any(|name| said.err.contains(name)), "none of {begins:?} in {}", said.err);
    assert!(!said.err.contains("own copy") && !said.err.contains("shuffled lists each"), "{}", said.err);
}

#[test]
fn ranks_that_fail_at_once_say_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path());
    solo(&["-q", "generate", &path, "--output", folder.path().join("generated").to_str().unwrap()]).ok();
    // The first file is kept, because every run looks it up before it starts.
    let data = folder.path().join("data/train");
    for entry in std::fs::read_dir(&data).unwrap() {
        let file = entry.unwrap().path();
        if !file.to_str().unwrap().contains("img_00_") {
            std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(100).unwrap();
        }
    }
    let out = folder.path().join("out");
    let said = mpirun(3, &["-q", "replay", &path, "--output", out.to_str().unwrap()]);
    let errors: Vec<&str> = said.err.lines().filter(|line| line.contains("dlio-rs: error:")).collect();
    assert_eq!(errors.len(), 1, "{}", said.err);
    assert!(errors[0].contains("the file ends after") && errors[0].contains("rank"), "{}", said.err);
    assert_eq!(said.code, Some(4), "{}", said.err);
}
