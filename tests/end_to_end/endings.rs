//! The end of a run: every kind of ending is recorded consistently in the footers, the summary, the log, the reports and the exit code.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Server, assert_ended, binary, clean, json, mpirun_command, ranks_of, signal, solo, wait_at_most};

/// Time limit for the end of a run.
const LIMIT: Duration = Duration::from_mins(1);

/// A workload of 16 files that trains for minutes, and its dataset.
fn workload(folder: &Path) -> String {
    let path = folder.join("w.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\n\
         dataset: {{data_folder: {}/data, format: npz, num_files_train: 16, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\n\
         train: {{epochs: 100, computation_time: 0.05}}\nmetric: {{au: 0.5}}\n",
        folder.display()
    );
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let out = folder.join("generated");
    solo(&["-q", "generate", &path, "--output", out.to_str().unwrap()]).ok();
    assert_eq!(endings(&out, "trace-generate"), ["completed"]);
    path
}

/// Returns the endings in the footers; `-` for a footer without an ending.
fn endings(out: &Path, trace: &str) -> Vec<String> {
    let traces = dlio_trace::read_dir(&out.join(trace)).unwrap();
    let text = |trace: &dlio_trace::RankTrace| {
        let ending = trace.ending.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        assert_eq!(trace.complete, ending == "completed", "{ending}");
        ending
    };
    traces.iter().map(text).collect()
}

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !there() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a run that trains for minutes and waits until all its ranks have steps in their traces.
fn start(mut command: Command, out: &Path, ranks: usize) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("rows of all ranks", || {
        let traces = dlio_trace::read_dir(&out.join("trace")).unwrap_or_default();
        traces.len() == ranks && traces.iter().all(|trace| trace.rows > 0)
    });
    child
}

/// Under `nohup` the tests ignore SIGHUP, and the program inherits that.
fn alone(words: &[&str]) -> Command {
    let mut command = Command::new("env");
    clean(command.arg("--default-signal=HUP").arg(binary()).args(words));
    command
}

/// The report states how the run ended, and does not judge its target.
fn assert_no_verdict(out: &Path, state: &str, text: &str) {
    let said = solo(&["analyze", out.to_str().unwrap()]).ok();
    assert!(said.out.contains("no verdict") && !said.out.contains(": reached"), "{}", said.out);
    let report = json(&out.join("report.json"));
    let ending = &report["run"]["ending"];
    assert_eq!(ending["state"], state, "{ending}");
    assert!(ending["text"].as_str().unwrap().contains(text), "{ending}");
    assert!(ending["missing"].as_str().unwrap().contains("of 100; missing: "), "{ending}");
    assert_eq!(ending["missing_epochs"][1], 100, "{ending}");
    assert!(report["train"]["au_meets_expectation"].is_null());
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("\"tone\":\"bad\"") && !page.contains("\"tone\":\"good\""));
    let base = ["analyze", out.to_str().unwrap(), "--no-files", "--base", out.to_str().unwrap(), "--fail-if", "au<-1%"];
    solo(&base).failed(4, &["did not complete", "--allow-partial"]);
    solo(&[&base[..], &["--allow-partial"]].concat()).ok();
}

/// The summary has no metric that a harness could mistake for a result, and the log states the same ending.
fn assert_summary(out: &Path, text: &str) {
    let summary = json(&out.join("summary.json"));
    assert!(summary["ending"].as_str().unwrap().contains(text), "{summary}");
    assert!(summary["metric"].is_null(), "{summary}");
    let log = std::fs::read_to_string(out.join("dlio.log")).unwrap();
    assert!(log.contains(text), "{log}");
}

#[test]
fn a_signal_is_named_by_all_that_a_run_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let out = folder.path().join(name);
        let mut child = start(alone(&["-q", "replay", &path, "--output", out.to_str().unwrap()]), &out, 1);
        signal(child.id(), name);
        assert_eq!(wait_at_most(&mut child, LIMIT), Some(code), "{name}");
        let text = format!("interrupted by SIG{name}");
        assert_eq!(endings(&out, "trace"), [&*text]);
        assert_summary(&out, &text);
        assert_no_verdict(&out, "interrupted", &text);
    }
}

#[test]
fn ranks_that_a_launcher_ends_say_so_and_a_killed_one_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    let run = |name: &str| -> (PathBuf, Command) {
        let out = folder.path().join(name);
        let command = mpirun_command(2, &["-q", "replay", &path, "--output", out.to_str().unwrap()]);
        (out, command)
    };
    let (out, command) = run("terminated");
    let mut child = start(command, &out, 2);
    let ranks = ranks_of(&child);
    signal(child.id(), "TERM");
    assert!(wait_at_most(&mut child, LIMIT).is_some_and(|code| code != 0));
    assert_ended(&ranks);
    assert_eq!(endings(&out, "trace"), ["interrupted by SIGTERM", "interrupted by SIGTERM"]);
    assert_summary(&out, "interrupted by SIGTERM");
    assert_no_verdict(&out, "interrupted", "interrupted by SIGTERM");

    let (out, command) = run("killed");
    let mut child = start(command, &out, 2);
    let ranks = ranks_of(&child);
    signal(ranks[1], "KILL");
    assert!(wait_at_most(&mut child, LIMIT).is_some_and(|code| code != 0));
    assert_ended(&ranks);
    // If the launcher kills the other ranks at once, no rank can write a summary.
    let gently = crate::mpis::chosen().ends_ranks_gently();
    let (killed, text) = if gently { (1, "its trace stops") } else { (2, "their traces stop") };
    assert_eq!(endings(&out, "trace").iter().filter(|ending| *ending == "-").count(), killed);
    assert_no_verdict(&out, "lost", text);
    if !gently {
        return;
    }
    assert!(json(&out.join("summary.json"))["metric"].is_null());

    // A missing trace counts as a lost rank as well.
    std::fs::remove_file(out.join("trace").join(dlio_trace::file_name(1))).unwrap();
    assert_no_verdict(&out, "lost", "lost rank 1: its trace is not here");
}

#[test]
fn no_rank_exits_before_the_others_have_written_their_footers() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    for name in ["TERM", "INT", "HUP"] {
        if name == "HUP" && !crate::mpis::chosen().ends_ranks_gently() {
            continue;
        }
        let out = folder.path().join(name);
        let command = mpirun_command(4, &["-q", "replay", &path, "--output", out.to_str().unwrap()]);
        let mut child = start(command, &out, 4);
        let ranks = ranks_of(&child);
        signal(child.id(), name);
        assert!(wait_at_most(&mut child, LIMIT).is_some_and(|code| code != 0));
        assert_ended(&ranks);
        let endings = endings(&out, "trace");
        assert!(
            endings.len() == 4 && endings.iter().all(|ending| ending.starts_with("interrupted by")),
            "{name}: {endings:?}"
        );
        assert!(!out.join("run.lock").exists(), "SIG{name}");
        assert!(json(&out.join("run.json"))["runs"]["replay"]["state"].as_str().unwrap().starts_with("interrupted by"));
    }
}

#[test]
fn a_server_that_goes_away_is_the_failure_of_the_run() {
    let mut server = Server::start(1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    let data = "++workload.dataset.data_folder=s3://bucket/data";
    let out = folder.path().join("out");
    let words = [
        "-q",
        "replay",
        &path,
        "--registry",
        server.registry(),
        data,
        "--retry-for",
        "3",
        "--output",
        out.to_str().unwrap(),
    ];
    let generated = folder.path().join("objects");
    let generate =
        ["-q", "generate", &path, "--registry", server.registry(), data, "--output", generated.to_str().unwrap()];
    solo(&generate).ok();
    let mut child = start(alone(&words), &out, 1);
    server.terminate();
    assert_eq!(wait_at_most(&mut child, Duration::from_mins(3)), Some(3));
    let ending = endings(&out, "trace").remove(0);
    assert!(ending.starts_with("failed: ") && ending.contains("s3://bucket/data"), "{ending}");
    assert_summary(&out, &ending);
    assert_no_verdict(&out, "failed", &ending);
}

#[test]
fn a_trace_that_cannot_be_written_any_more_ends_the_run_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    let out = folder.path().join("out");
    // A limit on the size of files, which bash takes in KiB, emulates a full disk.
    let script = format!(
        "ulimit -f 64; exec {} replay {path} ++workload.train.computation_time=0.002 ++workload.train.epochs=5000 --output {}",
        binary(),
        out.display()
    );
    let mut command = Command::new("bash");
    let said = clean(command.args(["-c", &script])).output().unwrap();
    let err = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(6), "{err}");
    assert!(err.contains("loses its trace") && err.contains("File too large"), "{err}");
    assert!(!err.contains("holds everything"), "{err}");
    let ending = endings(&out, "trace").remove(0);
    assert!(ending.starts_with("failed: writing the trace"), "{ending}");
    // The log is subject to the same limit.
    assert!(json(&out.join("summary.json"))["ending"].as_str().unwrap().contains("File too large"));
}

#[test]
fn a_run_that_does_all_says_completed_and_one_without_steps_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path());
    let out = folder.path().join("out");
    let words = ["replay", &path, "++workload.train.epochs=2", "--output", out.to_str().unwrap()];
    solo(&words).ok();
    assert_eq!(endings(&out, "trace"), ["completed"]);
    assert_eq!(json(&out.join("summary.json"))["ending"], "completed");
    let said = solo(&["analyze", out.to_str().unwrap()]).ok();
    assert!(said.out.contains("ended: completed") && said.out.contains("reached"), "{}", said.out);
    assert_eq!(json(&out.join("report.json"))["train"]["au_meets_expectation"], true);
    assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains("\"tone\":\"good\""));

    // Metrics that were not measured are not judged.
    let said = solo(&[&words[..], &["++workload.reader.batch_size=16"]].concat()).ok();
    assert!(said.err.contains("an epoch has 1 step, and the metrics leave out the first 1"), "{}", said.err);
    let said = solo(&["analyze", out.to_str().unwrap(), "--no-files"]).ok();
    assert!(said.out.contains("no verdict, no step was measured"), "{}", said.out);
    assert!(said.out.contains("more than 1 step,"), "{}", said.out);

    let empty = [&words[..], &["++workload.reader.batch_size=64"]].concat();
    solo(&empty).failed(2, &["no steps", "16", "--allow-empty"]);
    let said = solo(&[&empty[..], &["--allow-empty"]].concat()).ok();
    assert!(!said.err.contains(": -"), "a negative rate: {}", said.err);
}

#[test]
fn an_interrupted_upload_is_aborted() {
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDENDINGS"), ("AWS_SECRET_ACCESS_KEY", "endings-secret")];
    let server =
        Server::start(1, &["--access-key", keys[0].1, "--secret-key", keys[1].1, "--delay-ms", "100", "--no-fsync"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.yaml");
    let text = "model: {name: t}\nframework: pytorch\n\
         dataset: {data_folder: 's3://bucket/data', format: npz, num_files_train: 2, num_samples_per_file: 1, record_length_bytes: 268435456}\n\
         dlio_rs: {multipart_threshold: 8388608, multipart_part_size: 5242880, multipart_concurrency: 1}\n";
    std::fs::write(&path, text).unwrap();
    let out = folder.path().join("out");
    let out_text = out.to_str().unwrap();
    let mut command =
        alone(&["generate", path.to_str().unwrap(), "--registry", server.registry(), "--output", out_text]);
    let mut child = command.envs(keys).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("an upload", || unfinished(&server, keys) > 0);
    signal(child.id(), "TERM");
    let code = wait_at_most(&mut child, LIMIT);
    let mut err = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!(code, Some(143), "{err}");
    assert_eq!(endings(&out, "trace-generate"), ["interrupted by SIGTERM"]);
    let left = unfinished(&server, keys);
    assert!(err.matches("abort-multipart-upload").count() == left, "{left} uploads are left: {err}");
}

/// Returns the unfinished uploads of the server.
fn unfinished(server: &Server, keys: [(&str, &str); 2]) -> usize {
    let endpoint = server.endpoints().remove(0);
    let user = format!("{}:{}", keys[0].1, keys[1].1);
    let sign =
        ["-s", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"];
    let mut command = Command::new("curl");
    let said = clean(command.args(sign).arg(format!("{endpoint}/bucket?uploads="))).output().unwrap();
    String::from_utf8_lossy(&said.stdout).matches("<UploadId>").count()
}
