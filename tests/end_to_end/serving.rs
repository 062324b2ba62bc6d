//! `dlio-rs serve` and its clients: ownership of a registry, waiting for servers, folders that nodes do not share, limits.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Said, Server, binary, clean, json, mpirun_command, ranks_command, signal, solo, wait_at_most};

/// A workload of a few small files in a bucket.
fn workload(folder: &Path) -> String {
    let path = folder.join("workload.yaml");
    let yaml = "model: {name: tiny}\nframework: pytorch\nworkflow: {generate_data: true, train: true}\n\
                dataset: {data_folder: 's3://bucket/set', format: npz, num_files_train: 8, num_samples_per_file: 1, record_length_bytes: 65536}\n\
                reader: {batch_size: 2, read_threads: 1}\ntrain: {epochs: 1, computation_time: 0.001}\n";
    std::fs::write(&path, yaml).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Waits until `holds` returns true.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the announcements in a registry.
fn entries(registry: &Path) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(registry) else { return Vec::new() };
    let mut names: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("endpoint-"));
    names.sort();
    names
}

/// A server that is stopped at the end of the test.
struct Serving(Child);

impl Serving {
    fn start(mut command: Command) -> Self {
        Self(clean(&mut command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn alone(words: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.arg("serve").args(words);
        Self::start(command)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            signal(self.0.id(), "TERM");
            let _ = wait_at_most(&mut self.0, Duration::from_secs(20));
        }
    }
}

#[test]
fn clients_that_start_before_the_registry_exists_wait_for_every_rank() {
    let folder = tempfile::tempdir().unwrap();
    let (path, registry, out) = (workload(folder.path()), folder.path().join("reg"), folder.path().join("out"));
    let registry_text = registry.to_str().unwrap();
    let words = ["run", &path, "--registry", registry_text, "--output", out.to_str().unwrap()];
    let client = mpirun_command(2, &words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The client usually looks once in vain within this time; the test also passes if it does not.
    std::thread::sleep(Duration::from_millis(500));
    let data = folder.path().join("objects");
    let server = mpirun_command(3, &["serve", "--data", data.to_str().unwrap(), "--registry", registry_text]);
    let _server = Serving::start(server);
    let said = Said::from(client.wait_with_output().unwrap()).ok();
    let log = std::fs::read_to_string(out.join("dlio.log")).unwrap();
    assert!(log.contains("3 endpoint(s) from the registry"), "{log}\n{}", said.err);
    assert!(entries(&registry).iter().all(|entry| json(entry)["of"] == 3));
}

#[test]
fn a_registry_belongs_to_the_server_that_lives_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let registry = folder.path().join("reg");
    let words = ["--memory", "--registry", registry.to_str().unwrap()];
    let mut first = Serving::alone(&words);
    until("the first is there", || entries(&registry).len() == 1);
    let before = std::fs::read(&entries(&registry)[0]).unwrap();
    let second = solo(&[&["serve"], &words[..]].concat());
    second.failed(3, &["belongs to a server that is running", &first.0.id().to_string(), "--add"]);
    assert_eq!(std::fs::read(&entries(&registry)[0]).unwrap(), before, "nothing was touched");
    let beside = Serving::alone(&[&words[..], &["--add"]].concat());
    until("the second is there", || entries(&registry).len() == 2);
    drop(beside);
    assert_eq!(entries(&registry).len(), 1, "each removes its own");
    assert_eq!(std::fs::read(&entries(&registry)[0]).unwrap(), before);
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let mut third = Serving::alone(&words);
    until("the third has replaced it", || {
        entries(&registry).first().is_some_and(|entry| json(entry)["pid"] == third.0.id())
    });
    signal(third.0.id(), "TERM");
    let said =
        Said::from(std::mem::replace(&mut third.0, Command::new("true").spawn().unwrap()).wait_with_output().unwrap());
    assert!(said.err.contains("removed endpoint-00000-000.json, whose server is gone"), "{}", said.err);
    assert_eq!(entries(&registry).len(), 0);
}

#[test]
fn who_is_missing_is_named_when_the_wait_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let (path, server) = (workload(folder.path()), Server::start(1, &[]));
    let entry = &entries(&server.registry)[0];
    let mut announced = json(entry);
    announced["of"] = 2.into();
    announced["ranks"] = 2.into();
    announced["hosts"] = serde_json::json!(["node1", "node2"]);
    std::fs::write(entry, announced.to_string()).unwrap();
    let out = folder.path().join("out");
    let words = [
        "generate",
        &path,
        "--registry",
        server.registry(),
        "--registry-wait",
        "4s",
        "--output",
        out.to_str().unwrap(),
    ];
    let said = solo(&words).failed(3, &["lists 1 of 2 endpoints after 4s", "missing: rank 1 on node2"]);
    assert_eq!(said.err.matches("1 of 2 endpoints are announced").count(), 1, "{}", said.err);
}

#[test]
fn objects_that_do_not_fit_the_memory_are_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (path, server) = (workload(folder.path()), Server::start(1, &["--memory-limit", "300KiB"]));
    let out = folder.path().join("out");
    let words = ["generate", &path, "--registry", server.registry(), "--output", out.to_str().unwrap()];
    solo(&words).failed(3, &["507", "--memory-limit"]);
    solo(&[&words[..], &["++workload.dataset.num_files_train=1", "++workload.dataset.keep_files=true"]].concat())
        .failed(3, &["507"]);
    let larger = Server::start(1, &["--memory-limit", "50%"]);
    solo(&["generate", &path, "--registry", larger.registry(), "--output", out.to_str().unwrap()]).ok();
}

/// Starts ranks with separate host names and, for `shared`, separate folders, as on nodes without a shared file system.
fn on_islands(ranks: u32, folder: &Path, shared: &Path, words: &[&str]) -> Said {
    let script = folder.join("island.sh");
    let text = format!(
        "#!/bin/sh\nrank=${{OMPI_COMM_WORLD_RANK:-$PMI_RANK}}\nexport ISLAND={}/island-$rank\nmkdir -p \"$ISLAND\"\n\
         exec unshare --mount --uts sh -c 'hostname \"node'$rank'\" && mount --make-rprivate / && \
         mount --bind \"$ISLAND\" {} && exec \"$@\"' island \"$@\"\n",
        folder.display(),
        shared.display()
    );
    std::fs::write(&script, text).unwrap();
    let mut command = ranks_command(ranks);
    command.arg("sh").arg(&script).arg(binary()).args(words).output().unwrap().into()
}

#[test]
fn folders_that_nodes_do_not_share_are_found_and_the_nodes_named() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, out) = (folder.path().join("shared"), folder.path().join("out"));
    std::fs::create_dir(&shared).unwrap();
    let shared_text = shared.to_str().unwrap();
    let serve = ["serve", "--memory", "--registry", shared_text];
    on_islands(2, folder.path(), &shared, &serve).failed(3, &["the registry", "is not shared", "node0", "node1"]);
    let path = workload(folder.path());
    let data = format!("++workload.dataset.data_folder={shared_text}/set");
    let generate = ["generate", &path, &data, "--output", out.to_str().unwrap()];
    on_islands(2, folder.path(), &shared, &generate).failed(3, &["the data folder", "node1", "dlio_rs.node_local"]);
    // If separate folders are intended, every node must have the folder, like a mounted disk.
    for rank in 0..2 {
        std::fs::create_dir(folder.path().join(format!("island-{rank}/set"))).unwrap();
    }
    on_islands(2, folder.path(), &shared, &[&generate[..], &["dlio_rs.node_local=true"]].concat()).ok();
    for rank in 0..2 {
        let island = folder.path().join(format!("island-{rank}"));
        let left = crate::support::tree(&island);
        assert!(left.iter().all(|(name, _)| !name.contains("dlio-rs-shared")), "no mark stays: {rank}");
    }
}

/// Requests the list of buckets, signed by curl for a region.
fn list_buckets(endpoint: &str, access_key: &str, secret_key: &str, region: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--aws-sigv4", &format!("aws:amz:{region}:s3"), "--user", &format!("{access_key}:{secret_key}")]);
    curl.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", endpoint]);
    String::from_utf8(curl.output().unwrap().stdout).unwrap()
}

#[test]
fn a_server_without_keys_makes_a_pair_and_prints_it_once() {
    let started = |words: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["serve", "--memory", "-q"]).args(words);
        let mut child = clean(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            line.trim().to_owned()
        };
        let first = line();
        let rest = if words.is_empty() { vec![line(), line()] } else { Vec::new() };
        (Serving(child), first, rest)
    };
    let (mut server, endpoint, keys) = started(&[]);
    let access_key = keys[0].strip_prefix("AWS_ACCESS_KEY_ID=").unwrap();
    let secret_key = keys[1].strip_prefix("AWS_SECRET_ACCESS_KEY=").unwrap();
    assert!(list_buckets(&endpoint, access_key, secret_key, "RegionOne").contains("<ListAllMyBucketsResult"));
    assert!(list_buckets(&endpoint, access_key, "wrong", "us-east-1").contains("<Code>SignatureDoesNotMatch</Code>"));
    signal(server.0.id(), "TERM");
    assert!(wait_at_most(&mut server.0, Duration::from_secs(20)).is_some());
    let mut said = String::new();
    std::io::Read::read_to_string(server.0.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(said, "", "a refused request is told its client, and nobody else");

    let (_server, line, _) = started(&["--format", "json"]);
    let printed: serde_json::Value = serde_json::from_str(&line).unwrap();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (access_key, secret_key) = (word(&printed["access_key_id"]), word(&printed["secret_access_key"]));
    let listed = list_buckets(&word(&printed["endpoints"][0]), &access_key, &secret_key, "US");
    assert!(listed.contains("<ListAllMyBucketsResult"), "{listed}");
}

#[test]
fn half_a_key_pair_is_an_error() {
    let said = crate::support::solo_with(&[("AWS_ACCESS_KEY_ID", "a")], &["serve", "--memory"]);
    said.failed(2, &["AWS_SECRET_ACCESS_KEY is not"]);
}
