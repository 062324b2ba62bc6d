//! `dlio-rs doctor`: for each check one failure is provoked, and only that check fails; nothing is changed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Said, Server, binary, clean, mpirun, solo, solo_with, tree};

/// A workload that reads (`generate_data: false`) or generates; `storage` are keys of that section.
fn workload(folder: &Path, data: &str, generate: bool, storage: &str) -> String {
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\nworkflow: {{generate_data: {generate}, train: true}}\n\
         dataset: {{data_folder: '{data}', format: npz, num_files_train: 8, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 2, read_threads: 2}}\ntrain: {{epochs: 1, computation_time: 0.001}}\n\
         {storage}"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn storage(endpoint: &str, secret: &str) -> String {
    format!(
        "storage:\n  storage_type: s3\n  storage_root: bucket\n  storage_options: {{endpoint_url: '{endpoint}', \
         access_key_id: AKTEST, secret_access_key: {secret}, region: us-east-1}}\n"
    )
}

fn report(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", said.out, said.err))
}

/// Returns the verdict of the first check with that name.
fn verdict<'a>(report: &'a Value, name: &str) -> &'a str {
    let found = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name}: {report:#}"))["verdict"].as_str().unwrap()
}

/// Returns the report if it must fail with this code for this check alone; dependent checks are not made.
fn fails(words: &[&str], code: i32, name: &str) -> Value {
    let said = solo(&[&["doctor", "--format", "json"], words].concat()).failed(code, &[name]);
    let report = report(&said);
    let failed: Vec<&Value> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == "fail").collect();
    assert!(failed.iter().all(|check| check["name"] == name) && !failed.is_empty(), "{report:#}");
    assert!(failed[0]["evidence"].is_string() && failed[0]["remedy"].is_string(), "{report:#}");
    report
}

/// Starts an endpoint that answers every connection with these bytes, or accepts it and stays silent.
fn stub(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut socket in listener.incoming().flatten() {
            if let Some(answer) = answer {
                let _ = socket.read(&mut [0; 4096]);
                let _ = socket.write_all(answer.as_bytes());
            } else {
                open.push(socket);
            }
        }
    });
    address
}

#[test]
fn all_is_well_where_everything_is_there_and_nothing_is_changed() {
    let server = Server::start(2, &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = workload(folder.path(), "s3://bucket/set", false, "");
    let target = ["--registry", server.registry()];
    let out = folder.path().join("out");
    solo(&[&["-q", "generate", &path, "--output", out.to_str().unwrap()], &target[..]].concat()).ok();
    let before = tree(folder.path());
    let mut command = Command::new(binary());
    clean(command.args(["doctor", &path]).args(target)).current_dir(folder.path());
    let said = Said::from(command.output().unwrap()).ok();
    assert!(said.out.contains("all is well: every check passed"), "{}", said.out);
    assert_eq!(tree(folder.path()).len(), before.len(), "the doctor may change nothing");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no output folder may be made");
    let said = mpirun(2, &[&["doctor", &path, "--format", "json"], &target[..]].concat()).ok();
    let report = report(&said);
    assert_eq!(report["failed"], 0);
    for name in ["endpoint.tcp", "endpoint.http", "endpoint.clock", "endpoint.credentials", "bucket", "bucket.listing"]
    {
        let found = report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
        assert_eq!(found.filter(|check| check["verdict"] == "pass").count(), 2, "{name}: {report:#}");
    }
    let ranks = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "ranks").unwrap();
    assert!(ranks["evidence"].as_str().unwrap().starts_with("2 ranks on 1 node,"), "{ranks}");
}

#[test]
fn endpoints_that_refuse_hang_or_speak_something_else_are_named_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let closed = workload(folder.path(), "set", false, &storage("http://127.0.0.1:1", "s"));
    fails(&[&closed], 3, "endpoint.tcp");

    let start = Instant::now();
    let hanging = workload(folder.path(), "set", false, &storage(&stub(None), "s"));
    let report = fails(&[&hanging], 3, "endpoint.http");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((verdict(&report, "endpoint.tcp"), verdict(&report, "bucket")), ("pass", "not_checked"));

    let plain = stub(Some("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    let secure = workload(folder.path(), "set", false, &storage(&plain.replace("http:", "https:"), "s"));
    fails(&[&secure], 3, "endpoint.tls");
}

#[test]
fn a_server_with_another_clock_is_told_by_its_date() {
    let folder = tempfile::tempdir().unwrap();
    let skewed = stub(Some(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 19\r\nConnection: close\r\n\r\n<ListBucketResult/>",
    ));
    let path = workload(folder.path(), "set", false, &storage(&skewed, "s"));
    let report = fails(&[&path], 3, "endpoint.clock");
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "endpoint.clock").unwrap();
    assert!(check["evidence"].as_str().unwrap().contains("behind ours"), "{check}");
}

#[test]
fn wrong_keys_missing_buckets_and_missing_data_are_told_apart() {
    let server = Server::start(1, &["--access-key", "AKTEST", "--secret-key", "sekret"]);
    let folder = tempfile::tempdir().unwrap();
    let endpoint = server.endpoints()[0].clone();
    let wrong = workload(folder.path(), "set", false, &storage(&endpoint, "other"));
    fails(&[&wrong], 3, "endpoint.credentials");
    let right = workload(folder.path(), "set", false, &storage(&endpoint, "sekret"));
    fails(&[&right], 3, "bucket");
    // A run that generates creates the bucket, so its absence is neither a failure nor a success.
    let said = solo(&["doctor", &right, "++workload.workflow.generate_data=true"]).ok();
    assert!(said.out.contains("nothing failed") && !said.out.contains("all is well: "), "{}", said.out);
    let out = folder.path().join("out");
    solo(&["-q", "generate", &right, "--output", out.to_str().unwrap()]).ok();
    fails(&[&right, "++dataset.data_folder=elsewhere"], 4, "data.first_file");
    solo(&["doctor", &right]).ok();
}

#[test]
fn folders_that_take_no_file_and_data_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("below");
    let generates = workload(folder.path(), below.to_str().unwrap(), true, "");
    fails(&[&generates], 3, "folder.write");
    let data = folder.path().join("data");
    let reads = workload(folder.path(), data.to_str().unwrap(), false, "");
    fails(&[&reads], 4, "data.first_file");
    let good = workload(folder.path(), data.to_str().unwrap(), true, "");
    fails(&[&good, "--output", below.to_str().unwrap()], 3, "output.write");
    assert!(!data.exists(), "the doctor may make nothing");
}

#[test]
fn space_descriptors_ranks_and_configuration_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let path = workload(folder.path(), data.to_str().unwrap(), true, "");
    fails(&[&path, "++dataset.record_length_bytes=1000000000000", "++dataset.num_files_train=1000000"], 3, "space");

    let mut command = Command::new("sh");
    let line = format!("ulimit -n 60; exec {} doctor {path} --format json", binary());
    let said: Said = clean(command.args(["-c", &line])).output().unwrap().into();
    let report = report(&said.failed(3, &["limit.files"]));
    assert_eq!(verdict(&report, "limit.files"), "fail");

    let launched = [("PMI_SIZE", "4"), ("PMI_RANK", "0")];
    solo_with(&launched, &["doctor", &path]).failed(5, &["ranks world"]);

    fails(&[&path, "++workload.train.epochs=none"], 2, "configuration");
    let s3 = workload(folder.path(), "s3://bucket/set", true, "");
    let nowhere = folder.path().join("nowhere");
    fails(&[&s3, "--registry", nowhere.to_str().unwrap()], 3, "configuration");
}
