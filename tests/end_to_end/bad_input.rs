//! One clear error each: it names the thing, what was expected and what to do.

use std::path::Path;

use crate::support::{Server, mpirun, solo, solo_with};

fn yaml(folder: &Path, data: &str, format: &str) -> String {
    let loader = if format == "tfrecord" { "tensorflow" } else { "pytorch" };
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: {loader}\ndataset: {{data_folder: '{data}', format: {format}, num_files_train: 16, num_samples_per_file: 1, record_length_bytes: 65536}}\n\
         reader: {{data_loader: {loader}, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 1, computation_time: 0.001}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn local(folder: &Path, format: &str) -> (String, String) {
    let path = yaml(folder, folder.join("data").to_str().unwrap(), format);
    (path, folder.join("out").to_str().unwrap().to_owned())
}

#[test]
fn a_missing_data_set_says_to_generate_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = local(folder.path(), "npz");
    solo(&["replay", &path, "--output", &out]).failed(4, &["train/img_00_of_16.npz", "generate"]);
}

#[test]
fn one_missing_file_is_named_and_ends_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = local(folder.path(), "npz");
    solo(&["-q", "generate", &path, "--output", &out]).ok();
    std::fs::remove_file(folder.path().join("data/train/img_09_of_16.npz")).unwrap();
    solo(&["replay", &path, "--list", "--output", &out]).failed(4, &["1 file(s)", "img_09_of_16.npz"]);
    let said = mpirun(2, &["replay", &path, "--output", &out]);
    assert!(said.code != Some(0) && said.err.contains("img_09_of_16.npz"), "{}", said.err);
}

#[test]
fn a_truncated_file_is_named_in_every_format() {
    for format in ["npz", "npy", "hdf5", "tfrecord", "csv", "png", "jpeg"] {
        let folder = tempfile::tempdir().unwrap();
        let (path, out) = local(folder.path(), format);
        solo(&["-q", "generate", &path, "--output", &out]).ok();
        for length in [0, 20, 30_000] {
            let name = format!("data/train/img_05_of_16.{format}");
            let file = std::fs::OpenOptions::new().write(true).open(folder.path().join(name)).unwrap();
            file.set_len(length).unwrap();
            solo(&["replay", &path, "--output", &out]).failed(4, &[&format!("img_05_of_16.{format}")]);
        }
    }
}

#[test]
fn a_file_of_another_format_is_refused() {
    for format in ["npz", "npy", "hdf5", "tfrecord", "csv", "png", "jpeg"] {
        let folder = tempfile::tempdir().unwrap();
        let (path, out) = local(folder.path(), format);
        solo(&["-q", "generate", &path, "--output", &out]).ok();
        let file = folder.path().join(format!("data/train/img_02_of_16.{format}"));
        let length = std::fs::metadata(&file).unwrap().len();
        std::fs::write(&file, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
        solo(&["replay", &path, "--output", &out]).failed(4, &[&format!("img_02_of_16.{format}")]);
    }
}

#[test]
fn a_data_set_of_another_shape_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = local(folder.path(), "npy");
    solo(&["-q", "generate", &path, "--output", &out]).ok();
    solo(&["replay", &path, "dataset.record_length_bytes=16384", "--output", &out])
        .failed(4, &["img_00_of_16.npy", "256", "128"]);
}

#[test]
fn a_dead_endpoint_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "s3://bucket/set", "npz");
    let out = folder.path().join("out");
    let env = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    for command in ["generate", "replay"] {
        solo_with(&env, &[command, &path, "--output", out.to_str().unwrap()]).failed(3, &["http://127.0.0.1:1"]);
    }
}

#[test]
fn wrong_credentials_and_a_missing_bucket_are_told_apart() {
    let server = Server::start(1, &["--access-key", "AKRIGHT", "--secret-key", "right"]);
    let endpoint = &server.endpoints()[0];
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "s3://nobucket/set", "npz");
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let env = |key, secret| {
        [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)]
    };
    let words = ["replay", &path, "--output", out];
    solo_with(&env("AKWRONG", "right"), &words).failed(3, &[endpoint, "403", "access_key"]);
    solo_with(&env("AKRIGHT", "wrong"), &words).failed(3, &[endpoint, "403", "secret"]);
    solo_with(&env("AKRIGHT", "right"), &words).failed(4, &["nobucket", "404"]);
}

#[test]
fn an_empty_registry_says_to_start_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "s3://bucket/set", "npz");
    let registry = folder.path().join("registry");
    std::fs::create_dir(&registry).unwrap();
    let out = folder.path().join("out");
    solo(&["generate", &path, "--registry", registry.to_str().unwrap(), "--output", out.to_str().unwrap()])
        .failed(3, &["registry", "dlio-rs serve"]);
}

#[test]
fn an_output_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = local(folder.path(), "npz");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let out = file.join("out");
    solo(&["generate", &path, "--output", out.to_str().unwrap()]).failed(3, &[out.to_str().unwrap()]);
}

#[test]
fn a_trace_folder_without_traces_says_so() {
    let folder = tempfile::tempdir().unwrap();
    solo(&["analyze", folder.path().to_str().unwrap()]).failed(6, &["no trace", folder.path().to_str().unwrap()]);
    let file = folder.path().join("rank-00000.parquet");
    std::fs::write(&file, "not parquet").unwrap();
    solo(&["analyze", folder.path().to_str().unwrap()]).failed(6, &["rank-00000.parquet"]);
}
