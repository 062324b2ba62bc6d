//! Generated datasets in independent readers.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Server, json, mpirun, python, solo, solo_with, tree};

/// All formats whose content this program generates.
const FORMATS: [&str; 10] =
    ["npz", "npy", "hdf5", "tfrecord", "csv", "png", "jpeg", "indexed_binary", "mmap_indexed_binary", "parquet"];

fn yaml(folder: &Path, format: &str, more: &str) -> String {
    let loader = if format == "tfrecord" { "tensorflow" } else { "pytorch" };
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: {loader}\n\
         workflow: {{generate_data: false, train: true}}\n\
         dataset: {{data_folder: {}, format: {format}, num_files_train: 16, num_files_eval: 2, num_samples_per_file: 4,\n  \
         record_length_bytes: 16384{more}}}\n\
         reader: {{data_loader: {loader}, batch_size: 2, read_threads: 1}}\n\
         train: {{epochs: 2, computation_time: 0.001}}\n",
        folder.join("data").display(),
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_same_configuration_gives_the_same_bytes_whatever_the_number_of_ranks() {
    for format in FORMATS {
        let trees = [1, 3].map(|ranks| {
            let folder = tempfile::tempdir().unwrap();
            let path = yaml(folder.path(), format, ", record_length_bytes_stdev: 4000");
            let out = folder.path().join("out");
            mpirun(ranks, &["-q", "generate", &path, "--output", out.to_str().unwrap()]).ok();
            tree(&folder.path().join("data"))
        });
        assert!(trees[0].len() >= 18, "{format}");
        assert_eq!(trees[0], trees[1], "{format}");
    }
}

#[test]
fn independent_readers_accept_every_format_and_every_payload_is_its_own() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = yaml(folder.path(), format, "");
        let out = folder.path().join("out");
        solo(&["-q", "generate", &path, "--output", out.to_str().unwrap()]).ok();
        let data = folder.path().join("data");
        let facts = python("dataset.py", &[format, data.to_str().unwrap()]);
        let facts = facts.as_object().unwrap();
        assert_eq!(facts.len(), 18, "{format}");
        let sums: BTreeSet<&str> = facts.values().map(|file| file["sum"].as_str().unwrap()).collect();
        assert_eq!(sums.len(), 18, "{format}: files with equal payload");
        for (name, file) in facts {
            assert!(file["ratio"].as_f64().unwrap() > 0.98, "{name} is compressible: {file}");
            let shape = match format {
                "hdf5" => serde_json::json!([4, 128, 128]),
                "parquet" => serde_json::json!([4]),
                "tfrecord" | "indexed_binary" | "mmap_indexed_binary" => {
                    serde_json::json!([16384, 16384, 16384, 16384])
                }
                "csv" => serde_json::json!([4, 16384]),
                "png" | "jpeg" => serde_json::json!([128, 128]),
                _ => serde_json::json!([128, 128, 4]),
            };
            assert_eq!(file["shape"], shape, "{name}");
            assert_eq!(file["dtype"], "uint8", "{name}");
            if format == "csv" {
                assert_eq!((&file["widths"], &file["distinct"]), (&serde_json::json!([16384]), &serde_json::json!(1)));
            }
            if let Some(values) = file.get("values") {
                assert!(values.as_u64().unwrap() > 250, "{name} is not noise: {values} different values");
            }
            if file.get("labels").is_some() {
                assert_eq!(file["labels"], serde_json::json!([0, 0, 0, 0]));
                assert_eq!(file["label_dtype"], "int64");
            }
        }
    }
}

#[test]
fn pyarrow_reads_columns_of_every_type_compressed_or_not() {
    let types =
        ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"];
    let mut columns =
        String::from("{name: s, dtype: string}, {name: b, dtype: binary, size: 8}, {name: f, dtype: bool}");
    for name in types {
        let scalar = format!(", {{name: {name}, dtype: {name}}}");
        columns.extend([scalar, format!(", {{name: {name}_list, dtype: {name}, size: 13}}")]);
    }
    for (compression, codec) in [("none", "UNCOMPRESSED"), ("snappy", "SNAPPY"), ("gzip", "GZIP"), ("zstd", "ZSTD")] {
        let folder = tempfile::tempdir().unwrap();
        let more = format!(
            ", compression: {compression}, num_samples_per_file: 50,\n  parquet: {{row_group_size: 16, columns: [{columns}]}}"
        );
        let path = yaml(folder.path(), "parquet", &more).replace("num_samples_per_file: 4,", "");
        let text = std::fs::read_to_string(&path).unwrap().replace("num_samples_per_file: 4,", "");
        std::fs::write(&path, text).unwrap();
        let out = folder.path().join("out");
        let words =
            ["-q", "generate", &path, "--output", out.to_str().unwrap(), "++workload.dataset.num_files_train=2"];
        solo(&words).ok();
        let facts = python("dataset.py", &["parquet", folder.path().join("data").to_str().unwrap()]);
        let file = &facts["train/img_0_of_2.parquet"];
        assert_eq!(file["shape"], serde_json::json!([16, 16, 16, 2]), "{file}");
        assert_eq!(file["compression"], serde_json::json!([codec]));
        assert_eq!((&file["nulls"], &file["schema"]["s"]), (&serde_json::json!(0), &serde_json::json!("string")));
        assert_eq!(file["schema"]["float16"], "halffloat");
        assert_eq!(file["schema"]["uint64_list"], "fixed_size_list<element: uint64>[13]");
        assert!(file["samples"]["s"].as_str().unwrap().starts_with("s_"), "{file}");
        // The arithmetic of the reference leaves no steps for so few files.
        let native = ["-q", "replay", &path, "--dialect", "native", "--verify", "--output", out.to_str().unwrap()];
        mpirun(2, &[&native[..], &[words[5]]].concat()).ok();
    }
}

#[test]
fn h5dump_reads_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "hdf5", "");
    solo(&["-q", "generate", &path, "--output", folder.path().join("out").to_str().unwrap()]).ok();
    let file = folder.path().join("data/train/img_00_of_16.hdf5");
    let dump = std::process::Command::new("h5dump").arg("-H").arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.status.success() && text.contains("records_0") && text.contains("( 4, 128, 128 )"), "{text}");
}

#[test]
fn complete_files_are_kept_and_damaged_ones_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "npz", "");
    let words = ["generate", &path, "--output", folder.path().join("out").to_str().unwrap()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    solo(&words).ok();
    let before = tree(&folder.path().join("data"));
    let damaged = folder.path().join("data/train/img_03_of_16.npz");
    std::fs::OpenOptions::new().write(true).open(&damaged).unwrap().set_len(100).unwrap();
    let said = solo(&words).ok();
    assert!(said.err.contains("17 complete file(s) kept"), "{}", said.err);
    assert_eq!(before, tree(&folder.path().join("data")));
}

#[test]
fn replay_reads_what_generate_wrote_in_every_format() {
    for format in FORMATS.into_iter().chain(["synthetic"]) {
        let folder = tempfile::tempdir().unwrap();
        let path = yaml(folder.path(), format, "");
        let out = folder.path().join("out");
        let out_text = out.to_str().unwrap();
        mpirun(2, &["-q", "generate", &path, "--output", out_text]).ok();
        mpirun(2, &["-q", "replay", &path, "++workload.output.log_file=my.log", "--output", out_text]).ok();
        assert!(std::fs::read_to_string(out.join("my.log")).unwrap().contains("Ending epoch 2"), "{format}");
        let summary = json(&out.join("summary.json"));
        assert_eq!(summary["num_accelerators"], 2, "{format}");
        assert_eq!(summary["epochs"], 2, "{format}");
        assert_eq!(summary["metric"]["train_au_percentage"].as_array().unwrap().len(), 2, "{format}");
        for rank in 0..2 {
            assert!(out.join(format!("{rank}_output.json")).exists());
            assert!(out.join(format!("{rank}_per_epoch_stats.json")).exists());
        }
    }
}

#[test]
fn images_of_dialect_mlperf_have_the_length_of_the_forks_files_and_decode() {
    for format in ["png", "jpeg"] {
        let folder = tempfile::tempdir().unwrap();
        let path = yaml(folder.path(), format, "");
        let out = folder.path().join("out");
        let words = [&path, "dlio_rs.dialect=mlperf", "dataset.record_length_bytes=40000"];
        solo(&[&["-q", "generate"][..], &words, &["--output", out.to_str().unwrap()]].concat()).ok();
        let facts = python("dataset.py", &[format, folder.path().join("data").to_str().unwrap()]);
        for (name, file) in facts.as_object().unwrap() {
            assert_eq!(
                (&file["size"], &file["shape"]),
                (&serde_json::json!(40000), &serde_json::json!([200, 200])),
                "{name}"
            );
        }
    }
}

#[test]
fn compressed_text_is_read_by_pandas_conventions_and_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "csv", ", compression: gzip");
    let out = folder.path().join("out");
    let more = ["--output", out.to_str().unwrap(), "--dialect", "native"];
    let run = |command: &str| solo(&[&[command, path.as_str()][..], &more].concat());
    run("generate").ok();
    let facts = python("dataset.py", &["csv", folder.path().join("data").to_str().unwrap()]);
    assert_eq!(facts.as_object().unwrap().len(), 18);
    assert!(facts.as_object().unwrap().values().all(|file| file["distinct"] == 4));
    run("replay").ok();
}

#[test]
fn text_and_images_go_to_s3_and_back_with_their_content_verified() {
    let server = Server::start(1, &["--access-key", "a", "--secret-key", "b"]);
    let endpoint = &server.endpoints()[0];
    for format in ["csv", "png", "jpeg"] {
        let folder = tempfile::tempdir().unwrap();
        let path = yaml(folder.path(), format, "");
        let out = folder.path().join("out");
        let data = format!("dataset.data_folder=s3://bucket/{format}");
        let env = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let words = [path.as_str(), &data, "--output", out.to_str().unwrap()];
        solo_with(&env, &[&["-q", "generate"][..], &words].concat()).ok();
        for decode in ["verify", "full"] {
            solo_with(&env, &[&["-q", "replay", "--decode", decode][..], &words].concat()).ok();
        }
    }
}
