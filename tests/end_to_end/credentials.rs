//! Sources of credentials: the configuration, the environment, the AWS profile and its sources, and the error if none has any.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Said, Server, binary, clean, mpirun_command, solo_with};

/// A workload on S3 and a home folder.
struct Run {
    folder: tempfile::TempDir,
    yaml: String,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.yaml");
        let text = "model: {name: t}\nframework: pytorch\n\
                    dataset: {data_folder: 's3://bucket/set', format: npz, num_files_train: 8, record_length_bytes: 4096}\n\
                    reader: {data_loader: pytorch, batch_size: 1, read_threads: 1}\ntrain: {epochs: 1, computation_time: 0.001}\n";
        std::fs::write(&path, text).unwrap();
        std::fs::create_dir_all(folder.path().join(".aws")).unwrap();
        Self { yaml: path.to_str().unwrap().to_owned(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes this text to the configuration file in the home folder.
    fn configure(&self, text: &str) {
        std::fs::write(self.path(".aws/config"), text).unwrap();
    }

    /// Runs a command on the workload with the variables `more` and the profile as the only sources of credentials.
    fn run(&self, command: &str, server: &Server, more: &[(&str, &str)], words: &[&str]) -> Said {
        let (home, uris) = (self.folder.path().to_str().unwrap(), server.endpoints().join(","));
        let env = [("HOME", home), ("S3_ENDPOINT_URIS", uris.as_str()), ("AWS_EC2_METADATA_DISABLED", "true")];
        let env: Vec<_> = env.iter().chain(more).copied().collect();
        let out = self.path("out");
        let output = ["--output", out.to_str().unwrap()];
        let output: &[&str] = if matches!(command, "generate" | "replay") { &output } else { &[] };
        solo_with(&env, &[&["-v", command, &self.yaml], words, output].concat())
    }
}

fn server() -> Server {
    Server::start(1, &["--access-key", "AKID", "--secret-key", "secret"])
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];

#[test]
fn a_registry_without_keys_is_named_and_the_metadata_service_is_not_blamed() {
    let (run, server) = (Run::new(), server());
    let said =
        run.run("generate", &server, &[("AWS_EC2_METADATA_DISABLED", "false")], &["--registry", server.registry()]);
    let said = said.failed(3, &["no keys are announced there", "--access-key", "AWS_ACCESS_KEY_ID: not set"]);
    assert!(said.err.contains("instance metadata: not asked"), "{}", said.err);
    run.run("generate", &server, &KEYS, &["--registry", server.registry()]).ok();
}

#[test]
fn what_is_empty_is_not_given() {
    let (run, server) = (Run::new(), server());
    let empty = ["access_key_id", "secret_access_key", "endpoint_url", "verify", "region"];
    let empty = empty.map(|key| format!("++storage.storage_options.{key}=\"\""));
    let empty: Vec<&str> = empty.iter().map(String::as_str).collect();
    run.run("generate", &server, &KEYS, &empty).ok();
    run.configure("[default]\naws_access_key_id = AKID\naws_secret_access_key = secret\nregion = eu-west-1\n");
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_PROFILE", "")];
    let said = run.run("replay", &server, &none, &empty).ok();
    assert!(said.err.contains("credentials: keys of the AWS profile default"), "{}", said.err);
    let half = ["++storage.storage_options.access_key_id=AKID", "++storage.storage_options.secret_access_key=\"\""];
    run.run("replay", &server, &KEYS, &half).failed(2, &["secret_access_key is not; set both or none"]);
}

/// Returns every file below a folder that contains these bytes.
fn holding(folder: &Path, text: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            holding(&path, text, found);
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path);
        }
    }
}

#[test]
fn a_secret_that_an_override_gives_is_stored_nowhere() {
    let (run, server) = (Run::new(), Server::start(1, &["--access-key", "AKID", "--secret-key", "hunter3"]));
    let one = ["++storage.storage_options.access_key_id=AKID", "++storage.storage_options.secret_access_key=hunter3"];
    let map = ["++workload.storage.storage_options={access_key_id: AKID, secret_access_key: hunter3}"];
    run.run("generate", &server, &[], &one).ok();
    run.run("replay", &server, &[], &map).ok();
    let mut found = Vec::new();
    holding(&run.path("out"), "access_key_id", &mut found);
    assert!(!found.is_empty(), "the command line is kept");
    found.clear();
    holding(&run.path("out"), "hunter3", &mut found);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_command_says_the_same_about_a_profile() {
    let (run, server) = (Run::new(), server());
    run.configure(
        "[profile role]\nrole_arn = arn:r\n[profile sso]\nsso_account_id = 1\nsso_role_name = r\nsso_region = eu-west-1\n\
         sso_start_url = https://corp.example/start\n[profile works]\ncredential_process = \
         printf %s '{\"Version\": 1, \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"secret\"}'\n",
    );
    for (command, words) in
        [("generate", &[][..]), ("replay", &[]), ("validate", &[]), ("doctor", &[]), ("plan", &["--ranks", "1"])]
    {
        for (profile, part) in
            [("nowhere", "the profile \"nowhere\" is in neither"), ("role", "neither source_profile nor")]
        {
            let said = run.run(command, &server, &[("AWS_PROFILE", profile)], words);
            assert!(format!("{}{}", said.out, said.err).contains(part), "{command}: {}{}", said.out, said.err);
            assert_eq!(said.code, Some(2), "{command} {profile}: {}", said.err);
        }
        run.run(command, &server, &[("AWS_PROFILE", "works")], words).ok();
    }
    let said = run.run("replay", &server, &[("AWS_PROFILE", "sso")], &[]);
    said.failed(3, &["SSO of the AWS profile sso", "run `aws sso login --profile sso`"]);
}

#[test]
fn a_rank_that_knows_no_profile_renews_from_the_source_that_rank_0_found() {
    let (run, server) = (Run::new(), server());
    let count = run.path("asked");
    let tool = run.path("tool");
    let text = format!(
        "#!/bin/sh\necho $OMPI_COMM_WORLD_RANK >> {}\nend=$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         echo '{{\"Version\": 1, \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"secret\", \"Expiration\": \"'$end'\"}}'\n",
        count.display()
    );
    std::fs::write(&tool, text).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&tool).status().unwrap().success());
    run.configure(&format!("[profile tool]\ncredential_process = {}\n", tool.display()));
    run.run("generate", &server, &KEYS, &[]).ok();
    let out = run.path("out");
    let words =
        ["replay", &run.yaml, "--output", out.to_str().unwrap(), "train.epochs=40", "train.computation_time=0.02"];
    let said: Said = without_profile_on_rank_1(&run, &server, &words).output().unwrap().into();
    let said = said.ok();
    assert!(!said.err.contains("cannot renew"), "{}", said.err);
    let asked = std::fs::read_to_string(count).unwrap();
    let by = |rank: &str| asked.lines().filter(|line| *line == rank).count();
    assert!(by("0") >= 2 && by("1") >= 2, "{asked}");
}

/// Starts two ranks; the second one has neither a home folder nor a profile.
fn without_profile_on_rank_1(run: &Run, server: &Server, words: &[&str]) -> Command {
    let mut command = mpirun_command(1, words);
    command.args([":", "-np", "1", "env", "-u", "AWS_PROFILE", "HOME=/nonexistent", binary()]).args(words);
    clean(&mut command);
    let home: &Path = run.folder.path();
    command.env("HOME", home).env("AWS_PROFILE", "tool").env("S3_ENDPOINT_URIS", server.endpoints().join(","));
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}
