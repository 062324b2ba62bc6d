//! Traces that are done again.

use std::path::Path;

use crate::support::{Said, json, mpirun, solo};

/// A small run of two ranks with its trace, in `folder`.
fn recorded(folder: &Path) {
    let data = format!("dataset.data_folder={}", folder.join("data").display());
    let out = folder.join("out");
    let keys = [
        "workflow.generate_data=true",
        "workflow.checkpoint=false",
        "dataset.num_files_train=12",
        "dataset.record_length_bytes=65536",
        "dataset.record_length_bytes_stdev=0",
        "reader.batch_size=2",
        "train.epochs=1",
        "train.computation_time=0.01",
    ];
    let words = [&["-q", "run", "unet3d_h100", &data][..], &keys, &["--output", out.to_str().unwrap()]].concat();
    mpirun(2, &words).ok();
}

fn replay(ranks: u32, folder: &Path, output: &str, more: &[&str]) -> Said {
    let (trace, output) = (folder.join("out"), folder.join(output));
    let words = ["replay", trace.to_str().unwrap(), "--output", output.to_str().unwrap()];
    let words = [&words[..], more].concat();
    if ranks == 1 { solo(&words) } else { mpirun(ranks, &words) }
}

#[test]
fn a_recording_of_our_own_run_replays_with_every_operation_and_byte_on_any_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    recorded(at);
    let map = format!("{}={}", at.join("data").display(), at.join("copy").display());
    let planned = replay(1, at, "dry", &["--map", &map, "--dry-run"]).ok();
    assert!(planned.err.contains("read ") && !at.join("copy").exists(), "{}", planned.err);
    let mut operations = Vec::new();
    for ranks in [1, 2, 3] {
        let more = ["--map", &map, "--prepare", "--speed", "2", "--require", "operations_missing<=0"];
        let output = format!("replay-{ranks}");
        let said = replay(ranks, at, &output, &more).ok();
        assert_eq!(said.err.contains("12 object(s): 12 written"), ranks == 1, "{}", said.err);
        let found = json(&at.join(&output).join("fidelity.json"));
        assert_eq!(found["operations_done"], found["operations_planned"]);
        assert_eq!(found["bytes_done"], found["bytes_planned"]);
        assert!(found["metrics"]["issue_error_p50"].as_f64().is_some());
        assert_eq!(found["ranks"].as_array().unwrap().len(), ranks as usize);
        operations.push((found["operations_done"].clone(), found["bytes_done"].clone()));
        solo(&["analyze", at.join(&output).to_str().unwrap()]).ok();
    }
    assert!(operations.iter().all(|found| *found == operations[0]), "{operations:?}");
    let size = |name: &str| {
        std::fs::read_dir(at.join(name).join("train"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    };
    assert_eq!(size("copy"), size("data"));
    // The run wrote its data set, and read it whole and the directories of its archives.
    assert!(operations[0].1.as_u64().unwrap() >= 2 * size("data"));
    // The trace of a replay is a trace: it replays too.
    let closed = ["--timing", "closed", "--repeat", "2", "--op", "read"];
    let again = [
        "replay",
        at.join("replay-2").to_str().unwrap().to_owned().leak(),
        "--output",
        at.join("again").to_str().unwrap().to_owned().leak(),
    ];
    solo(&[&again[..], &closed].concat()).ok();
    let found = json(&at.join("again/fidelity.json"));
    assert!(found["bytes_done"].as_u64().unwrap() >= 2 * size("data"));
    assert_eq!(found["bytes_done"], found["bytes_planned"]);
    assert!(found["metrics"]["think_error_p99"].as_f64().is_some());
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    recorded(at);
    let empty = at.join("empty");
    std::fs::create_dir(&empty).unwrap();
    solo(&["replay", empty.to_str().unwrap()]).failed(6, &["empty"]);
    replay(1, at, "a", &["--map", "/nowhere=/else"]).failed(2, &["/nowhere", "--map"]);
    replay(2, at, "b", &["--map", &format!("{}=/else", at.display()), "--require", "speed<=1"])
        .failed(2, &["issue_error_p50"]);
    replay(1, at, "out", &["--op", "read"]).failed(2, &["take the place of", "--output"]);
    replay(1, at, "c", &["--object", "no such object"]).failed(2, &["no operation to replay"]);
    replay(1, at, "d", &["--timing", "closed", "--late", "skip"]).failed(2, &["--late"]);
    solo(&["replay", "unet3d_h100", "--speed", "2"]).failed(2, &["no folder with a trace"]);
    let missing = format!("{}={}", at.join("data").display(), at.join("missing").display());
    replay(2, at, "e", &["--map", &missing, "--timing", "asap"])
        .failed(4, &["operation(s) failed", "missing", "--prepare"]);
    replay(1, at, "f", &["--op", "read", "--timing", "asap", "--require", "issue_error_p99<=1s"])
        .failed(7, &["not measured"]);
}
