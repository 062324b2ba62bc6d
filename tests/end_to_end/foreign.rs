//! Datasets with other file names: made by other programs, or parts of larger datasets.

use std::path::Path;

use crate::support::{Said, Server, mpirun, python, solo, solo_with};

/// A workload of eight files in `folder/data`; `more` are further keys of its dataset.
fn workload(folder: &Path, format: &str, more: &str) -> String {
    let loader = if format == "tfrecord" { "tensorflow" } else { "pytorch" };
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: {loader}\n\
         dataset: {{data_folder: {}, format: {format}, num_files_train: 8, num_samples_per_file: 4{more}}}\n\
         reader: {{data_loader: {loader}, batch_size: 1, read_threads: 1}}\n\
         train: {{epochs: 1, computation_time: 0.001}}\n",
        folder.join("data").display(),
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn replay(folder: &Path, words: &[&str]) -> Said {
    let out = folder.join("out");
    solo(&[&["replay"][..], words, &["--output", out.to_str().unwrap()]].concat())
}

/// Returns the sorted names of the files in a folder of the dataset.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Renames the files of `data/train` to names that this program does not use.
fn rename(folder: &Path) {
    let train = folder.join("data/train");
    for name in names(&train) {
        let number = name.split('_').nth(1).unwrap();
        let (_, endings) = name.split_once('.').unwrap();
        std::fs::rename(train.join(&name), train.join(format!("part-{number}.{endings}"))).unwrap();
    }
}

#[test]
fn files_of_other_names_and_shapes_are_listed_and_read_as_they_are() {
    for format in
        ["npz", "npy", "hdf5", "tfrecord", "csv", "png", "jpeg", "indexed_binary", "mmap_indexed_binary", "parquet"]
    {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let made = workload(at, format, ", record_length_bytes: 900, record_length_bytes_stdev: 200");
        let out = at.join("out");
        solo(&["-q", "generate", &made, "--output", out.to_str().unwrap()]).ok();
        rename(at);
        let wanted = workload(at, format, ", record_length_bytes: 40000");
        let said = replay(at, &[&wanted, "--decode", "full"]).ok();
        assert!(said.err.contains("8 listed one(s) are read, from train/part-0."), "{format}: {}", said.err);
        let held: u64 = names(&at.join("data/train"))
            .iter()
            .filter(|name| name.ends_with(&format!(".{format}")))
            .map(|name| at.join("data/train").join(name).metadata().unwrap().len())
            .sum();
        let summary = std::fs::read(at.join("out/summary.json")).unwrap();
        let metric = &serde_json::from_slice::<serde_json::Value>(&summary).unwrap()["metric"];
        let of = |name: &str| metric[name].as_f64().unwrap();
        let sample = of("train_io_mean_MB_per_second") * 1_048_576.0 / of("train_throughput_mean_samples_per_second");
        let real = held as f64 / 32.0;
        assert!((sample / real - 1.0).abs() < 0.01, "{format}: MB/s counts {sample} bytes a sample, not {real}");
        let out = at.join("two");
        mpirun(2, &["-q", "replay", &wanted, "--output", out.to_str().unwrap()]).ok();
        let facts = python("trace.py", &[out.join("trace").to_str().unwrap()]);
        assert_eq!(facts["samples"]["1"].as_array().unwrap().len(), 32, "{format}: {facts}");
    }
}

#[test]
fn a_part_of_a_larger_data_set_is_found_on_disk_and_on_s3() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let server = Server::start(1, &["--access-key", "test", "--secret-key", "secret-of-the-test"]);
    let env = [
        ("AWS_ENDPOINT_URL", server.endpoints()[0].clone()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test".to_owned()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let yaml = workload(at, "npz", ", record_length_bytes: 4096");
    let out = at.join("out");
    for place in
        [format!("dataset.data_folder={}", at.join("data").display()), "dataset.data_folder=s3://bkt/data".to_owned()]
    {
        let words = [&yaml, &place, "--output", out.to_str().unwrap()];
        solo_with(&env, &[&["-q", "generate", "dataset.num_files_train=12"][..], &words].concat()).ok();
        // The shapes of the larger dataset are known, so contents can be verified.
        let said = solo_with(&env, &[&["replay", "--verify"][..], &words].concat()).ok();
        assert!(said.err.contains("train (12) is more than requested (8)"), "{}", said.err);
        assert!(!said.err.contains("listed one(s)"), "{}", said.err);
        let more = [&["replay", "dataset.num_files_train=16"][..], &words].concat();
        solo_with(&env, &more).failed(4, &["Not enough training dataset", "16", "holds 12 npz file(s)"]);
    }
}

#[test]
fn folders_that_are_not_the_configured_ones_are_refused_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let yaml = workload(at, "jpeg", ", record_length_bytes: 900");
    let out = at.join("out");
    solo(&["-q", "generate", &yaml, "dataset.num_samples_per_file=1", "--output", out.to_str().unwrap()]).ok();
    let train = at.join("data/train");
    for (number, name) in names(&train).iter().enumerate() {
        let class = train.join(["cat", "dog"][number % 2]);
        std::fs::create_dir_all(&class).unwrap();
        // Case does not matter in a subfolder.
        let ending = ["jpeg", "JPEG"][number / 4];
        std::fs::rename(train.join(name), class.join(format!("{number}.{ending}"))).unwrap();
    }
    let words = [yaml.as_str(), "dataset.num_samples_per_file=1"];
    replay(at, &words).failed(4, &["2 sub-folder(s)", "dataset.num_subfolders_train is 0: set it to 2"]);
    let right = replay(at, &[&words[..], &["dataset.num_subfolders_train=2"]].concat()).ok();
    assert!(right.err.contains("from train/cat/0.jpeg to train/dog/7.JPEG"), "{}", right.err);
    let said = replay(at, &[&words[..], &["dataset.num_subfolders_train=2", "dataset.format=png"]].concat());
    said.failed(4, &["none that ends in png", "does not exist"]);
    // Files of other programs are never removed.
    let run = [&words[..], &["dataset.num_subfolders_train=2", "dataset.keep_files=false"]].concat();
    let said = replay(at, &run).ok();
    assert!(said.err.contains("they stay") && train.join("cat/0.jpeg").exists(), "{}", said.err);
}
