//! Waits of ranks for each other: their reports, and how they end.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{
    Said, assert_ended, binary, clean, mpirun_command, rank_of, ranks_of, signal, solo, solo_with, wait_at_most,
};

/// A run of three ranks, one of which is suspended.
struct Stopped {
    folder: tempfile::TempDir,
    child: Child,
    /// Processes, by rank.
    ranks: Vec<u32>,
}

fn workload(folder: &Path, more: &str) -> String {
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\ndataset: {{data_folder: {}/data, format: npy, num_files_train: 60, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 100, computation_time: 0.02}}\n{more}",
        folder.display()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

impl Stopped {
    /// Starts a training and suspends a rank when all ranks are working.
    fn rank(rank: usize, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = workload(folder.path(), "");
        let out = folder.path().join("out");
        solo(&["-q", "generate", &path, "--output", out.to_str().unwrap()]).ok();
        let words = [&["replay", &path, "--output", out.to_str().unwrap()], more].concat();
        let errors = std::fs::File::create(folder.path().join("errors")).unwrap();
        let child = mpirun_command(3, &words).stderr(errors).stdout(Stdio::null()).spawn().unwrap();
        let mut run = Self { folder, child, ranks: Vec::new() };
        run.wait_until("all ranks to read", |run| {
            run.ranks = ranks_of(&run.child);
            run.ranks.sort_by_key(|process| rank_of(*process));
            let traces = dlio_trace::read_dir(&run.out().join("trace")).unwrap_or_default();
            run.ranks.len() == 3 && traces.iter().filter(|trace| trace.rows > 20).count() == 3
        });
        signal(run.ranks[rank], "STOP");
        run
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn errors(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(self.folder.path().join("errors")).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "waited for {what}: {}", self.errors());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for process in &self.ranks {
            let _ = Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_stopped_rank_is_named_with_its_host_and_what_it_did_and_the_run_goes_on_with_it() {
    for stopped in [0, 1] {
        let mut run = Stopped::rank(stopped, &["--stall-seconds", "1"]);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let named = format!("for rank {stopped} on {} (process {}, which is stopped", host.trim(), run.ranks[stopped]);
        run.wait_until("the report", |run| run.errors().contains(&named));
        let errors = run.errors();
        let line = errors.lines().find(|line| line.contains(&named)).unwrap();
        assert!(line.contains("it was last") && line.contains("in epoch"), "{line}");
        signal(run.ranks[stopped], "CONT");
        let steps = |run: &Stopped| -> u64 {
            dlio_trace::read_dir(&run.out().join("trace")).unwrap().iter().map(|trace| trace.rows).sum()
        };
        let before = steps(&run);
        run.wait_until("the run to go on", |run| steps(run) > before + 50);
        signal(run.child.id(), "TERM");
        assert!(wait_at_most(&mut run.child, Duration::from_secs(30)).is_some());
    }
}

#[test]
fn a_stall_timeout_ends_all_ranks_with_the_same_words_and_its_own_code() {
    let mut run = Stopped::rank(1, &["--stall-seconds", "0", "--stall-timeout", "2"]);
    assert_eq!(wait_at_most(&mut run.child, Duration::from_mins(1)), Some(9), "{}", run.errors());
    let errors = run.errors();
    assert!(errors.contains("has waited 2 s for rank 1 on ") && errors.contains("--stall-timeout"), "{errors}");
    assert_ended(&run.ranks);
}

#[test]
fn a_signal_ends_a_rank_that_waits_for_others_at_once() {
    let mut run = Stopped::rank(1, &["--stall-seconds", "1"]);
    run.wait_until("ranks that wait", |run| run.errors().contains("has waited"));
    let waiting = run.ranks[2];
    let sent = Instant::now();
    signal(waiting, "TERM");
    let gone = || std::fs::read_to_string(format!("/proc/{waiting}/stat")).map_or(true, |stat| stat.contains(") Z "));
    while !gone() {
        // A run that does not end by itself is ended after 3 s.
        assert!(sent.elapsed() < Duration::from_secs(2), "rank 2 still waits");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_rank_that_hangs_before_the_first_step_is_named_too() {
    let folder = tempfile::tempdir().unwrap();
    // The ranks look up the bucket, but nothing answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let path = workload(folder.path(), "storage: {storage_type: s3, storage_root: b}\n");
    let endpoint = format!("++workload.storage.storage_options.endpoint_url=http://{}", silent.local_addr().unwrap());
    let out = folder.path().join("out");
    let words = ["generate", &path, &endpoint, "--stall-timeout", "2", "--output", out.to_str().unwrap()];
    let mut command = mpirun_command(2, &words);
    command.env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let code = wait_at_most(&mut child, Duration::from_secs(30));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(code, Some(9), "{said}");
    assert!(said.contains("has been setting up for") && said.contains("(--stall-timeout)"), "{said}");
}

/// Arguments that are not Unicode, for the binary under another name.
fn bytes(program: &Path, words: &[&[u8]]) -> Said {
    let mut command = Command::new(program);
    let words = words.iter().map(|word| std::ffi::OsStr::from_bytes(word));
    clean(command.args(words)).output().unwrap().into()
}

#[test]
fn a_path_need_not_be_unicode_and_what_is_no_path_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path(), "");
    let out = [folder.path().as_os_str().as_bytes(), b"/out-\xff"].concat();
    bytes(Path::new(binary()), &[b"generate", path.as_bytes(), b"--output", &out]).ok();
    assert!(Path::new(std::ffi::OsStr::from_bytes(&out)).join("dlio.log").is_file());
    bytes(Path::new(binary()), &[b"generate", path.as_bytes(), b"train.epochs=\xff"]).failed(2, &["UTF-8"]);
    let reference = folder.path().join("dlio_benchmark");
    std::os::unix::fs::symlink(binary(), &reference).unwrap();
    bytes(&reference, &[b"workload=unet3d_a100", b"++workload.x=\xff"]).failed(2, &["not Unicode"]);
    let mut command = mpirun_command(2, &["replay", &path]);
    let mut child = command.arg(std::ffi::OsStr::from_bytes(b"x=\xff")).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(wait_at_most(&mut child, Duration::from_mins(1)), Some(2));
}

#[test]
fn threads_that_cannot_be_started_are_an_error_with_advice_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path(), "");
    let out = folder.path().join("out");
    solo(&["-q", "generate", &path, "--output", out.to_str().unwrap()]).ok();
    // A lane has a stack of 1 MiB of address space.
    let line = format!(
        "ulimit -v 1500000; exec {} -q replay {path} --output {} reader.read_threads=4000",
        binary(),
        out.display()
    );
    let mut command = Command::new("sh");
    let said: Said = clean(command.args(["-c", &line])).output().unwrap().into();
    let said = said.failed(3, &["starting lane", "ulimit -u"]);
    assert!(!said.err.contains("defect") && !said.err.contains("panicked"), "{}", said.err);
    solo_with(&[], &["validate", &path]).ok();
}
