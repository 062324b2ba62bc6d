//! Bad input causes one clear error that names the item, the expected value and a remedy.

use std::path::Path;

use crate::support::{Server, mpirun, solo, solo_with};

/// All formats with content.
const FORMATS: [&str; 10] =
    ["npz", "npy", "hdf5", "tfrecord", "csv", "png", "jpeg", "indexed_binary", "mmap_indexed_binary", "parquet"];

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

/// A kind of damage to one file of a dataset, with the text that the error must contain in addition to the file's name; `None`: the
/// format does not detect it without decoding the content.
fn damage(format: &str, kind: &str) -> Option<&'static [&'static str]> {
    let truncated: &[&str] = &["truncated", "the file ends after"];
    Some(match (kind, format) {
        // A frame has the length in its header; rows have no separators; an index contains only lengths.
        ("shape", "tfrecord" | "parquet") | ("magic", "indexed_binary" | "mmap_indexed_binary") => return None,
        ("shape", "indexed_binary" | "mmap_indexed_binary") => &["size of the sample in the index", "65536 bytes"],
        ("shape", _) => &["in the file, but", "in the workload"],
        ("magic", _) => &["offset", "expected", "found"],
        // There are two frames or rows of equal length, so a file of one sample remains.
        ("cut in half", "csv") => &["number of rows (samples) of the CSV file is 1 in the file"],
        ("cut in half", "tfrecord") => &["sample 1 was requested", "the file holds 1"],
        // The end of the file contains the offsets of everything.
        (_, "parquet") if kind != "empty" => &["end of the Parquet file", "expected \"PAR1\""],
        ("trailing", "csv") => &["CSV file at offset", "commas and newlines", "found \"abc\""],
        ("trailing", _) => &["bytes in the file, expected"],
        _ => truncated,
    })
}

/// Damages a file.
fn damaged(bytes: &[u8], kind: &str) -> Vec<u8> {
    match kind {
        "empty" => Vec::new(),
        "cut in its head" => bytes[..20].to_vec(),
        "cut in half" => bytes[..bytes.len() / 2].to_vec(),
        "without its last byte" => bytes[..bytes.len() - 1].to_vec(),
        "magic" => vec![b'x'; bytes.len()],
        "trailing" => [bytes, b"abc"].concat(),
        _ => bytes.to_vec(),
    }
}

const KINDS: [&str; 7] =
    ["empty", "cut in its head", "cut in half", "without its last byte", "magic", "trailing", "shape"];

#[test]
fn damage_of_every_kind_is_one_clear_error_in_every_format() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let (path, out) = local(folder.path(), format);
        let fast = ["dataset.num_samples_per_file=2", "--no-preflight", "--output", &out];
        solo(&[&["-q", "generate", &path], &fast[..]].concat()).ok();
        let name = format!("img_05_of_16.{format}");
        let file = folder.path().join("data/train").join(&name);
        let good = std::fs::read(&file).unwrap();
        for kind in KINDS {
            std::fs::write(&file, damaged(&good, kind)).unwrap();
            let more = if kind == "shape" { "dataset.record_length_bytes=16384" } else { "dlio_rs.decode=none" };
            // Damage is distinguished from another shape, even if the dialect reads other shapes.
            let refuses = if kind == "shape" { "error" } else { "warn" };
            let refuses = format!("++dlio_rs.shape_mismatch={refuses}");
            let words = [&["replay", &path, more, &refuses], &fast[..]].concat();
            let verify = [&words[..], &["--verify"]].concat();
            if let Some(says) = damage(format, kind) {
                let named = if kind == "shape" { "img_00_of_16" } else { &name };
                let said = solo(&words).failed(4, &[&[named, "rank 0"], says].concat());
                assert_eq!(said.err.matches("dlio-rs: error").count(), 1, "{format}, {kind}: {}", said.err);
                solo(&verify).failed(4, &[named]);
            } else {
                solo(&words).ok();
                solo(&verify).failed(4, &["content at offset", "expected", "found"]);
            }
        }
    }
}

#[test]
fn damaged_indexes_are_one_clear_error() {
    for format in ["indexed_binary", "mmap_indexed_binary"] {
        let folder = tempfile::tempdir().unwrap();
        let (path, out) = local(folder.path(), format);
        let fast = ["dataset.num_samples_per_file=2", "--no-preflight", "--output", &out];
        solo(&[&["-q", "generate", &path], &fast[..]].concat()).ok();
        for (suffix, noun) in [("off.idx", "index of offsets"), ("sz.idx", "index of sizes")] {
            let name = format!("img_05_of_16.{format}.{suffix}");
            let file = folder.path().join("data/train").join(&name);
            let good = std::fs::read(&file).unwrap();
            for kind in ["empty", "without its last byte", "trailing"] {
                std::fs::write(&file, damaged(&good, kind)).unwrap();
                solo(&[&["replay", &path], &fast[..]].concat()).failed(4, &[&name, noun, "16"]);
            }
            std::fs::write(&file, &good).unwrap();
        }
    }
}

#[test]
fn a_data_set_of_another_shape_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = local(folder.path(), "npy");
    solo(&["-q", "generate", &path, "--output", &out]).ok();
    let words =
        ["replay", &path, "dataset.record_length_bytes=16384", "++dlio_rs.shape_mismatch=error", "--output", &out];
    solo(&words).failed(4, &["img_00_of_16.npy", "256", "128"]);
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
    solo_with(&env("AKRIGHT", "right"), &words).failed(3, &["nobucket", "404"]);
}

#[test]
fn an_empty_registry_says_to_start_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "s3://bucket/set", "npz");
    let registry = folder.path().join("registry");
    std::fs::create_dir(&registry).unwrap();
    let out = folder.path().join("out");
    let words = ["generate", &path, "--registry", registry.to_str().unwrap(), "--registry-wait", "0"];
    solo(&[&words[..], &["--output", out.to_str().unwrap()]].concat()).failed(3, &["registry", "dlio-rs serve"]);
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
