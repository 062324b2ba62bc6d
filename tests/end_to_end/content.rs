//! The content of datasets: `verify`, `--verify`, and the files that `dataset.keep_files: false` leaves.

use std::path::{Path, PathBuf};

use crate::support::{Server, mpirun, solo};

struct Set {
    folder: tempfile::TempDir,
    yaml: String,
    out: String,
}

fn set(format: &str, data: Option<&str>) -> Set {
    let folder = tempfile::tempdir().unwrap();
    let loader = if format == "tfrecord" { "tensorflow" } else { "pytorch" };
    let data = data.map_or_else(|| folder.path().join("data").to_str().unwrap().to_owned(), str::to_owned);
    let yaml = folder.path().join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: {loader}\ndataset: {{data_folder: '{data}', format: {format}, num_files_train: 8,\n  \
         num_files_eval: 4, num_samples_per_file: 2, num_subfolders_train: 2, record_length_bytes: 65536}}\n\
         reader: {{data_loader: {loader}, batch_size: 1, read_threads: 2}}\ntrain: {{epochs: 1, computation_time: 0.001}}\n"
    );
    std::fs::write(&yaml, text).unwrap();
    let out = folder.path().join("out").to_str().unwrap().to_owned();
    Set { yaml: yaml.to_str().unwrap().to_owned(), out, folder }
}

impl Set {
    fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let (command, more) = words.split_first().unwrap();
        [&[*command, self.yaml.as_str(), "--output", self.out.as_str()], more].concat()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_good_data_set_is_verified_on_any_number_of_ranks() {
    for format in ["npz", "npy", "hdf5", "tfrecord"] {
        let set = set(format, None);
        mpirun(2, &set.words(&["generate"])).ok();
        for ranks in [1, 3] {
            let said = mpirun(ranks, &set.words(&["verify"])).ok();
            assert!(said.err.contains("Verified 12 file(s): 12 good with 24 sample(s)"), "{format}: {}", said.err);
        }
        mpirun(2, &set.words(&["replay", "--verify"])).ok();
        solo(&set.words(&["replay", "--decode", "full"])).ok();
    }
}

#[test]
fn the_first_bad_file_is_the_same_whatever_the_ranks() {
    for format in ["npz", "npy", "hdf5", "tfrecord"] {
        let set = set(format, None);
        solo(&set.words(&["generate"])).ok();
        flip(&set.file(&format!("train/1/img_5_of_8.{format}")), 5000);
        flip(&set.file(&format!("train/0/img_2_of_8.{format}")), 70_000);
        std::fs::remove_file(set.file(&format!("valid/img_3_of_4.{format}"))).unwrap();
        for ranks in [1, 3] {
            let said = mpirun(ranks, &set.words(&["verify"]));
            let names = ["3 of 12 file(s) are bad", &format!("img_2_of_8.{format}"), "offset 70000"];
            assert_ne!(said.code, Some(0));
            assert!(names.iter().all(|name| said.err.contains(name)), "{format}: {}", said.err);
            assert!(!said.err.contains("img_5_of_8"), "{}", said.err);
        }
        solo(&set.words(&["verify"])).failed(4, &["expected", "found"]);
        solo(&set.words(&["replay", "--verify"])).failed(4, &["of_8", "content at offset"]);
        solo(&set.words(&["replay"])).ok();
    }
}

#[test]
fn what_nobody_reads_is_verified_too() {
    let set = set("hdf5", None);
    solo(&set.words(&["generate"])).ok();
    let path = set.file("train/0/img_0_of_8.hdf5");
    let length = usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
    // The last bytes of the file are labels.
    flip(&path, length - 1);
    solo(&set.words(&["replay", "--verify"])).ok();
    solo(&set.words(&["verify"])).failed(4, &["img_0_of_8.hdf5", &format!("offset {}", length - 1)]);
}

#[test]
fn data_of_another_seed_pass_by_their_checksums() {
    let set = set("npz", None);
    solo(&set.words(&["generate", "dlio_rs.payload_seed=77"])).ok();
    solo(&set.words(&["verify"])).failed(4, &["12 of 12 file(s) are bad", "img_0_of_8.npz", "seed 10"]);
    solo(&set.words(&["verify", "dlio_rs.verify_by=checksum"])).ok();
    solo(&set.words(&["replay", "--verify", "dlio_rs.verify_by=checksum"])).ok();
    flip(&set.file("train/1/img_1_of_8.npz"), 9000);
    solo(&set.words(&["verify", "dlio_rs.verify_by=checksum"])).failed(4, &["1 of 12", "img_1_of_8.npz", "x.npy"]);
}

#[test]
fn objects_are_verified_and_removed_on_s3() {
    let server = Server::start(2, &[]);
    let set = set("npz", Some("s3://bucket/set"));
    let registry = ["--registry", server.registry()];
    solo(&[set.words(&["generate"]), registry.to_vec()].concat()).ok();
    let said = mpirun(2, &[set.words(&["verify"]), registry.to_vec()].concat()).ok();
    assert!(said.err.contains("12 good"), "{}", said.err);
    solo(&[set.words(&["replay", "--verify", "dataset.keep_files=false"]), registry.to_vec()].concat()).ok();
    solo(&[set.words(&["verify", "--no-preflight"]), registry.to_vec()].concat())
        .failed(4, &["12 of 12", "img_0_of_8.npz"]);
}

#[test]
fn only_the_files_of_the_workload_and_empty_folders_are_removed() {
    for format in ["npz", "tfrecord"] {
        let set = set(format, None);
        solo(&set.words(&["generate"])).ok();
        let mine = set.file("train/0/mine.txt");
        std::fs::write(&mine, "mine").unwrap();
        mpirun(2, &set.words(&["run", "workflow.generate_data=true", "dataset.keep_files=false"])).ok();
        assert!(mine.exists() && !set.file("train/1").exists() && !set.file("valid").exists(), "{format}");
        std::fs::remove_file(&mine).unwrap();
        let said = mpirun(2, &set.words(&["run", "workflow.generate_data=true", "dataset.keep_files=false"])).ok();
        assert!(said.err.contains("removed 12 file(s)"), "{}", said.err);
        assert!(!set.folder.path().join("data").exists(), "{format}");
    }
}
