//! Imported traces, and recordings under a prefix, are replayed and analyzed.

use std::path::Path;

use crate::support::{Said, Server, json, solo, solo_with};

/// Writes texts to files with these names, imports them and returns the output.
fn import(folder: &Path, sources: &[(&str, &str)]) -> Said {
    let paths = sources.iter().map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let paths: Vec<String> = paths.collect();
    let out = folder.join("imported");
    let mut words = vec!["trace", "import"];
    words.extend(paths.iter().map(String::as_str));
    words.extend(["--out", out.to_str().unwrap()]);
    solo(&words)
}

#[test]
fn a_run_under_a_prefix_replays_on_another_one_and_on_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let server = Server::start(1, &["--access-key", "test", "--secret-key", "secret-of-the-test"]);
    let endpoint = server.endpoints()[0].clone();
    let env = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test"),
    ];
    let out = at.join("out");
    let words = [
        "-q",
        "run",
        "unet3d_h100",
        "dataset.data_folder=s3://bkt/pre/fix",
        "workflow.generate_data=true",
        "checkpoint.checkpoint_folder=s3://bkt/check/points",
        "model.model_size=1024",
        "dataset.num_files_train=4",
        "dataset.record_length_bytes=4096",
        "dataset.record_length_bytes_stdev=0",
        "reader.batch_size=2",
        "train.epochs=1",
        "train.computation_time=0.001",
        "--output",
        out.to_str().unwrap(),
    ];
    solo_with(&env, &words).ok();
    let files = format!("s3://bkt={}", at.join("files").display());
    let parts = ["--map", "s3://bkt/pre/fix=s3://other/x", "--map", "s3://bkt/check/points=s3://other/y"];
    for maps in [&["--map", "s3://bkt/=s3://other/"][..], &parts, &["--map", &files]] {
        let again = at.join("again");
        let words = ["replay", out.to_str().unwrap(), "--prepare", "--timing", "asap", "--overwrite", "--output"];
        let said = solo_with(&env, &[&words[..], &[again.to_str().unwrap()], maps].concat()).ok();
        let found = json(&again.join("replay.json"));
        assert_eq!(found["operations_failed"], 0, "{}", said.err);
        assert_eq!(found["operations_done"], found["operations_planned"], "{}", said.err);
        assert!(found["operations_done"].as_u64().unwrap() > 0);
    }
    assert!(at.join("files/pre/fix/train").is_dir());
}

#[test]
fn a_folder_that_was_looked_up_is_one_in_the_replay() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let call = |name: &str, ts: u32, args: &str| {
        format!(
            "{{\"id\":0,\"name\":\"{name}\",\"cat\":\"POSIX\",\"pid\":1,\"tid\":1,\"ts\":{ts},\"dur\":10,\"ph\":\"X\",\"args\":{{{args}}}}}\n"
        )
    };
    let file = "\"fname\":\"/data/set/train/a.npz\",\"fd\":3";
    let text = "[\n".to_owned()
        + &call("__xstat64", 1_000_000, "\"ret\":0,\"fname\":\"/data/set/train\"")
        + &call("open64", 1_000_100, &format!("\"ret\":3,{file}"))
        + &call("read", 1_000_200, &format!("\"ret\":4096,\"count\":4096,{file}"))
        + &call("close", 1_000_300, &format!("\"ret\":0,{file}"));
    import(at, &[("calls.pfw", &text)]).ok();
    let (imported, out) = (at.join("imported"), at.join("out"));
    let map = format!("/data={}", at.join("new").display());
    for prepare in [&["--prepare"][..], &[]] {
        let words =
            ["replay", imported.to_str().unwrap(), "--map", &map, "--overwrite", "--output", out.to_str().unwrap()];
        solo(&[&words[..], prepare].concat()).ok();
        let found = json(&out.join("replay.json"));
        assert_eq!((&found["operations_done"], &found["operations_failed"]), (&4.into(), &0.into()));
    }
    assert_eq!(std::fs::metadata(at.join("new/set/train/a.npz")).unwrap().len(), 4096);
    let server = Server::start(1, &["--access-key", "test", "--secret-key", "secret-of-the-test"]);
    let endpoint = server.endpoints()[0].clone();
    let env = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test"),
    ];
    let words =
        ["replay", imported.to_str().unwrap(), "--map", "/data=s3://bkt", "--prepare", "--overwrite", "--output"];
    solo_with(&env, &[&words[..], &[out.to_str().unwrap()]].concat()).ok();
    assert_eq!(json(&out.join("replay.json"))["operations_failed"], 0, "a bucket has no folders to find");
}

#[test]
fn what_a_source_says_it_lacks_stands_in_the_report_of_its_import() {
    let folder = tempfile::tempdir().unwrap();
    let text = "# darshan log version: 3.41\n# start_time: 1671488957\n# nprocs: 1\n\n\
                # *WARNING*: The DXT_POSIX module contains incomplete data!\n\n\
                # DXT, file_id: 1, file_name: /tmp/f\n# DXT, rank: 0, hostname: node-a\n \
                X_POSIX       0   read        0               0       262144      0.0132      0.0135\n";
    let said = import(folder.path(), &[("dxt.txt", text)]).ok();
    assert!(said.out.contains("warning: ") && said.out.contains("incomplete data!"), "{}", said.out);
    let report = solo(&["analyze", folder.path().join("imported").to_str().unwrap(), "--no-files"]).ok();
    assert!(report.out.contains("is incomplete: Darshan says"), "{}", report.out);
}

/// Returns the AU of training and evaluation per epoch of an imported sample.
fn utilisation(sample: &str) -> [Vec<f64>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("imported");
    let source = format!("{}/../../traces/{sample}", env!("CARGO_MANIFEST_DIR"));
    solo(&["trace", "import", &source, "--out", out.to_str().unwrap()]).ok();
    let report = solo(&["analyze", out.to_str().unwrap(), "--no-files", "--format", "json"]).ok();
    let report: serde_json::Value = serde_json::from_str(&report.out).unwrap();
    ["train", "eval"].map(|part| {
        let all = report[part]["au_percentage"].as_array().unwrap();
        all.iter().map(|au| au.as_f64().unwrap()).collect()
    })
}

#[test]
fn an_imported_run_of_the_reference_has_the_au_of_its_own_summary() {
    // The values are those of the summaries; evaluations are means of both ranks.
    let runs = [
        ("dftracer-epochs", [[58.527, 86.038, 85.981], [81.120, 84.546, 82.790]]),
        ("dftracer-blocks", [[81.115, 79.038, 79.191], [74.012, 72.640, 68.990]]),
    ];
    for (sample, expected) in runs {
        for (found, expected) in utilisation(sample).iter().zip(expected) {
            assert_eq!(found.len(), expected.len(), "{sample}: {found:?}");
            // The reference measures about 0.1 ms of each step of 10 or 20 ms outside of its spans.
            let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1.2);
            assert!(near, "{sample}: {found:?}, its summary says {expected:?}");
        }
    }
}

#[test]
fn an_import_that_fails_leaves_the_traces_that_were_there() {
    let folder = tempfile::tempdir().unwrap();
    let (out, garbage) = (folder.path().join("out"), folder.path().join("garbage.bin"));
    std::fs::write(&garbage, [7u8; 4096]).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/fio/job-v3.log");
    let out = out.to_str().unwrap();
    solo(&["trace", "import", source, "--out", out]).ok();
    let before = crate::support::tree(Path::new(out));
    solo(&["trace", "import", garbage.to_str().unwrap(), "--out", out, "--overwrite"]).failed(6, &["garbage.bin"]);
    let names = |tree: &[(String, Vec<u8>)]| -> Vec<String> {
        tree.iter().map(|(name, _)| name.clone()).filter(|name| name.contains("rank-")).collect()
    };
    let after = crate::support::tree(Path::new(out));
    assert_eq!(names(&before), names(&after));
    solo(&["analyze", out, "--no-files"]).ok();
    assert!(after.iter().all(|(name, _)| !name.contains(".import-")), "nothing is left of the failed one");
}
