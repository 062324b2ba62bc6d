//! Files with the workload's names but another shape are read with one warning, or rejected.

use std::path::Path;

use crate::support::{Said, Server, mpirun, python, solo, solo_with};

const FORMATS: [&str; 10] =
    ["npz", "npy", "hdf5", "tfrecord", "csv", "png", "jpeg", "indexed_binary", "mmap_indexed_binary", "parquet"];

/// Formats whose files contain no shape that could be rejected.
const NEVER_REFUSED: [&str; 2] = ["tfrecord", "parquet"];

/// A workload of sixteen files with four samples each in `place`.
fn yaml(folder: &Path, place: &str, format: &str) -> String {
    let loader = if format == "tfrecord" { "tensorflow" } else { "pytorch" };
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: {loader}\n\
         dataset: {{data_folder: '{place}', format: {format}, num_files_train: 16, num_samples_per_file: 4,\n  \
         record_length_bytes: 16384}}\n\
         reader: {{data_loader: {loader}, batch_size: 1, read_threads: 1}}\n\
         train: {{epochs: 1, computation_time: 0.001}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Asserts that there is one warning line that contains these parts.
fn warned(said: &Said, parts: &[&str]) {
    let lines: Vec<&str> = said.err.lines().filter(|line| line.contains("another shape than the workload")).collect();
    assert_eq!(lines.len(), 1, "{}", said.err);
    for part in parts {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(!said.err.contains("truncated"), "{}", said.err);
}

#[test]
fn smaller_and_larger_records_are_read_in_every_format_with_one_warning() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = yaml(folder.path(), folder.path().join("data").to_str().unwrap(), format);
        let out = folder.path().join("out");
        let out = out.to_str().unwrap();
        solo(&["-q", "generate", &path, "--output", out]).ok();
        for length in ["dataset.record_length_bytes=4096", "dataset.record_length_bytes=65536"] {
            let said = mpirun(2, &["replay", &path, length, "--output", out]).ok();
            warned(&said, &["16 of 16 file(s)", &format!("train/img_00_of_16.{format}")]);
            let facts = python("trace.py", &[&format!("{out}/trace")]);
            assert_eq!(facts["samples"]["1"].as_array().unwrap().len(), 64, "{format}: {facts}");
            let refuse = ["-q", "replay", &path, length, "++dlio_rs.shape_mismatch=error", "--output", out];
            let native = ["replay", &path, length, "--dialect", "native", "--output", out];
            if NEVER_REFUSED.contains(&format) {
                let said = solo(&native).ok();
                warned(&said, &["16 of 16 file(s)", "never refused"]);
                solo(&refuse).ok();
            } else {
                solo(&refuse).failed(4, &["img_00_of_16", "in the file, but", "in the workload"]);
                solo(&native).failed(4, &["in the file, but"]);
            }
            warned(&solo(&[&native[..], &["++dlio_rs.shape_mismatch=warn"]].concat()).ok(), &["16 of 16"]);
        }
    }
}

#[test]
fn more_samples_are_left_unread_and_fewer_are_refused_with_their_number() {
    for format in ["npz", "npy", "hdf5", "tfrecord", "csv", "indexed_binary", "mmap_indexed_binary", "parquet"] {
        let folder = tempfile::tempdir().unwrap();
        let path = yaml(folder.path(), folder.path().join("data").to_str().unwrap(), format);
        let out = folder.path().join("out");
        let out = out.to_str().unwrap();
        solo(&["-q", "generate", &path, "--output", out]).ok();
        let said = solo(&["replay", &path, "dataset.num_samples_per_file=2", "--output", out]).ok();
        if format != "tfrecord" {
            warned(&said, &["16 of 16 file(s)"]);
        }
        let facts = python("trace.py", &[&format!("{out}/trace")]);
        assert_eq!(facts["samples"]["1"].as_array().unwrap().len(), 32, "{format}: {facts}");
        let said = solo(&["replay", &path, "dataset.num_samples_per_file=8", "--output", out]);
        let said = said.failed(4, &["img_", "4", "8"]);
        assert!(!said.err.contains("truncated"), "{format}: {}", said.err);
    }
}

#[test]
fn a_file_that_is_cut_off_is_truncated_whatever_the_shapes() {
    for format in ["npz", "npy", "hdf5", "csv", "png", "jpeg", "indexed_binary"] {
        let folder = tempfile::tempdir().unwrap();
        let path = yaml(folder.path(), folder.path().join("data").to_str().unwrap(), format);
        let out = folder.path().join("out");
        let out = out.to_str().unwrap();
        solo(&["-q", "generate", &path, "--output", out]).ok();
        let file = folder.path().join(format!("data/train/img_05_of_16.{format}"));
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 7]).unwrap();
        for length in ["dataset.record_length_bytes=4096", "dataset.record_length_bytes=16384"] {
            let said = solo(&["replay", &path, length, "--output", out]);
            said.failed(4, &["truncated", &format!("img_05_of_16.{format}")]);
        }
    }
}

#[test]
fn other_shapes_are_read_from_s3_as_well() {
    let server = Server::start(1, &["--access-key", "test", "--secret-key", "secret-of-the-test"]);
    let env = [
        ("AWS_ENDPOINT_URL", server.endpoints()[0].clone()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test".to_owned()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // Nothing is read from a map, and the size of an object is not known without a request.
    for format in FORMATS.into_iter().filter(|format| *format != "mmap_indexed_binary") {
        let folder = tempfile::tempdir().unwrap();
        let path = yaml(folder.path(), &format!("s3://bucket/{format}"), format);
        let out = folder.path().join("out");
        let out = out.to_str().unwrap();
        solo_with(&env, &["-q", "generate", &path, "--output", out]).ok();
        let said = solo_with(&env, &["replay", &path, "dataset.record_length_bytes=4096", "--output", out]).ok();
        warned(&said, &["16 of 16 file(s)"]);
    }
}
