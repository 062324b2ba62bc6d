//! Nothing that a user sets is ignored silently: locations, schemes, endpoints, worlds, units, settings.

use std::path::Path;

use crate::support::{Said, Server, mpirun, solo, solo_with};

fn yaml(folder: &Path, more: &str) -> String {
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\n\
         workflow: {{generate_data: true, train: true}}\n\
         dataset: {{data_folder: '{}/data', format: npz, num_files_train: 8, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 4, read_threads: 1}}\n\
         train: {{epochs: 1, computation_time: 0.001}}\n{more}",
        folder.display()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs a workload with the output folder `out`.
fn run(folder: &Path, env: &[(&str, &str)], words: &[&str]) -> Said {
    let (path, out) = (yaml(folder, ""), folder.join("out"));
    solo_with(env, &[&["run", &path, "--output", out.to_str().unwrap()], words].concat())
}

#[test]
fn a_place_that_is_misspelt_or_of_another_kind_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |key: &str, value: &str, names: &[&str]| {
        run(folder.path(), &[], &["++workflow.checkpoint=true", &format!("++{key}={value}")]).failed(2, names);
    };
    for key in ["dataset.data_folder", "checkpoint.checkpoint_folder", "storage.storage_root"] {
        for text in ["s3:/bkt/p", "s3:bkt/p", "S3://bkt/p", "s3a://bkt/p"] {
            refused(key, &format!("'{text}'"), &[key, text, "write s3://bkt/p"]);
        }
        for scheme in ["gs", "az", "hdfs", "http"] {
            refused(
                key,
                &format!("'{scheme}://x/y'"),
                &[key, &format!("the scheme {scheme} is not supported"), "s3://BUCKET"],
            );
        }
        refused(key, "'file://node/data'", &[key, "the host"]);
    }
    for key in ["output.folder", "dlio_rs.registry"] {
        refused(key, "'s3://bkt/out'", &[key, "s3://bkt/out", "is not a local path"]);
    }
    assert!(!folder.path().join("out").exists() && !Path::new("s3:").exists());
}

#[test]
fn options_for_local_paths_take_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "");
    for words in [
        ["run", path.as_str(), "--output", "s3://bkt/out"],
        ["replay", path.as_str(), "--registry", "http://host:1"],
        ["analyze", "s3://bkt/out", "--no-files", "-q"],
        ["trace", "repair", "gs://bkt/trace", "-q"],
        ["serve", "--data", "s3://bkt", "-q"],
    ] {
        solo(&words).failed(2, &["is not a local path"]);
    }
    solo(&["replay", "s3://bkt/trace"]).failed(2, &["read from local paths"]);
    let out = format!("file://{}/other", folder.path().display());
    solo(&["run", &path, "--output", &out]).ok();
    assert!(folder.path().join("other/summary.json").exists());
}

#[test]
fn a_scheme_decides_where_checkpoints_go_before_the_storage_type_does() {
    let server = Server::start(1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "");
    let checkpoints = format!("++checkpoint.checkpoint_folder=file://{}/saved", folder.path().display());
    let out = folder.path().join("out");
    let words = [
        "run",
        &path,
        "++dataset.data_folder=s3://bkt/set",
        "++storage.storage_type=s3",
        "++storage.storage_root=bkt",
        "++workflow.checkpoint=true",
        "++checkpoint.checkpoint_after_epoch=1",
        "++model.model_size_bytes=4096",
        &checkpoints,
        "--registry",
        server.registry(),
        "--output",
        out.to_str().unwrap(),
    ];
    let said = solo(&words).ok();
    assert!(said.err.contains("data in s3://bkt/set, checkpoints in /"), "{}", said.err);
    assert!(std::fs::read_dir(folder.path().join("saved")).unwrap().count() > 0);
    let other = [&words[..], &["++storage.storage_root=other"]].concat();
    solo(&other).failed(2, &["storage.storage_root", "bucket other", "s3://bkt/set"]);
}

#[test]
fn the_first_lines_say_what_was_understood() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "");
    let server = Server::start(2, &[]);
    let out = folder.path().join("out");
    let words = [
        "generate",
        &path,
        "++dataset.data_folder=s3://bkt/s",
        "--registry",
        server.registry(),
        "--output",
        out.to_str().unwrap(),
    ];
    let said = mpirun(2, &words).ok();
    let lines: Vec<&str> = said.err.lines().take(5).collect();
    for (line, text) in lines.iter().zip([
        "Dialect dlio (the default; --dialect and dlio_rs.dialect choose another)",
        "World: 2 ranks on 1 node, found through Open MPI's mpirun",
        "Storage: data in s3://bkt/s",
        "Endpoints: http://",
        "Output folder: /",
    ]) {
        assert!(line.contains(text), "{text} is not in {line}: {lines:?}");
    }
    assert!(lines[3].contains("(registry); 2 ranks over 2 endpoints, one per rank (modulo)"), "{}", lines[3]);
    let quiet = mpirun(2, &[&["-q"], &words[..]].concat()).ok();
    assert_eq!(quiet.err, "");
}

#[test]
fn processes_that_no_mpi_joins_do_not_do_the_whole_run_each() {
    let folder = tempfile::tempdir().unwrap();
    let torchrun = [("WORLD_SIZE", "4"), ("RANK", "1"), ("MASTER_ADDR", "host")];
    run(folder.path(), &torchrun, &[]).failed(5, &["torchrun", "WORLD_SIZE=4, RANK=1", "mpirun", "DLIO_RS_COMM=solo"]);
    run(folder.path(), &[("JOB_COMPLETION_INDEX", "0")], &[]).failed(5, &["Indexed Job", "JOB_COMPLETION_INDEX=0"]);
    assert!(!folder.path().join("out").exists());
    run(folder.path(), &[("WORLD_SIZE", "1"), ("RANK", "0")], &[]).ok();
    let meant = [&torchrun[..], &[("DLIO_RS_COMM", "solo")]].concat();
    let said = run(folder.path(), &meant, &[]).ok();
    assert!(!said.err.contains("not used"), "{}", said.err);
    run(folder.path(), &[("DLIO_RS_COMM", "mpi4py")], &[]).failed(2, &["DLIO_RS_COMM", "auto, mpi or solo"]);
}

#[test]
fn units_are_understood_in_our_dialect_and_told_in_the_reference_s() {
    let folder = tempfile::tempdir().unwrap();
    let native = ["++dlio_rs.dialect=native", "train.computation_time=2ms", "dataset.record_length_bytes=8KiB"];
    let said = run(folder.path(), &[], &native).ok();
    assert!(!said.err.contains("WARNING"), "{}", said.err);
    let path = yaml(folder.path(), "");
    solo(&["validate", &path, "--dialect", "native", "train.computation_time=2x"])
        .failed(2, &["computation_time", "100ms"]);
    let said = run(folder.path(), &[], &["train.computation_time=100ms", "++dlio_rs.multipart_part_size=8MiB"]).ok();
    let line =
        said.err.lines().find(|line| line.contains("computation_time")).unwrap_or_else(|| panic!("{}", said.err));
    assert!(
        line.contains("WARNING") && line.contains("no time is spent; write 0.1, or choose dialect native"),
        "{line}"
    );
    run(folder.path(), &[], &["dataset.record_length_bytes=8KiB"]).failed(2, &["write 8192, or choose dialect native"]);
}

#[test]
fn what_is_given_and_not_used_is_said_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let said =
        run(folder.path(), &[("AWS_ENDPOINT_URL", "http://unused:1")], &["--registry", "nowhere", "--overwrite"]).ok();
    assert!(
        said.err.contains("given and not used: --registry=nowhere: neither data nor checkpoints are on S3"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("AWS_ENDPOINT_URL"), "{}", said.err);
    let server = Server::start(1, &[]);
    let words = [
        "++dataset.data_folder=s3://bkt/s",
        "++storage.endpoint_uris=http://unused:1",
        "++storage.load_balance_strategy=random",
        "--registry",
        server.registry(),
    ];
    let said =
        run(folder.path(), &[("HTTPS_PROXY", "http://proxy:1"), ("AWS_ENDPOINT_URL", "http://env:1")], &words).ok();
    for text in [
        "given and not used: override storage.endpoint_uris=http://unused:1: registry comes first",
        "given and not used: AWS_ENDPOINT_URL=http://env:1: registry comes first",
        "storage.load_balance_strategy has no effect: there is one endpoint",
    ] {
        assert!(said.err.contains(text), "{text} is missing:\n{}", said.err);
    }
    let path = yaml(folder.path(), "");
    let said = solo_with(&[("AWS_ENDPOINT_URL", "http://env:1")], &["validate", &path, words[0], words[1]]).ok();
    assert!(said.out.contains("endpoints: http://unused:1 (override storage.endpoint_uris)"), "{}", said.out);
    assert!(said.out.contains("given and not used: AWS_ENDPOINT_URL=http://env:1"), "{}", said.out);
}

#[test]
fn endpoint_region_and_keys_of_an_aws_profile_go_together() {
    let server = Server::start(1, &["--access-key", "profilekey", "--secret-key", "profilesecret"]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let url = server.endpoints().remove(0);
    let text = format!(
        "[profile lab]\nregion = eu-north-1\nservices = lab\nendpoint_url = http://127.0.0.1:1\n\
         aws_access_key_id = profilekey\naws_secret_access_key = profilesecret\n[services lab]\ns3 =\n  endpoint_url = {url}\n"
    );
    std::fs::write(&config, text).unwrap();
    let file = config.to_str().unwrap();
    let none = folder.path().join("none");
    let env = |profile| {
        [("AWS_CONFIG_FILE", file), ("AWS_SHARED_CREDENTIALS_FILE", none.to_str().unwrap()), ("AWS_PROFILE", profile)]
    };
    let data = ["++dataset.data_folder=s3://bkt/s"];
    let said = run(folder.path(), &env("lab"), &data).ok();
    assert!(
        said.err.contains(&format!("Endpoints: {url} (services.s3.endpoint_url of the AWS profile lab)")),
        "{}",
        said.err
    );
    run(folder.path(), &env("other"), &data).failed(2, &["AWS_PROFILE", "[profile other]"]);
    // Local data need no AWS profile.
    run(folder.path(), &env("other"), &[]).ok();
}

#[test]
fn more_is_said_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = run(folder.path(), &[], &["++dlio_rs.inflight_per_reader=8"]).ok();
    assert!(quiet.err.contains("dlio_rs.inflight_per_reader 8 amounts to 4, reader.batch_size"), "{}", quiet.err);
    assert!(!quiet.err.contains("[INFO]"), "{}", quiet.err);
    let said = run(folder.path(), &[], &["-v"]).ok();
    assert!(said.err.contains("[INFO]") && said.err.contains("output folder: "), "{}", said.err);
}

#[test]
fn a_file_opened_for_every_sample_is_read_with_as_many_in_flight_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[], &["++dlio_rs.inflight_per_reader=4", "train.epochs=2"]).ok();
    let reads = crate::support::events(&folder.path().join("out"));
    let samples = reads.iter().filter(|event| event.kind == dlio_event::OpKind::Sample);
    assert_eq!(samples.count(), 16, "every sample once in each epoch");
}
